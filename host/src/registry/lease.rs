//! This host's lease: as long as it lasts, whoever changes what is server-wide waits until this
//! host has loaded the change. Without it nobody waits, so this host serves nothing before it has
//! asked what changed. A host that was stopped for a while has lost it, whether it noticed or not.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared, WeakShared};
use kenning_storage::{HostLease, StorageError, TenantId};

use super::{LoadError, Registry};

/// How long a lease lasts: how long a host that died, or was stopped, delays others.
const LEASE: Duration = Duration::from_secs(3);

/// How often it is renewed.
pub(crate) const RENEW_EVERY: Duration = Duration::from_secs(1);

/// An attempt to get the lease back.
type Regain = BoxFuture<'static, Result<(), LoadError>>;

/// The lease of this host.
pub(super) struct Lease {
    /// Storage of one process needs none.
    is_needed: bool,
    begun: Instant,
    /// When it ends, in milliseconds after `begun`; 0 before it was first had.
    ends: AtomicU64,
    says: Mutex<HostLease>,
    /// The attempt in progress, if there is one.
    regaining: Mutex<Option<WeakShared<Regain>>>,
}

impl Lease {
    pub(super) fn new(is_needed: bool) -> Self {
        let says = HostLease { host: "host".into(), revision: 0, unfinished: Vec::new() };
        let (begun, ends) = (Instant::now(), AtomicU64::default());
        Self { is_needed, begun, ends, says: Mutex::new(says), regaining: Mutex::default() }
    }

    fn says(&self) -> MutexGuard<'_, HostLease> {
        self.says.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What this host says of itself from the next renewal on.
    pub(super) fn say(&self, revision: u64, unfinished: &[TenantId]) {
        let mut says = self.says();
        says.revision = revision;
        says.unfinished = unfinished.to_vec();
    }

    /// Whether it has not ended by this host's clock, which is earlier than by storage's.
    fn is_had(&self) -> bool {
        !self.is_needed || self.elapsed(Instant::now()) < self.ends.load(Ordering::Relaxed)
    }

    /// Notes that it was renewed by a request that was sent at `sent` or later.
    fn extend(&self, sent: Instant) {
        let ends = self.elapsed(sent) + LEASE.as_millis() as u64;
        self.ends.fetch_max(ends, Ordering::Relaxed);
    }

    fn elapsed(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.begun).as_millis() as u64
    }
}

impl Registry {
    /// Names this host for operators.
    pub(crate) fn set_host(&self, host: String) {
        self.lease.says().host = host;
    }

    /// Whether this host may serve without asking what changed.
    pub(crate) fn has_lease(&self) -> bool {
        self.lease.is_had()
    }

    /// Renews the lease, or gets it back: then what changed meanwhile is loaded first.
    ///
    /// # Errors
    /// When storage fails.
    pub(crate) async fn renew_lease(self: &Arc<Self>) -> Result<(), LoadError> {
        if !self.lease.is_needed {
            return Ok(());
        }
        if !self.lease.is_had() {
            return self.regain_lease().await;
        }
        let sent = Instant::now();
        self.say_in_storage().await?;
        self.lease.extend(sent);
        Ok(())
    }

    /// Gets the lease back. All who wait for it wait for one attempt.
    ///
    /// # Errors
    /// When storage fails. What cannot be loaded of what changed stays as it was, and this host is
    /// named as one that does not follow.
    pub(crate) async fn regain_lease(self: &Arc<Self>) -> Result<(), LoadError> {
        self.join_regain().await
    }

    fn join_regain(self: &Arc<Self>) -> Shared<Regain> {
        let mut regaining = self.lease.regaining.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(attempt) = regaining.as_ref().and_then(WeakShared::upgrade) {
            return attempt;
        }
        let registry = self.clone();
        let attempt = async move { registry.try_regain().await }.boxed().shared();
        *regaining = attempt.downgrade();
        attempt
    }

    async fn try_regain(self: &Arc<Self>) -> Result<(), LoadError> {
        if self.lease.is_had() {
            return Ok(());
        }
        let sent = Instant::now();
        match self.say_in_storage().await {
            // Others wait for this host from now on, so it sees all for which nobody waited.
            Ok(()) => {
                self.follow_and_say().await?;
                self.lease.extend(sent);
                Ok(())
            }
            Err(error @ LoadError::Storage(StorageError::Timeout { .. })) => Err(error),
            // Storage may be there and take no writes, such as a Redis that is out of memory. Then
            // nobody waits for this host, and it asks before each call what changed.
            Err(_) => self.follow_or_warn().await.map(drop),
        }
    }

    /// Loads what other hosts changed, and says so at once: somebody may wait for it.
    ///
    /// # Errors
    /// When storage fails.
    pub(crate) async fn follow_and_say(self: &Arc<Self>) -> Result<(), LoadError> {
        match self.follow_or_warn().await? && self.lease.is_needed {
            true => self.say_in_storage().await,
            false => Ok(()),
        }
    }

    /// Loads what other hosts changed, as far as it can be loaded. Returns whether there was
    /// something.
    async fn follow_or_warn(self: &Arc<Self>) -> Result<bool, LoadError> {
        match self.follow().await {
            Err(error) if !matches!(error, LoadError::Storage(_)) => {
                tracing::warn!(%error, "changes by other hosts cannot be loaded");
                Ok(false)
            }
            done => done,
        }
    }

    async fn say_in_storage(&self) -> Result<(), LoadError> {
        let says = self.lease.says().clone();
        Ok(self.archive.renew_lease(&says, LEASE).await?)
    }
}
