//! Which guests a call uses, and loading them for a tenant's first call.

use std::time::{Duration, Instant};

use kenning_core::error::{Blame, Code, Error};
use kenning_runtime::Priority;
use kenning_runtime::compiler::CompileError;
use kenning_storage::StorageError;
use kenning_trace::{Kind, OpenSpan};
use serde_json::json;
use tokio::time::timeout_at;

use super::Kb;
use super::caller::Caller;
use crate::registry::{LoadError, Owner, Snapshot, THE_LOGIC};

/// How often a call that waits for storage asks whether it waits for the compiler by now.
const AGAIN: Duration = Duration::from_millis(50);

impl Kb {
    /// The guests of a call that starts now. A tenant's first call loads them. If they are still
    /// being compiled, a caller waits as long as for admission, and nobody's call until its
    /// deadline.
    pub(crate) async fn snapshot(&self, caller: &Caller) -> Result<Snapshot, Error> {
        self.snapshot_by(caller, self.patience(caller)).await
    }

    /// Until when a caller waits while a guest is being compiled.
    pub(super) fn patience(&self, caller: &Caller) -> Instant {
        match caller.priority {
            Priority::Interactive => Instant::now() + self.services.limits.guest_wait,
            Priority::Background => caller.deadline,
        }
    }

    /// The same for a caller who waits until `patience` while a guest is being compiled.
    pub(crate) async fn snapshot_by(
        &self,
        caller: &Caller,
        patience: Instant,
    ) -> Result<Snapshot, Error> {
        if !self.registry.has_lease() {
            let registry = self.registry.clone();
            self.load(caller, patience, async move { registry.regain_lease().await }).await?;
        }
        loop {
            if let Some(snapshot) = self.registry.snapshot(&caller.tenant) {
                return Ok(snapshot);
            }
            self.ensure_registry_ready(caller, patience).await?;
            let (registry, tenant) = (self.registry.clone(), caller.tenant.clone());
            let load = async move {
                match registry.snapshot(&tenant) {
                    None => registry.load_tenant(&tenant).await.map(drop),
                    Some(_) => Ok(()),
                }
            };
            self.load(caller, patience, load).await?;
        }
    }

    /// A snapshot for calls that use no extension. The indexer calls this for every tenant at
    /// start, which must not load, let alone compile, every tenant's extensions. Nobody is served
    /// by them, so they go by no registry, and are not repeated when it changes.
    pub(super) async fn logic_snapshot(&self, caller: &Caller) -> Result<Snapshot, Error> {
        let registry = &self.registry;
        self.ensure_registry_ready(caller, caller.deadline).await?;
        let snapshot = match registry.guests(&caller.tenant) {
            Some(snapshot) => snapshot,
            None => {
                let record = registry.archive.logic(&Owner::Tenant(caller.tenant.clone())).await;
                let record = record.map_err(|error| self.storage_error(&error))?.value;
                match record.active().is_none() && record.pinned.is_none() {
                    true => registry.server_wide(),
                    false => self.snapshot(caller).await?,
                }
            }
        };
        Ok(Snapshot { registry: None, ..snapshot })
    }

    /// Loads the registry if nobody did yet; afterwards it is known which tenants have guests of
    /// their own.
    async fn ensure_registry_ready(&self, caller: &Caller, patience: Instant) -> Result<(), Error> {
        if self.registry.is_ready() {
            return Ok(());
        }
        let registry = self.registry.clone();
        self.load(caller, patience, async move { registry.load().await.map(drop) }).await
    }

    /// Waits for `work` until the caller's deadline, or only until `patience` if a guest is being
    /// compiled then. Other callers need the result as well, so the work continues when this
    /// caller leaves.
    pub(super) async fn load(
        &self,
        caller: &Caller,
        patience: Instant,
        work: impl Future<Output = Result<(), LoadError>> + Send + 'static,
    ) -> Result<(), Error> {
        let trace = caller.trace.clone().or_else(kenning_trace::current);
        // It ends with the wait. What is read from storage meanwhile is below it.
        let span = trace.as_ref().and_then(|trace| trace.begin("load", Kind::Internal));
        let below = span.as_ref().map(OpenSpan::context).or(trace);
        let mut work = tokio::spawn(kenning_trace::within(below, work));
        let mut until = patience.min(caller.deadline);
        loop {
            match timeout_at(until.into(), &mut work).await {
                Ok(Ok(loaded)) => return loaded.map_err(|error| self.load_error(&error)),
                Ok(Err(panicked)) => return Err(Error::internal(panicked)),
                Err(_) => {}
            }
            if let Some(guest) = self.registry.awaited(&caller.tenant) {
                return Err(still_compiling(&guest));
            }
            if until >= caller.deadline {
                return Err(self.storage_error(&StorageError::Timeout { outcome_unknown: false }));
            }
            until = (until + AGAIN).min(caller.deadline);
        }
    }

    /// What callers are told when a tenant's guests cannot be loaded.
    pub(crate) fn load_error(&self, error: &LoadError) -> Error {
        match error {
            LoadError::Storage(error) => self.storage_error(error),
            LoadError::Compile(CompileError::Failed(reason)) => Error::internal(reason),
            LoadError::Lost { .. } => {
                let message = format!(
                    "this tenant's guests are damaged in storage: {error}; install it again, roll \
                     it back, pause or remove it, or restore storage from a backup"
                );
                Error::new(Code::IncompatibleComponent, message).blaming(Blame::Backend)
            }
            LoadError::Busy(compiles) => Error::overloaded("compiles", *compiles),
            other => {
                let message = format!("this tenant's guests cannot be loaded: {other}");
                Error::new(Code::IncompatibleComponent, message)
            }
        }
    }
}

/// A guest of the tenant is not ready yet; `guest` is an extension's name, or `the logic`.
fn still_compiling(guest: &str) -> Error {
    let (what, component) = match guest {
        THE_LOGIC => (guest.to_string(), "logic"),
        name => (format!("the extension {name}"), name),
    };
    let message = format!("{what} is still being compiled on this host; try again");
    Error::new(Code::Overloaded, message).with_details(json!({ "component": component }))
}
