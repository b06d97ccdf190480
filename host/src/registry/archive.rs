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

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kenning_storage::{DocumentName, Storage, StorageError, TenantId};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::records::{BUILT_IN, ExtensionRecords, GuestRecord, Versions};
use kenning_core::error::{Code, Error};
use kenning_core::limits::DEFAULT_TENANT;

/// One record. Each holds a bounded number of generations and events.
const RECORD_BYTES: usize = 4 * 1024 * 1024;

/// What the names of tenants' documents begin with.
const LOGICS: &str = "logic/";
const EXTENSIONS: &str = "extensions/";

/// How often a change is made again because another came first.
const ATTEMPTS: usize = 5;

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

/// A value and the version it was read with; `None` if it is not written yet.
#[derive(Clone, Debug)]
pub struct Versioned<T> {
    pub value: T,
    pub version: Option<u64>,
}

/// What a change gives beside the record's new version, or why it was not made.
pub type Changed<T> = Result<(T, u64), Error>;

/// An owner's components and their versions, at one moment.
pub struct Components(Vec<(DocumentName, u64)>);

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
        self.read(&owner.logic(), first_logic).await
    }

    /// Changes it, and gives its new version. Where another host came first, `change` is
    /// asked again, of what that one wrote.
    pub async fn change_logic<T>(
        &self,
        owner: &Owner,
        change: impl FnMut(&mut GuestRecord) -> Result<T, Error>,
    ) -> Result<Changed<T>, StorageError> {
        self.change(&owner.logic(), first_logic, change).await
    }

    pub async fn extensions(
        &self,
        tenant: &TenantId,
    ) -> Result<Versioned<ExtensionRecords>, StorageError> {
        self.read(&extensions_of(tenant), ExtensionRecords::default).await
    }

    /// As [`Self::change_logic`].
    pub async fn change_extensions<T>(
        &self,
        tenant: &TenantId,
        change: impl FnMut(&mut ExtensionRecords) -> Result<T, Error>,
    ) -> Result<Changed<T>, StorageError> {
        self.change(&extensions_of(tenant), ExtensionRecords::default, change).await
    }

    /// Tenants with guests of their own, and the versions of their records.
    pub(crate) async fn tenants(&self) -> Result<HashMap<TenantId, Versions>, StorageError> {
        let mut tenants: HashMap<TenantId, Versions> = HashMap::new();
        for prefix in [LOGICS, EXTENSIONS] {
            for (name, version) in self.storage.list_documents(prefix, self.until()).await? {
                // What is no tenant's name is not ours.
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

    /// Keeps a component's bytes. Those that are there are written again: a host that found
    /// them no longer needed may be about to delete them, and then finds another version.
    pub async fn keep_component(
        &self,
        owner: &Owner,
        digest: &str,
        bytes: &[u8],
    ) -> Result<(), StorageError> {
        let name = name(&owner.component(digest))?;
        for _ in 0..ATTEMPTS {
            let there = self.storage.list_documents(name.as_str(), self.until()).await?;
            let version = there.first().map(|(_, version)| *version);
            let written = self.storage.write_document(&name, bytes, version, self.until()).await?;
            if written.is_some() {
                return Ok(());
            }
        }
        Err(StorageError::Unavailable("other hosts keep writing this component".into()))
    }

    /// What is kept of an owner's components, to be read before a change that may leave
    /// some of them without a use.
    pub async fn components(&self, owner: &Owner) -> Result<Components, StorageError> {
        Ok(Components(self.storage.list_documents(&owner.component(""), self.until()).await?))
    }

    /// Deletes components that no guest of the owner has any more, unless they were kept
    /// anew since `there` was read.
    pub async fn drop_components(
        &self,
        owner: &Owner,
        digests: &[String],
        there: &Components,
    ) -> Result<(), StorageError> {
        let used = self.used(owner).await?;
        for digest in digests.iter().filter(|digest| !used.contains(*digest)) {
            let name = name(&owner.component(digest))?;
            if let Some((name, version)) = there.0.iter().find(|(there, _)| *there == name) {
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
        first: impl FnOnce() -> T,
    ) -> Result<Versioned<T>, StorageError> {
        let read = self.storage.read_document(&name(document)?, RECORD_BYTES, self.until()).await?;
        let Some(read) = read else { return Ok(Versioned { value: first(), version: None }) };
        let value = serde_json::from_slice(&read.bytes)
            .map_err(|error| StorageError::Corrupt(format!("the document {document}: {error}")))?;
        Ok(Versioned { value, version: Some(read.version) })
    }

    async fn change<R: Serialize + DeserializeOwned, T>(
        &self,
        document: &str,
        first: fn() -> R,
        mut change: impl FnMut(&mut R) -> Result<T, Error>,
    ) -> Result<Changed<T>, StorageError> {
        for _ in 0..ATTEMPTS {
            let mut record = self.read(document, first).await?;
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

    /// The version that it has now; `None` if somebody changed it since it was read.
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

/// Of a logic of which nothing is recorded.
fn first_logic() -> GuestRecord {
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
                archive.keep_component(&owner, digest, digest.as_bytes()).await.unwrap();
            }
            let generation = GenerationRecord {
                number: 1,
                digest: KEPT.into(),
                bytes: 1,
                staged_at: now(),
                grants: Vec::new(),
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
    async fn a_component_goes_when_no_guest_of_the_owner_has_it() {
        let fixture = Fixture::new().await;
        let (archive, owner) = (&fixture.archive, &fixture.owner);
        let there = archive.components(owner).await.unwrap();
        let gone = [KEPT, OLD].map(String::from);
        archive.drop_components(owner, &gone, &there).await.unwrap();
        assert!(fixture.is_there(KEPT).await && !fixture.is_there(OLD).await);
    }

    #[tokio::test]
    async fn a_component_that_is_kept_anew_meanwhile_stays() {
        let fixture = Fixture::new().await;
        let (archive, owner) = (&fixture.archive, &fixture.owner);
        let there = archive.components(owner).await.unwrap();
        // By another host, whose record is not written yet.
        archive.keep_component(owner, OLD, OLD.as_bytes()).await.unwrap();
        archive.drop_components(owner, &[OLD.into()], &there).await.unwrap();
        assert!(fixture.is_there(OLD).await);
    }
}
