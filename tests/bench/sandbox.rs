//! What the sandbox costs: a call through the component beside the same logic, compiled into this
//! process, over the same storage, embedder and index.
//!
//! Each call goes three ways, in turns:
//!
//! - *native*: on the calling thread. What a host without a sandbox could do at best.
//! - *worker*: native, but handed to a runtime built like the guests' and back, as logic is that
//!   must never hold up the server. The component pays this only where it computes for long.
//! - *component*: through `Kb`, as every face of the product calls it: a permit, a new wasmtime
//!   store with its limits armed, an instance, the call, its numbers, all dropped.
//!
//! `hand-over` is worker − native and `sandbox` is component − native, of medians. `refused` is a
//! call that the logic refuses before it imports anything, so it is an instance and little else.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use kenning::kb::{Caller, Kb};
use kenning_logic::Logic;
use kenning_logic::fact::Draft;
use kenning_logic::search::Query;
use kenning_storage::TenantId;
use kenning_tests::report::{Table, Timings, micros, us};
use tokio::runtime::{Builder, Runtime};

use crate::generator::Verb;
use crate::inside::{Inside, draft, query};
use crate::native::Native;
use crate::place::{BACKENDS, Backend};
use crate::texts::{Texts, metadata};

/// Facts that a search looks through.
const FACTS: usize = 1_000;
const HITS: u32 = 10;

/// Calls that go one way before the next way has its turn, and turns of each way.
const TURN: usize = 25;
const TURNS: usize = 160;
/// A store on the embedded storage waits for the disk.
const STORE_TURNS: usize = 40;
/// Turns thrown away.
const WARM_UP: usize = 4;

/// As the guests' runtime looks at its timers (`host/src/runtime/call.rs`).
const EVENT_INTERVAL: u32 = 2;

/// What the sandbox added to the median of a call.
pub(crate) type Costs = HashMap<(Backend, Verb), Duration>;

/// Measures on both storages and prints.
pub(crate) fn measure() -> Result<Costs> {
    let mut costs = Costs::new();
    let mut table = Table::new(
        format!("The sandbox's cost: one caller, in one process, {FACTS} facts, embedder hash"),
        2,
        &[
            "storage",
            "call",
            "n each",
            "native p50 µs",
            "p99",
            "worker p50",
            "p99",
            "component p50",
            "p99",
            "hand-over",
            "sandbox",
        ],
    );
    table.note("hand-over = worker − native, sandbox = component − native; µs");
    for backend in BACKENDS {
        let bench = Bench::new(backend)?;
        for kind in [Kind::Refused, Kind::Verb(Verb::Read), Kind::Verb(Verb::Search), Kind::STORE] {
            let measured = bench.measure(kind)?;
            table.row(measured.cells(backend, kind));
            if let Kind::Verb(verb) = kind {
                costs.insert((backend, verb), measured.cost());
            }
        }
        bench.inside.close();
    }
    table.print();
    Ok(costs)
}

/// Which call is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A listing of no facts, which the logic refuses.
    Refused,
    Verb(Verb),
}

impl Kind {
    const STORE: Self = Self::Verb(Verb::Store);

    fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Verb(verb) => verb.name(),
        }
    }
}

/// One call with what it is given.
enum Call {
    Refused,
    Get(String),
    Search(String),
    Store { text: String, metadata: String },
}

impl Call {
    fn natively(self, ports: Native) -> Result<()> {
        let logic = Logic::new(ports);
        match self {
            Self::Refused => ensure!(logic.list(None, 0, None).is_err(), "not refused"),
            Self::Get(id) => ensure!(logic.get(&[&id])?[0].is_some(), "{id} is gone"),
            Self::Search(text) => {
                let answer = logic.search(&Query::new(text, HITS))?;
                ensure!(answer.hits.len() == HITS as usize, "too few hits");
            }
            Self::Store { text, metadata } => {
                let draft = Draft { metadata, ..Draft::new(text) };
                let stored = logic.store(vec![draft])?.pop().context("no outcome")??;
                ensure!(stored.indexed, "not indexed");
            }
        }
        Ok(())
    }

    async fn in_component(self, kb: &Kb, caller: &Caller) -> Result<()> {
        let failed = |error: kenning_core::error::Error| anyhow::anyhow!("{}", error.message);
        match self {
            Self::Refused => {
                let refused = kb.list(caller, None, 0, None).await.is_err();
                ensure!(refused, "not refused");
            }
            Self::Get(id) => drop(kb.get(caller, id).await.map_err(failed)?),
            Self::Search(text) => {
                let answer =
                    kb.search(caller, query(text, HITS).into()).await.map_err(failed)?.value;
                ensure!(answer.hits.len() == HITS as usize, "too few hits");
            }
            Self::Store { text, metadata } => {
                let drafts = vec![Ok(draft(text, metadata).into())];
                let mut stored = kb.store(caller, drafts).await.map_err(failed)?.value;
                let stored = stored.pop().context("no outcome")?.map_err(failed)?;
                ensure!(stored.indexed, "not indexed");
            }
        }
        Ok(())
    }
}

/// The ways a call can go.
#[derive(Clone, Copy)]
enum Way {
    Native,
    Worker,
    Component,
}

const WAYS: [Way; 3] = [Way::Native, Way::Worker, Way::Component];

/// What one kind of call took on each way.
struct Measured([Timings; WAYS.len()]);

impl Measured {
    fn cost(&self) -> Duration {
        let [native, _, component] = &self.0;
        component.median().saturating_sub(native.median())
    }

    fn cells(&self, backend: Backend, kind: Kind) -> Vec<String> {
        let mut cells = vec![backend.name().into(), kind.name().into()];
        cells.push(self.0[0].count().to_string());
        for samples in &self.0 {
            cells.extend([us(samples.median()), us(samples.percentile(99.0))]);
        }
        let [native, worker, component] =
            self.0.each_ref().map(|samples| samples.median().as_secs_f64() * 1e6);
        cells.extend([worker - native, component - native].map(micros));
        cells
    }
}

/// A knowledge base with facts in it.
struct Bench {
    inside: Inside,
    workers: Runtime,
    tenant: TenantId,
    ids: Vec<String>,
    texts: Texts,
}

impl Bench {
    fn new(backend: Backend) -> Result<Self> {
        let (inside, texts) = (Inside::new(backend)?, Texts::new()?);
        let workers =
            Builder::new_multi_thread().enable_all().event_interval(EVENT_INTERVAL).build()?;
        let tenant = TenantId::parse("searched")?;
        let ids = inside.fill(&tenant, FACTS, &texts)?;
        Ok(Self { inside, workers, tenant, ids, texts })
    }

    fn measure(&self, kind: Kind) -> Result<Measured> {
        let turns = if matches!(kind, Kind::STORE) { STORE_TURNS } else { TURNS };
        let mut random = Rng::with_seed(2);
        let mut times: [Vec<Duration>; WAYS.len()] = Default::default();
        for turn in 0..WARM_UP + turns {
            // Each way begins as often as the others, so none always follows the same one.
            for place in 0..WAYS.len() {
                let at = (turn + place) % WAYS.len();
                for _ in 0..TURN {
                    let took = self.time(WAYS[at], kind, self.call(kind, &mut random))?;
                    if turn >= WARM_UP {
                        times[at].push(took);
                    }
                }
            }
        }
        Ok(Measured(times.map(Timings::new)))
    }

    fn call(&self, kind: Kind, random: &mut Rng) -> Call {
        match kind {
            Kind::Refused => Call::Refused,
            Kind::Verb(Verb::Read) => Call::Get(self.ids[random.usize(..FACTS)].clone()),
            Kind::Verb(Verb::Search) => Call::Search(self.texts.query(random)),
            Kind::Verb(Verb::Store) => {
                let metadata = metadata(random).to_string();
                Call::Store { text: self.texts.fact(random), metadata }
            }
        }
    }

    fn time(&self, way: Way, kind: Kind, call: Call) -> Result<Duration> {
        let tenant = match kind {
            // What is searched stays as it is.
            Kind::STORE => TenantId::parse("written")?,
            _ => self.tenant.clone(),
        };
        let Inside { kb, server, .. } = &self.inside;
        let caller = self.inside.caller(&tenant);
        let ports = Native::new(kb.clone(), tenant);
        let begun = Instant::now();
        match way {
            Way::Native => call.natively(ports)?,
            Way::Worker => {
                let working = self.workers.spawn(async move { call.natively(ports) });
                server.block_on(working)??;
            }
            Way::Component => server.block_on(call.in_component(kb, &caller))?,
        }
        Ok(begun.elapsed())
    }
}
