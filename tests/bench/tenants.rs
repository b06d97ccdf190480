//! A thousand tenants, each with an extension of its own: what that takes of memory and time,
//! beside a thousand tenants without one.
//!
//! The extension is the tests' `hooks`, of whose four hooks a get runs one; every answer must show
//! that it ran. *Same*: all tenants have the same bytes, so the server holds their code once.
//! *Own*: each tenant's bytes have a digest of their own, so each is compiled, and held, for
//! itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hyper::{Method, Request};
use kenning_tests::report::{Table, Timings, memory, mib, ms};
use kenning_tests::{Server, Setup, component, noted};
use serde_json::json;

use crate::generator::request;
use crate::load::{self, Body, Load, Requests};
use crate::place::{Backend, Place};

const TENANTS: usize = 1_000;
const CALLERS: usize = 64;
const SPAN: Duration = Duration::from_secs(4);

/// Tenants whose extension is compiled again.
const COMPILED_AGAIN: usize = 8;

/// A start compiles nothing, and a first call waits for its guest.
const COMPILED_WHEN_CALLED: &str = "[limits]\ncompile_before_ready_ms = 0\nguest_wait_ms = 60000\n";

/// What tenants have.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    None,
    Same,
    Own,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Same => "same for all",
            Self::Own => "each its own",
        }
    }
}

/// Measures and prints.
pub(crate) async fn measure() -> Result<()> {
    let mut report = Report::new();
    for kind in [Kind::None, Kind::Same, Kind::Own] {
        report.add(&Measured::of(kind).await?);
    }
    report.print();
    Ok(())
}

/// What was measured of a thousand tenants.
struct Measured {
    kind: Kind,
    /// Resident, in bytes: at start, with a fact in each tenant, with the extensions, with each
    /// tenant called; and after a restart: when it listens, with each tenant called, with load.
    resident: Vec<u64>,
    installing: Timings,
    /// Of each tenant after it was installed, and its next.
    after_install: [Timings; 2],
    start: Duration,
    after_restart: [Timings; 2],
    load: Load,
    /// The first calls of tenants whose code is not on the disk any more.
    compiling: Timings,
}

impl Measured {
    async fn of(kind: Kind) -> Result<Self> {
        let place = Place::new(Backend::Embedded)?;
        // What is compiled here is nobody else's.
        let setup = Setup {
            compile: true,
            config: Some(COMPILED_WHEN_CALLED.into()),
            ..place.setup("hash")
        };
        let server = Server::start_with(setup.clone()).await?;
        let mut resident = vec![resident_of(&server)?];
        store(&server).await?;
        resident.push(resident_of(&server)?);
        let installing = install(&server, kind).await?;
        resident.push(resident_of(&server)?);
        let after_install = [call_each(&server, kind).await?, call_each(&server, kind).await?];
        resident.push(resident_of(&server)?);
        server.stop().await?;

        let server = Server::start_with(setup.clone()).await?;
        let start = server.start_took();
        resident.push(resident_of(&server)?);
        let after_restart = [call_each(&server, kind).await?, call_each(&server, kind).await?];
        resident.push(resident_of(&server)?);
        let load = load_on(&server).await?;
        resident.push(resident_of(&server)?);
        server.stop().await?;

        let components = setup.data_dir.as_ref().context("a place has data")?.join("components");
        std::fs::remove_dir_all(components)?;
        let server = Server::start_with(setup).await?;
        let compiling = call(&server, kind, COMPILED_AGAIN).await?;
        Ok(Self {
            kind,
            resident,
            installing,
            after_install,
            start,
            after_restart,
            load,
            compiling,
        })
    }
}

fn tenant(number: usize) -> String {
    format!("t{number}")
}

fn resident_of(server: &Server) -> Result<u64> {
    Ok(memory(server.pid().context("the server has ended")?)?.resident)
}

/// One fact in each tenant.
async fn store(server: &Server) -> Result<()> {
    for number in 0..TENANTS {
        let fact = json!({ "fact_id": "f", "text": "It is a secret." });
        server.tenant(&tenant(number)).store(fact).await?;
    }
    Ok(())
}

async fn install(server: &Server, kind: Kind) -> Result<Timings> {
    let hooks = std::fs::read(component("hooks")?)?;
    let mut times = Vec::new();
    for number in (0..TENANTS).filter(|_| kind != Kind::None) {
        let bytes = match kind {
            Kind::Own => noted(&hooks, &tenant(number)),
            _ => hooks.clone(),
        };
        let begun = Instant::now();
        let answer = server.install(&tenant(number), "hooks", bytes, "").await?;
        times.push(begun.elapsed());
        ensure!(answer.json["promoted"] == true, "not promoted: {}", answer.text);
    }
    Ok(Timings::new(times))
}

async fn call_each(server: &Server, kind: Kind) -> Result<Timings> {
    call(server, kind, TENANTS).await
}

/// One get for each of so many tenants, one after the other.
async fn call(server: &Server, kind: Kind, tenants: usize) -> Result<Timings> {
    let shows = if kind == Kind::None { "It is a secret." } else { "It is a [hidden]." };
    let mut times = Vec::with_capacity(tenants);
    for number in 0..tenants {
        let caller = server.tenant(&tenant(number));
        let begun = Instant::now();
        let answer = caller.get("/v1/facts/f").await?;
        times.push(begun.elapsed());
        ensure!(answer.json["content"] == shows, "{}", answer.text);
    }
    Ok(Timings::new(times))
}

/// Gets of one tenant after the other.
struct Around(AtomicUsize);

impl Requests for Around {
    fn request(&self) -> Result<Request<Body>> {
        let number = self.0.fetch_add(1, Ordering::Relaxed) % TENANTS;
        let mut request = request(Method::GET, "/v1/facts/f", None)?;
        request.headers_mut().insert("x-kenning-tenant", tenant(number).parse()?);
        Ok(request)
    }
}

async fn load_on(server: &Server) -> Result<Load> {
    let requests = Arc::new(Around(AtomicUsize::new(0)));
    let connections = load::warm(server.url(), CALLERS, &requests).await?;
    Ok(load::run(connections, &requests, SPAN).await?.1)
}

/// The tables of this part.
struct Report {
    memory: Table,
    times: Table,
    load: Table,
}

impl Report {
    fn new() -> Self {
        let columns = [
            "extension",
            "started",
            "a fact in each",
            "installed",
            "each called",
            "restarted",
            "each called",
            "after load",
        ];
        let title = format!("Memory of a server with {TENANTS} tenants, VmRSS MiB");
        let mut memory = Table::new(title, 1, &columns);
        memory
            .note("embedded storage, one fact in each tenant; called: one get, which runs on-read");
        memory.note("code is mapped from files, so the system may take its memory back");
        let columns = [
            "extension",
            "install p50 ms",
            "p99",
            "first call p50 ms",
            "p99",
            "next",
            "restart ms",
            "first call p50 ms",
            "p99",
            "next",
            "p99",
            "first, compiled again",
        ];
        let mut times = Table::new("Time of one tenant, one caller", 1, &columns);
        times.note("install: through HTTP, checks and proof; each its own is also compiled");
        times.note("compiled again: the first calls after the compiled code was deleted");
        times.note(format!(
            "({COMPILED_AGAIN} tenants, median; the code of the same is compiled once)"
        ));
        let columns = ["extension", "n", "calls/s", "p50 ms", "p99"];
        let title = format!("{CALLERS} callers get from {TENANTS} tenants in turn");
        Self { memory, times, load: Table::new(title, 1, &columns) }
    }

    fn add(&mut self, measured: &Measured) {
        let name = measured.kind.name().to_string();
        let resident = measured.resident.iter().map(|bytes| mib(*bytes));
        self.memory.row([name.clone()].into_iter().chain(resident));
        let [first, next] = &measured.after_install;
        let [first_again, next_again] = &measured.after_restart;
        self.times.row([
            name.clone(),
            ms(measured.installing.median()),
            ms(measured.installing.percentile(99.0)),
            ms(first.median()),
            ms(first.percentile(99.0)),
            ms(next.median()),
            ms(measured.start),
            ms(first_again.median()),
            ms(first_again.percentile(99.0)),
            ms(next_again.median()),
            ms(next_again.percentile(99.0)),
            ms(measured.compiling.median()),
        ]);
        let samples = &measured.load.samples;
        self.load.row([
            name,
            samples.count().to_string(),
            format!("{:.0}", measured.load.per_second()),
            ms(samples.median()),
            ms(samples.percentile(99.0)),
        ]);
    }

    fn print(&self) {
        self.memory.print();
        self.times.print();
        self.load.print();
    }
}
