//! Deleting a tenant: its calls, its facts, what hangs on them, then its name.
//!
//! The record says first that the tenant goes, so a deletion that is cut off is finished by
//! whichever host finds the record. Where hosts share a storage, another may have a call of the
//! tenant under way that does not know yet: the record stays until any such call must have ended,
//! and then everything is deleted once more.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kenning_storage::TenantId;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::record::now;
use super::unavailable;
use crate::error::{Code, Error};
use crate::kb::Kb;
use crate::runtime::Services;

/// How often a host looks for what other hosts changed. A revoked key stays good elsewhere for
/// about so long.
const POLL: Duration = Duration::from_secs(1);

/// How long calls that were told to end may take. They stop at once, but for a busy machine.
const END_WAIT: Duration = Duration::from_secs(30);

/// The documents of a tenant's that go with it: `FOLDER/TENANT` and all below.
const FOLDERS: [&str; 3] = ["extensions", "logic", "component/tenant"];

/// Deletes a tenant with all that it has.
pub async fn delete(kb: &Kb, tenant: &TenantId) -> Result<(), Error> {
    let services = kb.services();
    services.tenants.condemn(tenant).await?;
    clear(kb, tenant).await?;
    // No other host can have a call of this tenant under way.
    if !services.storage.describe().backend.is_shared() {
        services.tenants.bury(tenant).await?;
    }
    tracing::info!(%tenant, "tenant deleted");
    Ok(())
}

/// Deletes all of a tenant but its record.
async fn clear(kb: &Kb, tenant: &TenantId) -> Result<(), Error> {
    let services = kb.services();
    if timeout(END_WAIT, services.tenants.calls.end(tenant)).await.is_err() {
        let message = "calls of this tenant are still ending; the rest is deleted in a while";
        return Err(Error::new(Code::Overloaded, message));
    }
    // Vectors on their way belong to these facts, not to those of a later tenant of the name. If
    // storage does not take them now, nothing else of this happens either.
    let _ = timeout(services.limits.storage_operation, services.indexing.flush()).await;
    forget(kb, tenant);
    services.embedder.forget(tenant);
    let until = || Instant::now() + services.limits.storage_operation;
    while services.storage.delete_tenant(tenant, until()).await.map_err(unavailable)? {}
    for folder in FOLDERS {
        let own = format!("{folder}/{tenant}");
        let listed = services.storage.list_documents(&own, until()).await.map_err(unavailable)?;
        for (document, version) in listed {
            let rest = &document.as_str()[own.len()..];
            if rest.is_empty() || rest.starts_with('/') {
                let delete = services.storage.delete_document(&document, version, until());
                delete.await.map_err(unavailable)?;
            }
        }
    }
    Ok(())
}

/// Drops what this host holds of a tenant's texts and guests.
fn forget(kb: &Kb, tenant: &TenantId) {
    kb.services().indexing.forget(tenant);
    kb.samples().forget(tenant);
    kb.registry().forget(tenant);
}

/// Follows what other hosts change and finishes deletions, until aborted.
pub fn start(kb: Arc<Kb>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut is_failing = false;
        loop {
            let done = match kb.services().tenants.refresh().await {
                Ok(()) => finish(&kb).await,
                failed => failed,
            };
            if let Err(error) = &done
                && !is_failing
            {
                tracing::warn!(%error, "tenants not followed; their last known keys stay good");
            }
            is_failing = done.is_err();
            sleep(POLL).await;
        }
    })
}

/// Ends what deleted tenants still do here, and frees the names of those that are long gone.
async fn finish(kb: &Kb) -> Result<(), Error> {
    let services = kb.services();
    let directory = services.tenants.directory.load_full();
    for tenant in directory.all() {
        let Some(deleted) = tenant.record.deleted else { continue };
        services.tenants.calls.cancel(&tenant.name);
        forget(kb, &tenant.name);
        if now().saturating_sub(deleted) > grace(services) {
            clear(kb, &tenant.name).await?;
            services.tenants.bury(&tenant.name).await?;
        }
    }
    Ok(())
}

/// After so many milliseconds no call can be under way that began before its host knew.
fn grace(services: &Services) -> u64 {
    let limits = &services.limits;
    let longest = limits.call.max(limits.search) + limits.storage_operation;
    (2 * POLL + longest).as_millis() as u64
}
