//! From records to guests that can run.

use std::collections::HashMap;
use std::sync::Arc;

use kenning_storage::{StorageError, TenantId};

use super::records::{ExtensionRecord, ExtensionRecords, GenerationRecord, GuestRecord};
use super::{Extension, Owner, Registry, TenantGuests, Versions, sort};
use kenning_core::provenance::GenerationRef;
use kenning_runtime::compiler::CompileError;
use kenning_runtime::{Generation, Guest, Loaded, LogBuffer};

/// Why a tenant's guests are not there.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("the component {0} is recorded and its bytes are gone")]
    Gone(String),
    #[error(transparent)]
    Compile(#[from] CompileError),
    #[error("it does not fit this host: {0}")]
    Link(String),
}

impl GenerationRecord {
    pub fn reference(&self) -> GenerationRef {
        GenerationRef { number: self.number, digest: self.digest.as_str().into() }
    }
}

/// What was recorded at one moment.
pub(crate) struct Recorded {
    /// Of before the rest was read: what changed since has a later one.
    pub(crate) revision: u64,
    /// Tenants with guests of their own, and the versions of their records.
    pub(crate) tenants: HashMap<TenantId, Versions>,
}

impl Registry {
    /// Reads what is recorded: which logic is the server's, which tenants have guests of
    /// their own. Until it succeeded once, no call runs.
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
        for gone in self.tenants().iter().filter(|tenant| !tenants.contains_key(tenant)) {
            // What this host itself promoted meanwhile is not in the list.
            if self.versions(gone).unwrap_or_default().are_of(revision) {
                self.forget(gone);
            }
        }
        for tenant in tenants.keys() {
            // Loaded by its first call.
            self.slot_or_new(tenant);
        }
        self.ready.send_replace(true);
        Ok(Recorded { revision, tenants })
    }

    /// Loads again what another host changed. What cannot be loaded keeps no other
    /// tenant waiting, and what runs goes on.
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

    /// Loads a tenant's guests for its first call, or again after another host changed
    /// them. What is loaded already is kept.
    pub async fn load_tenant(&self, tenant: &TenantId) -> Result<(), LoadError> {
        let owner = Owner::Tenant(tenant.clone());
        let logic = self.archive.logic(&owner).await?;
        let extensions = self.archive.extensions(tenant).await?;
        let versions = Versions {
            logic: logic.version.unwrap_or_default(),
            extensions: extensions.version.unwrap_or_default(),
        };
        let guests = self.guests(&owner, &logic.value, &extensions.value).await?;
        self.slot_or_new(tenant).load(guests, versions);
        Ok(())
    }

    /// The guests of a tenant with such records.
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

    /// The logic of a record: the running one, if it is that.
    pub async fn generation(
        &self,
        owner: &Owner,
        record: &GenerationRecord,
    ) -> Result<Arc<Generation>, LoadError> {
        let reference = record.reference();
        let running = match owner {
            Owner::Server => Some(self.server_wide().logic),
            Owner::Tenant(tenant) => self.loaded(tenant).and_then(|guests| guests.logic.clone()),
        };
        if let Some(running) = running.filter(|running| running.guest.reference == reference) {
            return Ok(running);
        }
        let loaded = self.component(owner, &record.digest).await?;
        let linked = loaded.logic().map_err(LoadError::Link)?;
        Ok(Arc::new(Generation::new(Guest::logic(reference), linked)))
    }

    /// The extension of a record: the running one, if it is that.
    pub async fn extension(
        &self,
        owner: &Owner,
        name: &str,
        record: &ExtensionRecord,
        active: &GenerationRecord,
    ) -> Result<Arc<Extension>, LoadError> {
        let reference = active.reference();
        let running = match owner {
            Owner::Server => None,
            Owner::Tenant(tenant) => self.loaded(tenant).and_then(|guests| guests.named(name)),
        };
        let same = running.as_ref().filter(|running| running.guest.reference == reference);
        let (guest, linked) = match same {
            Some(same) => (same.guest.clone(), same.linked.clone()),
            None => {
                let loaded = self.component(owner, &active.digest).await?;
                let linked = loaded.extension(&active.grants).map_err(LoadError::Link)?;
                // Lines outlive a generation: a swap must not empty the log.
                let lines = running.and_then(|running| running.guest.lines.clone());
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
        // Compiled by another host, or the directory was emptied.
        let bytes = self.archive.component(owner, digest).await?;
        let bytes = bytes.ok_or_else(|| LoadError::Gone(digest.to_string()))?;
        Ok(self.loader.load(bytes.into()).await?)
    }
}
