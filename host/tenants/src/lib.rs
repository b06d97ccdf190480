//! The tenants: their keys, their quotas and what they use.
//!
//! [`Tenants`] is the entry point. In reading order:
//!
//! | module | holds |
//! |---|---|
//! | `key` | [`NewKey`], [`AdminKeys`] and the digests that are stored instead of keys |
//! | `scopes` | [`Scopes`], what a key or token may be used for |
//! | `credential` | [`Credential`], what a tenant's request came with |
//! | `tokens` | [`Tokens`]: JSON Web Tokens of an issuer, and its public keys |
//! | `record` | [`Record`], the document in storage for each tenant that was created |
//! | `directory` | all records in memory, refreshed with what other hosts change |
//! | `quotas` | [`Quotas`], what all calls of a tenant together may use |
//! | `meter` | [`Meter`], which counts usage and refuses what exceeds a quota |
//! | `windows` | what one host used in the last second and in the last minute |
//! | `shared_use` | quotas that several hosts count together, and the task that draws allowances |
//! | `allowance` | what this host may use of one of them without asking storage |
//! | `last_use` | when each key was used last |
//! | `calls` | the calls in progress, so that a deletion can end them |
//! | `admin` | what an operator may do: create, change, list and delete tenants |
//!
//! ```
//! use std::collections::BTreeMap;
//! use std::error::Error;
//! use std::time::Duration;
//!
//! use kenning_index::Language;
//! use kenning_storage::{Layout, StorageLimits, TenantId, open};
//! use kenning_tenants::{AdminKeys, Principal, Scope, Tenants};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let address = format!("embedded:{}", directory.path().display());
//! let storage = open(&address, Layout::Tenant, StorageLimits::default()).await?;
//! let admin_keys = AdminKeys::parse("0123456789abcdef")?;
//! let tenants = Tenants::new(storage, Some(admin_keys), None, Duration::from_secs(2));
//! tenants.refresh().await?;
//!
//! let name = TenantId::parse("acme")?;
//! let quotas = BTreeMap::from([("concurrent_calls".to_string(), Some(1))]);
//! let created = tenants.create(&name, quotas, Language::default(), None).await?;
//! let Principal::Tenant(credential) = tenants.authenticate(&created.key.text).await? else {
//!     unreachable!("it is not the admin key");
//! };
//! assert_eq!(credential.tenant, name);
//! assert!(credential.check(Scope::Admin, "this example").is_err());
//!
//! let permit = tenants.admit(&name, Some(&credential), None).await?;
//! assert!(tenants.admit(&name, None, None).await.is_err(), "one call at a time");
//! drop(permit);
//! assert!(tenants.admit(&name, None, None).await.is_ok());
//! # Ok(())
//! # }
//! ```

#![deny(missing_docs)]

mod admin;
mod allowance;
mod calls;
mod credential;
mod directory;
mod key;
mod last_use;
mod meter;
mod quotas;
mod record;
mod scopes;
mod shared_use;
mod tokens;
mod windows;

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use kenning_core::error::{Blame, Code, Error};
use kenning_index::Language;
use kenning_storage::{FactQuota, Storage, StorageError, TenantId};
use tokio::runtime::Handle;

use calls::Calls;
use directory::Directory;
use record::KeyState;

pub use admin::{Created, Listed};
pub use calls::Running;
pub use credential::Credential;
pub use directory::Tenant;
pub use key::{AdminKeys, KeyDigest, NewKey};
pub use last_use::{LAST_USE, LastUses};
pub use meter::{Meter, Permit, Used};
pub use quotas::{QuotaExceeded, Quotas};
pub use record::{Attributes, KeyRecord, KeyTerms, Record, now};
pub use scopes::{Scope, Scopes};
pub use tokens::{JwksSource, TokenSettings, Tokens};

/// `Retry-After` when a quota on stored things is used up: some must be deleted first.
const STORED_WAIT: Duration = Duration::from_secs(60);

/// Bytes of text that count as one embedding token. Tokenizers differ; this is about the average
/// for English, and the same for every embedder.
const TOKEN_BYTES: usize = 4;

/// All tenants of the server.
pub struct Tenants {
    storage: Arc<dyn Storage>,
    admin_keys: Option<AdminKeys>,
    tokens: Option<Tokens>,
    /// How long one storage operation may take.
    operation: Duration,
    /// Where hosts may share the storage, and count quotas together: what tasks run on.
    shared_on: Option<Handle>,
    directory: ArcSwap<Directory>,
    calls: Arc<Calls>,
}

/// Whom a key or token belongs to.
#[derive(Debug, PartialEq)]
pub enum Principal {
    /// The operator, with the admin key of this id.
    Operator(String),
    /// A tenant, with a key or token of its own.
    Tenant(Credential),
}

impl Tenants {
    /// The tenants in `storage`; none are loaded before the first [`Tenants::refresh`].
    ///
    /// Without an admin key the server is open: every request may name any tenant. `operation`
    /// bounds one storage operation. Must be called within a tokio runtime.
    pub fn new(
        storage: Arc<dyn Storage>,
        admin_keys: Option<AdminKeys>,
        tokens: Option<Tokens>,
        operation: Duration,
    ) -> Arc<Self> {
        let (directory, calls) = (ArcSwap::default(), Arc::default());
        let shared_on = storage.describe().backend.is_shared().then(Handle::current);
        Arc::new(Self { storage, admin_keys, tokens, operation, shared_on, directory, calls })
    }

    /// Whether requests need a key.
    pub fn require_keys(&self) -> bool {
        self.admin_keys.is_some()
    }

    /// Whose key or token `text` is.
    ///
    /// The keys of the last refresh stay valid for as long as storage is down. That is safe,
    /// because everything they give access to needs storage.
    ///
    /// # Errors
    /// [`Code::Unauthorized`] if it is not valid, [`Code::StorageUnavailable`] if the tenants were
    /// never loaded, [`Code::Overloaded`] if the keys of tokens were never.
    pub async fn authenticate(&self, text: &str) -> Result<Principal, Error> {
        if let Some(id) = self.admin_keys.as_ref().and_then(|keys| keys.find(text)) {
            return Ok(Principal::Operator(id));
        }
        if !self.directory.load().is_loaded() {
            let message = "Storage not available: the tenants and their keys are not loaded yet";
            return Err(Error::new(Code::StorageUnavailable, message));
        }
        let credential = match self.tokens.as_ref().filter(|_| Tokens::is_token(text)) {
            Some(tokens) => self.of_known_tenant(tokens.verify(text).await?)?,
            None => self.key(text)?,
        };
        Ok(Principal::Tenant(credential))
    }

    fn key(&self, text: &str) -> Result<Credential, Error> {
        let directory = self.directory.load();
        let found = key::id_of(text).and_then(|id| directory.by_key(id));
        let found = found.map(|tenant| (&tenant.name, tenant.record.key(text)));
        match found {
            Some((tenant, (Some(key), KeyState::Valid))) => Ok(Credential {
                tenant: tenant.clone(),
                key_id: Some(key.id.as_str().into()),
                subject: None,
                attributes: None,
                scopes: key.scopes.clone(),
            }),
            Some((_, (_, KeyState::Expired))) => {
                let message = "this key has expired; the operator can give you another";
                Err(Error::new(Code::Unauthorized, message))
            }
            _ => Err(key_not_valid()),
        }
    }

    /// A token may name any tenant; its issuer does not know which there are.
    fn of_known_tenant(&self, credential: Credential) -> Result<Credential, Error> {
        let tenant = self.get(&credential.tenant);
        if tenant.is_some_and(|tenant| tenant.record.deleted.is_none()) {
            return Ok(credential);
        }
        let message =
            format!("this token is for the tenant {}, which is not here", credential.tenant);
        Err(Error::new(Code::Unauthorized, message))
    }

    /// Whether a tenant has a key with this id.
    pub fn knows_key(&self, id: &str) -> bool {
        self.directory.load().by_key(id).is_some()
    }

    /// A tenant, if it was created.
    pub fn get(&self, tenant: &TenantId) -> Option<Arc<Tenant>> {
        self.directory.load().get(tenant)
    }

    /// The language of a tenant's texts; the default for a tenant that was never created.
    pub fn language(&self, tenant: &TenantId) -> Language {
        self.get(tenant).map(|found| found.record.language).unwrap_or_default()
    }

    /// How many numbers the vectors have that this tenant's callers give; `None` if the server's
    /// embedder makes them.
    pub fn given_dimensions(&self, tenant: &TenantId) -> Option<usize> {
        self.get(tenant)?.record.given_dimensions
    }

    /// What the operator says of the holder of a tenant's key, as a JSON object.
    pub fn attributes(&self, tenant: &TenantId, key: &str) -> Option<Arc<str>> {
        let found = self.get(tenant)?;
        let key = found.record.keys.iter().find(|one| one.id == key)?;
        key.attributes.as_ref().map(|attributes| attributes.text().clone())
    }

    /// Admits one request of a tenant, which came with `credential` if it needed one. Returns
    /// `None` for a tenant that was never created, which has no quotas. Waits no longer than
    /// `time`, and only where hosts count together and this one has no allowance.
    ///
    /// # Errors
    /// [`Code::QuotaExceeded`] if `concurrent_calls` or `requests_per_second` is used up,
    /// [`Code::Unauthorized`] if there is a credential and no such tenant any more.
    pub async fn admit(
        &self,
        tenant: &TenantId,
        credential: Option<&Credential>,
        time: Option<Duration>,
    ) -> Result<Option<Permit>, Error> {
        let Some(found) = self.get(tenant) else {
            return if credential.is_some() { Err(tenant_deleted()) } else { Ok(None) };
        };
        let quotas = &found.record.quotas;
        let permit = found.meter.enter(quotas).map_err(refuse)?;
        let until = Instant::now() + time.map_or(self.operation, |time| time.min(self.operation));
        found.meter.count_request(quotas, until).await.map_err(refuse)?;
        Ok(Some(match credential {
            Some(credential) => permit.with(credential.clone()),
            None => permit,
        }))
    }

    /// Counts one more request of a tenant, for a request that does the work of several. Waits like
    /// [`Self::admit`].
    ///
    /// # Errors
    /// [`Code::QuotaExceeded`] if `requests_per_second` is used up.
    pub async fn count_request(&self, tenant: &TenantId, until: Instant) -> Result<(), Error> {
        let Some(found) = self.get(tenant) else { return Ok(()) };
        let until = until.min(self.until());
        found.meter.count_request(&found.record.quotas, until).await.map_err(refuse)
    }

    /// Begins one call for a tenant; it is in progress until the returned value is dropped.
    ///
    /// A request may consist of many calls. Its `permit` makes sure that the tenant is still the
    /// one that was admitted, and not a later one of the same name, and that it still has the key.
    ///
    /// # Errors
    /// [`Code::Unauthorized`] if the tenant was deleted, or the request's key revoked.
    pub fn begin(&self, tenant: &TenantId, permit: Option<&Permit>) -> Result<Running, Error> {
        // Registered before the lookup: a deletion that begins meanwhile ends it or is seen here.
        let running = self.calls.begin(tenant);
        let Some(found) = self.get(tenant) else {
            return if permit.is_none() { Ok(running) } else { Err(tenant_deleted()) };
        };
        let is_same = permit.is_none_or(|permit| permit.is_of(&found.meter));
        if found.record.deleted.is_some() || !is_same {
            return Err(tenant_deleted());
        }
        match permit.is_none_or(|permit| permit.has_key_among(&found.record.keys)) {
            true => Ok(running),
            false => Err(key_not_valid()),
        }
    }

    /// Checks the quotas per minute before a call. `embeds` says whether it may need embeddings.
    /// Waits like [`Self::admit`].
    ///
    /// # Errors
    /// [`Code::QuotaExceeded`] if one is used up, [`Code::Unauthorized`] if the tenant was deleted.
    pub async fn check_quotas(
        &self,
        tenant: &TenantId,
        embeds: bool,
        until: Instant,
    ) -> Result<(), Error> {
        let Some(found) = self.get(tenant) else { return Ok(()) };
        if found.record.deleted.is_some() {
            return Err(tenant_deleted());
        }
        let until = until.min(self.until());
        found.meter.check(&found.record.quotas, embeds, until).await.map_err(refuse)
    }

    /// The meter of a tenant, if it was created.
    pub fn meter(&self, tenant: &TenantId) -> Option<Arc<Meter>> {
        self.get(tenant).map(|found| found.meter.clone())
    }

    /// Counts the tokens of texts that are passed to the embedder.
    pub fn charge_texts<'t>(&self, tenant: &TenantId, texts: impl Iterator<Item = &'t str>) {
        if let Some(meter) = self.meter(tenant) {
            let tokens = texts.map(|text| text.len().div_ceil(TOKEN_BYTES)).sum::<usize>();
            meter.charge_tokens(tokens as u64);
        }
    }

    /// The quota of a tenant's facts.
    pub fn fact_quota(&self, tenant: &TenantId) -> FactQuota {
        self.get(tenant).map_or_else(FactQuota::default, |found| FactQuota {
            facts: found.record.quotas.facts,
            bytes: found.record.quotas.bytes,
        })
    }

    /// Checks the quota of extensions. `used` includes the one that is to be installed.
    ///
    /// # Errors
    /// [`Code::QuotaExceeded`] if that is more than the tenant may have.
    pub fn check_extensions(&self, tenant: &TenantId, used: u64) -> Result<(), Error> {
        let allowed = self.get(tenant).and_then(|found| found.record.quotas.extensions);
        match allowed {
            Some(allowed) if used > allowed => {
                Err(quota_exceeded("extensions", allowed, used.saturating_sub(1)))
            }
            _ => Ok(()),
        }
    }

    /// How many of a tenant's recent requests may be recorded, if a quota says so.
    pub fn recorded_requests(&self, tenant: &TenantId) -> Option<u64> {
        self.get(tenant)?.record.quotas.proof_requests
    }

    /// Tells the other hosts what this one has used: it ends.
    pub async fn end(&self) {
        // What is not written is only shown less exactly.
        let _ = self.write_last_uses().await;
        let directory = self.directory.load_full();
        for tenant in directory.all() {
            tenant.meter.end().await;
        }
    }

    /// Asks a tenant's calls to end, and does not wait for them.
    pub fn cancel_calls(&self, tenant: &TenantId) {
        self.calls.cancel(tenant);
    }

    /// Asks a tenant's calls to end, and waits until none is in progress.
    pub async fn end_calls(&self, tenant: &TenantId) {
        self.calls.end(tenant).await;
    }

    /// The tenants that are marked deleted, and when each was, in milliseconds since 1970.
    pub fn deleted(&self) -> Vec<(TenantId, u64)> {
        let directory = self.directory.load();
        let deleted = |tenant: &Arc<Tenant>| Some((tenant.name.clone(), tenant.record.deleted?));
        directory.all().filter_map(deleted).collect()
    }

    fn until(&self) -> Instant {
        Instant::now() + self.operation
    }
}

/// The error for a quota on stored things that is used up, with the quota's name.
pub fn quota_exceeded(quota: &'static str, allowed: u64, used: u64) -> Error {
    let mut error = refuse(QuotaExceeded { quota, allowed, used, after: STORED_WAIT });
    if used < allowed {
        // Otherwise it would read as if there were enough.
        let left = allowed - used;
        error.message.push_str(&format!("; the {left} that are left do not suffice"));
    }
    error
}

/// Counts the refusal in the metrics: by quota, never by tenant.
fn refuse(exceeded: QuotaExceeded) -> Error {
    metrics::counter!("kenning_quota_exceeded_total", "limit" => exceeded.quota).increment(1);
    exceeded.into()
}

fn key_not_valid() -> Error {
    Error::new(Code::Unauthorized, "this key is unknown or was revoked")
}

/// The error for a request or call whose tenant was deleted.
pub fn tenant_deleted() -> Error {
    Error::new(Code::Unauthorized, "this tenant was deleted")
}

/// The error for a storage operation that failed outside a guest call.
pub fn storage_error(error: StorageError) -> Error {
    storage_error_named("Storage", &error)
}

/// The same, with the name of the storage.
pub fn storage_error_named(name: &str, error: &StorageError) -> Error {
    let unavailable = |reason: &str| {
        Error::new(Code::StorageUnavailable, format!("{name} not available: {reason}"))
    };
    let told = match error.told() {
        StorageError::Unavailable(reason) => unavailable(reason),
        StorageError::Refused(reason) => unavailable(reason).not_retryable(),
        StorageError::Full(reason) => Error::new(
            Code::StorageFull,
            format!("{name} is full: {reason}; make room, and writes are accepted again"),
        ),
        StorageError::StaleRegistry => {
            Error::new(Code::Overloaded, format!("{}; try again", error.cause()))
        }
        StorageError::Timeout { .. } => {
            Error::new(Code::Timeout, format!("{name} operation timeout"))
        }
        StorageError::ReplyLost(_) | StorageError::Uncertain(_) => {
            Error::new(Code::Timeout, format!("{name} operation timeout: {error}"))
        }
        StorageError::Damaged { .. } => {
            let message = format!("{name} is damaged: {}; see `kenning verify`", error.cause());
            Error::new(Code::Internal, message).blaming(Blame::Backend)
        }
        other => Error::internal(other),
    };
    if error.is_outcome_unknown() { told.with_unknown_outcome() } else { told }
}
