//! Which tenants may have facts without vectors, and which facts are just being stored: their
//! vectors are made by the calls that store them, and the indexer leaves them alone.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kenning_storage::{FactId, TenantId};
use tokio::sync::Notify;

/// What the indexer may work on.
#[derive(Debug, Default)]
pub(crate) struct PendingFacts {
    /// Tenants that may have facts with pending marks.
    tenants: Mutex<HashSet<TenantId>>,
    /// Notified when a tenant is added.
    has_tenants: Notify,
    storing: Mutex<HashMap<TenantId, HashMap<FactId, InFlight>>>,
}

/// A fact that is being stored.
#[derive(Debug, Default)]
struct InFlight {
    /// By so many calls.
    calls: usize,
    /// The indexer left it alone, and is to look at it afterwards.
    is_awaited: bool,
}

/// A fact that a call is storing on this host: from before it is written until its vector is in
/// storage, or will not be made by the call.
pub struct Storing {
    pending: Arc<PendingFacts>,
    tenant: TenantId,
    id: FactId,
}

impl PendingFacts {
    /// A tenant may have facts with pending marks.
    pub(crate) fn mark(&self, tenant: &TenantId) {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner).insert(tenant.clone());
        self.has_tenants.notify_one();
    }

    /// It has none.
    pub(crate) fn forget(&self, tenant: &TenantId) {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner).remove(tenant);
    }

    /// Waits until tenants are marked, and takes them.
    pub(crate) async fn take(&self) -> Vec<TenantId> {
        loop {
            let marked: Vec<_> =
                self.tenants.lock().unwrap_or_else(PoisonError::into_inner).drain().collect();
            if !marked.is_empty() {
                return marked;
            }
            self.has_tenants.notified().await;
        }
    }

    /// Notes that a call stores a fact.
    pub(crate) fn store(self: &Arc<Self>, tenant: &TenantId, id: &FactId) -> Arc<Storing> {
        let mut storing = self.storing();
        storing.entry(tenant.clone()).or_default().entry(id.clone()).or_default().calls += 1;
        let (tenant, id) = (tenant.clone(), id.clone());
        Arc::new(Storing { pending: self.clone(), tenant, id })
    }

    /// Whether a call stores a fact. If so, the tenant is marked when it has.
    pub(crate) fn is_being_stored(&self, tenant: &TenantId, id: &FactId) -> bool {
        let mut storing = self.storing();
        let fact = storing.get_mut(tenant).and_then(|facts| facts.get_mut(id));
        fact.map(|fact| fact.is_awaited = true).is_some()
    }

    fn storing(&self) -> MutexGuard<'_, HashMap<TenantId, HashMap<FactId, InFlight>>> {
        self.storing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call no longer stores a fact. Returns whether the indexer is to look at it.
    fn stored(&self, tenant: &TenantId, id: &FactId) -> bool {
        let mut storing = self.storing();
        let Some(facts) = storing.get_mut(tenant) else { return false };
        let Some(fact) = facts.get_mut(id) else { return false };
        fact.calls -= 1;
        let is_awaited = fact.is_awaited;
        if fact.calls > 0 {
            return false;
        }
        facts.remove(id);
        if facts.is_empty() {
            storing.remove(tenant);
        }
        is_awaited
    }
}

impl Drop for Storing {
    fn drop(&mut self) {
        if self.pending.stored(&self.tenant, &self.id) {
            self.pending.mark(&self.tenant);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn a_fact_that_was_left_alone_is_looked_at_once_all_calls_have_stored_it() {
        let pending = Arc::<PendingFacts>::default();
        let tenant = TenantId::parse("acme").unwrap();
        let [a, b] = ["a", "b"].map(|id| FactId::parse(id).unwrap());
        let (first, second) = (pending.store(&tenant, &a), pending.store(&tenant, &a));
        let unasked = pending.store(&tenant, &b);
        assert!(pending.is_being_stored(&tenant, &a));
        drop((first.clone(), first, unasked));
        assert!(pending.is_being_stored(&tenant, &a) && !pending.is_being_stored(&tenant, &b));
        assert_eq!(pending.take().now_or_never(), None);
        drop(second);
        assert!(!pending.is_being_stored(&tenant, &a));
        assert_eq!(pending.take().now_or_never(), Some(vec![tenant]));
        assert!(pending.storing().is_empty());
    }
}
