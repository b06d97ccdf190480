//! `make bench-peers`: the core of a Python service beside Kenning, on one and the same Redis.
//!
//! The peer (`peers/baseline.py`) is redis-py with its parser in C: HSET and HGETALL straight to
//! Redis, in the process that asks, without HTTP, without tenants, without an index; its metadata
//! goes through `json`, as a service's would. Kenning answers through HTTP and its sandbox, writes
//! a fact's place, revision and pending mark with it, and embeds and indexes it. So the peer is
//! what such a service could reach at best, and a service around it is slower. There is no search
//! in it to compare.
//!
//! Rounds of the two take turns; the figures are those of the round with the median of calls a
//! second.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kenning_tests::RedisServer;
use kenning_tests::report::{Table, micros};
use serde::Deserialize;

use crate::generator::{Generator, Verb, fill};
use crate::load;
use crate::place::{Backend, Place};
use crate::texts::Texts;

const ROUNDS: usize = 3;

/// Facts of ours that are read; the peer reads those that it stored.
const FACTS: usize = 1_000;

/// The peer's calls in one measurement, and the time of ours.
const CALLS: usize = 6_000;
const SPAN: Duration = Duration::from_millis(1_500);

const CALLERS: [usize; 3] = [1, 16, 64];

/// One figure of either, as the peer prints it.
#[derive(Deserialize, Clone)]
struct Figure {
    verb: String,
    client: String,
    callers: usize,
    n: usize,
    seconds: f64,
    p50_us: f64,
    p99_us: f64,
}

impl Figure {
    fn per_second(&self) -> f64 {
        self.n as f64 / self.seconds
    }
}

/// Figures of all rounds, by verb, client and callers.
type Figures = BTreeMap<(String, usize, String), Vec<Figure>>;

/// Measures both, and prints; `python` has the peer's requirements.
pub(crate) async fn measure(python: &Path) -> Result<()> {
    let place = Place::new(Backend::Redis)?;
    let redis = place.redis().context("a Redis was asked for")?;
    let directory = tempfile::tempdir()?;
    let words = directory.path().join("words");
    std::fs::write(&words, Texts::new()?.words())?;
    let mut figures = Figures::new();
    for round in 0..ROUNDS {
        redis.command(&["FLUSHALL"]);
        let theirs = peer(python, redis, &words)?;
        redis.command(&["FLUSHALL"]);
        let ours = kenning(&place, round as u64).await?;
        for figure in theirs.into_iter().chain(ours) {
            let key = (figure.verb.clone(), figure.callers, figure.client.clone());
            figures.entry(key).or_default().push(figure);
        }
    }
    print(&figures)
}

fn peer(python: &Path, redis: &RedisServer, words: &Path) -> Result<Vec<Figure>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/peers/baseline.py");
    let mut command = Command::new(python);
    command.arg(script).args(["--port", &redis.port().to_string()]);
    command.args(["--calls", &CALLS.to_string()]).arg("--words").arg(words);
    command.arg("--callers").args(CALLERS.map(|callers| callers.to_string()));
    let output = command.stderr(Stdio::inherit()).output().context("cannot run Python")?;
    ensure!(output.status.success(), "the peer ended with {}", output.status);
    let lines = std::str::from_utf8(&output.stdout)?.lines();
    lines.map(|line| Ok(serde_json::from_str(line)?)).collect()
}

async fn kenning(place: &Place, round: u64) -> Result<Vec<Figure>> {
    let server = place.serve("hash").await?;
    let ids = fill(&server, FACTS, 6 + round).await?;
    let mut figures = Vec::new();
    for callers in CALLERS {
        for (verb, name) in [(Verb::Store, "store"), (Verb::Read, "get")] {
            let seed = 100 * round + callers as u64;
            let generator = Arc::new(Generator::new(verb, &ids, seed)?);
            let connections = load::warm(server.url(), callers, &generator).await?;
            let (_, load) = load::run(connections, &generator, SPAN).await?;
            figures.push(Figure {
                verb: name.into(),
                client: "kenning".into(),
                callers,
                n: load.samples.count(),
                seconds: load.elapsed.as_secs_f64(),
                p50_us: load.samples.median().as_secs_f64() * 1e6,
                p99_us: load.samples.percentile(99.0).as_secs_f64() * 1e6,
            });
        }
    }
    server.stop().await?;
    Ok(figures)
}

fn print(figures: &Figures) -> Result<()> {
    let mut table = Table::new(
        "Kenning through HTTP beside redis-py straight to the same Redis",
        3,
        &["call", "callers", "who", "n", "calls/s", "p50 µs", "p99 µs", "calls/s, kenning ÷ peer"],
    );
    table.note("the peer has no HTTP, no sandbox, no tenants, no index; Kenning has all of them,");
    table.note("embedder hash; both share this machine's cores with Redis, Kenning with its load");
    table.note("generator too. No search: the peer has none");
    table.note(format!("of {ROUNDS} rounds in turns, the one with the median of calls/s"));
    for ((verb, callers, client), rounds) in figures {
        let figure = median(rounds);
        let ours =
            figures.get(&(verb.clone(), *callers, "kenning".into())).map(|ours| median(ours));
        let ours = ours.context("Kenning was not measured")?;
        let ratio = match client.as_str() {
            "kenning" => String::new(),
            _ => format!("{:.2}", ours.per_second() / figure.per_second()),
        };
        let who = match client.as_str() {
            "kenning" => "kenning".to_string(),
            client => format!("redis-py {client}"),
        };
        table.row([
            verb.clone(),
            callers.to_string(),
            who,
            figure.n.to_string(),
            format!("{:.0}", figure.per_second()),
            micros(figure.p50_us),
            micros(figure.p99_us),
            ratio,
        ]);
    }
    table.print();
    Ok(())
}

fn median(rounds: &[Figure]) -> Figure {
    let mut rounds = rounds.to_vec();
    rounds.sort_by(|one, other| one.per_second().total_cmp(&other.per_second()));
    rounds.swap_remove(rounds.len() / 2)
}
