//! Reads and writes records and components as documents in storage. They survive a restart, and
//! every host on the same storage sees them.
//!
//! | document | holds |
//! |---|---|
//! | `logic` | the server-wide logic's generations |
//! | `logic/TENANT`, `extensions/TENANT` | a tenant's own |
//! | `revoked` | the digests that no host runs |
//! | `component/server/DIGEST`, `component/tenant/TENANT/DIGEST` | a component |
//!
//! A record is written only over the version that was read, so if two hosts change one guest at
//! the same time, one of them gets a conflict. After each change of a tenant's record, storage
//! refuses whoever goes by an earlier one.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kenning_storage::{DocumentName, HostLease, RegistryRevision, Storage, StorageError, TenantId};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::records::{BUILT_IN, ExtensionRecords, GuestRecord, Versions};
use super::revocations::Revocations;
use kenning_core::error::{Code, Error};
use kenning_core::limits::DEFAULT_TENANT;

/// Most bytes of one record, which has a bounded number of generations and events.
const RECORD_BYTES: usize = 4 * 1024 * 1024;

/// Prefixes of the names of tenants' documents.
const LOGICS: &str = "logic/";
const EXTENSIONS: &str = "extensions/";

/// The name of the record of revoked digests.
const REVOKED: &str = "revoked";

/// How often a change is tried that conflicts with changes by other hosts.
const ATTEMPTS: usize = 5;

/// Whose guest it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    /// Of all tenants without a logic of their own.
    Server,
    /// Of one tenant.
    Tenant(TenantId),
}

impl Owner {
    /// The tenant in whose name a candidate is tried.
    pub fn tenant(&self) -> TenantId {
        match self {
            Self::Server => {
                TenantId::parse(DEFAULT_TENANT).expect("the default tenant has a valid name")
            }
            Self::Tenant(tenant) => tenant.clone(),
        }
    }

    fn logic(&self) -> String {
        match self {
            Self::Server => "logic".into(),
            Self::Tenant(tenant) => format!("{LOGICS}{tenant}"),
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

/// A record and its version.
#[derive(Clone, Debug)]
pub struct Versioned<T> {
    /// The record.
    pub value: T,
    /// `None` if it was never written.
    pub version: Option<u64>,
}

/// The result of a change and the record's new version, or why it was not made.
pub type Changed<T> = Result<(T, u64), Error>;

/// An owner's components in storage and their versions, at one moment.
pub struct Components(Vec<(DocumentName, u64)>);

/// Records and components in storage.
#[derive(Clone)]
pub struct Archive {
    storage: Arc<dyn Storage>,
    operation: Duration,
    component_bytes: usize,
}

impl Archive {
    /// An archive in `storage`. Each operation may take `operation`, and a component may have
    /// `component_bytes`.
    pub fn new(storage: Arc<dyn Storage>, operation: Duration, component_bytes: usize) -> Self {
        Self { storage, operation, component_bytes }
    }

    /// The record of an owner's logic.
    ///
    /// # Errors
    /// When storage fails or the record cannot be parsed.
    pub async fn logic(&self, owner: &Owner) -> Result<Versioned<GuestRecord>, StorageError> {
        self.read(&owner.logic(), new_logic).await
    }

    /// Changes the record of an owner's logic. If another host wrote it first, `change` runs again
    /// on what that host wrote.
    ///
    /// # Errors
    /// When storage fails. An error of `change`, or too many conflicts, is in [`Changed`].
    pub async fn change_logic<T>(
        &self,
        owner: &Owner,
        change: impl FnMut(&mut GuestRecord) -> Result<T, Error>,
    ) -> Result<Changed<T>, StorageError> {
        let changed = self.change(&owner.logic(), new_logic, change).await?;
        match (owner, changed) {
            (Owner::Tenant(tenant), Ok(changed)) => Ok(Ok(self.enforced(tenant, changed).await?)),
            (_, changed) => Ok(changed),
        }
    }

    /// The records of a tenant's extensions.
    ///
    /// # Errors
    /// As [`Self::logic`].
    pub async fn extensions(
        &self,
        tenant: &TenantId,
    ) -> Result<Versioned<ExtensionRecords>, StorageError> {
        self.read(&extensions_of(tenant), ExtensionRecords::default).await
    }

    /// Changes the records of a tenant's extensions, as [`Self::change_logic`] does.
    ///
    /// # Errors
    /// As [`Self::change_logic`].
    pub async fn change_extensions<T>(
        &self,
        tenant: &TenantId,
        change: impl FnMut(&mut ExtensionRecords) -> Result<T, Error>,
    ) -> Result<Changed<T>, StorageError> {
        let document = extensions_of(tenant);
        match self.change(&document, ExtensionRecords::default, change).await? {
            Ok(changed) => Ok(Ok(self.enforced(tenant, changed).await?)),
            refused => Ok(refused),
        }
    }

    /// `changed`, once storage refuses calls that go by what was recorded before of this tenant. If
    /// that fails, the record is changed all the same.
    async fn enforced<T>(&self, tenant: &TenantId, changed: T) -> Result<T, StorageError> {
        self.enforce(tenant).await?;
        Ok(changed)
    }

    /// Has storage refuse calls that go by what was recorded before of a tenant.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn enforce(&self, tenant: &TenantId) -> Result<(), StorageError> {
        let raised = self.storage.raise_registry(tenant, self.until()).await;
        raised.map(drop).map_err(|error| StorageError::Uncertain(Box::new(error)))
    }

    /// The number of a tenant's registry that is in force.
    pub(super) async fn registry_revision(
        &self,
        tenant: &TenantId,
    ) -> Result<RegistryRevision, StorageError> {
        let revisions = self.registry_revisions(std::slice::from_ref(tenant)).await?;
        Ok(revisions.first().copied().unwrap_or_default())
    }

    /// The same of several tenants, in their order.
    pub(super) async fn registry_revisions(
        &self,
        tenants: &[TenantId],
    ) -> Result<Vec<RegistryRevision>, StorageError> {
        self.storage.registry_revisions(tenants, self.until()).await
    }

    /// Says in storage what this host says of itself, and that it lives for `time`.
    pub(super) async fn renew_lease(
        &self,
        lease: &HostLease,
        time: Duration,
    ) -> Result<(), StorageError> {
        self.storage.renew_lease(lease, time, self.until()).await
    }

    /// Whether other hosts may use the same storage.
    pub(super) fn is_shared(&self) -> bool {
        self.storage.describe().backend.is_shared()
    }

    /// The revoked digests.
    ///
    /// # Errors
    /// As [`Self::logic`].
    pub async fn revoked(&self) -> Result<Revocations, StorageError> {
        Ok(self.read(REVOKED, Revocations::default).await?.value)
    }

    /// Changes the revoked digests, as [`Self::change_logic`] does a logic.
    ///
    /// # Errors
    /// As [`Self::change_logic`].
    pub async fn change_revoked<T>(
        &self,
        change: impl FnMut(&mut Revocations) -> Result<T, Error>,
    ) -> Result<Changed<T>, StorageError> {
        self.change(REVOKED, Revocations::default, change).await
    }

    /// Tenants with guests of their own, and the versions of their records.
    pub(crate) async fn tenants(&self) -> Result<HashMap<TenantId, Versions>, StorageError> {
        let mut tenants: HashMap<TenantId, Versions> = HashMap::new();
        for prefix in [LOGICS, EXTENSIONS] {
            for (name, version) in self.storage.list_documents(prefix, self.until()).await? {
                // Names that are not tenants are of other programs.
                let Ok(tenant) = TenantId::parse(&name.as_str()[prefix.len()..]) else { continue };
                let versions = tenants.entry(tenant).or_default();
                match prefix {
                    LOGICS => versions.logic = version,
                    _ => versions.extensions = version,
                }
            }
        }
        Ok(tenants)
    }

    /// A number that grows with every change by any host.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn revision(&self) -> Result<u64, StorageError> {
        self.storage.documents_revision(self.until()).await
    }

    /// The bytes of a component.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn component(
        &self,
        owner: &Owner,
        digest: &str,
    ) -> Result<Option<Vec<u8>>, StorageError> {
        let name = name(&owner.component(digest))?;
        let read = self.storage.read_document(&name, self.component_bytes, self.until()).await?;
        Ok(read.map(|document| document.bytes))
    }

    /// Stores a component. If it is there already it is written again: another host that found it
    /// unused may be about to delete it, and then finds another version.
    ///
    /// # Errors
    /// When storage fails, or other hosts keep writing the same component.
    pub async fn store_component(
        &self,
        owner: &Owner,
        digest: &str,
        bytes: &[u8],
    ) -> Result<(), StorageError> {
        let name = name(&owner.component(digest))?;
        for _ in 0..ATTEMPTS {
            let found = self.storage.list_documents(name.as_str(), self.until()).await?;
            let version = found.first().map(|(_, version)| *version);
            let written = self.storage.write_document(&name, bytes, version, self.until()).await?;
            if written.is_some() {
                return Ok(());
            }
        }
        Err(StorageError::Unavailable("other hosts keep writing this component".into()))
    }

    /// An owner's components in storage; read them before a change that may leave some unused.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn components(&self, owner: &Owner) -> Result<Components, StorageError> {
        Ok(Components(self.storage.list_documents(&owner.component(""), self.until()).await?))
    }

    /// Deletes components that no generation of the owner uses, unless they were stored again since
    /// `stored` was read.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn drop_components(
        &self,
        owner: &Owner,
        digests: &[String],
        stored: &Components,
    ) -> Result<(), StorageError> {
        let used = self.used(owner).await?;
        for digest in digests.iter().filter(|digest| !used.contains(*digest)) {
            let name = name(&owner.component(digest))?;
            if let Some((name, version)) = stored.0.iter().find(|(stored, _)| *stored == name) {
                self.storage.delete_document(name, *version, self.until()).await?;
            }
        }
        Ok(())
    }

    /// The digests of all generations of an owner's guests.
    async fn used(&self, owner: &Owner) -> Result<HashSet<String>, StorageError> {
        let mut guests = vec![self.logic(owner).await?.value];
        if let Owner::Tenant(tenant) = owner {
            let extensions = self.extensions(tenant).await?.value.extensions;
            guests.extend(extensions.into_values().map(|record| record.guest));
        }
        let generations = guests.into_iter().flat_map(|guest| guest.generations);
        Ok(generations.map(|generation| generation.digest).collect())
    }

    async fn read<T: DeserializeOwned>(
        &self,
        document: &str,
        initial: impl FnOnce() -> T,
    ) -> Result<Versioned<T>, StorageError> {
        let read = self.storage.read_document(&name(document)?, RECORD_BYTES, self.until()).await?;
        let Some(read) = read else { return Ok(Versioned { value: initial(), version: None }) };
        let value = serde_json::from_slice(&read.bytes)
            .map_err(|error| StorageError::Corrupt(format!("the document {document}: {error}")))?;
        Ok(Versioned { value, version: Some(read.version) })
    }

    async fn change<R: Serialize + DeserializeOwned, T>(
        &self,
        document: &str,
        initial: fn() -> R,
        mut change: impl FnMut(&mut R) -> Result<T, Error>,
    ) -> Result<Changed<T>, StorageError> {
        for _ in 0..ATTEMPTS {
            let mut record = self.read(document, initial).await?;
            let done = match change(&mut record.value) {
                Ok(done) => done,
                Err(error) => return Ok(Err(error)),
            };
            if let Some(version) = self.write(document, &record).await? {
                return Ok(Ok((done, version)));
            }
        }
        let message = "other hosts keep changing the guests of this tenant; try again later";
        Ok(Err(Error::new(Code::Conflict, message)))
    }

    /// Writes a record and returns its new version; `None` if it changed since it was read.
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

fn extensions_of(tenant: &TenantId) -> String {
    format!("{EXTENSIONS}{tenant}")
}

/// Initial record for a new logic.
fn new_logic() -> GuestRecord {
    GuestRecord { last: BUILT_IN, ..GuestRecord::default() }
}

fn name(name: &str) -> Result<DocumentName, StorageError> {
    DocumentName::parse(name).map_err(|error| StorageError::Corrupt(error.to_string()))
}

#[cfg(test)]
mod tests {
    use kenning_storage::{Layout, StorageLimits};

    use super::*;
    use crate::registry::{GenerationRecord, now};

    const KEPT: &str = "sha256:kept";
    const OLD: &str = "sha256:old";

    struct Fixture {
        archive: Archive,
        owner: Owner,
        _directory: tempfile::TempDir,
    }

    impl Fixture {
        /// Two components, of which one is an extension's.
        async fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let url = format!("embedded:{}", directory.path().display());
            let limits = StorageLimits::default();
            let storage = kenning_storage::open(&url, Layout::Tenant, limits).await.unwrap();
            let archive = Archive::new(storage, Duration::from_secs(60), 1_000);
            let tenant = TenantId::parse("t").unwrap();
            let owner = Owner::Tenant(tenant.clone());
            for digest in [KEPT, OLD] {
                archive.store_component(&owner, digest, digest.as_bytes()).await.unwrap();
            }
            let generation = GenerationRecord {
                number: 1,
                digest: KEPT.into(),
                bytes: 1,
                staged_at: now(),
                grants: Vec::new(),
                settings: None,
                values: None,
                rolled_back: Some(false),
                forced_by: None,
            };
            let changed = archive.change_extensions(&tenant, |records| {
                let record = records.extensions.entry("one".into()).or_default();
                Ok(record.guest.promote(generation.clone(), None))
            });
            changed.await.unwrap().unwrap();
            Self { archive, owner, _directory: directory }
        }

        async fn is_there(&self, digest: &str) -> bool {
            self.archive.component(&self.owner, digest).await.unwrap().is_some()
        }
    }

    #[tokio::test]
    async fn a_component_is_deleted_when_no_guest_of_the_owner_uses_it() {
        let fixture = Fixture::new().await;
        let (archive, owner) = (&fixture.archive, &fixture.owner);
        let stored = archive.components(owner).await.unwrap();
        let unused = [KEPT, OLD].map(String::from);
        archive.drop_components(owner, &unused, &stored).await.unwrap();
        assert!(fixture.is_there(KEPT).await && !fixture.is_there(OLD).await);
    }

    #[tokio::test]
    async fn a_component_that_is_stored_again_meanwhile_stays() {
        let fixture = Fixture::new().await;
        let (archive, owner) = (&fixture.archive, &fixture.owner);
        let stored = archive.components(owner).await.unwrap();
        // By another host, whose record is not written yet.
        archive.store_component(owner, OLD, OLD.as_bytes()).await.unwrap();
        archive.drop_components(owner, &[OLD.into()], &stored).await.unwrap();
        assert!(fixture.is_there(OLD).await);
    }
}
