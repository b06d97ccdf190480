//! Replacing a guest while serving: check, stage, prove, persist, promote, watch.
//!
//! | file | holds |
//! |---|---|
//! | `promote` | those steps, for a logic and for an extension |
//! | `verify` | whether a component fits where it is to go |
//! | `proof` | what it must show: its own test, and requests that were answered before |
//! | `report` | what whoever asked is told |
//! | `rollback` | to a generation before, or out |
//! | `watch` | what happens after a promotion |
//! | `quarantine` | what happens to a guest that fails on every call, at any time |
//!
//! Whatever fails on the way leaves the live generation as it is. The record in
//! storage is written before the promotion, so after a crash in between the next
//! start, and every other host, finds the new one.

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

/// How long the steps after compiling may take, beside the proof.
const STEPS: Duration = Duration::from_secs(30);

/// A component to put in a guest's place.
#[derive(Clone, Debug)]
pub struct Proposal {
    pub bytes: bytes::Bytes,
    /// `sha256:…` that the bytes must have, if whoever sends them says so.
    pub digest: Option<String>,
    pub bounds: Bounds,
    /// Only report.
    pub dry_run: bool,
    /// Who promotes it even if the proof speaks against it.
    pub forced_by: Option<String>,
}

/// Where an extension goes, and what it may do.
#[derive(Clone, Debug)]
pub struct ExtensionTarget {
    pub tenant: TenantId,
    pub name: String,
    /// `None`: as before, or 0.
    pub order: Option<i32>,
    pub policy: Option<OnFailure>,
    pub grants: Vec<Grant>,
}

/// Replaces guests.
#[derive(Clone)]
pub struct Swapper {
    kb: Arc<Kb>,
}

impl Swapper {
    pub fn new(kb: Arc<Kb>) -> Self {
        Self { kb }
    }

    pub fn kb(&self) -> &Arc<Kb> {
        &self.kb
    }

    fn registry(&self) -> &Arc<Registry> {
        self.kb.registry()
    }

    fn limits(&self) -> &Limits {
        &self.kb.services().limits
    }

    /// The guests that a tenant's calls have now.
    pub async fn live(&self, tenant: &TenantId) -> Result<Snapshot, Error> {
        self.kb.snapshot(&Caller::within(tenant.clone(), STEPS)).await
    }

    async fn live_logic(&self, owner: &Owner) -> Result<Arc<Generation>, Error> {
        let live = self.live(&owner.tenant()).await?;
        Ok(match owner {
            // The tenant that a server's logic is tried for may have its own.
            Owner::Server => self.registry().server_wide().logic,
            Owner::Tenant(_) => live.logic,
        })
    }

    /// One change of an owner's guests at a time: the second is told, not queued.
    fn alone(&self, owner: &Owner) -> Result<OwnedMutexGuard<()>, Error> {
        self.registry().changing(owner).try_lock_owned().map_err(|_| {
            let message = "another change of this guest is under way; try again after it";
            Error::new(Code::Conflict, message)
        })
    }

    /// The same for the server itself, which waits.
    async fn in_turn(&self, owner: &Owner) -> OwnedMutexGuard<()> {
        self.registry().changing(owner).lock_owned().await
    }

    /// Drops components that no generation needs any more, when it suits; `there` was read
    /// before the change.
    fn clean_up(&self, owner: &Owner, gone: Vec<String>, there: Components) {
        let (registry, owner) = (self.registry().clone(), owner.clone());
        tokio::spawn(async move {
            if let Err(error) = registry.archive.drop_components(&owner, &gone, &there).await {
                tracing::warn!(?gone, %error, "old components stay in storage");
            }
        });
    }

    fn read<T>(&self, read: Result<T, StorageError>) -> Result<T, Error> {
        read.map_err(|error| self.kb.storage_error(&error))
    }

    fn changed<T>(&self, changed: Result<Changed<T>, StorageError>) -> Result<(T, u64), Error> {
        self.read(changed)?
    }

    fn loaded<T>(&self, loaded: Result<T, LoadError>) -> Result<T, Error> {
        loaded.map_err(|error| self.kb.load_error(&error))
    }
}

/// What was looked at is not what there is any more.
fn changed_meanwhile() -> Error {
    let message = "another host changed this guest meanwhile; look and try again";
    Error::new(Code::Conflict, message)
}

fn no_such_extension(name: &str) -> Error {
    Error::new(Code::NotFound, format!("there is no extension {name:?}"))
}
