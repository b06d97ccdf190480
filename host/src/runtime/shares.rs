//! Something scarce, shared by tenants: so many units for all together, so many for one
//! at most, and whoever waits is served in turn.
//!
//! A unit that becomes free goes to the waiting tenant that holds the fewest; among
//! equals, to the one that waits longest; within a tenant, to the call that came first.
//! So a tenant with a thousand calls waits behind its own, and one with a single call is
//! served as soon as anyone is.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kenning_storage::TenantId;
use tokio::sync::oneshot;

/// How much there is, and who may have how much of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// For all tenants together.
    pub(super) units: usize,
    /// For one tenant at most.
    pub(super) per_tenant: usize,
    /// Of `units`, kept for tenants that hold none.
    pub(super) for_newcomers: usize,
}

/// Units of one kind, and who holds and who awaits them.
pub(super) struct Shares {
    rules: Rules,
    standing: Mutex<Standing>,
}

/// One unit; dropped, it is free again.
pub(super) struct Share {
    shares: Arc<Shares>,
    tenant: TenantId,
}

struct Standing {
    free: usize,
    /// Those who hold or await something.
    tenants: HashMap<TenantId, Tenant>,
    /// Counts what happens, to tell what came first.
    clock: u64,
}

#[derive(Default)]
struct Tenant {
    held: usize,
    waiting: VecDeque<oneshot::Sender<Share>>,
    /// When the first in its line became the first.
    since: u64,
}

impl Shares {
    pub(super) fn new(rules: Rules) -> Arc<Self> {
        let standing = Standing { free: rules.units, tenants: HashMap::new(), clock: 0 };
        Arc::new(Self { rules, standing: Mutex::new(standing) })
    }

    /// A unit, if there is one for `tenant` now.
    pub(super) fn try_acquire(self: &Arc<Self>, tenant: &TenantId) -> Option<Share> {
        let taken = self.standing().try_take(&self.rules, tenant);
        taken.then(|| self.share(tenant))
    }

    /// Waits for a unit. Whoever gives up waiting is passed over.
    pub(super) async fn acquire(self: &Arc<Self>, tenant: &TenantId) -> Share {
        let waiting = match self.take_or_wait(tenant) {
            Ok(share) => return share,
            Err(waiting) => waiting,
        };
        // A sender is dropped unused only with `self`, which this call keeps alive.
        waiting.await.expect("a waiting call is served or passed over, never forgotten")
    }

    /// Whether `tenant` has as much as one tenant may.
    pub(super) fn has_its_share(&self, tenant: &TenantId) -> bool {
        let standing = self.standing();
        standing.tenants.get(tenant).is_some_and(|tenant| tenant.held >= self.rules.per_tenant)
    }

    fn take_or_wait(
        self: &Arc<Self>,
        tenant: &TenantId,
    ) -> Result<Share, oneshot::Receiver<Share>> {
        let mut standing = self.standing();
        if standing.try_take(&self.rules, tenant) {
            return Ok(self.share(tenant));
        }
        let now = standing.tick();
        let its = standing.tenants.entry(tenant.clone()).or_default();
        if its.waiting.is_empty() {
            its.since = now;
        }
        let (served, waiting) = oneshot::channel();
        its.waiting.push_back(served);
        Err(waiting)
    }

    fn release(self: &Arc<Self>, tenant: &TenantId) {
        let mut standing = self.standing();
        standing.free += 1;
        if let Some(its) = standing.tenants.get_mut(tenant) {
            its.held -= 1;
        }
        let mut served = Vec::new();
        while let Some((next, waiting)) = standing.serve_next(&self.rules) {
            served.push((waiting, self.share(&next)));
        }
        standing.forget(tenant);
        drop(standing);
        for (waiting, share) in served {
            // Whoever gave up just now hands the unit back by dropping it.
            drop(waiting.send(share));
        }
    }

    fn share(self: &Arc<Self>, tenant: &TenantId) -> Share {
        Share { shares: self.clone(), tenant: tenant.clone() }
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rules {
    /// Whether one more may go to a tenant that holds `held`.
    fn allow(&self, free: usize, held: usize) -> bool {
        let kept = if held == 0 { 0 } else { self.for_newcomers };
        free > kept && held < self.per_tenant
    }
}

impl Standing {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// Takes a unit, unless others of the tenant wait for one.
    fn try_take(&mut self, rules: &Rules, tenant: &TenantId) -> bool {
        let free = self.free;
        let its = self.tenants.entry(tenant.clone()).or_default();
        its.waiting.retain(|waiting| !waiting.is_closed());
        let taken = its.waiting.is_empty() && rules.allow(free, its.held);
        if taken {
            its.held += 1;
            self.free -= 1;
        }
        self.forget(tenant);
        taken
    }

    /// Gives a unit to whoever is to have it next.
    fn serve_next(&mut self, rules: &Rules) -> Option<(TenantId, oneshot::Sender<Share>)> {
        loop {
            let (free, now) = (self.free, self.tick());
            let waiting = self.tenants.iter_mut().filter(|(_, its)| !its.waiting.is_empty());
            let allowed = waiting.filter(|(_, its)| rules.allow(free, its.held));
            let (tenant, its) = allowed.min_by_key(|(_, its)| (its.held, its.since))?;
            let first = its.waiting.pop_front()?;
            if first.is_closed() {
                let tenant = tenant.clone();
                self.forget(&tenant);
                continue;
            }
            its.since = now;
            its.held += 1;
            self.free -= 1;
            return Some((tenant.clone(), first));
        }
    }

    /// Keeps nothing of a tenant that neither holds nor awaits anything.
    fn forget(&mut self, tenant: &TenantId) {
        let idle = |its: &Tenant| its.held == 0 && its.waiting.is_empty();
        if self.tenants.get(tenant).is_some_and(idle) {
            self.tenants.remove(tenant);
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.shares.release(&self.tenant);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use futures::future::BoxFuture;

    use super::*;

    fn shares(units: usize, per_tenant: usize, for_newcomers: usize) -> Arc<Shares> {
        Shares::new(Rules { units, per_tenant, for_newcomers })
    }

    fn tenant(name: &str) -> TenantId {
        TenantId::parse(name).unwrap()
    }

    fn take(shares: &Arc<Shares>, name: &str) -> Option<Share> {
        shares.acquire(&tenant(name)).now_or_never()
    }

    /// Gets in line.
    fn wait(shares: &Arc<Shares>, name: &'static str) -> BoxFuture<'static, Share> {
        let shares = shares.clone();
        let mut waiting = async move { shares.acquire(&tenant(name)).await }.boxed();
        assert!((&mut waiting).now_or_never().is_none(), "{name} did not have to wait");
        waiting
    }

    #[test]
    fn one_tenant_has_its_share_and_leaves_the_rest_to_others() {
        let shares = shares(4, 2, 0);
        let _held = [take(&shares, "a").unwrap(), take(&shares, "a").unwrap()];
        assert!(take(&shares, "a").is_none());
        assert!(shares.has_its_share(&tenant("a")) && !shares.has_its_share(&tenant("b")));
        assert!(take(&shares, "b").is_some());
    }

    #[test]
    fn the_last_units_are_kept_for_those_who_hold_none() {
        let shares = shares(4, 4, 1);
        let held: Vec<_> = (0..3).map(|_| take(&shares, "a").unwrap()).collect();
        assert!(take(&shares, "a").is_none(), "the last one is for another");
        let _other = take(&shares, "b").unwrap();
        assert!(take(&shares, "c").is_none(), "none is left");
        drop(held);
    }

    #[test]
    fn a_free_unit_goes_to_the_tenant_that_holds_the_fewest() {
        let shares = shares(2, 2, 0);
        let (first, _second) = (take(&shares, "a").unwrap(), take(&shares, "a").unwrap());
        let (mut greedy, mut modest) = (wait(&shares, "a"), wait(&shares, "b"));
        drop(first);
        assert!((&mut greedy).now_or_never().is_none());
        assert!((&mut modest).now_or_never().is_some());
    }

    #[test]
    fn tenants_take_turns_however_many_calls_one_of_them_has() {
        let shares = shares(1, 1, 0);
        let mut held = take(&shares, "a").unwrap();
        let mut waiting: Vec<_> = (0..3).map(|_| wait(&shares, "a")).collect();
        waiting.push(wait(&shares, "b"));
        waiting.push(wait(&shares, "b"));
        let mut order = String::new();
        while !waiting.is_empty() {
            drop(held);
            let served = waiting
                .iter_mut()
                .enumerate()
                .find_map(|(at, waiting)| Some((at, waiting.now_or_never()?)));
            let (at, share) = served.expect("a free unit is handed on");
            order.push_str(share.tenant.as_str());
            drop(waiting.remove(at));
            held = share;
        }
        assert_eq!(order, "ababa");
    }

    #[test]
    fn whoever_gave_up_is_passed_over_and_nothing_is_kept_of_them() {
        let shares = shares(1, 1, 0);
        let held = take(&shares, "a").unwrap();
        let (gone, stays) = (wait(&shares, "b"), wait(&shares, "c"));
        drop(gone);
        drop(held);
        drop(stays.now_or_never().expect("the next in line is served"));
        assert!(take(&shares, "d").is_some());
        assert!(shares.standing().tenants.is_empty());
        assert_eq!(shares.standing().free, 1);
    }

    #[test]
    fn a_unit_that_was_handed_to_one_who_just_left_is_free_again() {
        let shares = shares(1, 1, 0);
        let held = take(&shares, "a").unwrap();
        let served = wait(&shares, "b");
        drop(held);
        drop(served);
        assert!(take(&shares, "c").is_some());
    }
}
