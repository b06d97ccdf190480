//! Which host makes a vector.
//!
//! A fact's own host embeds it, in the call that stores it or soon after. Until then every host
//! finds it pending. So a host leaves facts of other hosts alone for a while, and takes those that
//! are still pending then: their host is gone, or cannot embed. Only one host at a time works off a
//! tenant's pending facts; its claim in storage ends by itself when that host is gone.
//!
//! The changes of a tenant whose index is not held are not followed. Of such a tenant, a host
//! leaves alone for as long whatever it finds pending.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kenning_storage::{Change, ChangeKind, FactId, Revision, TenantId};
use tokio::time::interval;

use super::backlog::Pending;
use super::{Indexer, IndexerError};

/// How much longer than a store waits for its embedding a fact is left to its own host.
const MARGIN: Duration = Duration::from_secs(1);

/// The longest that a store is taken to wait.
const LONGEST: Duration = Duration::from_secs(2);

/// How long a claim lasts. It is renewed while its host works.
const LEASE: Duration = Duration::from_secs(3);

/// Most facts that are remembered for one tenant. Of more, any host may make the vectors.
const MOST: usize = 20_000;

/// The facts that other hosts wrote and have not embedded yet.
pub(super) struct Others {
    /// How long a fact is left to its own host.
    grace: Duration,
    started: Instant,
    tenants: Mutex<HashMap<TenantId, HashMap<FactId, Instant>>>,
    /// The pending facts of tenants that are not followed: their revisions, and since when this
    /// host knows of them.
    pending: Mutex<HashMap<TenantId, HashMap<FactId, (Revision, Instant)>>>,
}

impl Others {
    /// Knows of no facts yet. Stores wait up to `store` for their embeddings.
    pub(super) fn new(store: Duration) -> Self {
        let grace = store.min(LONGEST) + MARGIN;
        let (tenants, pending) = Default::default();
        Self { grace, started: Instant::now(), tenants, pending }
    }

    /// Notes a change.
    pub(super) fn note(&self, tenant: &TenantId, change: &Change) {
        let mut tenants = self.tenants();
        match change.kind {
            ChangeKind::Stored | ChangeKind::Changed | ChangeKind::Marked if !change.is_own => {
                let facts = tenants.entry(tenant.clone()).or_default();
                if facts.len() < MOST {
                    facts.insert(change.id.clone(), Instant::now());
                }
            }
            _ => {
                let Some(facts) = tenants.get_mut(tenant) else { return };
                facts.remove(&change.id);
                if facts.is_empty() {
                    tenants.remove(tenant);
                }
            }
        }
    }

    /// The tenants with facts that were left alone for long enough.
    pub(super) fn late(&self) -> Vec<TenantId> {
        let mut late = Vec::new();
        for (tenant, facts) in self.tenants().iter_mut() {
            let is_late = |since: &Instant| since.elapsed() > self.grace;
            if facts.values().any(is_late) {
                late.push(tenant.clone());
                // The indexer finds them in storage, so that they need not be remembered.
                facts.retain(|_, since| !is_late(since));
            }
        }
        late
    }

    fn is_recent(&self, tenant: &TenantId, id: &FactId) -> bool {
        let tenants = self.tenants();
        let since = tenants.get(tenant).and_then(|facts| facts.get(id));
        since.is_some_and(|since| since.elapsed() <= self.grace)
    }

    /// The first of a tenant's pending facts, those that have been left alone for long enough, of a
    /// tenant that is not followed. The others are remembered.
    fn left_alone(&self, tenant: &TenantId, pending: Vec<Pending>) -> Vec<Pending> {
        let mut tenants = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let known = tenants.remove(tenant).unwrap_or_default();
        let since = |(id, revision): &Pending| match known.get(id) {
            Some((of, since)) if of == revision => *since,
            _ => Instant::now(),
        };
        let remembered: HashMap<FactId, (Revision, Instant)> =
            pending.iter().map(|fact| (fact.0.clone(), (fact.1, since(fact)))).collect();
        let is_late = |(id, _): &Pending| {
            remembered.get(id).is_some_and(|(_, since)| since.elapsed() > self.grace)
        };
        let late = pending.into_iter().take_while(is_late).collect();
        tenants.insert(tenant.clone(), remembered);
        late
    }

    /// A tenant has no pending facts.
    pub(super) fn forget_pending(&self, tenant: &TenantId) {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).remove(tenant);
    }

    fn tenants(&self) -> MutexGuard<'_, HashMap<TenantId, HashMap<FactId, Instant>>> {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Indexer {
    /// The first of a tenant's pending facts that this host may embed. If there are none, when to
    /// look again.
    pub(super) async fn ours(
        &self,
        tenant: &TenantId,
        pending: Vec<Pending>,
    ) -> Result<Result<Vec<Pending>, Instant>, IndexerError> {
        let services = self.kb.services();
        if !services.storage.describe().backend.is_shared() {
            return Ok(Ok(pending));
        }
        let grace = self.others.grace;
        let again = Err(Instant::now() + grace / 2);
        if self.others.started.elapsed() < grace {
            return Ok(again);
        }
        let ours: Vec<Pending> = match services.indexes.applied().position(tenant) {
            None => self.others.left_alone(tenant, pending),
            // What is not followed yet may be another host's that has just been stored.
            Some(followed) => {
                let is_ours = |(id, revision): &Pending| {
                    *revision <= followed && !self.others.is_recent(tenant, id)
                };
                pending.into_iter().take_while(is_ours).collect()
            }
        };
        if ours.is_empty() || !self.claim(tenant).await? {
            return Ok(again);
        }
        Ok(Ok(ours))
    }

    async fn claim(&self, tenant: &TenantId) -> Result<bool, IndexerError> {
        let storage = &self.kb.services().storage;
        Ok(storage.claim_embedding(tenant, LEASE, self.until()).await?)
    }

    /// Does `work`, and keeps the claim meanwhile.
    pub(super) async fn keeping_claim<T>(
        &self,
        tenant: &TenantId,
        work: impl Future<Output = T>,
    ) -> T {
        let renew = async {
            let mut renewal = interval(LEASE / 3);
            loop {
                renewal.tick().await;
                // One that cannot be renewed ends, and another host makes the same vectors.
                let _ = self.claim(tenant).await;
            }
        };
        tokio::select! {
            done = work => done,
            () = renew => unreachable!("renewing never ends"),
        }
    }
}
