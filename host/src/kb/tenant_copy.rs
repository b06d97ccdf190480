//! Takes in a copy of one tenant, from this or another host, perhaps under another name.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kenning_core::error::{Code, Error};
use kenning_storage::{RestoreError, Restorer, TenantId};
use kenning_tenants::{Record, Tenants, storage_error};

use super::Kb;
use super::tenant_deletion::FOLDERS;

/// The folder of tenants' records.
const RECORDS: &str = "tenant";

/// Where a tenant's documents are: each of these names, and all below it.
pub fn documents_of(tenant: &TenantId) -> Vec<String> {
    let folders = FOLDERS.iter().chain([&RECORDS]);
    folders.map(|folder| format!("{folder}/{tenant}")).collect()
}

/// A tenant that is being taken in.
pub struct TakenIn {
    /// Takes the records.
    pub restorer: Restorer,
    /// How many keys were left out, because this server knows them as another tenant's.
    left_out: Arc<AtomicUsize>,
}

impl TakenIn {
    /// How many keys were left out, because this server knows them as another tenant's.
    pub fn keys_left_out(&self) -> usize {
        self.left_out.load(Ordering::Relaxed)
    }
}

impl Kb {
    /// Begins to take in a copy of the tenant `from` as `tenant`, which must not exist.
    ///
    /// # Errors
    /// [`Code::Conflict`] if it does, or an error of storage.
    pub async fn take_in(&self, from: TenantId, tenant: &TenantId) -> Result<TakenIn, Error> {
        let tenants = self.services.tenants.clone();
        match tenants.find(tenant).await {
            Err(error) if error.code == Code::NotFound => {}
            Err(error) => return Err(error),
            Ok(_) => {
                let message = format!("the tenant {tenant} exists already; name another");
                return Err(Error::new(Code::Conflict, message));
            }
        }
        if tenants.get(tenant).is_some() {
            let message =
                format!("the tenant {tenant} is still being deleted; try again in a minute");
            return Err(Error::new(Code::Conflict, message));
        }
        let left_out = Arc::new(AtomicUsize::new(0));
        let (to, left) = (tenant.clone(), left_out.clone());
        let documents = move |name: String, bytes: Vec<u8>| {
            let (folder, rest) = split(&name, &from)?;
            let bytes = match folder {
                RECORDS => without_known_keys(&tenants, bytes, &left),
                _ => bytes,
            };
            Some((format!("{folder}/{to}{rest}"), bytes))
        };
        let storage = self.services.storage.clone();
        let operation = self.services.limits.storage_operation;
        let restorer = Restorer::of_one(storage, operation, tenant.clone(), documents);
        Ok(TakenIn { restorer, left_out })
    }

    /// Has this host and others serve a tenant that was taken in.
    ///
    /// # Errors
    /// If storage fails.
    pub async fn serve_taken_in(&self, tenant: &TenantId) -> Result<(), Error> {
        let storage = &self.services.storage;
        storage.raise_registry(tenant, self.until()).await.map_err(storage_error)?;
        self.services.tenants.refresh().await.map_err(storage_error)?;
        // One that was opened before may lack what was taken in since.
        self.services.indexes.held().drop_index(tenant);
        self.services.indexes.mark_pending(tenant);
        if let Err(error) = self.registry.load_tenant(tenant).await {
            tracing::warn!(%tenant, %error, "the tenant's first call loads its guests");
        }
        Ok(())
    }

    /// What a caller is told of a copy that could not be taken in.
    pub fn restore_error(&self, error: RestoreError) -> Error {
        match error {
            RestoreError::Storage(error) => self.storage_error(&error),
            RestoreError::Invalid(_) => Error::invalid("", error.to_string()),
        }
    }
}

/// The folder of a tenant's document, and what follows the tenant's name; `None` for other
/// documents.
fn split<'n>(name: &'n str, tenant: &TenantId) -> Option<(&'static str, &'n str)> {
    let folders = FOLDERS.iter().chain([&RECORDS]);
    folders.copied().find_map(|folder| {
        let rest = name.strip_prefix(folder)?.strip_prefix('/')?.strip_prefix(tenant.as_str())?;
        (rest.is_empty() || rest.starts_with('/')).then_some((folder, rest))
    })
}

/// A tenant's record without the keys that are another tenant's here: a key is of one tenant.
fn without_known_keys(tenants: &Tenants, bytes: Vec<u8>, left_out: &AtomicUsize) -> Vec<u8> {
    let Ok(mut record) = serde_json::from_slice::<Record>(&bytes) else { return bytes };
    let before = record.keys.len();
    record.keys.retain(|key| !tenants.knows_key(&key.id));
    left_out.store(before - record.keys.len(), Ordering::Relaxed);
    serde_json::to_vec(&record).unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_documents_of_the_tenant_are_taken_in() {
        let acme = TenantId::parse("acme").unwrap();
        let digest = "component/tenant/acme/0a";
        assert_eq!(split(digest, &acme), Some(("component/tenant", "/0a")));
        assert_eq!(split("tenant/acme", &acme), Some(("tenant", "")));
        for other in ["tenant/acme2", "logic", "audit/acme", "component/server/acme"] {
            assert_eq!(split(other, &acme), None, "{other}");
        }
    }
}
