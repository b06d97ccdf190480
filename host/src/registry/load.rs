//! Turns records into guests that can run.

use std::collections::HashMap;
use std::sync::Arc;

use kenning_storage::{StorageError, TenantId};

use super::records::{ExtensionRecord, ExtensionRecords, GenerationRecord, GuestRecord};
use super::{Extension, Owner, Registry, TenantGuests, Versions, sort};
use kenning_core::provenance::GenerationRef;
use kenning_runtime::compiler::CompileError;
use kenning_runtime::{Generation, Guest, Loaded, LogBuffer};

/// Why guests could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The component with this digest is not in storage.
    #[error("the component {0} is recorded, but its bytes are missing")]
    Missing(String),
    /// The component does not compile.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// The component does not link.
    #[error("it does not fit this host: {0}")]
    Link(String),
}

impl GenerationRecord {
    /// Its number and digest.
    pub fn reference(&self) -> GenerationRef {
        GenerationRef { number: self.number, digest: self.digest.as_str().into() }
    }
}

/// What was recorded at one moment.
pub(crate) struct Recorded {
    /// The revision before the rest was read: later changes have a later one.
    pub(crate) revision: u64,
    /// Tenants with guests of their own, and the versions of their records.
    pub(crate) tenants: HashMap<TenantId, Versions>,
}

impl Registry {
    /// Reads which logic is the server's and which tenants have guests of their own. No call runs
    /// until this succeeded once.
    pub(crate) async fn load(&self) -> Result<Recorded, LoadError> {
        let revision = self.archive.revision().await?;
        let logic = self.archive.logic(&Owner::Server).await?;
        let version = logic.version.unwrap_or_default();
        let logic = match logic.value.active() {
            Some(active) => Some(self.generation(&Owner::Server, active).await?),
            None => None,
        };
        self.set_logic(&Owner::Server, logic, version);
        let tenants = self.archive.tenants().await?;
        for other in self.tenants().iter().filter(|tenant| !tenants.contains_key(tenant)) {
            // A guest that this host promoted in the meantime is not in the list.
            if self.versions(other).unwrap_or_default().are_of(revision) {
                self.forget(other);
            }
        }
        for tenant in tenants.keys() {
            // The tenant's first call loads its guests.
            self.slot_or_new(tenant);
        }
        self.ready.send_replace(true);
        Ok(Recorded { revision, tenants })
    }

    /// Loads guests again that another host changed. A guest that cannot be loaded affects no other
    /// tenant, and the active generation stays.
    pub(crate) async fn reload(
        &self,
        tenants: &HashMap<TenantId, Versions>,
    ) -> Result<(), LoadError> {
        let mut outcome = Ok(());
        for (tenant, now) in tenants {
            if self.versions(tenant).is_some_and(|loaded| loaded != *now) {
                outcome = outcome.and(self.load_tenant(tenant).await);
            }
        }
        outcome
    }

    /// Loads a tenant's guests for its first call, or again after another host changed them.
    /// Generations that are loaded already are reused.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub async fn load_tenant(&self, tenant: &TenantId) -> Result<(), LoadError> {
        let owner = Owner::Tenant(tenant.clone());
        let logic = self.archive.logic(&owner).await?;
        let extensions = self.archive.extensions(tenant).await?;
        let versions = Versions {
            logic: logic.version.unwrap_or_default(),
            extensions: extensions.version.unwrap_or_default(),
        };
        let guests = self.guests(&owner, &logic.value, &extensions.value).await?;
        self.slot_or_new(tenant).replace(guests, versions);
        Ok(())
    }

    /// Loads the guests of a tenant with these records.
    async fn guests(
        &self,
        owner: &Owner,
        logic: &GuestRecord,
        extensions: &ExtensionRecords,
    ) -> Result<TenantGuests, LoadError> {
        let logic = match logic.active() {
            Some(record) => Some(self.generation(owner, record).await?),
            None => None,
        };
        let mut loaded = Vec::new();
        for (name, record) in &extensions.extensions {
            if let Some(active) = record.guest.active() {
                loaded.push(self.extension(owner, name, record, active).await?);
            }
        }
        sort(&mut loaded);
        Ok(TenantGuests { logic, extensions: loaded.into() })
    }

    /// Loads a generation of a logic, unless it is the active one.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub async fn generation(
        &self,
        owner: &Owner,
        record: &GenerationRecord,
    ) -> Result<Arc<Generation>, LoadError> {
        let reference = record.reference();
        let current = match owner {
            Owner::Server => Some(self.server_wide().logic),
            Owner::Tenant(tenant) => self.loaded(tenant).and_then(|guests| guests.logic.clone()),
        };
        if let Some(current) = current.filter(|current| current.guest.reference == reference) {
            return Ok(current);
        }
        let loaded = self.component(owner, &record.digest).await?;
        let linked = loaded.logic().map_err(LoadError::Link)?;
        Ok(Arc::new(Generation::new(Guest::logic(reference), linked)))
    }

    /// Loads a generation of an extension; reuses the active one if it is the same.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub async fn extension(
        &self,
        owner: &Owner,
        name: &str,
        record: &ExtensionRecord,
        active: &GenerationRecord,
    ) -> Result<Arc<Extension>, LoadError> {
        let reference = active.reference();
        let current = match owner {
            Owner::Server => None,
            Owner::Tenant(tenant) => self.loaded(tenant).and_then(|guests| guests.named(name)),
        };
        let same = current.as_ref().filter(|current| current.guest.reference == reference);
        let (guest, linked) = match same {
            Some(same) => (same.guest.clone(), same.linked.clone()),
            None => {
                let loaded = self.component(owner, &active.digest).await?;
                let linked = loaded.extension(&active.grants).map_err(LoadError::Link)?;
                // The log outlives a generation, so that a swap does not empty it.
                let lines = current.and_then(|current| current.guest.lines.clone());
                let lines = lines.unwrap_or_else(|| Arc::new(LogBuffer::default()));
                (Guest::extension(name, reference, lines), linked)
            }
        };
        Ok(Arc::new(Extension { guest, linked, order: record.order, policy: record.policy }))
    }

    async fn component(&self, owner: &Owner, digest: &str) -> Result<Arc<Loaded>, LoadError> {
        if let Some(loaded) = self.loader.find(digest) {
            return Ok(loaded);
        }
        // Another host compiled it, or the directory of compiled components was emptied.
        let bytes = self.archive.component(owner, digest).await?;
        let bytes = bytes.ok_or_else(|| LoadError::Missing(digest.to_string()))?;
        Ok(self.loader.load(bytes.into()).await?)
    }
}
