//! A semaphore that shares its permits fairly between tenants.
//!
//! There is a bound on all permits and one on the permits of a tenant. A permit that is returned
//! goes to the waiting tenant that holds the fewest; among equals, to the one that has waited
//! longest; within a tenant, to the call that came first. So the calls of a tenant with a thousand
//! of them wait for each other, and a tenant with a single call is served next.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kenning_storage::TenantId;
use tokio::sync::oneshot;

/// How many permits there are, and how many a tenant may hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Permits for all tenants together.
    pub permits: usize,
    /// The maximum of permits that one tenant holds.
    pub per_tenant: usize,
    /// How many of `permits` are reserved for tenants that hold none.
    pub reserved_for_idle: usize,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct FairSemaphore {
    limits: Limits,
    state: Mutex<State>,
}

/// Permission to proceed, which is one permit or several; returned when it is dropped.
#[derive(Debug)]
pub struct Permit {
    semaphore: Arc<FairSemaphore>,
    tenant: TenantId,
    count: usize,
}

#[derive(Debug)]
struct State {
    free: usize,
    /// The tenants that hold or await permits.
    tenants: HashMap<TenantId, Tenant>,
    /// Counts events, to order them.
    clock: u64,
}

#[derive(Debug, Default)]
struct Tenant {
    held: usize,
    waiting: VecDeque<Waiting>,
    /// When the call at the head of `waiting` got there.
    since: u64,
}

/// A call that waits for `count` permits.
#[derive(Debug)]
struct Waiting {
    count: usize,
    served: oneshot::Sender<Permit>,
}

impl FairSemaphore {
    /// A semaphore with all its permits free.
    pub fn new(limits: Limits) -> Arc<Self> {
        let state = State { free: limits.permits, tenants: HashMap::new(), clock: 0 };
        Arc::new(Self { limits, state: Mutex::new(state) })
    }

    /// A permit, if there is one for `tenant` now.
    pub fn try_acquire(self: &Arc<Self>, tenant: &TenantId) -> Option<Permit> {
        let taken = self.state().try_take(&self.limits, tenant, 1);
        taken.then(|| self.permit(tenant, 1))
    }

    /// Waits for a permit. Dropping the future leaves the queue.
    pub async fn acquire(self: &Arc<Self>, tenant: &TenantId) -> Permit {
        self.acquire_many(tenant, 1).await
    }

    /// Waits for `count` permits, or for as many as a tenant may hold if that is fewer. Calls for
    /// fewer permits may be served before it. Dropping the future leaves the queue.
    pub async fn acquire_many(self: &Arc<Self>, tenant: &TenantId, count: usize) -> Permit {
        let count = count.min(self.limits.per_tenant).min(self.limits.permits);
        let waiting = match self.take_or_wait(tenant, count) {
            Ok(permit) => return permit,
            Err(waiting) => waiting,
        };
        // A sender is dropped unused only with `self`, which this call keeps alive.
        waiting.await.expect("the semaphore lives until every waiting call is served")
    }

    /// Whether `tenant` holds as many permits as one tenant may.
    pub fn is_at_limit(&self, tenant: &TenantId) -> bool {
        let state = self.state();
        state.tenants.get(tenant).is_some_and(|tenant| tenant.held >= self.limits.per_tenant)
    }

    fn take_or_wait(
        self: &Arc<Self>,
        tenant: &TenantId,
        count: usize,
    ) -> Result<Permit, oneshot::Receiver<Permit>> {
        let mut state = self.state();
        if state.try_take(&self.limits, tenant, count) {
            return Ok(self.permit(tenant, count));
        }
        let now = state.tick();
        let its = state.tenants.entry(tenant.clone()).or_default();
        if its.waiting.is_empty() {
            its.since = now;
        }
        let (served, waiting) = oneshot::channel();
        its.waiting.push_back(Waiting { count, served });
        Err(waiting)
    }

    fn release(self: &Arc<Self>, tenant: &TenantId, count: usize) {
        let mut state = self.state();
        state.free += count;
        let now = state.tick();
        if let Some(its) = state.tenants.get_mut(tenant) {
            its.held -= count;
            // It had its turn: who else waits with as few permits goes first.
            its.since = now;
        }
        let mut served = Vec::new();
        while let Some((next, waiting)) = state.serve_next(&self.limits) {
            served.push((waiting.served, self.permit(&next, waiting.count)));
        }
        state.remove_if_idle(tenant);
        drop(state);
        for (waiting, permit) in served {
            // If the call left just now, dropping the permit returns it.
            drop(waiting.send(permit));
        }
    }

    fn permit(self: &Arc<Self>, tenant: &TenantId, count: usize) -> Permit {
        Permit { semaphore: self.clone(), tenant: tenant.clone(), count }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Limits {
    /// Whether a tenant that holds `held` permits may have `count` more.
    fn allow(&self, free: usize, held: usize, count: usize) -> bool {
        let reserved = if held == 0 { 0 } else { self.reserved_for_idle };
        free >= reserved + count && held + count <= self.per_tenant
    }
}

impl State {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// Takes `count` permits, unless other calls of the tenant wait for some.
    fn try_take(&mut self, limits: &Limits, tenant: &TenantId, count: usize) -> bool {
        let free = self.free;
        let its = self.tenants.entry(tenant.clone()).or_default();
        its.waiting.retain(|waiting| !waiting.served.is_closed());
        let taken = its.waiting.is_empty() && limits.allow(free, its.held, count);
        if taken {
            its.held += count;
            self.free -= count;
        }
        self.remove_if_idle(tenant);
        taken
    }

    /// Takes the permits for the waiting call that is next, if there is one.
    fn serve_next(&mut self, limits: &Limits) -> Option<(TenantId, Waiting)> {
        loop {
            let (free, now) = (self.free, self.tick());
            let allowed = self.tenants.iter_mut().filter(|(_, its)| {
                its.waiting.front().is_some_and(|first| limits.allow(free, its.held, first.count))
            });
            let (tenant, its) = allowed.min_by_key(|(_, its)| (its.held, its.since))?;
            let first = its.waiting.pop_front()?;
            if first.served.is_closed() {
                let tenant = tenant.clone();
                self.remove_if_idle(&tenant);
                continue;
            }
            its.since = now;
            its.held += first.count;
            self.free -= first.count;
            return Some((tenant.clone(), first));
        }
    }

    /// Drops the entry of a tenant that neither holds nor awaits a permit.
    fn remove_if_idle(&mut self, tenant: &TenantId) {
        let idle = |its: &Tenant| its.held == 0 && its.waiting.is_empty();
        if self.tenants.get(tenant).is_some_and(idle) {
            self.tenants.remove(tenant);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.semaphore.release(&self.tenant, self.count);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use futures::future::BoxFuture;

    use super::*;

    fn semaphore(
        permits: usize,
        per_tenant: usize,
        reserved_for_idle: usize,
    ) -> Arc<FairSemaphore> {
        FairSemaphore::new(Limits { permits, per_tenant, reserved_for_idle })
    }

    fn tenant(name: &str) -> TenantId {
        TenantId::parse(name).unwrap()
    }

    fn take(semaphore: &Arc<FairSemaphore>, name: &str) -> Option<Permit> {
        semaphore.acquire(&tenant(name)).now_or_never()
    }

    /// Begins to wait.
    fn wait(semaphore: &Arc<FairSemaphore>, name: &'static str) -> BoxFuture<'static, Permit> {
        let semaphore = semaphore.clone();
        let mut waiting = async move { semaphore.acquire(&tenant(name)).await }.boxed();
        assert!((&mut waiting).now_or_never().is_none(), "{name} did not have to wait");
        waiting
    }

    #[test]
    fn a_tenant_at_its_limit_leaves_the_remaining_permits_to_others() {
        let semaphore = semaphore(4, 2, 0);
        let _held = [take(&semaphore, "a").unwrap(), take(&semaphore, "a").unwrap()];
        assert!(take(&semaphore, "a").is_none());
        assert!(semaphore.is_at_limit(&tenant("a")) && !semaphore.is_at_limit(&tenant("b")));
        assert!(take(&semaphore, "b").is_some());
    }

    #[test]
    fn reserved_permits_go_only_to_tenants_that_hold_none() {
        let semaphore = semaphore(4, 4, 1);
        let held: Vec<_> = (0..3).map(|_| take(&semaphore, "a").unwrap()).collect();
        assert!(take(&semaphore, "a").is_none(), "the last one is reserved");
        let _other = take(&semaphore, "b").unwrap();
        assert!(take(&semaphore, "c").is_none(), "none is left");
        drop(held);
    }

    #[test]
    fn a_returned_permit_goes_to_the_tenant_that_holds_the_fewest() {
        let semaphore = semaphore(2, 2, 0);
        let (first, _second) = (take(&semaphore, "a").unwrap(), take(&semaphore, "a").unwrap());
        let (mut greedy, mut modest) = (wait(&semaphore, "a"), wait(&semaphore, "b"));
        drop(first);
        assert!((&mut greedy).now_or_never().is_none());
        assert!((&mut modest).now_or_never().is_some());
    }

    #[test]
    fn tenants_alternate_however_many_calls_one_of_them_has() {
        let semaphore = semaphore(1, 1, 0);
        let mut held = take(&semaphore, "a").unwrap();
        let mut waiting: Vec<_> = (0..3).map(|_| wait(&semaphore, "a")).collect();
        waiting.push(wait(&semaphore, "b"));
        waiting.push(wait(&semaphore, "b"));
        let mut order = String::new();
        while !waiting.is_empty() {
            drop(held);
            let served = waiting
                .iter_mut()
                .enumerate()
                .find_map(|(at, waiting)| Some((at, waiting.now_or_never()?)));
            let (at, permit) = served.expect("a returned permit is passed on");
            order.push_str(permit.tenant.as_str());
            drop(waiting.remove(at));
            held = permit;
        }
        // The first, which "a" held, counts as its turn.
        assert_eq!(order, "babaa");
    }

    #[test]
    fn a_call_that_left_is_skipped_and_its_tenant_is_not_kept() {
        let semaphore = semaphore(1, 1, 0);
        let held = take(&semaphore, "a").unwrap();
        let (gone, stays) = (wait(&semaphore, "b"), wait(&semaphore, "c"));
        drop(gone);
        drop(held);
        drop(stays.now_or_never().expect("the next call is served"));
        assert!(take(&semaphore, "d").is_some());
        assert!(semaphore.state().tenants.is_empty());
        assert_eq!(semaphore.state().free, 1);
    }

    #[test]
    fn a_permit_that_was_passed_to_a_call_that_just_left_is_returned() {
        let semaphore = semaphore(1, 1, 0);
        let held = take(&semaphore, "a").unwrap();
        let served = wait(&semaphore, "b");
        drop(held);
        drop(served);
        assert!(take(&semaphore, "c").is_some());
    }

    #[test]
    fn a_call_for_several_permits_waits_for_all_of_them_and_returns_them_together() {
        let semaphore = semaphore(4, 4, 0);
        let held = take(&semaphore, "a").unwrap();
        let all = semaphore.clone();
        let mut waiting = async move { all.acquire_many(&tenant("b"), 4).await }.boxed();
        assert!((&mut waiting).now_or_never().is_none());
        drop(held);
        drop(waiting.now_or_never().expect("all permits are free"));
        assert_eq!(semaphore.state().free, 4);
    }

    #[test]
    fn a_call_for_more_permits_than_a_tenant_may_hold_gets_those() {
        let semaphore = semaphore(4, 2, 0);
        let held = semaphore.acquire_many(&tenant("a"), 100).now_or_never().unwrap();
        assert_eq!(held.count, 2);
        assert!(take(&semaphore, "b").is_some());
    }

    #[test]
    fn a_tenant_with_large_calls_and_one_with_small_calls_get_as_much() {
        let semaphore = semaphore(4, 4, 0);
        let large = || semaphore.acquire_many(&tenant("large"), 2).now_or_never();
        let _large = large().unwrap();
        let _small = [take(&semaphore, "small").unwrap(), take(&semaphore, "small").unwrap()];
        assert!(large().is_none() && take(&semaphore, "small").is_none());
    }
}
