//! Callers who follow tenants' changes while much is stored: each is told of each change once and
//! in order, also across reconnections.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use kenning_tests::report::{Table, Timings, ms};
use kenning_tests::{Backend, Caller, ChangeStream};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

const TENANTS: usize = 50;
const SUBSCRIBERS: usize = 100;

/// Facts stored in a second, this many at a time, and for how long.
const FACTS_PER_SECOND: usize = 1_000;
const TOGETHER: usize = 20;
const SECONDS: usize = 30;

/// Tasks that store, each for some of the tenants.
const WRITERS: usize = 10;

/// Events after which a subscriber connects again, unless it is told of all before.
const EVENTS: usize = 150;

/// When each fact was acknowledged, by tenant and number.
type Acknowledged = Arc<Mutex<HashMap<(usize, usize), Instant>>>;

/// What one subscriber saw.
struct Seen {
    events: usize,
    connections: usize,
    /// From the acknowledgement of a store to its event.
    delays: Vec<Duration>,
}

pub(crate) async fn run() -> Result<()> {
    let columns = ["storage", "facts/s", "events", "connections", "delay p50 ms", "p99", "max"];
    let mut table = Table::new("Changes", 1, &columns);
    table.note(format!(
        "{SUBSCRIBERS} subscribers of {TENANTS} tenants, {FACTS_PER_SECOND} facts a second for \
         {SECONDS} s, a new connection after {EVENTS} events; delay: from the answer to the store"
    ));
    for (name, backend) in [("embedded", Backend::embedded()?), ("redis", Backend::redis()?)] {
        table.row(measure(name, &backend).await?);
    }
    table.print();
    Ok(())
}

async fn measure(name: &str, backend: &Backend) -> Result<Vec<String>> {
    let server = backend.serve().await?;
    let facts = FACTS_PER_SECOND * SECONDS / TENANTS;
    let acknowledged = Acknowledged::default();
    let mut subscribers = JoinSet::new();
    for n in 0..SUBSCRIBERS {
        let tenant = n % TENANTS;
        let (caller, acknowledged) = (server.tenant(&format!("t{tenant}")), acknowledged.clone());
        subscribers.spawn(follow(caller, tenant, facts, acknowledged));
    }
    let begun = Instant::now();
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let tenants: Vec<(usize, Caller)> = (writer..TENANTS)
            .step_by(WRITERS)
            .map(|tenant| (tenant, server.tenant(&format!("t{tenant}"))))
            .collect();
        writers.spawn(write(tenants, facts, acknowledged.clone()));
    }
    while let Some(written) = writers.join_next().await {
        written??;
    }
    let rate = (facts * TENANTS) as f64 / begun.elapsed().as_secs_f64();
    let (mut events, mut connections, mut delays) = (0, 0, Vec::new());
    while let Some(seen) = subscribers.join_next().await {
        let seen = seen??;
        events += seen.events;
        connections += seen.connections;
        delays.extend(seen.delays);
    }
    ensure!(events == facts * SUBSCRIBERS, "{name}: {events} events");
    let delays = Timings::new(delays);
    let delay = |percent| ms(delays.percentile(percent));
    let [events, connections] = [events, connections].map(|count| count.to_string());
    let delays = [delay(50.0), delay(99.0), delay(100.0)];
    let counts = [name.to_owned(), format!("{rate:.0}"), events, connections];
    Ok(counts.into_iter().chain(delays).collect())
}

/// Stores facts of each of the tenants in turn, at its share of the rate.
async fn write(
    tenants: Vec<(usize, Caller)>,
    facts: usize,
    acknowledged: Acknowledged,
) -> Result<()> {
    let batches = FACTS_PER_SECOND / TOGETHER / WRITERS;
    let mut pace = interval(Duration::from_secs(1) / batches as u32);
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for first in (0..facts).step_by(TOGETHER) {
        for (tenant, caller) in &tenants {
            pace.tick().await;
            let numbers = first..(first + TOGETHER).min(facts);
            let fact = |n| json!({ "fact_id": format!("f{n}"), "text": format!("fact {n}") });
            let batch: Vec<_> = numbers.clone().map(fact).collect();
            let stored = caller.post("/v1/facts/batch", json!({ "facts": batch })).await?;
            ensure!(stored.status == 200, "{}", stored.text);
            let mut all = acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
            all.extend(numbers.map(|n| ((*tenant, n), Instant::now())));
        }
    }
    Ok(())
}

/// Follows until all facts were told of.
async fn follow(
    caller: Caller,
    tenant: usize,
    facts: usize,
    acknowledged: Acknowledged,
) -> Result<Seen> {
    let mut seen = Seen { events: 0, connections: 0, delays: Vec::new() };
    let mut position = 0;
    while seen.events < facts {
        let mut stream = ChangeStream::resume(&caller, "", position).await?;
        seen.connections += 1;
        for _ in 0..EVENTS.min(facts - seen.events) {
            let Some(event) = stream.next().await? else { break };
            let expected = format!("f{}", seen.events);
            ensure!(
                event.told() == ("stored", &*expected) && event.id > position,
                "t{tenant}: {event:?} instead of {expected}, after {position}"
            );
            let all = acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
            // An event may come before its answer.
            let told = all.get(&(tenant, seen.events)).map(Instant::elapsed);
            seen.delays.push(told.unwrap_or_default());
            position = event.id;
            seen.events += 1;
        }
    }
    Ok(seen)
}
