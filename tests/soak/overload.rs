//! As many callers as there is room for, ten times as many, and as many again.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kenning_tests::report::{Table, Timings, memory, mib, ms};
use kenning_tests::{Caller, Server, Setup};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// Places to run and to wait: small, so that a machine that also runs the callers can
/// have ten times as many of those.
const PLACES: usize = 16;
const LINE: usize = 32;
const ROOM: usize = PLACES + LINE;

const FACTS: usize = 1_000;

/// How long each phase takes.
const SPAN: Duration = Duration::from_secs(15);

/// A refused caller's pause: a tenth of what `Retry-After` says, so that it is a burden.
const PAUSE: Duration = Duration::from_millis(100);

/// What the callers of one phase met.
#[derive(Default)]
struct Met {
    answered: Vec<Duration>,
    refused: Vec<Duration>,
    /// What was neither.
    others: Vec<String>,
}

/// Measures and prints; fails if a caller was neither answered nor told.
pub(crate) async fn measure() -> Result<()> {
    let config = format!("[limits]\nguests = {PLACES}\nguests_waiting = {LINE}\n");
    let server = Server::start_with(Setup { config: Some(config), ..Setup::default() }).await?;
    fill(&server).await?;
    let pid = server.pid().context("the server runs")?;
    let mut table = Table::new(
        format!("Overload: searches over {FACTS} facts, {PLACES} places, a line of {LINE}"),
        1,
        &[
            "callers",
            "offered",
            "answered",
            "refused",
            "other",
            "answered/s",
            "p50 ms",
            "p99 ms",
            "refused p50 ms",
            "p99 ms",
            "peak MiB",
        ],
    );
    table
        .note("each caller sends its next search when it has an answer, or 100 ms after a refusal");
    let mut others = Vec::new();
    for (name, callers) in [("1 ×", ROOM), ("10 ×", 10 * ROOM), ("1 × again", ROOM)] {
        let met = phase(&server, callers).await?;
        let peak = memory(pid)?.peak;
        table.row(cells(&format!("{name}: {callers}"), &met, peak));
        others.extend(met.others);
    }
    table.print();
    ensure!(
        others.is_empty(),
        "neither answered nor refused: {:?}",
        &others[..others.len().min(5)]
    );
    Ok(())
}

async fn fill(server: &Server) -> Result<()> {
    for batch in 0..FACTS / 100 {
        let fact = |n: usize| json!({ "text": format!("fact number{batch} of topic{n}") });
        let facts: Vec<_> = (0..100).map(fact).collect();
        let answer = server.post("/v1/facts/batch", json!({ "facts": facts })).await?;
        ensure!(answer.status == 200, "{}", answer.text);
    }
    Ok(())
}

async fn phase(server: &Caller, callers: usize) -> Result<Met> {
    let end = Instant::now() + SPAN;
    let mut calling = JoinSet::new();
    for _ in 0..callers {
        calling.spawn(call_until(server.clone(), end));
    }
    let mut all = Met::default();
    while let Some(met) = calling.join_next().await {
        let met = met?;
        all.answered.extend(met.answered);
        all.refused.extend(met.refused);
        all.others.extend(met.others);
    }
    Ok(all)
}

async fn call_until(caller: Caller, end: Instant) -> Met {
    let mut met = Met::default();
    while Instant::now() < end {
        let (number, topic) = (fastrand::usize(0..10), fastrand::usize(0..100));
        let query = json!({ "query": format!("number{number} topic{topic}") });
        let begun = Instant::now();
        let answer = caller.post("/v1/search", query).await;
        let took = begun.elapsed();
        match answer {
            Ok(answer) if answer.status == 200 => met.answered.push(took),
            Ok(answer)
                if answer.code() == "overloaded" && !answer.header("retry-after").is_empty() =>
            {
                met.refused.push(took);
                sleep(PAUSE).await;
            }
            Ok(answer) => met.others.push(answer.text),
            Err(error) => met.others.push(format!("{error:#}")),
        }
    }
    met
}

fn cells(name: &str, met: &Met, peak: u64) -> Vec<String> {
    let offered = met.answered.len() + met.refused.len() + met.others.len();
    let answered = Timings::new(met.answered.clone());
    let refused = Timings::new(met.refused.clone());
    vec![
        name.into(),
        offered.to_string(),
        answered.count().to_string(),
        refused.count().to_string(),
        met.others.len().to_string(),
        format!("{:.0}", answered.count() as f64 / SPAN.as_secs_f64()),
        ms(answered.median()),
        ms(answered.percentile(99.0)),
        ms(refused.median()),
        ms(refused.percentile(99.0)),
        mib(peak),
    ]
}
