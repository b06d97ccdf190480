//! What the wasmtime store of one guest call holds: the tenant, the bounds, and what was used.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kenning_storage::{FactId, Revision, TenantId};
use wasmtime_wasi::{ResourceTable, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

use crate::dry_run::CapturedWrites;
use crate::fuel::FuelMeter;
use crate::guest::Guest;
use crate::log_lines::LogLines;
use crate::memory::Memory;
use crate::outcome::{CallEffects, Waiting};
use crate::services::Services;

/// How many random bytes a guest may ask WASI for at once.
const RANDOM_BYTES: u64 = 64 * 1024;

/// The data of a guest call's wasmtime store.
pub struct State {
    pub(crate) services: Arc<Services>,
    pub(crate) tenant: TenantId,
    pub(crate) deadline: Instant,
    pub(crate) memory: Memory,
    pub(crate) waiting: Waiting,
    pub(crate) host_calls: u32,
    /// Time spent in imports, for metrics.
    pub(crate) host_time: Duration,
    /// Whether a write timed out, so that it may have happened.
    pub(crate) outcome_unknown: bool,
    /// The revisions of the facts that this call wrote. The index needs them to apply concurrent
    /// changes in storage's order.
    pub(crate) revisions: HashMap<FactId, Revision>,
    /// The written facts that are not in the index yet.
    pub(crate) unindexed: HashSet<FactId>,
    /// The facts that storage gave to this call or that it wrote.
    pub(crate) facts: Vec<FactId>,
    /// Whether an import failed by a fault of the host.
    pub(crate) host_failed: bool,
    pub(crate) log: LogLines,
    pub(crate) fuel: FuelMeter,
    /// The writes of a dry run; `None` if writes take effect.
    pub(crate) captured: Option<CapturedWrites>,
    wasi: WasiCtx,
    table: ResourceTable,
}

impl State {
    pub(crate) fn new(
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

    /// What this call did. Called once, at its end.
    pub(crate) fn effects(&mut self) -> CallEffects {
        CallEffects {
            facts: std::mem::take(&mut self.facts),
            wrote: !self.revisions.is_empty(),
            host_failed: self.host_failed,
        }
    }
}

/// WASI with clocks and random numbers; stdout and stderr become log lines. There are no arguments,
/// environment variables, files or network.
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
