//! Which host makes a vector.
//!
//! A fact's own host embeds it, in the call that stores it or soon after. Until then every host
//! finds it pending. So a host leaves facts of other hosts alone for a while, and takes those that
//! are still pending then: their host is gone, or cannot embed. Only one host at a time works off a
//! tenant's pending facts; its claim in storage ends by itself when that host is gone.
//!
//! The changes of a tenant whose index is not held are not followed. Of such a tenant, a host
//! leaves alone for as long whatever was changed after a revision that it has seen.

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
    /// A revision of each tenant that is not followed and has pending facts, and when it was seen:
    /// what is pending at a revision up to it is so since then, at least.
    seen: Mutex<HashMap<TenantId, (Revision, Instant)>>,
}

impl Others {
    /// Knows of no facts yet. Stores wait up to `store` for their embeddings.
    pub(super) fn new(store: Duration) -> Self {
        let grace = store.min(LONGEST) + MARGIN;
        let (tenants, seen) = Default::default();
        Self { grace, started: Instant::now(), tenants, seen }
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
    /// tenant that is not followed. `last` is the tenant's revision now.
    fn left_alone(&self, tenant: &TenantId, pending: Vec<Pending>, last: Revision) -> Vec<Pending> {
        let now = Instant::now();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (up_to, since) = *seen.entry(tenant.clone()).or_insert((last, now));
        if now.duration_since(since) <= self.grace {
            return Vec::new();
        }
        let is_late = |(_, revision): &Pending| *revision <= up_to;
        let late: Vec<Pending> = pending.into_iter().take_while(is_late).collect();
        if late.is_empty() {
            // Those up to it have their vectors. The next ones are left alone from now on.
            seen.insert(tenant.clone(), (last, now));
        }
        late
    }

    /// A tenant has no pending facts.
    pub(super) fn forget_pending(&self, tenant: &TenantId) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).remove(tenant);
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
            None => {
                let last = self.last_revision(tenant).await?;
                self.others.left_alone(tenant, pending, last)
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn pending(revisions: impl IntoIterator<Item = u64>) -> Vec<Pending> {
        let fact = |n: u64| (FactId::parse(&format!("f{n}")).unwrap(), Revision(n));
        revisions.into_iter().map(fact).collect()
    }

    #[test]
    fn of_a_tenant_that_is_not_followed_all_old_facts_are_taken_and_new_ones_left_alone() {
        let grace = Duration::from_millis(20);
        let others = Others { grace, ..Others::new(Duration::ZERO) };
        let acme = TenantId::parse("acme").unwrap();
        let taken = |first: u64, last: u64| {
            let all = pending(first..=last);
            others.left_alone(&acme, all, Revision(last)).len()
        };
        let pass = || std::thread::sleep(grace * 2);
        assert_eq!(taken(1, 100), 0, "their host may be embedding them");
        pass();
        // One batch after the other, without another pause.
        assert_eq!(taken(1, 100), 100);
        assert_eq!(taken(33, 110), 68);
        assert_eq!(taken(65, 120), 36);
        assert_eq!(taken(101, 120), 0, "these came later");
        pass();
        assert_eq!(taken(101, 130), 20);
        others.forget_pending(&acme);
        assert_eq!(taken(121, 130), 0);
    }
}
