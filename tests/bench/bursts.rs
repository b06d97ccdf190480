//! The workloads for which the Python service's guide gives figures: so many requests at once, and
//! how long until the last has its answer.

use std::time::Duration;

use anyhow::Result;
use kenning_tests::report::{Table, Timings, ms};

use crate::generator::{Generator, Verb, fill};
use crate::load::{Connection, burst};
use crate::place::{Backend, Place};

/// Facts that are there before.
const FACTS: usize = 1_000;

/// Rounds of each workload, and rounds thrown away.
const ROUNDS: usize = 50;
const WARM_UP: usize = 5;

/// A workload: so many requests of a kind, and what the guide says of it, in seconds before and
/// after its service became asynchronous.
struct Workload {
    verb: Verb,
    requests: usize,
    guide: [f64; 2],
}

const WORKLOADS: [Workload; 3] = [
    Workload { verb: Verb::Store, requests: 100, guide: [5.2, 3.8] },
    Workload { verb: Verb::Read, requests: 50, guide: [2.8, 2.1] },
    Workload { verb: Verb::Search, requests: 10, guide: [45.0, 8.5] },
];

/// Measures on Redis with both embedders, and prints.
pub(crate) async fn measure() -> Result<()> {
    let mut table = Table::new(
        format!("All at once, through HTTP, on Redis, {FACTS} facts"),
        2,
        &[
            "embedder",
            "workload",
            "rounds",
            "total p50 ms",
            "least",
            "most",
            "calls/s at p50",
            "guide: before calls/s",
            "after",
        ],
    );
    table.note("total: first request to last answer, one open connection for each request");
    table
        .note("guide: what the Python service's own guide says, on its authors' machine, with its");
    table.note("own search engine; it was not measured here (for that, see make bench-peers)");
    for embedder in ["local", "hash"] {
        let place = Place::new(Backend::Redis)?;
        let server = place.serve(embedder).await?;
        let ids = fill(&server, FACTS, 4).await?;
        for workload in &WORKLOADS {
            let samples = rounds(server.url(), workload, &ids).await?;
            table.row(cells(embedder, workload, &samples));
        }
    }
    table.print();
    Ok(())
}

async fn rounds(url: &str, workload: &Workload, ids: &[String]) -> Result<Timings> {
    let generator = Generator::new(workload.verb, ids, 5)?;
    let mut connections = Connection::open_all(url, workload.requests).await?;
    let mut times: Vec<Duration> = Vec::with_capacity(ROUNDS);
    for round in 0..WARM_UP + ROUNDS {
        let (back, took) = burst(connections, &generator).await?;
        connections = back;
        if round >= WARM_UP {
            times.push(took);
        }
    }
    Ok(Timings::new(times))
}

fn cells(embedder: &str, workload: &Workload, samples: &Timings) -> Vec<String> {
    let per_second = |seconds: f64| workload.requests as f64 / seconds;
    let [before, after] = workload.guide;
    vec![
        embedder.into(),
        format!("{} × {}", workload.requests, workload.verb.name()),
        samples.count().to_string(),
        ms(samples.median()),
        ms(samples.percentile(0.0)),
        ms(samples.percentile(100.0)),
        format!("{:.0}", per_second(samples.median().as_secs_f64())),
        format!("{:.2}", per_second(before)),
        format!("{:.2}", per_second(after)),
    ]
}
