//! How many components may be in memory at once, on their way to the server or waiting to be
//! compiled: all together, and of each tenant.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use kenning_core::error::Error;
use kenning_core::limits::Limits;

/// The permits for components in memory.
pub struct Uploads {
    all: Arc<Semaphore>,
    allowed: usize,
    per_tenant: usize,
    /// Of the tenants that hold or await one; the server-wide logic is of nobody.
    tenants: Mutex<HashMap<Option<String>, Weak<Semaphore>>>,
}

/// The permit for one component.
pub(super) struct UploadPermit {
    _of_tenant: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Uploads {
    /// As many permits as `limits` allow.
    pub fn new(limits: &Limits) -> Self {
        Self {
            all: Arc::new(Semaphore::new(limits.component_uploads)),
            allowed: limits.component_uploads,
            per_tenant: limits.component_uploads_per_tenant,
            tenants: Mutex::default(),
        }
    }

    /// A permit for a component of `tenant`, within `wait`. A tenant waits for its own permit
    /// first, so that it has no more than its own number of components in the queue for all.
    pub(super) async fn permit(
        &self,
        tenant: Option<&str>,
        wait: Duration,
    ) -> Result<UploadPermit, Error> {
        let of_tenant = within(wait, self.of_tenant(tenant)).await;
        let of_tenant = of_tenant
            .ok_or_else(|| Error::overloaded("component_uploads_per_tenant", self.per_tenant))?;
        let of_all = within(wait, self.all.clone()).await;
        let of_all = of_all.ok_or_else(|| Error::overloaded("component_uploads", self.allowed))?;
        Ok(UploadPermit { _of_tenant: of_tenant, _of_all: of_all })
    }

    fn of_tenant(&self, tenant: Option<&str>) -> Arc<Semaphore> {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        let tenant = tenant.map(str::to_string);
        if let Some(its) = tenants.get(&tenant).and_then(Weak::upgrade) {
            return its;
        }
        tenants.retain(|_, its| its.strong_count() > 0);
        let its = Arc::new(Semaphore::new(self.per_tenant));
        tenants.insert(tenant, Arc::downgrade(&its));
        its
    }
}

async fn within(wait: Duration, semaphore: Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    timeout(wait, semaphore.acquire_owned()).await.ok()?.ok()
}

impl UploadPermit {
    /// `bytes`, which hold the permit until their last copy is dropped.
    pub(super) fn attach(self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Uploaded { bytes, _permit: self })
    }
}

struct Uploaded {
    bytes: Bytes,
    _permit: UploadPermit,
}

impl AsRef<[u8]> for Uploaded {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT_ONCE: Duration = Duration::from_millis(1);

    fn uploads() -> Uploads {
        let (component_uploads, component_uploads_per_tenant) = (3, 2);
        Uploads::new(&Limits {
            component_uploads,
            component_uploads_per_tenant,
            ..Limits::default()
        })
    }

    fn limit(refused: Result<UploadPermit, Error>) -> String {
        refused.err().and_then(|error| error.details).unwrap()["limit"].to_string()
    }

    #[tokio::test]
    async fn a_tenant_leaves_permits_for_others_and_all_have_a_bound() {
        let uploads = uploads();
        let _two = [
            uploads.permit(Some("a"), AT_ONCE).await.unwrap(),
            uploads.permit(Some("a"), AT_ONCE).await.unwrap(),
        ];
        let third = uploads.permit(Some("a"), AT_ONCE).await;
        assert_eq!(limit(third), "\"component_uploads_per_tenant\"");
        let other = uploads.permit(None, AT_ONCE).await.unwrap();
        let fourth = uploads.permit(Some("b"), AT_ONCE).await;
        assert_eq!(limit(fourth), "\"component_uploads\"");
        drop(other);
        assert!(uploads.permit(Some("b"), AT_ONCE).await.is_ok());
    }

    #[tokio::test]
    async fn a_component_holds_its_permit_until_its_last_copy_is_dropped() {
        let uploads = uploads();
        let permit = uploads.permit(Some("a"), AT_ONCE).await.unwrap();
        let bytes = permit.attach(Bytes::from_static(b"component"));
        let copy = bytes.slice(1..);
        drop(bytes);
        assert_eq!((&copy[..], uploads.all.available_permits()), (&b"omponent"[..], 2));
        drop(copy);
        assert_eq!(uploads.all.available_permits(), 3);
    }
}
