//! Guests that misbehave, eight of a kind at once, beside a neighbour that does not.
//!
//! Each kind has a server of its own. A neighbour searches in a closed loop, first alone and
//! then while eight callers have the hostile logic do the same bad thing again and again. Every
//! call must end in that kind's own error, and every search of the neighbour's must be answered
//! rightly; how long it took and what it cost is printed.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use http::Method;
use kenning_tests::report::{Table, Timings, memory, mib, ms, us};
use kenning_tests::{Caller, Server, Setup, component, send, spelled};
use serde_json::json;
use tokio::task::JoinSet;

/// Callers of one kind at once.
const CALLERS: u64 = 8;

/// Facts that the neighbour searches through.
const FACTS: usize = 100;

/// The deadline of a call that is to be ended by it, and of one that is to end before.
const SHORT: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(10);

/// How long the neighbour is watched alone, and how long in company.
const ALONE: Duration = Duration::from_secs(1);
const IN_COMPANY: Duration = Duration::from_secs(3);

const MEMORY: u64 = 64 << 20;

/// Fuel for longer than the deadline, so that it is the deadline that ends a busy guest.
const MUCH_FUEL: &str = "fuel_base = 1000000000000000\nfuel_max = 1000000000000000\n";
const LITTLE_FUEL: &str = "fuel_base = 100000000\nfuel_per_unit = 0\n";
const DEFAULT_FUEL: &str = "";

/// A way to misbehave: what it is, what the guest is told, under which fuel, and how it ends.
type Kind = (&'static str, &'static str, &'static str, &'static str);

const KINDS: [Kind; 17] = [
    ("spins until its deadline", "spin", MUCH_FUEL, "timeout"),
    ("spins on the host's clock", "spin-on-clock", MUCH_FUEL, "timeout"),
    ("sleeps past its deadline", "sleep 600", DEFAULT_FUEL, "timeout"),
    ("spins until its fuel is out", "spin", LITTLE_FUEL, "guest_out_of_fuel"),
    ("grows memory without end", "grow", DEFAULT_FUEL, "guest_out_of_memory"),
    ("recurses without end", "recurse", DEFAULT_FUEL, "guest_limit"),
    ("traps", "trap", DEFAULT_FUEL, "guest_trapped"),
    ("aborts in drop", "abort-in-drop", DEFAULT_FUEL, "guest_trapped"),
    ("answers 50 MB", "answer-bytes 50000000", DEFAULT_FUEL, "guest_limit"),
    ("answers 1.5 million strings", "answer-empty-things 1500000", DEFAULT_FUEL, "guest_limit"),
    ("answers NaN", "answer-nan", DEFAULT_FUEL, "guest_limit"),
    ("answers a fact twice", "answer-twice", DEFAULT_FUEL, "guest_limit"),
    ("answers invented facts", "answer-invented 10", DEFAULT_FUEL, "guest_limit"),
    ("floods the log", "log 1000000", DEFAULT_FUEL, "guest_limit"),
    ("calls imports a million times", "ask-budget 1000000", DEFAULT_FUEL, "guest_limit"),
    ("passes 50 MB to an import", "hand-over 50000000", DEFAULT_FUEL, "guest_limit"),
    ("leaks handles", "handles 1000000", DEFAULT_FUEL, "guest_limit"),
];

/// What the misbehaving callers saw.
#[derive(Default)]
struct Ends {
    calls: usize,
    /// How much later than its deadline each call ended that had to be ended.
    overruns: Vec<Duration>,
}

pub(crate) async fn run() -> Result<()> {
    let columns = [
        "eight at once",
        "error",
        "calls",
        "overrun p50 ms",
        "max",
        "neighbour alone p50 µs",
        "in company",
        "ratio",
        "n",
        "idle MiB",
        "peak",
        "of limits",
    ];
    let mut table = Table::new("Guests that misbehave, and their neighbour", 2, &columns);
    table.note(format!(
        "{CALLERS} callers of one kind in closed loops, one neighbour; deadlines, where they end \
         a call, of {} ms",
        SHORT.as_millis()
    ));
    table.note("kinds that end in microseconds are called thousands of times a second");
    table
        .note("of limits: what memory grew by, of what eight guests may have (guest_memory_bytes)");
    for kind in KINDS {
        let row = measure(kind).await.with_context(|| format!("a guest that {}", kind.0))?;
        table.row(row);
    }
    table.print();
    Ok(())
}

async fn measure((name, command, fuel, code): Kind) -> Result<Vec<String>> {
    let config = Some(format!("[limits]\n{fuel}guest_memory_bytes = {MEMORY}\n"));
    let setup = Setup { logic: Some(component("hostile")?), config, ..Setup::default() };
    let server = Server::start_with(setup).await?;
    let pid = server.pid().context("the server has ended")?;
    let (neighbour, bad) = (server.tenant("neighbour"), server.tenant("misbehaving"));
    for number in 0..FACTS {
        let fact = json!({ "fact_id": id(number), "text": spelled("word", number) });
        neighbour.store(fact.clone()).await?;
        bad.store(fact).await?;
    }
    search_for(&neighbour, ALONE).await?;
    let idle = memory(pid)?.resident;
    let alone = search_for(&neighbour, ALONE).await?;

    let until = Instant::now() + IN_COMPANY;
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        callers.spawn(misbehave(bad.clone(), command, code, until));
    }
    let company = search_for(&neighbour, IN_COMPANY).await?;
    let mut ends = Ends::default();
    while let Some(of_one) = callers.join_next().await {
        let of_one = of_one??;
        ends.calls += of_one.calls;
        ends.overruns.extend(of_one.overruns);
    }
    let peak = memory(pid)?.peak;
    ensure!(server.stop().await? == Some(0), "the server did not stop as it should");

    let overruns = Timings::new(ends.overruns);
    let overrun = |percent| match overruns.count() {
        0 => "-".to_string(),
        _ => ms(overruns.percentile(percent)),
    };
    let ratio = company.median().as_secs_f64() / alone.median().as_secs_f64();
    let of_limits = peak.saturating_sub(idle) as f64 / (CALLERS * MEMORY) as f64;
    Ok(vec![
        name.into(),
        code.into(),
        ends.calls.to_string(),
        overrun(50.0),
        overrun(100.0),
        us(alone.median()),
        us(company.median()),
        format!("{ratio:.1}"),
        company.count().to_string(),
        mib(idle),
        mib(peak),
        format!("{of_limits:.2}"),
    ])
}

fn id(number: usize) -> String {
    format!("fact-{number}")
}

/// The neighbour's searches, each of which must find its one fact.
async fn search_for(neighbour: &Caller, time: Duration) -> Result<Timings> {
    let (begun, mut times) = (Instant::now(), Vec::new());
    while begun.elapsed() < time || times.is_empty() {
        let number = times.len() % FACTS;
        let query = json!({ "query": spelled("word", number), "mode": "text" });
        let asked = Instant::now();
        let found = neighbour.search(query).await?;
        times.push(asked.elapsed());
        ensure!(found == [id(number)], "the neighbour asked for {number} and got {found:?}");
    }
    Ok(Timings::new(times))
}

async fn misbehave(
    caller: Caller,
    command: &'static str,
    code: &'static str,
    until: Instant,
) -> Result<Ends> {
    let deadline = if code == "timeout" { SHORT } else { LONG };
    let mut ends = Ends::default();
    while Instant::now() < until {
        let request = caller
            .request(Method::POST, "/v1/search")
            .header("x-kenning-timeout-ms", deadline.as_millis().to_string())
            .json(&json!({ "query": command }));
        let asked = Instant::now();
        let answer = send(request).await?;
        let took = asked.elapsed();
        let as_told = answer.code() == code && answer.json["blame"] == "guest";
        ensure!(as_told, "{command}: {}", answer.text);
        if code == "timeout" {
            ends.overruns.push(took.saturating_sub(deadline));
        }
        ends.calls += 1;
    }
    Ok(ends)
}
