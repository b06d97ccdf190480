//! Turns records into guests that can run.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, PoisonError};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{Shared, WeakShared};
use kenning_storage::{RegistryRevision, StorageError, TenantId};
use serde_json::Value;

use super::records::{
    BUILT_IN, ExtensionRecord, ExtensionRecords, GenerationRecord, GuestRecord, Pin,
};
use super::slot::{Load, Source};
use super::{Extension, Owner, Registry, THE_LOGIC, TenantGuests, Versions};
use kenning_core::provenance::GenerationRef;
use kenning_runtime::{Demand, Generation, Guest, LoadError, Loaded, Urgency};

impl GenerationRecord {
    /// Its number and digest.
    pub fn reference(&self) -> GenerationRef {
        GenerationRef { number: self.number, digest: self.digest.as_str().into() }
    }

    /// What was set for an extension, as it reads it.
    pub fn values_text(&self) -> Option<Arc<str>> {
        let values = self.values.as_ref()?;
        Some(Value::Object(values.clone()).to_string().into())
    }
}

impl Registry {
    /// Reads which logic is the server's and which tenants have guests of their own. No call runs
    /// until this succeeded once. Returns the tenants with guests of their own, and the versions of
    /// their records.
    pub(crate) async fn load(&self) -> Result<HashMap<TenantId, Versions>, LoadError> {
        let revision = self.archive.revision().await?;
        let logic = self.archive.logic(&Owner::Server).await?;
        let version = logic.version.unwrap_or_default();
        let logic = match logic.value.active() {
            Some(active) => Some(self.generation(&Owner::Server, active, Urgency::First).await?),
            None => None,
        };
        self.set_logic(&Owner::Server, logic, version);
        let tenants = self.archive.tenants().await?;
        // A guest that this host promoted in the meantime is not in the list.
        self.forget_unlisted(&tenants, revision);
        for tenant in tenants.keys() {
            // The tenant's first call loads its guests.
            self.slot_or_new(tenant);
        }
        self.ready.send_replace(true);
        Ok(tenants)
    }

    /// Loads a tenant's guests and record for its first call, or again after another host changed
    /// them, and returns the number that the tenant's registry had before. Generations that are
    /// loaded already are reused. All who wait for a tenant's guests wait for one load.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub async fn load_tenant(
        self: &Arc<Self>,
        tenant: &TenantId,
    ) -> Result<RegistryRevision, LoadError> {
        self.join_load(tenant).await
    }

    /// The same, and goes on when nobody waits any more.
    pub(super) async fn load_in_background(
        self: &Arc<Self>,
        tenant: &TenantId,
    ) -> Result<RegistryRevision, LoadError> {
        let load = self.join_load(tenant);
        tokio::spawn(load)
            .await
            .unwrap_or_else(|panicked| Err(StorageError::Unavailable(panicked.to_string()).into()))
    }

    fn join_load(self: &Arc<Self>, tenant: &TenantId) -> Shared<Load> {
        let slot = self.slot_or_new(tenant);
        let mut loading = slot.loading.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(load) = loading.as_ref().and_then(WeakShared::upgrade) {
            return load;
        }
        let (registry, tenant) = (self.clone(), tenant.clone());
        let load = async move { registry.read_and_load(&tenant).await }.boxed().shared();
        *loading = load.downgrade();
        load
    }

    async fn read_and_load(&self, tenant: &TenantId) -> Result<RegistryRevision, LoadError> {
        let (owner, turn) = (Owner::Tenant(tenant.clone()), self.turn());
        // Before all that it numbers.
        let registry = self.archive.registry_revision(tenant).await?;
        let record = async {
            match self.is_shared {
                true => self.records.refresh_one(tenant).await,
                false => Ok(()),
            }
        };
        let (logic, extensions) = (self.archive.logic(&owner), self.archive.extensions(tenant));
        let (record, logic, extensions) = tokio::join!(record, logic, extensions);
        let (logic, extensions) = (logic?, extensions?);
        record?;
        let versions = Versions {
            logic: logic.version.unwrap_or_default(),
            extensions: extensions.version.unwrap_or_default(),
        };
        let guests = self.recorded_guests(&owner, &logic.value, &extensions.value).await?;
        self.replace(tenant, TenantGuests { registry, ..guests }, Source { versions, turn });
        Ok(registry)
    }

    /// Loads the guests of a tenant with these records.
    async fn recorded_guests(
        &self,
        owner: &Owner,
        logic: &GuestRecord,
        extensions: &ExtensionRecords,
    ) -> Result<TenantGuests, LoadError> {
        let pinned = match logic.pinned {
            Some(pin) => self.pinned(pin).await?.map(|logic| (pin.from, logic)),
            None => None,
        };
        let logic = match logic.active() {
            Some(record) => Some(self.generation(owner, record, Urgency::Usual).await?),
            None => None,
        };
        let mut loaded = Vec::new();
        for (name, record) in &extensions.extensions {
            if let Some(active) = record.guest.active() {
                let extension = self.extension(owner, name, record, active, Urgency::Usual);
                match extension.await {
                    // No call uses it, so none has to fail.
                    Err(error @ LoadError::Lost { .. }) if record.paused => {
                        tracing::error!(?owner, name, %error, "a paused extension is not loaded");
                    }
                    extension => loaded.push(extension?),
                }
            }
        }
        Ok(TenantGuests { pinned, ..TenantGuests::new(logic, loaded) })
    }

    /// The generation of the server-wide logic that a tenant is pinned to; `None` once the other
    /// tenants no longer use the one that it fails with.
    pub(crate) async fn pinned(&self, pin: Pin) -> Result<Option<Arc<Generation>>, LoadError> {
        let record = self.archive.logic(&Owner::Server).await?.value;
        if record.active != Some(pin.from) {
            return Ok(None);
        }
        if pin.to == BUILT_IN {
            return Ok(Some(self.built_in()));
        }
        match record.generation(pin.to) {
            Some(generation) => {
                Ok(Some(self.generation(&Owner::Server, generation, Urgency::Usual).await?))
            }
            None => Ok(None),
        }
    }

    /// Loads a generation of a logic, unless it is the active one.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub async fn generation(
        &self,
        owner: &Owner,
        record: &GenerationRecord,
        urgency: Urgency,
    ) -> Result<Arc<Generation>, LoadError> {
        let reference = record.reference();
        let current = match owner {
            Owner::Server => Some(self.server_wide().logic),
            Owner::Tenant(tenant) => self.loaded(tenant).and_then(|guests| guests.logic.clone()),
        };
        if let Some(current) = current.filter(|current| current.guest.reference == reference) {
            return Ok(current);
        }
        let loaded = self.component(owner, THE_LOGIC, &record.digest, urgency).await?;
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
        urgency: Urgency,
    ) -> Result<Arc<Extension>, LoadError> {
        let reference = active.reference();
        let current = match owner {
            Owner::Server => None,
            Owner::Tenant(tenant) => self.loaded(tenant).and_then(|guests| guests.named(name)),
        };
        let same = current.as_ref().filter(|current| current.guest.reference == reference);
        let linked = match same.filter(|same| same.grants == active.grants) {
            Some(same) => same.linked.clone(),
            None => {
                let loaded = self.component(owner, name, &active.digest, urgency).await?;
                loaded.extension(&active.grants).map_err(LoadError::Link)?
            }
        };
        let guest = match same {
            Some(same) => same.guest.clone(),
            None => {
                // The log outlives a generation, so that a swap does not empty it.
                let before = current.as_ref().map(|current| &*current.guest);
                Guest::extension(name, reference, before, active.values_text())
            }
        };
        let (order, policy) = record.settings_of(active).into();
        let (grants, paused) = (active.grants.clone(), record.paused);
        let options = OnceLock::new();
        Ok(Arc::new(Extension { guest, linked, grants, order, policy, paused, options }))
    }

    /// The component of the guest `name`. Storage is read only if it was not compiled on this
    /// machine: another host compiled it, or its machine code was deleted or damaged.
    pub(crate) async fn component(
        &self,
        owner: &Owner,
        name: &str,
        digest: &str,
        urgency: Urgency,
    ) -> Result<Arc<Loaded>, LoadError> {
        let _awaited = self.awaited.add(owner, name);
        let demand = Demand { tenant: owner.tenant(), urgency };
        let (archive, whose, wanted) = (self.archive.clone(), owner.clone(), digest.to_string());
        let fetch = async move {
            let bytes = archive.component(&whose, &wanted).await?;
            bytes.map(Bytes::from).ok_or(LoadError::Missing(wanted))
        };
        let obtained = self.loader.obtain(demand, digest, fetch).await;
        let obtained = obtained.map_err(|error| lost(owner, name, error));
        let reason = match &obtained {
            Err(LoadError::Lost { reason, .. }) => Some(reason.clone()),
            _ => None,
        };
        self.lost.note(owner, name, reason);
        obtained
    }
}

/// Names the guest whose bytes storage lost or spoilt.
fn lost(owner: &Owner, name: &str, error: LoadError) -> LoadError {
    let is_lost = match &error {
        LoadError::Missing(_) | LoadError::Damaged(_) => true,
        LoadError::Storage(error) => {
            matches!(error, StorageError::Damaged { .. } | StorageError::Corrupt(_))
        }
        _ => false,
    };
    if !is_lost {
        return error;
    }
    let guest = match (owner, name) {
        (Owner::Server, _) => "the server's logic".to_string(),
        (Owner::Tenant(_), THE_LOGIC) => "the tenant's own logic".to_string(),
        (Owner::Tenant(_), name) => format!("the extension {name:?}"),
    };
    LoadError::Lost { guest, reason: error.to_string() }
}
