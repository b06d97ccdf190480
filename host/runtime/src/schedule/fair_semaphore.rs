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
pub(crate) struct Limits {
    /// Permits for all tenants together.
    pub(crate) permits: usize,
    /// The maximum of permits that one tenant holds.
    pub(crate) per_tenant: usize,
    /// How many of `permits` are reserved for tenants that hold none.
    pub(crate) reserved_for_idle: usize,
}

/// See the module's documentation.
pub(crate) struct FairSemaphore {
    limits: Limits,
    state: Mutex<State>,
}

/// Permission to proceed; returned when it is dropped.
pub(crate) struct Permit {
    semaphore: Arc<FairSemaphore>,
    tenant: TenantId,
}

struct State {
    free: usize,
    /// The tenants that hold or await permits.
    tenants: HashMap<TenantId, Tenant>,
    /// Counts events, to order them.
    clock: u64,
}

#[derive(Default)]
struct Tenant {
    held: usize,
    waiting: VecDeque<oneshot::Sender<Permit>>,
    /// When the call at the head of `waiting` got there.
    since: u64,
}

impl FairSemaphore {
    pub(crate) fn new(limits: Limits) -> Arc<Self> {
        let state = State { free: limits.permits, tenants: HashMap::new(), clock: 0 };
        Arc::new(Self { limits, state: Mutex::new(state) })
    }

    /// A permit, if there is one for `tenant` now.
    pub(crate) fn try_acquire(self: &Arc<Self>, tenant: &TenantId) -> Option<Permit> {
        let taken = self.state().try_take(&self.limits, tenant);
        taken.then(|| self.permit(tenant))
    }

    /// Waits for a permit. Dropping the future leaves the queue.
    pub(crate) async fn acquire(self: &Arc<Self>, tenant: &TenantId) -> Permit {
        let waiting = match self.take_or_wait(tenant) {
            Ok(permit) => return permit,
            Err(waiting) => waiting,
        };
        // A sender is dropped unused only with `self`, which this call keeps alive.
        waiting.await.expect("the semaphore lives until every waiting call is served")
    }

    /// Whether `tenant` holds as many permits as one tenant may.
    pub(crate) fn is_at_limit(&self, tenant: &TenantId) -> bool {
        let state = self.state();
        state.tenants.get(tenant).is_some_and(|tenant| tenant.held >= self.limits.per_tenant)
    }

    fn take_or_wait(
        self: &Arc<Self>,
        tenant: &TenantId,
    ) -> Result<Permit, oneshot::Receiver<Permit>> {
        let mut state = self.state();
        if state.try_take(&self.limits, tenant) {
            return Ok(self.permit(tenant));
        }
        let now = state.tick();
        let its = state.tenants.entry(tenant.clone()).or_default();
        if its.waiting.is_empty() {
            its.since = now;
        }
        let (served, waiting) = oneshot::channel();
        its.waiting.push_back(served);
        Err(waiting)
    }

    fn release(self: &Arc<Self>, tenant: &TenantId) {
        let mut state = self.state();
        state.free += 1;
        if let Some(its) = state.tenants.get_mut(tenant) {
            its.held -= 1;
        }
        let mut served = Vec::new();
        while let Some((next, waiting)) = state.serve_next(&self.limits) {
            served.push((waiting, self.permit(&next)));
        }
        state.remove_if_idle(tenant);
        drop(state);
        for (waiting, permit) in served {
            // If the call left just now, dropping the permit returns it.
            drop(waiting.send(permit));
        }
    }

    fn permit(self: &Arc<Self>, tenant: &TenantId) -> Permit {
        Permit { semaphore: self.clone(), tenant: tenant.clone() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Limits {
    /// Whether a tenant that holds `held` permits may have one more.
    fn allow(&self, free: usize, held: usize) -> bool {
        let reserved = if held == 0 { 0 } else { self.reserved_for_idle };
        free > reserved && held < self.per_tenant
    }
}

impl State {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// Takes a permit, unless other calls of the tenant wait for one.
    fn try_take(&mut self, limits: &Limits, tenant: &TenantId) -> bool {
        let free = self.free;
        let its = self.tenants.entry(tenant.clone()).or_default();
        its.waiting.retain(|waiting| !waiting.is_closed());
        let taken = its.waiting.is_empty() && limits.allow(free, its.held);
        if taken {
            its.held += 1;
            self.free -= 1;
        }
        self.remove_if_idle(tenant);
        taken
    }

    /// Takes a permit for the waiting call that is next, if there is one.
    fn serve_next(&mut self, limits: &Limits) -> Option<(TenantId, oneshot::Sender<Permit>)> {
        loop {
            let (free, now) = (self.free, self.tick());
            let waiting = self.tenants.iter_mut().filter(|(_, its)| !its.waiting.is_empty());
            let allowed = waiting.filter(|(_, its)| limits.allow(free, its.held));
            let (tenant, its) = allowed.min_by_key(|(_, its)| (its.held, its.since))?;
            let first = its.waiting.pop_front()?;
            if first.is_closed() {
                let tenant = tenant.clone();
                self.remove_if_idle(&tenant);
                continue;
            }
            its.since = now;
            its.held += 1;
            self.free -= 1;
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
        self.semaphore.release(&self.tenant);
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
        assert_eq!(order, "ababa");
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
}
