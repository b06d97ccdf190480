//! Replaces a guest while the server runs: verify, stage, prove, persist, promote, watch.
//!
//! | file | holds |
//! |---|---|
//! | `promote` | those steps, for a logic and for an extension |
//! | `verify` | whether a component fits its target and its grants |
//! | `proof` | the candidate's self-test, and recent requests replayed on it |
//! | `report` | the steps of a swap and how they went, for the caller |
//! | `rollback` | makes an earlier generation live again, or removes an extension |
//! | `watch` | compares a promoted generation with the one before it, for a while |
//! | `quarantine` | records guests that fail on every call, and rolls such a logic back |
//!
//! A failure on the way leaves the live generation as it is. The record in storage is written
//! before the promotion, so after a crash in between, the next start and every other host find
//! the new generation.

mod promote;
mod proof;
mod quarantine;
mod report;
mod rollback;
mod verify;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use kenning_storage::{StorageError, TenantId};
use tokio::sync::OwnedMutexGuard;

use crate::kb::{Caller, Kb};
use crate::registry::{Changed, Components, LoadError, Owner, Registry, Snapshot};
use kenning_core::error::{Code, Error};
use kenning_core::limits::Limits;
use kenning_runtime::{Generation, Grant, OnFailure};

pub use proof::Bounds;
pub use report::{Report, SwapReport};
pub use rollback::Rollback;

/// How long loading the live guests may take.
const LOAD: Duration = Duration::from_secs(30);

/// A component that is to replace a guest.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// The component.
    pub bytes: bytes::Bytes,
    /// The digest `sha256:…` that the caller expects the bytes to have.
    pub digest: Option<String>,
    /// What the proof may find.
    pub bounds: Bounds,
    /// Prove and report, but do not promote.
    pub dry_run: bool,
    /// Who promotes the candidate even if its proof fails.
    pub forced_by: Option<String>,
}

/// Which extension of which tenant, and what it may do.
#[derive(Clone, Debug)]
pub struct ExtensionTarget {
    /// Whose extension it is.
    pub tenant: TenantId,
    /// Its name, unique within the tenant.
    pub name: String,
    /// Extensions run from the lowest order to the highest. `None` keeps the current order, or 0.
    pub order: Option<i32>,
    /// What happens when a hook fails. `None` keeps the current policy, or that of each hook.
    pub policy: Option<OnFailure>,
    /// The imports that it may use besides those of every extension.
    pub grants: Vec<Grant>,
}

/// Replaces guests.
#[derive(Clone)]
pub struct Swapper {
    kb: Arc<Kb>,
}

impl Swapper {
    /// Replaces guests of `kb`.
    pub fn new(kb: Arc<Kb>) -> Self {
        Self { kb }
    }

    /// The knowledge base whose guests are replaced.
    pub fn kb(&self) -> &Arc<Kb> {
        &self.kb
    }

    fn registry(&self) -> &Arc<Registry> {
        self.kb.registry()
    }

    fn limits(&self) -> &Limits {
        &self.kb.services().limits
    }

    /// The guests that a tenant's calls use now.
    ///
    /// # Errors
    /// When the tenant's guests cannot be loaded.
    pub async fn live(&self, tenant: &TenantId) -> Result<Snapshot, Error> {
        self.kb.snapshot(&Caller::within(tenant.clone(), LOAD)).await
    }

    async fn live_logic(&self, owner: &Owner) -> Result<Arc<Generation>, Error> {
        let live = self.live(&owner.tenant()).await?;
        Ok(match owner {
            // The tenant in whose name the server-wide logic is tried may have its own.
            Owner::Server => self.registry().server_wide().logic,
            Owner::Tenant(_) => live.logic,
        })
    }

    /// Locks an owner's guests against other changes; fails if one is in progress.
    fn try_lock(&self, owner: &Owner) -> Result<OwnedMutexGuard<()>, Error> {
        self.registry().change_lock(owner).try_lock_owned().map_err(|_| {
            let message = "another change of this guest is in progress; try again later";
            Error::new(Code::Conflict, message)
        })
    }

    /// The same for changes by the server itself, which wait.
    async fn lock(&self, owner: &Owner) -> OwnedMutexGuard<()> {
        self.registry().change_lock(owner).lock_owned().await
    }

    /// Deletes components that no generation uses any more, in the background. `stored` was read
    /// before the change.
    fn clean_up(&self, owner: &Owner, unused: Vec<String>, stored: Components) {
        let (registry, owner) = (self.registry().clone(), owner.clone());
        tokio::spawn(async move {
            if let Err(error) = registry.archive.drop_components(&owner, &unused, &stored).await {
                tracing::warn!(?unused, %error, "unused components not deleted");
            }
        });
    }

    /// A storage result with the error that callers see.
    fn storage<T>(&self, result: Result<T, StorageError>) -> Result<T, Error> {
        result.map_err(|error| self.kb.storage_error(&error))
    }

    /// The same for a change of a record: its value and the record's new version.
    fn written<T>(&self, result: Result<Changed<T>, StorageError>) -> Result<(T, u64), Error> {
        self.storage(result)?
    }

    /// The same for a guest that was loaded.
    fn load<T>(&self, result: Result<T, LoadError>) -> Result<T, Error> {
        result.map_err(|error| self.kb.load_error(&error))
    }
}

/// The record changed since it was read.
fn changed_meanwhile() -> Error {
    let message = "another host changed this guest in the meantime; check its state and try again";
    Error::new(Code::Conflict, message)
}

fn no_such_extension(name: &str) -> Error {
    Error::new(Code::NotFound, format!("there is no extension {name:?}"))
}
