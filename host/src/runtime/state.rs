//! What one call's wasmtime store holds: whose call it is, what it may use, and
//! the meters that say what it used.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kenning_storage::{FactId, Revision, Storage, TenantId};
use tokio::runtime::Handle;
use tokio::sync::broadcast;
use wasmtime::{ResourceLimiter, Result};
use wasmtime_wasi::{ResourceTable, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

use super::call::Deeds;
use super::engine::{CORE_INSTANCES_PER_COMPONENT, MEMORIES_PER_COMPONENT, TABLES_PER_COMPONENT};
use super::guest::{Guest, Rested};
use super::imports::GuestLimit;
use super::imports::output::LogLines;
use super::rehearsal::Captured;
use crate::embedder::Embedder;
use crate::indexing::Indexing;
use crate::limits::Limits;
use crate::tenants::{Meter, Tenants};

/// A table element's cost against the memory limit: one pointer.
const TABLE_ELEMENT_BYTES: usize = 8;

/// Random bytes a guest may ask WASI for at once.
const RANDOM_BYTES: u64 = 64 * 1024;

/// What the imports are served by, shared by all calls.
pub struct Services {
    pub storage: Arc<dyn Storage>,
    pub embedder: Arc<dyn Embedder>,
    pub indexing: Arc<Indexing>,
    pub tenants: Arc<Tenants>,
    pub limits: Limits,
    /// Told of each guest that goes into quarantine.
    pub rested: broadcast::Sender<Rested>,
    /// The runtime that owns sockets and timers. Guests run on another, so that a
    /// busy guest cannot delay a reply that is not its own.
    pub io: Handle,
}

/// What a guest was waiting for when its call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    Nothing,
    Storage,
    /// A write of storage, which may happen even if nobody waits for it any more.
    StorageWrite,
    Embedding,
    Index,
}

/// One call's share of a wasmtime store.
pub struct State {
    pub(super) services: Arc<Services>,
    pub(super) tenant: TenantId,
    pub(super) deadline: Instant,
    pub(super) memory: Memory,
    pub(super) waiting: Waiting,
    pub(super) host_calls: u32,
    /// Time spent in imports, for telemetry.
    pub(super) host_time: Duration,
    /// A write timed out, so it may have happened.
    pub(super) outcome_unknown: bool,
    /// The revisions of the facts this call wrote; the index needs them to put
    /// concurrent changes into the order that storage gave them.
    pub(super) revisions: HashMap<FactId, Revision>,
    /// Those of them that the index does not have yet.
    pub(super) unindexed: HashSet<FactId>,
    /// The facts that storage gave this call or that it wrote.
    pub(super) facts: Vec<FactId>,
    /// An import failed in a way that is the host's fault.
    pub(super) host_failed: bool,
    pub(super) log: LogLines,
    pub(super) fuel: FuelMeter,
    /// What a rehearsal wrote, which goes no further. `None` in earnest.
    pub(super) captured: Option<Captured>,
    wasi: WasiCtx,
    table: ResourceTable,
}

impl State {
    pub(super) fn new(
        services: Arc<Services>,
        tenant: TenantId,
        deadline: Instant,
        guest: &Guest,
    ) -> Self {
        let limits = &services.limits;
        let log = LogLines::new(&tenant, guest, limits);
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.guest_handles);
        Self {
            fuel: FuelMeter::default(),
            memory: Memory::new(guest.memory_bytes(limits), limits.guest_table_elements),
            wasi: wasi(&log),
            table,
            log,
            tenant,
            deadline,
            waiting: Waiting::Nothing,
            host_calls: 0,
            host_time: Duration::ZERO,
            outcome_unknown: false,
            revisions: HashMap::new(),
            captured: None,
            facts: Vec::new(),
            host_failed: false,
            unindexed: HashSet::new(),
            services,
        }
    }

    /// What this call did, at its end.
    pub(super) fn deeds(&mut self) -> Deeds {
        Deeds {
            facts: std::mem::take(&mut self.facts),
            wrote: !self.revisions.is_empty(),
            host_failed: self.host_failed,
        }
    }
}

/// Charges the tenant for the guest's work when the call ends, however it ends: one whose caller
/// goes away is dropped in the middle.
#[derive(Default)]
pub(super) struct FuelMeter {
    meter: Option<Arc<Meter>>,
    given: u64,
    /// As last seen: at every tick of the epoch, and at the end.
    pub(super) left: u64,
}

impl FuelMeter {
    /// Has what is used of `given` charged.
    pub(super) fn charge(&mut self, tenants: &Tenants, tenant: &TenantId, given: u64) {
        *self = Self { meter: tenants.meter(tenant), given, left: given };
    }
}

impl Drop for FuelMeter {
    fn drop(&mut self) {
        if let Some(meter) = &self.meter {
            meter.charge_fuel(self.given.saturating_sub(self.left));
        }
    }
}

/// Clocks and random numbers; stdout and stderr become log lines. No arguments,
/// no environment, no files, no network.
fn wasi(log: &LogLines) -> WasiCtx {
    WasiCtxBuilder::new()
        .stdout(log.clone())
        .stderr(log.clone())
        .max_random_size(RANDOM_BYTES)
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false)
        .build()
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// The meter on a guest's memories and tables: one bound over their sum.
///
/// wasmtime's own limits hold for each memory and each table alone, so a
/// component of many could take many times its limit.
pub(super) struct Memory {
    bytes: usize,
    table_elements: usize,
    used: usize,
    /// The limit that the guest last ran into, and what it would have had with what
    /// it asked for.
    pub(super) refused: Option<GuestLimit>,
}

impl Memory {
    fn new(bytes: usize, table_elements: usize) -> Self {
        Self { bytes, table_elements, used: 0, refused: None }
    }

    /// `beyond_its_own`: wasmtime will refuse, because the guest asks for more than it
    /// said it would or than its table has room for. What is never given must not be
    /// counted.
    fn grow(&mut self, bytes: usize, beyond_its_own: bool) -> bool {
        let wanted = self.used.saturating_add(bytes);
        if wanted > self.bytes {
            return self.refuse("guest_memory_bytes", self.bytes, wanted);
        }
        if beyond_its_own {
            return false;
        }
        self.used = wanted;
        true
    }

    fn refuse(&mut self, limit: &'static str, allowed: usize, used: usize) -> bool {
        self.refused = Some(GuestLimit { limit, allowed: allowed as u64, used: used as u64 });
        false
    }
}

impl ResourceLimiter for Memory {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        let beyond_its_own = maximum.is_some_and(|maximum| desired > maximum);
        Ok(self.grow(desired.saturating_sub(current), beyond_its_own))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        if desired > self.table_elements {
            return Ok(self.refuse("guest_table_elements", self.table_elements, desired));
        }
        let beyond_its_own = maximum.is_some_and(|maximum| desired > maximum);
        let bytes = desired.saturating_sub(current).saturating_mul(TABLE_ELEMENT_BYTES);
        Ok(self.grow(bytes, beyond_its_own))
    }

    fn instances(&self) -> usize {
        CORE_INSTANCES_PER_COMPONENT as usize
    }

    fn tables(&self) -> usize {
        TABLES_PER_COMPONENT as usize
    }

    fn memories(&self) -> usize {
        MEMORIES_PER_COMPONENT as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_and_tables_within_the_limit_grow_obeyed() {
        let mut memory = Memory::new(1_000, 100);
        assert!(memory.memory_growing(0, 600, None).unwrap());
        assert!(memory.table_growing(0, 50, None).unwrap());
        assert!(memory.refused.is_none());
    }

    #[test]
    fn memories_that_sum_above_the_limit_are_refused_violated() {
        let mut memory = Memory::new(1_000, 100);
        assert!(memory.memory_growing(0, 600, None).unwrap());
        assert!(!memory.memory_growing(0, 600, None).unwrap());
        let refused = memory.refused.unwrap();
        assert_eq!((refused.limit, refused.used), ("guest_memory_bytes", 1_200));
    }

    #[test]
    fn what_a_guest_is_never_given_is_not_counted() {
        let mut memory = Memory::new(1_000, 100);
        assert!(!memory.memory_growing(0, 900, Some(800)).unwrap());
        assert!(memory.memory_growing(0, 600, Some(800)).unwrap());
        assert!(memory.refused.is_none());
    }

    #[test]
    fn a_table_of_too_many_elements_is_refused_violated() {
        let mut memory = Memory::new(1_000_000, 100);
        assert!(!memory.table_growing(0, 101, None).unwrap());
        let refused = memory.refused.unwrap();
        assert_eq!((refused.limit, refused.used), ("guest_table_elements", 101));
    }
}
