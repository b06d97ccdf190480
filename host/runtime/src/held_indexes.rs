//! The indexes that this host holds in memory, and the budget that bounds them.
//!
//! An index is loaded at its tenant's first use and dropped when nobody uses it, or when another
//! one needs its memory. What it had is in storage. A call that uses an index holds it with an
//! [`Arc`]; such an index is not dropped for others.
//!
//! Nothing is lost between two indexes of a tenant: a change is in storage before it gets here, and
//! an index reads storage after it was created. So a change either finds the new index or is found
//! by it.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use kenning_core::limits::Limits;
use kenning_index::FactIndex;
use kenning_storage::{Revision, TenantId};
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::applied::Applied;
use crate::tenant_index::{Progress, Refusal, TenantIndex};

/// How many facts are written to an index before its memory is measured again.
const MEASURE: usize = 64;

/// A search's share of its time that it waits for an index: one in so many.
const SHARE: u32 = 4;

/// How long whoever waits for an index that was dropped pauses before opening another one.
const PAUSE: Duration = Duration::from_millis(10);

/// How long an index without facts is kept. Requests may name any tenant.
const EMPTY_IDLE: Duration = Duration::from_secs(10);

type Map = HashMap<TenantId, Arc<TenantIndex>>;

/// The indexes in memory.
pub struct HeldIndexes {
    indexes: RwLock<Map>,
    limits: IndexLimits,
    /// The measured memory of all indexes.
    bytes: AtomicUsize,
    /// Those that are to be loaded, in the order of their first uses.
    to_load: Mutex<VecDeque<(TenantId, Arc<TenantIndex>)>>,
    has_to_load: Notify,
    loads: AtomicU64,
    drops: AtomicU64,
    applied: Applied,
}

/// The limits of all indexes together.
#[derive(Clone, Copy, Debug)]
struct IndexLimits {
    all_bytes: usize,
    tenant: (&'static str, usize),
    idle: Duration,
    wait: Duration,
}

/// Figures of all indexes on this host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeldFigures {
    /// Memory that they may take.
    pub budget: usize,
    /// Memory that they take.
    pub bytes: usize,
    /// Indexes that have all of their tenants' facts.
    pub ready: usize,
    /// Indexes that are being loaded.
    pub loading: usize,
    /// Indexes that were loaded since the start.
    pub loads: u64,
    /// Indexes that were dropped since the start, because they were idle or for others.
    pub drops: u64,
}

/// Whether an index that is being loaded may grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Growth {
    /// It may.
    Granted,
    /// Not now: others that are being loaded or used take all memory.
    Later,
    /// It is no longer held, or was refused.
    NotHeld,
}

impl HeldIndexes {
    /// Holds none.
    pub(crate) fn new(limits: &Limits) -> Self {
        let tenant = match limits.index_tenant_bytes <= limits.index_bytes {
            true => ("index_tenant_bytes", limits.index_tenant_bytes),
            false => ("index_bytes", limits.index_bytes),
        };
        let limits = IndexLimits {
            all_bytes: limits.index_bytes,
            tenant,
            idle: limits.index_idle,
            wait: limits.index_wait,
        };
        Self {
            indexes: RwLock::default(),
            limits,
            bytes: AtomicUsize::default(),
            to_load: Mutex::default(),
            has_to_load: Notify::new(),
            loads: AtomicU64::default(),
            drops: AtomicU64::default(),
            applied: Applied::default(),
        }
    }

    /// How far the indexes have come in the tenants' changes.
    pub fn applied(&self) -> &Applied {
        &self.applied
    }

    /// A tenant's index, if one is held. What is not held need not be kept up to date.
    pub fn existing(&self, tenant: &TenantId) -> Option<Arc<TenantIndex>> {
        self.state(tenant).filter(|index| index.refusal().is_none())
    }

    /// The same, also if it was refused.
    pub fn state(&self, tenant: &TenantId) -> Option<Arc<TenantIndex>> {
        self.read().get(tenant).cloned()
    }

    /// A tenant's index, for use: if none is held, an empty one that is going to be loaded.
    pub fn open(&self, tenant: &TenantId) -> Arc<TenantIndex> {
        let index = self.state(tenant).unwrap_or_else(|| self.create(tenant));
        index.touch();
        index
    }

    fn create(&self, tenant: &TenantId) -> Arc<TenantIndex> {
        let mut indexes = self.write();
        match indexes.get(tenant) {
            Some(index) => index.clone(),
            None => self.insert(&mut indexes, tenant),
        }
    }

    fn insert(&self, indexes: &mut Map, tenant: &TenantId) -> Arc<TenantIndex> {
        let index = Arc::new(TenantIndex::default());
        indexes.insert(tenant.clone(), index.clone());
        let mut to_load = self.to_load.lock().unwrap_or_else(PoisonError::into_inner);
        to_load.push_back((tenant.clone(), index.clone()));
        self.has_to_load.notify_one();
        index
    }

    /// A tenant's index, after it had a moment to be loaded: `index_wait_ms` since that began, and
    /// at most a quarter of the time until `deadline`.
    pub async fn loaded(&self, tenant: &TenantId, deadline: Instant) -> Arc<TenantIndex> {
        let now = Instant::now();
        let share = now + deadline.saturating_duration_since(now) / SHARE;
        loop {
            let index = self.open(tenant);
            let until = share.min(index.created() + self.limits.wait);
            let is_dropped = index.settled(until).await == Progress::Dropped;
            let left = share.saturating_duration_since(Instant::now());
            if !is_dropped || left.is_zero() {
                return index;
            }
            sleep(PAUSE.min(left)).await;
        }
    }

    /// Waits for an index that is to be loaded.
    pub async fn next_to_load(&self) -> (TenantId, Arc<TenantIndex>) {
        loop {
            let next = self.to_load.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            if let Some(next) = next {
                return next;
            }
            self.has_to_load.notified().await;
        }
    }

    /// Whether this is the index that is held of a tenant.
    pub fn holds(&self, tenant: &TenantId, index: &Arc<TenantIndex>) -> bool {
        self.read().get(tenant).is_some_and(|held| Arc::ptr_eq(held, index))
    }

    /// The index has all of the tenant's facts, with its changes up to `revision`.
    pub fn complete(&self, tenant: &TenantId, index: &Arc<TenantIndex>, revision: Revision) {
        let indexes = self.read();
        if indexes.get(tenant).is_some_and(|held| Arc::ptr_eq(held, index)) {
            self.applied.advance(tenant, revision);
            index.set_progress(Progress::Ready);
            self.loads.fetch_add(1, Ordering::Relaxed);
            metrics::counter!("kenning_index_loads_total").increment(1);
            metrics::histogram!("kenning_index_load_seconds").record(index.created().elapsed());
        }
    }

    /// Loading failed, or is tried again.
    pub fn set_loading(&self, index: &TenantIndex, failed: Option<String>) {
        let indexes = self.read();
        if !matches!(index.progress(), Progress::Dropped | Progress::Refused(_)) {
            let stalled = failed.map(|reason| Progress::Stalled { reason });
            index.set_progress(stalled.unwrap_or(Progress::Loading));
        }
        drop(indexes);
    }

    /// Drops a tenant's index; the next use loads another one.
    pub fn drop_index(&self, tenant: &TenantId) {
        self.remove(&mut self.write(), tenant);
    }

    /// Drops an index, if it is the one that is held of its tenant.
    pub fn drop_this(&self, tenant: &TenantId, index: &Arc<TenantIndex>) {
        let mut indexes = self.write();
        if indexes.get(tenant).is_some_and(|held| Arc::ptr_eq(held, index)) {
            self.remove(&mut indexes, tenant);
        }
    }

    /// Loads a tenant's index again unless it is `index`, into which vectors were written that are
    /// in storage now, or on their way: one whose loading began meanwhile may have missed them.
    pub fn reload_other(&self, tenant: &TenantId, index: Option<&Arc<TenantIndex>>) {
        let is_other = |held: &Arc<TenantIndex>| {
            held.refusal().is_none() && index.is_none_or(|index| !Arc::ptr_eq(held, index))
        };
        if self.state(tenant).is_some_and(|held| is_other(&held)) {
            let mut indexes = self.write();
            if indexes.get(tenant).is_some_and(is_other) {
                self.remove(&mut indexes, tenant);
                self.insert(&mut indexes, tenant);
            }
        }
    }

    fn remove(&self, indexes: &mut Map, tenant: &TenantId) {
        let Some(index) = indexes.remove(tenant) else { return };
        self.bytes.fetch_sub(index.note_measured(0), Ordering::Relaxed);
        self.applied.forget(tenant);
        index.set_progress(Progress::Dropped);
    }

    fn drop_for_memory(&self, indexes: &mut Map, tenant: &TenantId) {
        self.remove(indexes, tenant);
        self.drops.fetch_add(1, Ordering::Relaxed);
        metrics::counter!("kenning_index_drops_total").increment(1);
    }

    /// Notes that facts were written to an index.
    pub fn note_written(&self, tenant: &TenantId, index: &Arc<TenantIndex>, facts: usize) {
        if index.note_written(facts) >= MEASURE {
            self.measure(tenant, index);
        }
    }

    /// Measures the indexes that were written.
    pub fn measure_written(&self) {
        let written = |index: &&Arc<TenantIndex>| index.note_written(0) > 0;
        let tenants: Vec<TenantId> = {
            let indexes = self.read();
            let all = indexes.iter().filter(|(_, index)| written(index));
            all.map(|(tenant, _)| tenant.clone()).collect()
        };
        for tenant in tenants {
            if let Some(index) = self.existing(&tenant) {
                self.measure(&tenant, &index);
            }
        }
        // What was used then, and could not be dropped, may be unused now.
        self.make_room(0);
    }

    /// Measures an index, and drops others if it needs their room. If it needs more than a tenant
    /// may have, it is refused.
    pub fn measure(&self, tenant: &TenantId, index: &Arc<TenantIndex>) -> Growth {
        // One that was dropped counts no longer, and needs nobody's room.
        if !self.holds(tenant, index) {
            return Growth::NotHeld;
        }
        let bytes = index.measure();
        let (limit, allowed) = self.limits.tenant;
        if bytes > allowed {
            let facts = index.sizes().facts;
            self.refuse(tenant, index, Refusal { limit, allowed, used: bytes, facts });
            return Growth::NotHeld;
        }
        let has_room = self.make_room(bytes.saturating_sub(index.measured()));
        let indexes = self.read();
        if !indexes.get(tenant).is_some_and(|held| Arc::ptr_eq(held, index)) {
            return Growth::NotHeld;
        }
        let before = index.note_measured(bytes);
        self.bytes.fetch_add(bytes.wrapping_sub(before), Ordering::Relaxed);
        if has_room { Growth::Granted } else { Growth::Later }
    }

    /// Drops indexes that nobody uses now, the least recently used first, until there is room for
    /// so many more bytes; for none, until the indexes are within their budget. Returns whether
    /// there is.
    fn make_room(&self, more: usize) -> bool {
        let has_room = || self.bytes.load(Ordering::Relaxed) + more <= self.limits.all_bytes;
        if has_room() {
            return true;
        }
        let mut indexes = self.write();
        let unused = indexes.iter().filter(|(_, index)| is_unused(index) && index.measured() > 0);
        let mut unused: Vec<_> =
            unused.map(|(tenant, index)| (index.used(), tenant.clone())).collect();
        unused.sort();
        for (_, tenant) in unused {
            if has_room() {
                return true;
            }
            self.drop_for_memory(&mut indexes, &tenant);
        }
        has_room()
    }

    /// Whether the loading of `index` began first of those that are being loaded and wait for each
    /// other's room. For that one, the last of those that began later and take room is dropped.
    pub fn is_first_to_load(&self, index: &Arc<TenantIndex>) -> bool {
        let mut indexes = self.write();
        let loading = indexes.iter().filter(|(_, other)| other.progress() == Progress::Loading);
        let mut loading: Vec<_> = loading
            .map(|(tenant, other)| (other.created(), tenant.clone(), other.measured()))
            .collect();
        loading.sort();
        if loading.first().is_some_and(|(first, ..)| *first < index.created()) {
            return false;
        }
        let gives_room =
            |(at, _, bytes): &&(Instant, TenantId, usize)| *at > index.created() && *bytes > 0;
        if let Some((_, last, _)) = loading.iter().rev().find(gives_room) {
            self.drop_for_memory(&mut indexes, last);
        }
        true
    }

    fn refuse(&self, tenant: &TenantId, index: &Arc<TenantIndex>, refusal: Refusal) {
        let mut indexes = self.write();
        if indexes.get(tenant).is_some_and(|held| Arc::ptr_eq(held, index)) {
            self.remove(&mut indexes, tenant);
            let refused = TenantIndex::default();
            refused.set_progress(Progress::Refused(refusal));
            indexes.insert(tenant.clone(), Arc::new(refused));
            let Refusal { limit, allowed, used, facts } = refusal;
            tracing::warn!(%tenant, limit, allowed, used, facts, "the index is too large to hold");
        }
    }

    /// The tenants whose indexes were refused, with how many facts those had.
    pub fn refused(&self) -> Vec<(TenantId, usize)> {
        let indexes = self.read();
        let refused = indexes.iter().filter_map(|(tenant, index)| {
            index.refusal().map(|refusal| (tenant.clone(), refusal.facts))
        });
        refused.collect()
    }

    /// Drops the indexes that were not used for `index_idle_ms`.
    pub fn drop_idle(&self) {
        let now = Instant::now();
        let is_idle = |index: &TenantIndex| {
            let idle = now.saturating_duration_since(index.used());
            let is_empty = || index.is_ready() && index.sizes().facts == 0;
            idle > self.limits.idle || (idle > EMPTY_IDLE && is_empty())
        };
        let mut indexes = self.write();
        let idle = indexes.iter().filter(|(_, index)| is_unused(index) && is_idle(index));
        let idle: Vec<TenantId> = idle.map(|(tenant, _)| tenant.clone()).collect();
        for tenant in idle {
            self.drop_for_memory(&mut indexes, &tenant);
        }
    }

    /// The tenants whose indexes are held.
    pub fn tenants(&self) -> Vec<TenantId> {
        self.read().keys().cloned().collect()
    }

    /// Memory of all indexes, as measured.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Figures of all indexes.
    pub fn figures(&self) -> HeldFigures {
        let (mut ready, mut loading) = (0, 0);
        for index in self.read().values() {
            match index.progress() {
                Progress::Ready => ready += 1,
                Progress::Loading | Progress::Stalled { .. } => loading += 1,
                Progress::Refused(_) | Progress::Dropped => {}
            }
        }
        HeldFigures {
            budget: self.limits.all_bytes,
            bytes: self.bytes(),
            ready,
            loading,
            loads: self.loads.load(Ordering::Relaxed),
            drops: self.drops.load(Ordering::Relaxed),
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Map> {
        self.indexes.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Map> {
        self.indexes.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether nobody uses an index, so that it may be dropped. Called with the map locked for writing,
/// from which alone others get it.
fn is_unused(index: &Arc<TenantIndex>) -> bool {
    match index.progress() {
        Progress::Ready | Progress::Refused(_) => Arc::strong_count(index) == 1,
        // The task that loads it holds it, and sees that it was dropped.
        Progress::Stalled { .. } => true,
        Progress::Loading | Progress::Dropped => false,
    }
}

#[cfg(test)]
mod tests;
