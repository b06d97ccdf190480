//! Deletes a tenant: its calls, its facts, its documents, and last its name.
//!
//! The record is marked first, so any host that finds the mark can finish an interrupted deletion.
//! From then on storage takes nothing from a host that does not know of the mark.
//! Where hosts share a storage, another host may still run a call of the tenant. The record stays
//! until every such call must have ended; then everything is deleted once more.

use std::time::{Duration, Instant};

use kenning_core::error::{Code, Error};
use kenning_storage::TenantId;
use tokio::time::timeout;

use super::Kb;
use kenning_tenants::{LAST_USE, storage_error};

/// How often a host looks for tenants that other hosts deleted, to end their calls.
pub(crate) const POLL: Duration = Duration::from_secs(1);

/// How long to wait for cancelled calls. They stop at once, unless the machine is busy.
const END_WAIT: Duration = Duration::from_secs(30);

/// Where a tenant's documents are: `FOLDER/TENANT` and everything below it.
pub(super) const FOLDERS: [&str; 4] = ["extensions", "logic", "component/tenant", LAST_USE];

impl Kb {
    /// Deletes a tenant with all its data.
    ///
    /// # Errors
    /// When storage does not respond, or the tenant's calls do not end in time. The mark stays,
    /// and the deletion is finished in the background.
    pub async fn delete_tenant(&self, tenant: &TenantId) -> Result<(), Error> {
        self.services.tenants.mark_deleted(tenant).await?;
        self.clear_tenant(tenant).await?;
        // No other host can be running a call of this tenant.
        if !self.services.storage.describe().backend.is_shared() {
            self.services.tenants.purge(tenant).await?;
        }
        tracing::info!(%tenant, "tenant deleted");
        Ok(())
    }

    /// Ends the calls of deleted tenants on this host, and frees the names of tenants that were
    /// deleted long enough ago.
    pub(crate) async fn purge_deleted_tenants(&self) -> Result<(), Error> {
        let tenants = &self.services.tenants;
        for (tenant, deleted) in tenants.deleted() {
            tenants.cancel_calls(&tenant);
            self.forget_tenant(&tenant);
            if kenning_tenants::now().saturating_sub(deleted) > self.purge_after() {
                self.clear_tenant(&tenant).await?;
                tenants.purge(&tenant).await?;
            }
        }
        Ok(())
    }

    /// Deletes all data of a tenant except its record.
    async fn clear_tenant(&self, tenant: &TenantId) -> Result<(), Error> {
        let services = &self.services;
        if timeout(END_WAIT, services.tenants.end_calls(tenant)).await.is_err() {
            let message = "calls of this tenant are still ending; the rest is deleted later";
            return Err(Error::new(Code::Overloaded, message));
        }
        // Queued vectors belong to these facts, not to those of a later tenant of the same name.
        // If storage does not accept them now, the deletion below fails as well.
        let _ = timeout(services.limits.storage_operation, services.indexes.flush()).await;
        self.forget_tenant(tenant);
        while services.storage.delete_tenant(tenant, self.until()).await.map_err(storage_error)? {}
        self.failures.forget_tenant(tenant).await.map_err(storage_error)?;
        for folder in FOLDERS {
            self.delete_documents(&format!("{folder}/{tenant}")).await?;
        }
        Ok(())
    }

    /// Deletes the document `root` and all documents below it.
    async fn delete_documents(&self, root: &str) -> Result<(), Error> {
        let storage = &self.services.storage;
        let listed = storage.list_documents(root, self.until()).await.map_err(storage_error)?;
        for (document, version) in listed {
            let rest = &document.as_str()[root.len()..];
            if rest.is_empty() || rest.starts_with('/') {
                let delete = storage.delete_document(&document, version, self.until());
                delete.await.map_err(storage_error)?;
            }
        }
        Ok(())
    }

    /// Drops a tenant's index, recorded requests, failures, metrics and guests from memory.
    fn forget_tenant(&self, tenant: &TenantId) {
        self.services.indexes.forget(tenant);
        self.recorder.forget(tenant);
        self.services.recordings.forget_tenant(tenant.as_str());
        self.failures.forget_here(tenant);
        if let Some(series) = &self.tenant_series {
            series.forget(tenant.as_str());
        }
        self.registry.forget(tenant);
    }

    /// How long after the mark, in milliseconds, every call has ended that started before its host
    /// knew of the deletion.
    fn purge_after(&self) -> u64 {
        let limits = &self.services.limits;
        let longest = limits.call.max(limits.search) + limits.storage_operation;
        (2 * POLL + longest).as_millis() as u64
    }

    pub(super) fn until(&self) -> Instant {
        Instant::now() + self.services.limits.storage_operation
    }
}
