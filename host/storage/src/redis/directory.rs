//! The set of all tenants of a cluster.
//!
//! A script changes keys of one slot, and the set is in another than a tenant's facts. So the
//! scripts keep a set beside the facts that has no name but the tenant's, and the set of all
//! tenants is kept here, in steps of its own:
//!
//! - Whoever writes a tenant's first fact adds the tenant before, so that facts are never without
//!   it, and again afterwards: a deletion by another host may have removed it meanwhile.
//! - Whoever deletes a tenant removes it after its last fact, and adds it again if it has a new
//!   fact by then.
//!
//! Of two hosts that do so at once, one always sees what the other did. A tenant can be missing
//! only if a host stops between two of these steps while another host deletes the tenant; the next
//! host that writes its first fact since it started adds it.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::keys::{Keys, TENANTS};
use super::pool::{Effect, Size};
use super::replies::one;
use super::servers::Servers;
use crate::{Revision, StorageError, TenantId};

/// Which tenants this host has added.
#[derive(Default)]
pub(super) struct Directory {
    added: Mutex<HashSet<TenantId>>,
}

/// A tenant's first change.
const FIRST: Revision = Revision(1);

impl Directory {
    /// Adds a tenant that is about to have facts, unless this was done before. Returns whether it
    /// was not listed.
    pub(super) async fn before_write(
        &self,
        servers: &Servers,
        tenant: &TenantId,
        end: Instant,
    ) -> Result<bool, StorageError> {
        if self.added().contains(tenant) {
            return Ok(false);
        }
        let added = add(servers, tenant, end).await;
        let is_new = added.map_err(|error| match error {
            // No fact was written yet, and a tenant without facts is none.
            StorageError::Timeout { .. } => StorageError::Timeout { outcome_unknown: false },
            StorageError::ReplyLost(reason) => StorageError::Unavailable(reason),
            other => other,
        })?;
        self.added().insert(tenant.clone());
        Ok(is_new)
    }

    /// Adds a tenant again after its first fact. What fails here is done before the next write.
    pub(super) async fn after_write(
        &self,
        servers: &Servers,
        tenant: &TenantId,
        revisions: &[Option<Revision>],
        end: Instant,
    ) {
        if !servers.is_cluster() || !revisions.contains(&Some(FIRST)) {
            return;
        }
        if let Err(error) = add(servers, tenant, end).await {
            tracing::debug!(%error, "a new tenant is listed with its next fact");
            self.added().remove(tenant);
        }
    }

    /// Removes a tenant that has no facts, unless it has some by then.
    pub(super) async fn remove_empty(
        &self,
        servers: &Servers,
        tenant: &TenantId,
        end: Instant,
    ) -> Result<(), StorageError> {
        if !servers.is_cluster() {
            return Ok(());
        }
        self.added().remove(tenant);
        let (mut remove, mut has_begun) = (redis::cmd("SREM"), redis::cmd("EXISTS"));
        remove.arg(TENANTS).arg(tenant.as_str());
        has_begun.arg(Keys::of_cluster(tenant).revision());
        let write = (Size::Small, Effect::Write);
        one::<u64>(servers.run(&[remove], write, end).await?)?;
        let read = (Size::Small, Effect::Read);
        if one::<bool>(servers.run(&[has_begun], read, end).await?)? {
            add(servers, tenant, end).await?;
        }
        Ok(())
    }

    fn added(&self) -> MutexGuard<'_, HashSet<TenantId>> {
        self.added.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns whether it was not listed.
async fn add(servers: &Servers, tenant: &TenantId, end: Instant) -> Result<bool, StorageError> {
    let mut add = redis::cmd("SADD");
    add.arg(TENANTS).arg(tenant.as_str());
    one(servers.run(&[add], (Size::Small, Effect::Write), end).await?)
}
