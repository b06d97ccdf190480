//! Callers while the logic, and then a tenant's extension, is swapped again and again: whether a
//! call fails, whether an answer is of a mix of generations, and how much longer calls take.
//!
//! The components were compiled before, so a swap is all its steps but that one: the proof with its
//! usual bounds, except those on time, and the record and the bytes in storage. Each swap begins
//! when the one before it is done.
//!
//! | file | holds |
//! |---|---|
//! | `callers` | the callers and their account |
//! | `marks` | versions that show which they are, and what an answer shows |

mod callers;
mod marks;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use kenning_tests::report::{Table, Timings, ms, us};
use kenning_tests::{Answer, Server, Setup};
use serde_json::json;
use tokio::time::sleep;

use self::callers::{Account, Callers, SECRET, Subject};
use self::marks::{Guest, NAME, Promotions, Version};
use crate::generator::fill_with;
use crate::place::{Backend, Place};
use crate::texts::Texts;

const FACTS: usize = 1_000;
const CALLERS: usize = 64;

/// What is swapped, where, how often, and how many recent requests each candidate is asked again.
/// With all cores busy a request that is asked again takes as long as a caller's, so with the
/// usual 200 a swap takes seconds, and only a few are done.
const SERIES: [(Backend, Guest, usize, usize); 5] = [
    (Backend::Embedded, Guest::Logic, 200, 10),
    (Backend::Embedded, Guest::Extension, 200, 10),
    (Backend::Embedded, Guest::Extension, 2, 200),
    (Backend::Redis, Guest::Logic, 25, 10),
    (Backend::Redis, Guest::Extension, 25, 10),
];

/// How long callers are measured without swaps, before and after.
const QUIET: Duration = Duration::from_secs(6);
/// The first of it is thrown away.
const WARM_UP: Duration = Duration::from_secs(1);
const WINDOW: Duration = Duration::from_secs(1);

/// How long a replay or a call takes must not end a series: with all cores busy, one turn can take
/// many times as long as the next.
const ANY_TIME: &str =
    "[limits]\nproof_time_percent = 1000000\nproof_ms = 60000\nwatch_time_percent = 1000000\n";

/// Measures on both storages and prints.
pub(crate) async fn measure() -> Result<()> {
    let mut report = Report::new();
    for (backend, guest, swaps, replayed) in SERIES {
        report.add(backend, guest, &Series::run(backend, guest, swaps, replayed).await?);
    }
    report.print();
    Ok(())
}

/// One series of swaps and what callers saw of it.
struct Series {
    swaps: Vec<Swap>,
    /// When the first swap began and the last was done, since the callers began.
    from: Duration,
    to: Duration,
    account: Account,
    promotions: Promotions,
}

struct Swap {
    took: Duration,
    promotion: Duration,
    replayed: u64,
}

impl Series {
    async fn run(backend: Backend, guest: Guest, count: usize, replayed: usize) -> Result<Self> {
        let place = Place::new(backend)?;
        let config = Some(format!("{ANY_TIME}proof_requests = {replayed}\n"));
        let server = Server::start_with(Setup { config, ..place.setup("hash") }).await?;
        let (versions, subject) = (guest.versions()?, subject(&server, guest).await?);
        let headers = server.get("/v1/facts").await?.headers;
        let mut promotions = Promotions::new(guest, &headers);
        // All are compiled, and one is in place, before anybody is measured.
        for version in versions.iter().rev() {
            swap(&server, guest, version, &mut promotions).await?;
        }
        let callers = Callers::start(&subject, CALLERS).await?;
        sleep(QUIET).await;
        let (from, mut swaps) = (callers.begun.elapsed(), Vec::with_capacity(count));
        for number in 0..count {
            let version = &versions[(number + 1) % versions.len()];
            swaps.push(swap(&server, guest, version, &mut promotions).await?);
        }
        let to = callers.begun.elapsed();
        sleep(QUIET).await;
        let account = callers.stop().await?;
        Ok(Self { swaps, from, to, account, promotions })
    }
}

async fn subject(server: &Server, guest: Guest) -> Result<Arc<Subject>> {
    let (words, mut random) = (Texts::harmless()?, fastrand::Rng::with_seed(6));
    let fact = || json!({ "text": words.fact(&mut random) + SECRET });
    let ids = fill_with(server, FACTS, fact).await?;
    Ok(Arc::new(Subject { url: server.url().into(), ids, texts: Texts::harmless()?, guest }))
}

async fn swap(
    server: &Server,
    guest: Guest,
    version: &Version,
    promotions: &mut Promotions,
) -> Result<Swap> {
    let (bytes, begun) = (version.bytes.clone(), Instant::now());
    let answer: Answer = match guest {
        Guest::Logic => server.swap_logic(bytes, "").await?,
        Guest::Extension => server.install("default", NAME, bytes, "").await?,
    };
    let took = begun.elapsed();
    ensure!(answer.json["promoted"] == true, "not promoted: {}", answer.text);
    promotions.add(answer.json["generation"].as_u64().unwrap_or_default(), version);
    let promotion = answer.json["promotion_ms"].as_f64().unwrap_or(f64::NAN);
    let promotion = Duration::try_from_secs_f64(promotion / 1e3)?;
    let replayed = answer.json["proof"]["requests"].as_u64().unwrap_or_default();
    Ok(Swap { took, promotion, replayed })
}

/// The tables of this part.
struct Report {
    swaps: Table,
    calls: Table,
    failures: Vec<String>,
}

impl Report {
    fn new() -> Self {
        let columns = [
            "storage",
            "swapped",
            "swaps",
            "replayed each",
            "swap p50 ms",
            "most",
            "promotion p50 µs",
            "most",
            "answers",
            "failed",
            "show who made them",
            "of a mix",
        ];
        let mut swaps = Table::new(
            format!("Swaps in a row: {CALLERS} callers, {FACTS} facts, embedder hash"),
            2,
            &columns,
        );
        swaps.note("swap: as whoever asked for it sees it; promotion: as its report says");
        swaps.note("of a mix: headers and what the answer shows are not of one promotion");
        let columns = [
            "storage",
            "swapped",
            "",
            "n",
            "calls/s",
            "p50 ms",
            "p99",
            "1 s windows: p99 p50",
            "most",
            "p99 / before",
        ];
        let mut calls = Table::new("What those callers waited", 3, &columns);
        calls
            .note("get, search, store, get, delete (and, with the logic, a store that is refused)");
        calls.note("in turns; the answer of each was checked, by the callers' own thread");
        Self { swaps, calls, failures: Vec::new() }
    }

    fn add(&mut self, backend: Backend, guest: Guest, series: &Series) {
        let Series { swaps, account, promotions, .. } = series;
        let took = Timings::new(swaps.iter().map(|swap| swap.took).collect());
        let promotion = Timings::new(swaps.iter().map(|swap| swap.promotion).collect());
        let count = |wanted: &dyn Fn(&marks::Seen) -> bool| -> usize {
            account.seen.iter().filter(|(seen, _)| wanted(seen)).map(|(_, count)| count).sum()
        };
        let replayed: u64 = swaps.iter().map(|swap| swap.replayed).sum();
        let names = [backend.name(), guest.name()].map(String::from);
        self.swaps.row(names.iter().cloned().chain([
            swaps.len().to_string(),
            (replayed / swaps.len().max(1) as u64).to_string(),
            ms(took.median()),
            ms(took.percentile(100.0)),
            us(promotion.median()),
            us(promotion.percentile(100.0)),
            account.calls.len().to_string(),
            account.failed.to_string(),
            count(&marks::Seen::shows).to_string(),
            count(&|seen| !promotions.explain(seen)).to_string(),
        ]));
        let mixed = account.seen.keys().find(|seen| !promotions.explain(seen));
        self.failures.extend(account.first_failure.clone());
        self.failures.extend(mixed.map(|seen| format!("of a mix: {seen:?}")));
        let before = self.phase(&names, "before", series, WARM_UP, series.from, None);
        self.phase(&names, "during", series, series.from, series.to, Some(before));
        let end = series.to + QUIET;
        self.phase(&names, "after", series, series.to, end, Some(before));
    }

    /// One row for the calls that ended in a span; gives their 99th percentile.
    fn phase(
        &mut self,
        names: &[String; 2],
        phase: &str,
        series: &Series,
        from: Duration,
        to: Duration,
        before: Option<Duration>,
    ) -> Duration {
        let within = |from: Duration, to: Duration| {
            let calls = series.account.calls.iter().filter(|(at, _)| (from..to).contains(at));
            Timings::new(calls.map(|(_, took)| *took).collect())
        };
        let (all, mut windows, mut at) = (within(from, to), Vec::new(), from);
        while at + WINDOW <= to {
            windows.push(within(at, at + WINDOW).percentile(99.0));
            at += WINDOW;
        }
        let (windows, p99) = (Timings::new(windows), all.percentile(99.0));
        let ratio = before.map_or(1.0, |before| p99.as_secs_f64() / before.as_secs_f64());
        self.calls.row(names.iter().cloned().chain([
            phase.into(),
            all.count().to_string(),
            format!("{:.0}", all.count() as f64 / (to - from).as_secs_f64()),
            ms(all.median()),
            ms(p99),
            ms(windows.median()),
            ms(windows.percentile(100.0)),
            format!("{ratio:.2}"),
        ]));
        p99
    }

    fn print(&self) {
        self.swaps.print();
        self.calls.print();
        self.failures.iter().for_each(|failure| println!("   first of its series: {failure}"));
    }
}
