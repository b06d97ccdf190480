//! Calls through HTTP: how many a second, how long each takes, whose processor time it is, and
//! where it goes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use kenning_tests::Server;
use kenning_tests::report::{Table, memory, mib, micros, processor_time, us};

use crate::generator::{Generator, VERBS, Verb, fill};
use crate::load::{self, Load};
use crate::metrics::{Account, account};
use crate::place::{BACKENDS, Backend, Place};
use crate::sandbox::Costs;

/// Facts that are read and searched.
const FACTS: usize = 1_000;

/// Callers at once. With `local`, two embeddings at a time keep two cores busy, so more callers
/// only wait longer.
const CALLERS: [usize; 3] = [1, 16, 64];
const LOCAL_CALLERS: [usize; 2] = [1, 16];

/// How long one measurement goes on.
const SPAN: Duration = Duration::from_secs(4);

/// The median of a call of one caller.
pub(crate) type Served = HashMap<(Backend, Verb), Duration>;

/// Measures on both storages with both embedders, and prints.
pub(crate) async fn measure() -> Result<Served> {
    let mut report = Report::new();
    for backend in BACKENDS {
        let place = Place::new(backend)?;
        let server = place.serve("hash").await?;
        let bench = Bench::new(&place, backend, "hash", server).await?;
        for callers in CALLERS {
            for verb in VERBS {
                report.add(bench.measure(verb, callers).await?);
            }
        }
        report.memory(&bench).await?;
    }
    for backend in BACKENDS {
        let place = Place::new(backend)?;
        let server = place.serve("local").await?;
        let bench = Bench::new(&place, backend, "local", server).await?;
        for callers in LOCAL_CALLERS {
            report.add(bench.measure(Verb::Search, callers).await?);
        }
        report.memory(&bench).await?;
    }
    report.print();
    Ok(report.served)
}

/// What the sandbox is of a call through HTTP.
pub(crate) fn print_share(costs: &Costs, served: &Served) {
    if costs.is_empty() {
        return;
    }
    let columns = ["storage", "call", "sandbox µs", "call through HTTP p50 µs", "share"];
    let mut table =
        Table::new("The sandbox's share of a call, one caller, embedder hash", 2, &columns);
    table.note(
        "sandbox: component − native of the first table, hand-over and all; both are medians",
    );
    for backend in BACKENDS {
        for verb in VERBS {
            let key = (backend, verb);
            let (Some(cost), Some(call)) = (costs.get(&key), served.get(&key)) else { continue };
            let share = cost.as_secs_f64() / call.as_secs_f64() * 100.0;
            let names = [backend.name().into(), verb.name().into()];
            table.row(names.into_iter().chain([us(*cost), us(*call), format!("{share:.0} %")]));
        }
    }
    table.print();
}

/// One measurement.
struct Cell {
    backend: Backend,
    embedder: &'static str,
    verb: Verb,
    callers: usize,
    load: Load,
    /// Processor time of the server, of Redis and of the generator.
    used: [Duration; 3],
    /// The server's own account, before and after.
    account: [Account; 2],
}

/// A server that is filled and ready.
struct Bench {
    server: Server,
    pid: u32,
    redis: Option<u32>,
    backend: Backend,
    embedder: &'static str,
    ids: Vec<String>,
}

impl Bench {
    async fn new(
        place: &Place,
        backend: Backend,
        embedder: &'static str,
        server: Server,
    ) -> Result<Self> {
        let ids = fill(&server, FACTS, 1).await?;
        let pid = server.pid().context("the server has ended")?;
        Ok(Self { pid, redis: place.redis_pid()?, backend, embedder, ids, server })
    }

    async fn measure(&self, verb: Verb, callers: usize) -> Result<Cell> {
        let seed = 1_000 * callers as u64 + verb as u64;
        let generator = Arc::new(Generator::new(verb, &self.ids, seed)?);
        let connections = load::warm(self.server.url(), callers, &generator).await?;
        let accounted = || account(&self.server, verb.route(), verb.operation());
        let (account, used) = (accounted().await?, self.used()?);
        let (_, load) = load::run(connections, &generator, SPAN).await?;
        let later = self.used()?;
        let used = std::array::from_fn(|at| later[at].saturating_sub(used[at]));
        let account = [account, accounted().await?];
        let Self { backend, embedder, .. } = *self;
        Ok(Cell { backend, embedder, verb, callers, load, used, account })
    }

    fn used(&self) -> Result<[Duration; 3]> {
        let redis = self.redis.map(processor_time).transpose()?.unwrap_or_default();
        Ok([processor_time(self.pid)?, redis, processor_time(std::process::id())?])
    }
}

/// The tables of this part.
struct Report {
    calls: Table,
    accounts: Table,
    memory: Table,
    served: Served,
}

impl Report {
    fn new() -> Self {
        let mut calls = Table::new(
            format!("Through HTTP: {FACTS} facts, top_k 10, closed loop, {SPAN:?} each"),
            4,
            &[
                "storage",
                "embedder",
                "call",
                "callers",
                "n",
                "calls/s",
                "p50 µs",
                "p99 µs",
                "server CPU µs/call",
                "redis",
                "generator",
            ],
        );
        calls.note("server, Redis and load generator share this machine's cores");
        calls.note("no query repeats, so the cache of embeddings answers none");
        let mut accounts = Table::new(
            "Where a call's time goes: one caller, means in µs",
            3,
            &[
                "storage",
                "embedder",
                "call",
                "n",
                "caller sees",
                "= HTTP outside the handler",
                "+ handler outside the guest",
                "+ guest",
                "+ its imports",
            ],
        );
        accounts
            .note("handler, guest (its instance too) and imports as the server's /metrics say;");
        accounts.note("admission is outside the guest");
        let memory = Table::new(
            "The server's memory after this load",
            2,
            &["storage", "embedder", "facts", "VmRSS MiB", "VmHWM MiB"],
        );
        Self { calls, accounts, memory, served: Served::new() }
    }

    fn add(&mut self, cell: Cell) {
        let samples = &cell.load.samples;
        let count = samples.count();
        let mut row = vec![
            cell.backend.name().into(),
            cell.embedder.into(),
            cell.verb.name().into(),
            cell.callers.to_string(),
            count.to_string(),
            format!("{:.0}", cell.load.per_second()),
            us(samples.median()),
            us(samples.percentile(99.0)),
        ];
        row.extend(cell.used.iter().map(|used| us(*used / count.max(1) as u32)));
        self.calls.row(row);
        if cell.callers == 1 {
            self.account(&cell);
            if cell.embedder == "hash" {
                self.served.insert((cell.backend, cell.verb), samples.median());
            }
        }
    }

    fn account(&mut self, cell: &Cell) {
        let [before, after] = cell.account;
        let caller = cell.load.samples.mean().as_secs_f64() * 1e6;
        let handler = after.handler.mean_since(before.handler);
        let guest = after.guest.mean_since(before.guest);
        let imports = after.imports.mean_since(before.imports);
        let names = [cell.backend.name(), cell.embedder, cell.verb.name()].map(String::from);
        let parts = [caller, caller - handler, handler - guest - imports, guest, imports];
        let row = names.into_iter().chain([cell.load.samples.count().to_string()]);
        self.accounts.row(row.chain(parts.map(micros)));
    }

    async fn memory(&mut self, bench: &Bench) -> Result<()> {
        let mut facts = 0;
        for tenant in [bench.server.tenant("default"), bench.server.tenant("written")] {
            facts += tenant.get("/v1/stats").await?.json["facts"].as_u64().unwrap_or(0);
        }
        let memory = memory(bench.pid)?;
        let figures = [facts.to_string(), mib(memory.resident), mib(memory.peak)];
        let names = [bench.backend.name(), bench.embedder].map(String::from);
        self.memory.row(names.into_iter().chain(figures));
        Ok(())
    }

    fn print(&self) {
        self.calls.print();
        self.accounts.print();
        self.memory.print();
    }
}
