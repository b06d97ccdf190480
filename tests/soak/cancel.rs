//! Tens of thousands of calls cut at any moment, among others whose answers are checked.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kenning_tests::report::Table;
use kenning_tests::{Backend, Crowd, Cut, Server, Setup, Tally, component, until};
use serde_json::json;
use tokio::task::JoinSet;

/// How long each of the four rounds goes on.
const ROUND: Duration = Duration::from_secs(20);

const CALLERS: usize = 64;

/// Calls of each caller between two looks at the clock.
const CALLS: usize = 10;

/// Fewer than callers, so that places are always waited for.
const PLACES: usize = 16;

pub(crate) async fn run() -> Result<()> {
    let columns = [
        "storage",
        "logic",
        "calls",
        "answers checked",
        "caller left",
        "deadline",
        "trap",
        "panic",
        "wrong",
        "lost",
        "places after",
        "connections to Redis after",
    ];
    let mut table = Table::new("Calls cut at random moments", 2, &columns);
    table.note(format!("{CALLERS} callers and {PLACES} places for guests, {ROUND:?} each."));
    let mut broken = Vec::new();
    for (name, backend) in [("embedded", Backend::embedded()?), ("Redis", Backend::redis()?)] {
        for logic in ["built in", "hostile"] {
            let (tally, after) = round(&backend, logic == "hostile").await?;
            broken.extend(tally.broken().cloned());
            let cut = |how| tally.cut.get(how).copied().unwrap_or_default().to_string();
            table.row([
                name.into(),
                logic.into(),
                tally.calls.to_string(),
                tally.checked.to_string(),
                cut("caller left"),
                cut("deadline"),
                cut("trap"),
                cut("panic"),
                tally.wrong.len().to_string(),
                tally.lost.len().to_string(),
                after.places,
                after.connections,
            ]);
        }
    }
    table.print();
    ensure!(broken.is_empty(), "promises were broken: {broken:#?}");
    Ok(())
}

/// What is left when all is over.
struct After {
    places: String,
    connections: String,
}

async fn round(backend: &Backend, hostile: bool) -> Result<(Tally, After)> {
    let directory = tempfile::tempdir()?;
    let log = directory.path().join("log");
    let setup = Setup {
        // Whoever sleeps in the end does so longer than anyone waits.
        config: Setup::patient_but(&format!("guests = {PLACES}\nsearch_ms = 600000")).config,
        logic: hostile.then(|| component("hostile")).transpose()?,
        log: Some((log.clone(), "warn")),
        // Each round begins with nothing.
        data_dir: None,
        ..backend.setup()
    };
    let server = Server::start_with(setup).await?;
    // Other names than those of the round before, whose facts Redis still has.
    let seed = if hostile { 2 } else { 1 };
    let mut crowd = Crowd::named(&server, if hostile { "h" } else { "m" }, CALLERS, seed);
    if hostile {
        crowd = crowd.of_hostile_logic();
    }
    crowd.settle_in(2).await?;
    let begun = Instant::now();
    while begun.elapsed() < ROUND {
        crowd.call_and(CALLS, |random| cut(random, hostile)).await;
    }
    crowd.settle_in(1).await?;
    crowd.reckon().await?;
    let tally = crowd.tally();
    let places = if hostile { free_places(&server, &log).await?.to_string() } else { "".into() };
    let connections = backend.redis_server().map(|redis| {
        let list = redis.command(&["CLIENT", "LIST"]);
        list.lines().filter(|line| line.starts_with("id=") && !line.contains("cmd=client")).count()
    });
    let connections = connections.map_or_else(String::new, |count| count.to_string());
    Ok((tally, After { places, connections }))
}

fn cut(random: &mut fastrand::Rng, hostile: bool) -> Cut {
    match random.u8(..8) {
        0 | 1 => Cut::CallerLeaves(Duration::from_micros(random.u64(..10_000))),
        2 | 3 => Cut::Deadline(random.u32(1..15)),
        4 if hostile => Cut::Deed("trap"),
        5 if hostile => Cut::Deed("panic"),
        _ => Cut::Not,
    }
}

/// How many guests sleep at once where as many are asked to as there are places, each of another
/// tenant, as one tenant does not get them all.
async fn free_places(server: &Server, log: &std::path::Path) -> Result<usize> {
    let mut sleepers = JoinSet::new();
    for number in 0..PLACES {
        let caller = server.tenant(&format!("sleeper{number}"));
        sleepers
            .spawn(async move { caller.post("/v1/search", json!({ "query": "sleep 600" })).await });
    }
    let asleep = || anyhow::Ok(std::fs::read_to_string(log)?.matches("asleep").count());
    until("all places are taken", async || Ok((asleep()? == PLACES).then_some(())))
        .await
        .context("places were lost")?;
    asleep()
}
