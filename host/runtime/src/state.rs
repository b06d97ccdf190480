//! What the wasmtime store of one guest call holds: the tenant, the bounds, and what was used.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kenning_embedder::Vector;
use kenning_storage::{FactId, RegistryRevision, Revision, StorageError, TenantId};
use kenning_trace::{OpenSpan, TraceContext};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use wasmtime_wasi::{ResourceTable, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::dry_run::CapturedWrites;
use crate::embedders::GivenVectors;
use crate::fuel::FuelMeter;
use crate::guest::{Component, Guest};
use crate::log_lines::LogLines;
use crate::memory::Memory;
use crate::outbound::{HttpCalls, Source};
use crate::outcome::{CallEffects, Validity, Waiting};
use crate::pending_facts::Storing;
use crate::recording::Witness;
use crate::request_context::RequestContext;
use crate::schedule::time_slice::Slice;
use crate::services::Services;
use crate::tenant_index::TenantIndex;
use crate::windows::CallWindows;

/// How many random bytes a guest may ask WASI for at once.
const RANDOM_BYTES: u64 = 64 * 1024;

/// The data of a guest call's wasmtime store.
pub struct State {
    pub(crate) services: Arc<Services>,
    pub(crate) tenant: TenantId,
    /// The tenant's registry that the call goes by; `None` if that makes no difference.
    pub(crate) registry: Option<RegistryRevision>,
    /// What storage said of it.
    pub(crate) validity: Validity,
    /// A fact whose fields must have these values when the call changes it.
    pub(crate) expected: Option<(FactId, kenning_storage::Hash)>,
    /// Whether they had others, so that the change did not happen.
    pub(crate) unexpected: bool,
    /// The vectors that the caller gave, by their texts.
    pub(crate) given: GivenVectors,
    /// The index that this call searches; `None` for the one that is held when it searches.
    pub(crate) index: Option<Arc<TenantIndex>>,
    /// Who asks, and for what.
    pub(crate) request: RequestContext,
    /// The name of the extension that runs; `None` for a logic.
    pub(crate) extension: Option<Arc<str>>,
    /// What the operator set for it, as a JSON object; `None` for nothing.
    pub(crate) settings: Option<Arc<str>>,
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
    pub(crate) unindexed: HashMap<FactId, Arc<Storing>>,
    /// The vectors that this call embedded of its facts' texts; `None` if it may not index facts.
    pub(crate) windows: Option<CallWindows>,
    /// The facts that storage gave to this call or that it wrote.
    pub(crate) facts: Vec<FactId>,
    /// Whether an import failed by a fault of the host.
    pub(crate) host_failed: bool,
    /// The last failure of storage.
    pub(crate) storage_failure: Option<StorageError>,
    /// The facts whose records are damaged.
    pub(crate) unreadable: Vec<FactId>,
    /// The vector of the first query that this call embedded.
    pub(crate) query_vector: Option<Vector>,
    /// The facts that storage listed in this call.
    pub(crate) listed: HashSet<FactId>,
    pub(crate) log: LogLines,
    pub(crate) fuel: FuelMeter,
    /// The time slices of this call.
    pub(crate) slice: Slice,
    /// The writes of a dry run; `None` if writes take effect.
    pub(crate) captured: Option<CapturedWrites>,
    /// Who sees what the guest sees.
    pub(crate) witness: Witness,
    /// Where in the request's trace the guest runs.
    pub(crate) trace: Option<TraceContext>,
    /// The call of an import that is under way, if the trace is recorded.
    pub(crate) import: Option<OpenSpan>,
    /// Made when the guest first asks for something of WASI.
    wasi: Option<Box<WasiCtx>>,
    /// The numbers of `system.random`, made when the guest first asks for one.
    random: Option<Box<StdRng>>,
    /// What it sends to the outside. Before the table: its end ends what is in there.
    pub(crate) http: HttpCalls,
    http_context: WasiHttpCtx,
    table: ResourceTable,
}

impl State {
    pub(crate) fn new(
        services: Arc<Services>,
        tenant: TenantId,
        deadline: Instant,
        guest: &Guest,
        dry_run: bool,
        witness: Witness,
        slice: Slice,
    ) -> Self {
        let limits = &services.limits;
        let log = LogLines::new(&tenant, guest, limits, dry_run);
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.guest_handles);
        let indexes = guest.component == Component::Logic && !dry_run;
        let source = match dry_run && !witness.is_player() {
            true => Source::Proof,
            false => witness.http(),
        };
        let (outbound, io) = (services.outbound.clone(), services.io.clone());
        let http = HttpCalls::new(outbound, io, source, deadline, limits, log.clone());
        Self {
            fuel: FuelMeter::default(),
            slice,
            memory: Memory::new(guest.memory_bytes(limits), limits),
            wasi: None,
            random: None,
            http,
            http_context: WasiHttpCtx::new(),
            witness,
            table,
            log,
            tenant,
            registry: None,
            expected: None,
            given: GivenVectors::default(),
            index: None,
            request: RequestContext::default(),
            extension: guest.component.extension(),
            settings: guest.settings.clone(),
            unexpected: false,
            validity: Validity::default(),
            deadline,
            waiting: Waiting::Nothing,
            host_calls: 0,
            host_time: Duration::ZERO,
            outcome_unknown: false,
            revisions: HashMap::new(),
            captured: dry_run.then(CapturedWrites::default),
            trace: None,
            import: None,
            facts: Vec::new(),
            host_failed: false,
            storage_failure: None,
            unreadable: Vec::new(),
            query_vector: None,
            listed: HashSet::new(),
            unindexed: HashMap::new(),
            windows: indexes.then(CallWindows::default),
            services,
        }
    }

    /// The numbers of `system.random`; `None` if it makes no difference which they are.
    pub(crate) fn random(&mut self) -> Option<&mut StdRng> {
        if self.random.is_none() {
            self.random = self.witness.random_of_system().map(Box::new);
        }
        self.random.as_deref_mut()
    }

    /// What this call did. Called once, at its end.
    pub(crate) fn effects(&mut self) -> CallEffects {
        CallEffects {
            facts: std::mem::take(&mut self.facts),
            wrote: !self.revisions.is_empty(),
            unexpected: self.unexpected,
            host_failed: self.host_failed,
            storage_failure: self.storage_failure.take(),
            unreadable: std::mem::take(&mut self.unreadable),
            query_vector: self.query_vector.take(),
        }
    }
}

/// WASI with clocks and random numbers; stdout and stderr become log lines. There are no arguments,
/// environment variables, files or network.
fn new_wasi(log: &LogLines, witness: &Witness) -> WasiCtx {
    let mut builder = WasiCtxBuilder::new();
    if let Some(mut random) = witness.random() {
        let seed = u128::from(random.next_u64()) << 64 | u128::from(random.next_u64());
        builder.insecure_random(StdRng::from_rng(&mut random)).insecure_random_seed(seed);
        builder.secure_random(random);
    }
    builder
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
        let Self { wasi, log, witness, table, .. } = self;
        let ctx = wasi.get_or_insert_with(|| Box::new(new_wasi(log, witness)));
        WasiCtxView { ctx, table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            hooks: &mut self.http,
            table: &mut self.table,
            ctx: &mut self.http_context,
        }
    }
}
