//! From starting the process to its line "listening on", which it prints when its indexes are
//! built; and its memory at that moment.

use std::time::Duration;

use anyhow::{Context, Result};
use kenning_tests::report::{Memory, Table, Timings, memory, mib, ms};
use kenning_tests::{Server, Setup};

use crate::generator::fill;
use crate::place::{BACKENDS, Backend, Place};

const FACTS: usize = 10_000;

/// Starts of each kind.
const STARTS: usize = 9;

/// Measures on both storages and prints.
pub(crate) async fn measure() -> Result<()> {
    let mut report = Report::new();
    for backend in BACKENDS {
        let place = Place::new(backend)?;
        // The first start makes what later ones find: directories, the compiled logic.
        stop(place.serve("hash").await?).await?;
        report.starts(backend, 0, &place.setup("hash")).await?;
        let server = place.serve("hash").await?;
        fill(&server, FACTS, 3).await?;
        stop(server).await?;
        report.starts(backend, FACTS, &place.setup("hash")).await?;
    }
    let place = Place::new(Backend::Embedded)?;
    stop(place.serve("local").await?).await?;
    report.starts(Backend::Embedded, 0, &place.setup("local")).await?;
    report.first_starts().await?;
    report.table.print();
    Ok(())
}

struct Report {
    table: Table,
}

/// What one start took.
struct Start {
    took: Duration,
    memory: Memory,
}

impl Report {
    fn new() -> Self {
        let columns = [
            "storage",
            "embedder",
            "",
            "facts",
            "n",
            "start p50 ms",
            "least",
            "most",
            "VmRSS MiB",
            "VmHWM MiB",
        ];
        let mut table = Table::new("Start-up: until \"listening on\", indexes built", 3, &columns);
        table.note("memory when it listens, of the start with the median of VmRSS");
        table.note("the files are in the system's cache: they were written or read just before");
        Self { table }
    }

    async fn starts(&mut self, backend: Backend, facts: usize, setup: &Setup) -> Result<()> {
        let mut starts = Vec::with_capacity(STARTS);
        for _ in 0..STARTS {
            starts.push(start(setup.clone()).await?);
        }
        let embedder = setup.embedder.unwrap_or_default();
        self.row([backend.name(), embedder, ""], facts, starts);
        Ok(())
    }

    /// Each in a data directory of its own, so that the logic has to be compiled.
    async fn first_starts(&mut self) -> Result<()> {
        let mut starts = Vec::with_capacity(STARTS);
        for _ in 0..STARTS {
            let place = Place::new(Backend::Embedded)?;
            starts.push(start(Setup { compile: true, ..place.setup("hash") }).await?);
        }
        self.row(["embedded", "hash", "and compiles the logic"], 0, starts);
        Ok(())
    }

    fn row(&mut self, names: [&str; 3], facts: usize, mut starts: Vec<Start>) {
        let times = Timings::new(starts.iter().map(|start| start.took).collect());
        starts.sort_by_key(|start| start.memory.resident);
        let memory = starts[starts.len() / 2].memory;
        let row = names.into_iter().map(String::from).chain([
            facts.to_string(),
            times.count().to_string(),
            ms(times.median()),
            ms(times.percentile(0.0)),
            ms(times.percentile(100.0)),
            mib(memory.resident),
            mib(memory.peak),
        ]);
        self.table.row(row);
    }
}

async fn start(setup: Setup) -> Result<Start> {
    let server = Server::start_with(setup).await?;
    let memory = memory(server.pid().context("the server has ended")?)?;
    let took = server.start_took();
    stop(server).await?;
    Ok(Start { took, memory })
}

async fn stop(server: Server) -> Result<()> {
    server.stop().await.map(drop)
}
