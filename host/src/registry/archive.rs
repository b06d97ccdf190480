//! Records and components' bytes, as documents in storage: they survive a restart,
//! and every host on the same storage reads them.
//!
//! | document | holds |
//! |---|---|
//! | `logic` | the server-wide logic's generations |
//! | `logic/TENANT`, `extensions/TENANT` | a tenant's own |
//! | `component/server/DIGEST`, `component/tenant/TENANT/DIGEST` | a component |
//!
//! A record is written only over the version that was read, so of two hosts that
//! change one guest at once, one is told.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kenning_storage::{DocumentName, Storage, StorageError, TenantId};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Versions;
use super::records::{ExtensionRecords, GuestRecord};
use crate::limits::DEFAULT_TENANT;

/// One record. Each holds a bounded number of generations and events.
const RECORD_BYTES: usize = 4 * 1024 * 1024;

/// The generation that comes with the server has this number.
const BUILT_IN: u64 = 1;

/// Whose guest it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    Server,
    Tenant(TenantId),
}

impl Owner {
    /// Who its guest is tried for.
    pub fn tenant(&self) -> TenantId {
        match self {
            Self::Server => {
                TenantId::parse(DEFAULT_TENANT).expect("the default tenant has a good name")
            }
            Self::Tenant(tenant) => tenant.clone(),
        }
    }

    fn logic(&self) -> String {
        match self {
            Self::Server => "logic".into(),
            Self::Tenant(tenant) => format!("logic/{tenant}"),
        }
    }

    fn component(&self, digest: &str) -> String {
        let digest = digest.strip_prefix("sha256:").unwrap_or(digest);
        match self {
            Self::Server => format!("component/server/{digest}"),
            Self::Tenant(tenant) => format!("component/tenant/{tenant}/{digest}"),
        }
    }
}

/// A value and the version it was read with; `None` if it is not written yet.
#[derive(Clone, Debug)]
pub struct Versioned<T> {
    pub value: T,
    pub version: Option<u64>,
}

/// What is kept of guests.
pub struct Archive {
    storage: Arc<dyn Storage>,
    operation: Duration,
    component_bytes: usize,
}

impl Archive {
    pub fn new(storage: Arc<dyn Storage>, operation: Duration, component_bytes: usize) -> Self {
        Self { storage, operation, component_bytes }
    }

    pub async fn logic(&self, owner: &Owner) -> Result<Versioned<GuestRecord>, StorageError> {
        let first = || GuestRecord { last: BUILT_IN, ..GuestRecord::default() };
        self.read(&owner.logic(), first).await
    }

    /// The version that it has now; `None` if somebody changed it since it was read.
    pub async fn save_logic(
        &self,
        owner: &Owner,
        record: &Versioned<GuestRecord>,
    ) -> Result<Option<u64>, StorageError> {
        self.write(&owner.logic(), record).await
    }

    pub async fn extensions(
        &self,
        tenant: &TenantId,
    ) -> Result<Versioned<ExtensionRecords>, StorageError> {
        self.read(&format!("extensions/{tenant}"), ExtensionRecords::default).await
    }

    pub async fn save_extensions(
        &self,
        tenant: &TenantId,
        records: &Versioned<ExtensionRecords>,
    ) -> Result<Option<u64>, StorageError> {
        self.write(&format!("extensions/{tenant}"), records).await
    }

    /// Tenants with guests of their own, and the versions of their records.
    pub(super) async fn tenants(&self) -> Result<HashMap<TenantId, Versions>, StorageError> {
        let mut tenants = HashMap::<TenantId, Versions>::new();
        for prefix in ["logic/", "extensions/"] {
            for (name, version) in self.storage.list_documents(prefix, self.until()).await? {
                // What is no tenant's name is not ours.
                let Ok(tenant) = TenantId::parse(&name.as_str()[prefix.len()..]) else { continue };
                let versions = tenants.entry(tenant).or_default();
                match prefix {
                    "logic/" => versions.logic = version,
                    _ => versions.extensions = version,
                }
            }
        }
        Ok(tenants)
    }

    /// Grows with every change by any host.
    pub async fn revision(&self) -> Result<u64, StorageError> {
        self.storage.documents_revision(self.until()).await
    }

    pub async fn component(
        &self,
        owner: &Owner,
        digest: &str,
    ) -> Result<Option<Vec<u8>>, StorageError> {
        let name = name(&owner.component(digest))?;
        let read = self.storage.read_document(&name, self.component_bytes, self.until()).await?;
        Ok(read.map(|document| document.bytes))
    }

    /// Keeps a component's bytes; those that are kept already are the same.
    pub async fn keep_component(
        &self,
        owner: &Owner,
        digest: &str,
        bytes: &[u8],
    ) -> Result<(), StorageError> {
        let name = name(&owner.component(digest))?;
        self.storage.write_document(&name, bytes, None, self.until()).await.map(drop)
    }

    pub async fn drop_component(&self, owner: &Owner, digest: &str) -> Result<(), StorageError> {
        let name = name(&owner.component(digest))?;
        let kept = self.storage.list_documents(name.as_str(), self.until()).await?;
        if let Some((name, version)) = kept.first() {
            self.storage.delete_document(name, *version, self.until()).await?;
        }
        Ok(())
    }

    async fn read<T: DeserializeOwned>(
        &self,
        document: &str,
        first: impl FnOnce() -> T,
    ) -> Result<Versioned<T>, StorageError> {
        let read = self.storage.read_document(&name(document)?, RECORD_BYTES, self.until()).await?;
        let Some(read) = read else { return Ok(Versioned { value: first(), version: None }) };
        let value = serde_json::from_slice(&read.bytes)
            .map_err(|error| StorageError::Corrupt(format!("the document {document}: {error}")))?;
        Ok(Versioned { value, version: Some(read.version) })
    }

    async fn write<T: Serialize>(
        &self,
        document: &str,
        record: &Versioned<T>,
    ) -> Result<Option<u64>, StorageError> {
        let bytes = serde_json::to_vec(&record.value)
            .map_err(|error| StorageError::Corrupt(format!("the document {document}: {error}")))?;
        let (name, version) = (name(document)?, record.version);
        self.storage.write_document(&name, &bytes, version, self.until()).await
    }

    fn until(&self) -> Instant {
        Instant::now() + self.operation
    }
}

fn name(name: &str) -> Result<DocumentName, StorageError> {
    DocumentName::parse(name).map_err(|error| StorageError::Corrupt(error.to_string()))
}
