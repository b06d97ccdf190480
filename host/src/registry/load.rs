//! From records to guests that can run.

use std::sync::Arc;

use kenning_storage::{StorageError, TenantId};

use super::records::{ExtensionRecord, ExtensionRecords, GenerationRecord, GuestRecord};
use super::{Extension, Owner, Registry, TenantGuests, Versions, sort};
use crate::runtime::compiler::CompileError;
use crate::runtime::{Generation, GenerationRef, Guest, Loaded, LogBuffer};

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

impl Registry {
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
