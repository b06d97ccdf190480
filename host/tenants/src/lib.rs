//! Who the tenants are, by which keys they come in, and what each may use.
//!
//! In reading order: [`key`] is what a tenant shows, [`record`] what is kept of a tenant, as a
//! document in storage; [`directory`] holds all records in memory and follows what other hosts
//! change; [`meter`] counts against [`quotas`]; [`calls`] knows which calls are under way, so that
//! a deletion can end them; [`admin`] is what an operator may do.

mod admin;
mod calls;
mod directory;
mod key;
mod meter;
mod quotas;
mod record;

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use kenning_storage::{FactQuota, Storage, StorageError, TenantId};

pub use admin::{Created, Listed};
pub use calls::Running;
pub use directory::Tenant;
pub use key::{AdminKey, NewKey};
pub use meter::{Meter, Permit, Used};
pub use quotas::{Exceeded, Quotas};
pub use record::{KeyRecord, Record, now};

use calls::Calls;
use directory::Directory;
use kenning_core::error::{Code, Error};

/// When to come back to a tenant that is full: it is no longer so once facts are deleted.
const FULL_WAIT: Duration = Duration::from_secs(60);

/// Bytes of text that count as one embedding token. Embedders split texts each in its own way;
/// this is about what English takes, and the same for all.
const TOKEN_BYTES: usize = 4;

/// All tenants of this server.
pub struct Tenants {
    storage: Arc<dyn Storage>,
    admin_key: Option<AdminKey>,
    /// One storage operation.
    operation: Duration,
    directory: ArcSwap<Directory>,
    calls: Arc<Calls>,
}

/// Who a key belongs to.
#[derive(Debug, PartialEq)]
pub enum Principal {
    Operator,
    Tenant(TenantId),
}

impl Tenants {
    /// Without an admin key the server is open: whoever reaches it may name any tenant.
    pub fn new(
        storage: Arc<dyn Storage>,
        admin_key: Option<AdminKey>,
        operation: Duration,
    ) -> Arc<Self> {
        let (directory, calls) = (ArcSwap::default(), Arc::default());
        Arc::new(Self { storage, admin_key, operation, directory, calls })
    }

    /// Whether callers need keys.
    pub fn need_keys(&self) -> bool {
        self.admin_key.is_some()
    }

    /// Whose key `text` is. The last known keys stay good while storage does not answer, however
    /// long that takes: nothing that they open can be had then.
    pub fn authenticate(&self, text: &str) -> Result<Principal, Error> {
        if self.admin_key.as_ref().is_some_and(|key| key.is(text)) {
            return Ok(Principal::Operator);
        }
        let directory = self.directory.load();
        if !directory.is_known() {
            let message = "Storage not available: the tenants and their keys are not read yet";
            return Err(Error::new(Code::StorageUnavailable, message));
        }
        let found = key::id_of(text).and_then(|id| directory.by_key(id));
        match found.filter(|tenant| tenant.record.accepts(text)) {
            Some(tenant) => Ok(Principal::Tenant(tenant.name.clone())),
            None => Err(Error::new(Code::Unauthorized, "this key is unknown or no longer good")),
        }
    }

    /// A tenant that was created.
    pub fn get(&self, tenant: &TenantId) -> Option<Arc<Tenant>> {
        self.directory.load().get(tenant)
    }

    /// Lets one request of a tenant in.
    pub fn admit(&self, tenant: &TenantId) -> Result<Option<Permit>, Error> {
        let Some(known) = self.get(tenant) else { return Ok(None) };
        Ok(Some(known.meter.admit(&known.record.limits).map_err(counted)?))
    }

    /// Begins one call of guests for a tenant; it is under way until the answer is dropped.
    ///
    /// With the `permit` of a request that is made of many calls, the tenant is to be the one that
    /// was let in, not a later one of that name.
    pub fn begin(&self, tenant: &TenantId, permit: Option<&Permit>) -> Result<Running, Error> {
        // First under way, then looked up: so a deletion that begins now ends it or stops it.
        let running = self.calls.begin(tenant);
        let is_there = match self.get(tenant) {
            Some(known) => {
                let is_same = permit.is_none_or(|permit| permit.is_of(&known.meter));
                known.record.deleted.is_none() && is_same
            }
            None => permit.is_none(),
        };
        if is_there { Ok(running) } else { Err(deleted()) }
    }

    /// Whether a tenant has some of the last minute's quotas left; `embeds`, also of embedding.
    pub fn check(&self, tenant: &TenantId, embeds: bool) -> Result<(), Error> {
        let Some(known) = self.get(tenant) else { return Ok(()) };
        if known.record.deleted.is_some() {
            return Err(deleted());
        }
        known.meter.check(&known.record.limits, embeds).map_err(counted)
    }

    /// The meter of a tenant that was created.
    pub fn meter(&self, tenant: &TenantId) -> Option<Arc<Meter>> {
        self.get(tenant).map(|known| known.meter.clone())
    }

    /// Counts texts that go to the embedder.
    pub fn charge_texts(&self, tenant: &TenantId, texts: &[String]) {
        if let Some(meter) = self.meter(tenant) {
            let tokens = texts.iter().map(|text| text.len().div_ceil(TOKEN_BYTES)).sum::<usize>();
            meter.charge_tokens(tokens as u64);
        }
    }

    /// The quota of a tenant's facts.
    pub fn fact_quota(&self, tenant: &TenantId) -> FactQuota {
        self.get(tenant).map_or_else(FactQuota::default, |known| FactQuota {
            facts: known.record.limits.facts,
            bytes: known.record.limits.bytes,
        })
    }

    /// Refuses more extensions than a tenant may have: `used` with the one to be installed.
    pub fn check_extensions(&self, tenant: &TenantId, used: u64) -> Result<(), Error> {
        let allowed = self.get(tenant).and_then(|known| known.record.limits.extensions);
        match allowed {
            Some(allowed) if used > allowed => {
                Err(full("extensions", allowed, used.saturating_sub(1)))
            }
            _ => Ok(()),
        }
    }

    /// How many of a tenant's recent requests may be kept, if it or its operator said so.
    pub fn kept_requests(&self, tenant: &TenantId) -> Option<u64> {
        self.get(tenant)?.record.limits.proof_requests
    }

    /// Tells a tenant's calls to end, and does not wait for them.
    pub fn cancel_calls(&self, tenant: &TenantId) {
        self.calls.cancel(tenant);
    }

    /// Ends a tenant's calls and waits until none is under way.
    pub async fn end_calls(&self, tenant: &TenantId) {
        self.calls.end(tenant).await;
    }

    /// Tenants that are marked as deleted, and when each was, in milliseconds since 1970.
    pub fn deleted(&self) -> Vec<(TenantId, u64)> {
        let directory = self.directory.load();
        let deleted = |tenant: &Arc<Tenant>| Some((tenant.name.clone(), tenant.record.deleted?));
        directory.all().filter_map(deleted).collect()
    }

    fn until(&self) -> Instant {
        Instant::now() + self.operation
    }
}

/// A quota on what is kept is used up.
pub fn full(limit: &'static str, allowed: u64, used: u64) -> Error {
    counted(Exceeded { limit, allowed, used, after: FULL_WAIT })
}

/// Counts a refusal, by quota and never by tenant.
fn counted(exceeded: Exceeded) -> Error {
    metrics::counter!("kenning_quota_exceeded_total", "limit" => exceeded.limit).increment(1);
    exceeded.into()
}

/// The caller's tenant is no more.
pub fn deleted() -> Error {
    Error::new(Code::Unauthorized, "this tenant was deleted")
}

/// A failure of storage outside a guest's call.
pub fn unavailable(error: StorageError) -> Error {
    match error {
        StorageError::Unavailable(reason) => {
            Error::new(Code::StorageUnavailable, format!("Storage not available: {reason}"))
        }
        StorageError::Timeout { outcome_unknown } => {
            let error = Error::new(Code::Timeout, "Storage operation timeout");
            if outcome_unknown { error.with_unknown_outcome() } else { error }
        }
        other => Error::internal(other),
    }
}
