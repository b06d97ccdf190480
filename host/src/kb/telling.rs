//! Tells an extension of a change that has happened: the hook `on-change`, which no caller waits
//! for.

use kenning_core::error::{Code, Error};
use kenning_runtime::wit::Fact;
use kenning_runtime::{FactChange, FactChangeKind, Hook, Verb};
use kenning_storage::TenantId;

use super::caller::Purpose;
use super::errors::{self, quarantine_error};
use super::pipeline::Pipeline;
use super::{Caller, Kb};

/// A change to tell.
#[derive(Clone, Debug)]
pub struct ToldChange {
    /// The fact's id; empty where changes were missed.
    pub id: String,
    /// What happened.
    pub kind: FactChangeKind,
    /// The number of the change.
    pub revision: u64,
    /// How often it was told, with this time.
    pub attempt: u32,
}

/// What became of a change that was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// The extension took it.
    Taken,
    /// The extension failed or did not take it; the text says why.
    Failed(String),
    /// The extension is in quarantine and was not called.
    InQuarantine,
    /// The tenant has no such extension that runs and has the hook.
    Gone,
}

impl Kb {
    /// Tells the tenant's extension `name` of a change, in the background.
    ///
    /// # Errors
    /// When that says nothing about the extension: storage failed or the server is busy.
    pub async fn tell(
        &self,
        tenant: &TenantId,
        name: &str,
        change: ToldChange,
    ) -> Result<Told, Error> {
        let caller = Caller::within(tenant.clone(), self.services.limits.call).in_background();
        let (request, name) = (caller.request(Verb::Maintain), name.to_string());
        self.run(&caller, Purpose::Read, request, move |pipeline| {
            Box::pin(pipeline.on_change(name, change))
        })
        .await
        .map(|response| response.value)
    }
}

impl Pipeline {
    async fn on_change(&mut self, name: String, change: ToldChange) -> Result<Told, Error> {
        let extension = self.snapshot.named(&name);
        let Some(extension) = extension.filter(|extension| extension.has(Hook::OnChange)) else {
            return Ok(Told::Gone);
        };
        if quarantine_error(&extension.guest).is_some() {
            return Ok(Told::InQuarantine);
        }
        let ToldChange { id, kind, revision, attempt } = change;
        let fact = match kind {
            FactChangeKind::Stored | FactChangeKind::Changed => self.read_if_any(&id).await?,
            FactChangeKind::Deleted | FactChangeKind::Missed => None,
        };
        let change = FactChange { id, kind, revision, fact, attempt };
        match self.session.on_change(extension.hooks(), change).await {
            Ok(Some(Ok(()))) => Ok(Told::Taken),
            Ok(Some(Err(reason))) => Ok(Told::Failed(reason)),
            Ok(None) => Ok(Told::Gone),
            Err(failed) if failed.cause.is_guests() => {
                Ok(Told::Failed(self.errors.guest_error(&failed, false).message))
            }
            Err(failed) => Err(self.errors.guest_error(&failed, false)),
        }
    }

    /// The fact as it is stored; `None` if there is none, or it cannot be served.
    async fn read_if_any(&mut self, id: &str) -> Result<Option<Fact>, Error> {
        match self.read_one(id).await {
            Ok(fact) => Ok(Some(fact)),
            Err(error) if is_unreadable(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Asks the extensions whether a fact may be deleted. One whose record is damaged may: it
    /// cannot be shown to them, and deleting it is how it is repaired.
    pub(super) async fn may_delete(&mut self, id: &str) -> Result<(), Error> {
        if !self.snapshot.has(Hook::OnDelete) {
            return Ok(());
        }
        match self.read_one(id).await {
            Ok(fact) => self.on_delete(&fact).await,
            Err(error) if errors::is_damaged(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn is_unreadable(error: &Error) -> bool {
    matches!(error.code, Code::NotFound | Code::GuestInvalid | Code::GuestLimit)
        || errors::is_damaged(error)
}
