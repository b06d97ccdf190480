//! Which guests a call uses, and loading them for a tenant's first call.

use kenning_core::error::{Code, Error};
use kenning_storage::StorageError;
use tokio::time::timeout_at;

use super::Kb;
use super::caller::Caller;
use crate::registry::{LoadError, Owner, Snapshot};

impl Kb {
    /// The guests of a call that starts now. A tenant's first call loads them.
    pub(crate) async fn snapshot(&self, caller: &Caller) -> Result<Snapshot, Error> {
        loop {
            if let Some(snapshot) = self.registry.snapshot(&caller.tenant) {
                return Ok(snapshot);
            }
            self.ensure_registry_ready(caller).await?;
            let (registry, tenant) = (self.registry.clone(), caller.tenant.clone());
            self.load(caller, async move {
                match registry.snapshot(&tenant) {
                    None => registry.load_tenant(&tenant).await,
                    Some(_) => Ok(()),
                }
            })
            .await?;
        }
    }

    /// A snapshot for calls that use no extension. The indexer calls this for every tenant at
    /// start, which must not load, let alone compile, every tenant's extensions.
    pub(super) async fn logic_snapshot(&self, caller: &Caller) -> Result<Snapshot, Error> {
        let registry = &self.registry;
        self.ensure_registry_ready(caller).await?;
        if registry.snapshot(&caller.tenant).is_none() {
            let record = registry.archive.logic(&Owner::Tenant(caller.tenant.clone())).await;
            let record = record.map_err(|error| self.storage_error(&error))?.value;
            if record.active().is_none() {
                return Ok(registry.server_wide());
            }
        }
        self.snapshot(caller).await
    }

    /// Loads the registry if nobody did yet; afterwards it is known which tenants have guests of
    /// their own.
    async fn ensure_registry_ready(&self, caller: &Caller) -> Result<(), Error> {
        if self.registry.is_ready() {
            return Ok(());
        }
        let registry = self.registry.clone();
        self.load(caller, async move { registry.load().await.map(drop) }).await
    }

    /// Waits for `work` until the caller's deadline. Other callers need the result as well, so
    /// the work continues when this caller leaves.
    async fn load(
        &self,
        caller: &Caller,
        work: impl Future<Output = Result<(), LoadError>> + Send + 'static,
    ) -> Result<(), Error> {
        match timeout_at(caller.deadline.into(), tokio::spawn(work)).await {
            Ok(Ok(loaded)) => loaded.map_err(|error| self.load_error(&error)),
            Ok(Err(panicked)) => Err(Error::internal(panicked)),
            Err(_) => Err(self.storage_error(&StorageError::Timeout { outcome_unknown: false })),
        }
    }

    /// What callers are told when a tenant's guests cannot be loaded.
    pub(crate) fn load_error(&self, error: &LoadError) -> Error {
        match error {
            LoadError::Storage(error) => self.storage_error(error),
            other => {
                let message = format!("this tenant's guests cannot be loaded: {other}");
                Error::new(Code::IncompatibleComponent, message)
            }
        }
    }
}
