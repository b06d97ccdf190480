//! What a caller may ask of a read: that it has seen a write.
//!
//! A write is answered with the tenant's revision. Storage has the write by then, and so has this
//! host's index, if it holds one; another host's index has it once that host has followed the
//! tenant's changes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kenning_core::error::{Blame, Code, Error};
use kenning_runtime::{Progress, Refusal, TenantIndex};
use kenning_storage::{Revision, StorageError, TenantId};
use serde_json::json;
use tokio::time::sleep;

use super::{Caller, Kb};

/// Where a caller names the revision.
const POINTER: &str = "/headers/x-kenning-min-revision";

/// How long to wait for a revision before the index is looked at again, which may have been
/// dropped.
const PIECE: Duration = Duration::from_millis(500);

/// How often storage is asked for a revision that it does not have yet, of a tenant that is not
/// followed: the pause is doubled from the first to the last.
const POLL_FIRST: Duration = Duration::from_millis(50);
const POLL_LAST: Duration = Duration::from_millis(500);

/// How often it is looked whether an index is loaded whose loading fails.
const LOADED: Duration = Duration::from_millis(50);

impl Kb {
    /// The index to search for the caller. It is loaded at its first use, which a search waits for
    /// a moment. With a revision, it is waited for until this host's index has the tenant's changes
    /// up to it.
    ///
    /// # Errors
    /// If the index is too large to be held; when the deadline passes before it has the revision;
    /// if the tenant is deleted.
    pub(super) async fn index_for(&self, caller: &Caller) -> Result<Arc<TenantIndex>, Error> {
        let running = self.services.tenants.begin(&caller.tenant, caller.permit.as_deref())?;
        let index = tokio::select! {
            index = self.awaited_index(caller) => index?,
            () = running.ended() => return Err(kenning_tenants::tenant_deleted()),
        };
        match index.refusal() {
            None => Ok(index),
            Some(refusal) => Err(refused(refusal)),
        }
    }

    /// The tenant's index once it has all facts, for what must not depend on how much is loaded; or
    /// as it is, if it is too large to be held.
    ///
    /// # Errors
    /// If it has not by `deadline`.
    pub(super) async fn whole_index(
        &self,
        tenant: &TenantId,
        deadline: Instant,
    ) -> Result<Arc<TenantIndex>, Error> {
        loop {
            let index = self.services.indexes.held().open(tenant);
            let progress = index.settled(deadline).await;
            if matches!(progress, Progress::Ready | Progress::Refused(_)) {
                return Ok(index);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let message = format!(
                    "the index of the tenant {tenant} was not loaded in time, which says nothing \
                     about the guests"
                );
                return Err(Error::new(Code::Timeout, message).blaming(Blame::Host));
            }
            sleep(LOADED.min(left)).await;
        }
    }

    async fn awaited_index(&self, caller: &Caller) -> Result<Arc<TenantIndex>, Error> {
        match caller.min_revision {
            None => {
                let held = self.services.indexes.held();
                Ok(held.loaded(&caller.tenant, caller.deadline).await)
            }
            Some(wanted) => self.index_with(caller, wanted).await,
        }
    }

    async fn index_with(
        &self,
        caller: &Caller,
        wanted: Revision,
    ) -> Result<Arc<TenantIndex>, Error> {
        let (held, tenant) = (self.services.indexes.held(), &caller.tenant);
        let is_shared = self.services.storage.describe().backend.is_shared();
        loop {
            let index = held.open(tenant);
            let progress = index.settled(caller.deadline).await;
            if matches!(progress, Progress::Refused(_)) {
                return Ok(index);
            }
            let position = held.applied().position(tenant);
            // Held after that was read, so that the position is that of this one.
            let is_ready = progress == Progress::Ready && held.holds(tenant, &index);
            if is_ready && position.is_some_and(|position| position >= wanted) {
                return Ok(index);
            }
            // With embedded storage, what this host wrote is in its index.
            if is_ready && !is_shared {
                let last = self.last_revision(tenant, caller.deadline).await;
                if last.is_ok_and(|last| last >= wanted) {
                    return Ok(index);
                }
            }
            let now = Instant::now();
            if now >= caller.deadline {
                return Err(self.too_late(caller, wanted).await?);
            }
            held.applied().wait(tenant, wanted, caller.deadline.min(now + PIECE)).await;
        }
    }

    /// Waits until storage has that revision. It has every write that was answered, so there is
    /// something to wait for only if the caller names a later one.
    pub(super) async fn wait_for_storage(&self, caller: &Caller) -> Result<(), Error> {
        let Some(wanted) = caller.min_revision else { return Ok(()) };
        let position = self.services.indexes.applied().position(&caller.tenant);
        if position.is_some_and(|position| position >= wanted) {
            return Ok(());
        }
        let (applied, mut pause) = (self.services.indexes.applied(), POLL_FIRST);
        loop {
            let last = self.last_revision(&caller.tenant, caller.deadline).await;
            let left = caller.deadline.saturating_duration_since(Instant::now());
            match last {
                Ok(last) if last >= wanted => return Ok(()),
                // At the deadline, the last of these reads may be cut off.
                _ if left.is_zero() => return Err(self.too_late(caller, wanted).await?),
                Err(error) => return Err(error),
                Ok(_) if applied.position(&caller.tenant).is_some() => {
                    let until = caller.deadline.min(Instant::now() + PIECE);
                    if applied.wait(&caller.tenant, wanted, until).await {
                        return Ok(());
                    }
                }
                Ok(_) => {
                    sleep(pause.min(left)).await;
                    pause = (pause * 2).min(POLL_LAST);
                }
            }
        }
    }

    /// That the revision did not come in time, and how far this host is.
    async fn too_late(&self, caller: &Caller, wanted: Revision) -> Result<Error, Error> {
        let applied = self.services.indexes.applied();
        let at = applied.position(&caller.tenant).unwrap_or(Revision(0)).0;
        let until = Instant::now() + self.services.limits.storage_operation;
        let last = self.last_revision(&caller.tenant, until).await?.0;
        let (wanted, deadline) = (wanted.0, "before the deadline");
        let message = if last < wanted {
            format!("no revision {wanted} {deadline}: the tenant is at revision {last}")
        } else {
            format!("revision {wanted} was not indexed {deadline}: this host is at revision {at}")
        };
        Ok(Error::new(Code::Timeout, message).with_details(json!({
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
            self.services.indexes.applied().advance_known(&caller.tenant, revision);
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

/// That a tenant cannot be searched here.
fn refused(Refusal { limit, allowed, used, .. }: Refusal) -> Error {
    let message = format!(
        "this tenant cannot be searched on this host: its index takes at least {used} bytes of \
         memory, and {limit} allows {allowed}"
    );
    Error::new(Code::TooLarge, message)
        .with_details(json!({ "limit": limit, "allowed": allowed, "used": used }))
        .blaming(Blame::Host)
}
