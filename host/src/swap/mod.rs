//! Replaces a guest while the server runs: verify, stage, prove, persist, promote, watch.
//!
//! | file | holds |
//! |---|---|
//! | `promote` | those steps, for a logic and for an extension |
//! | `verify` | whether a component fits its target and its grants |
//! | `proof` | the candidate's self-test, and recent requests replayed on it |
//! | `cost` | what a call of an extension is expected to cost |
//! | `differing` | replayed requests whose answers differ, as examples |
//! | `overlap` | how much of what callers see stays with a candidate |
//! | `report` | the steps of a swap and how they went, for the caller |
//! | `rollback` | makes an earlier generation live again, or removes an extension |
//! | `revoke` | who runs a digest, and refusing a digest everywhere |
//! | `settings` | changes an extension's order, policy, grants and pause |
//! | `steps` | what a swap is doing, for whoever waits for it |
//! | `watch` | compares a promoted generation with the one before it, for a while |
//! | `quarantine` | handles guests that fail on call after call, at any time |
//! | `verdict` | for whom a server-wide logic that fails is rolled back |
//! | `preview` | a tenant's guests as they might be, for a search that nobody is served by |
//! | `pin` | gives one tenant an older generation of the server-wide logic |
//!
//! A failure on the way leaves the live generation as it is. The record in storage is written
//! before the promotion, so after a crash in between, the next start and every other host find
//! the new generation.

mod cost;
mod differing;
mod overlap;
mod pin;
mod preview;
mod promote;
mod proof;
mod quarantine;
mod report;
mod revoke;
mod rollback;
mod settings;
mod state;
mod steps;
mod values;
mod verdict;
mod verify;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use kenning_storage::{StorageError, TenantId};
use serde_json::{Map, Value};
use tokio::sync::OwnedMutexGuard;

use crate::kb::{Caller, Kb};
use crate::registry::{Changed, Components, LoadError, Owner, Registry, Snapshot};
use kenning_core::error::{Code, Error};
use kenning_core::limits::Limits;
use kenning_runtime::{Generation, Granted, OnFailure};

pub use proof::Bounds;
pub use report::{Report, SwapReport};
pub use revoke::{Replaced, Use};
pub use rollback::{Rollback, RolledBack};
pub use settings::{ExtensionState, SettingsChange};
pub use steps::{Step, Steps};

/// How long loading the live guests may take, beyond their compilation.
const LOAD: Duration = Duration::from_secs(30);

/// When to try again if another swap is in progress.
const RETRY_SWAP: Duration = Duration::from_secs(1);

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
    /// Who sent it, for the record.
    pub sent_by: String,
    /// Who promotes the candidate even if its proof fails.
    pub forced_by: Option<String>,
    /// Where it is told what is being done.
    pub steps: Steps,
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
    pub grants: Vec<Granted>,
    /// What it reads as its settings. `None` keeps the current ones, or none.
    pub values: Option<Map<String, Value>>,
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
        let caller = Caller::within(tenant.clone(), self.limits().compile + LOAD);
        self.kb.snapshot_by(&caller, caller.deadline).await
    }

    /// The same for a swap. `None` if they cannot be loaded on this host, whatever is tried: the
    /// swap may be what mends that.
    async fn live_if_intact(&self, tenant: &TenantId) -> Result<Option<Snapshot>, Error> {
        match self.live(tenant).await {
            Ok(live) => Ok(Some(live)),
            Err(error) if error.code == Code::IncompatibleComponent => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn live_logic(&self, owner: &Owner) -> Result<Arc<Generation>, Error> {
        let live = self.live_if_intact(&owner.tenant()).await?;
        Ok(match (owner, live) {
            (Owner::Tenant(_), Some(live)) => live.logic,
            // The tenant in whose name the server-wide logic is tried may have its own.
            _ => self.registry().server_wide().logic,
        })
    }

    /// Begins a swap of an owner's guests; fails if one is in progress.
    fn begin_swap(&self, owner: &Owner) -> Result<OwnedMutexGuard<()>, Error> {
        self.registry().swap_lock(owner).try_lock_owned().map_err(|_| {
            let message = "another swap of these guests is in progress; try again later";
            let mut error = Error::new(Code::Conflict, message);
            error.retry_after = Some(RETRY_SWAP);
            error
        })
    }

    /// Locks an owner's guests for one change. Every change is short: none compiles under the lock.
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
