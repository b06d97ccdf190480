//! What a caller may ask of a read: that it has seen a write.
//!
//! A write is answered with the tenant's revision. Storage has the write by then, and so has this
//! host's index; another host's index has it once that host has followed the tenant's changes.

use std::time::Instant;

use kenning_core::error::{Code, Error};
use kenning_storage::{Revision, StorageError, TenantId};
use serde_json::json;

use super::{Caller, Kb};

/// Where a caller names the revision.
const POINTER: &str = "/headers/x-kenning-min-revision";

impl Kb {
    /// Waits until this host's index has the tenant's changes up to the revision that the caller
    /// asks for, if it asks.
    pub(super) async fn wait_for_index(&self, caller: &Caller) -> Result<(), Error> {
        let Some(wanted) = caller.min_revision else { return Ok(()) };
        let applied = self.services.indexes.applied();
        if applied.position(&caller.tenant).is_some_and(|position| position >= wanted) {
            return Ok(());
        }
        let is_shared = self.services.storage.describe().backend.is_shared();
        // With embedded storage, what this host wrote before it was restarted is in its index.
        if !is_shared && self.last_revision(&caller.tenant, caller.deadline).await? >= wanted {
            return Ok(());
        }
        self.wait(caller, wanted).await
    }

    /// Waits until storage has that revision. It has every write that was answered, so there is
    /// something to wait for only if the caller names a later one.
    pub(super) async fn wait_for_storage(&self, caller: &Caller) -> Result<(), Error> {
        let Some(wanted) = caller.min_revision else { return Ok(()) };
        let position = self.services.indexes.applied().position(&caller.tenant);
        if position.is_some_and(|position| position >= wanted)
            || self.last_revision(&caller.tenant, caller.deadline).await? >= wanted
        {
            return Ok(());
        }
        self.wait(caller, wanted).await
    }

    async fn wait(&self, caller: &Caller, wanted: Revision) -> Result<(), Error> {
        let applied = self.services.indexes.applied();
        if applied.wait(&caller.tenant, wanted, caller.deadline).await {
            return Ok(());
        }
        let at = applied.position(&caller.tenant).unwrap_or(Revision(0)).0;
        let until = Instant::now() + self.services.limits.storage_operation;
        let last = self.last_revision(&caller.tenant, until).await?.0;
        let (wanted, deadline) = (wanted.0, "before the deadline");
        let message = if last < wanted {
            format!("no revision {wanted} {deadline}: the tenant is at revision {last}")
        } else {
            format!("revision {wanted} was not indexed {deadline}: this host is at revision {at}")
        };
        Err(Error::new(Code::Timeout, message).with_details(json!({
            "pointer": POINTER, "asked": wanted, "indexed": at, "stored": last,
        })))
    }

    /// The revision to answer a write with: that of its last change. One that changed nothing,
    /// because it was repeated, is answered with the tenant's.
    pub(super) async fn revision_after(
        &self,
        caller: &Caller,
        written: Option<Revision>,
    ) -> Option<Revision> {
        let Some(revision) = written else {
            return self.last_revision(&caller.tenant, caller.deadline).await.ok();
        };
        if !self.services.storage.describe().backend.is_shared() {
            self.services.indexes.applied().advance(&caller.tenant, revision);
        }
        Some(revision)
    }

    /// The tenant's revision; 0 if it never had a fact.
    ///
    /// # Errors
    /// If storage fails.
    pub async fn last_revision(
        &self,
        tenant: &TenantId,
        until: Instant,
    ) -> Result<Revision, Error> {
        let last = self.services.storage.last_revisions(std::slice::from_ref(tenant), until).await;
        let failed = |error: StorageError| self.storage_error(&error);
        Ok(last.map_err(failed)?.first().copied().unwrap_or(Revision(0)))
    }
}
