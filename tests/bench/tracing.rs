//! What traces cost: servers that trace nothing, a tenth of the requests and all of them, and if
//! `BENCH_BEFORE` names another program, that one without the settings.
//!
//! The servers take turns of a quarter of a second, in an order that goes round, and each turn's
//! mean is compared with that of the first server in the same round. The collector has a thread of
//! its own, on the cores that are measured.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use kenning_tests::eval::{Interval, intervals};
use kenning_tests::report::{Table, micros};
use kenning_tests::{Collector, Server, Setup};
use tokio::runtime::Builder;

use crate::generator::{Generator, Verb, fill};
use crate::load::{self, Connection};
use crate::place::{Backend, Place};

const FACTS: usize = 1_000;
const ROUNDS: usize = 60;
const TURN: Duration = Duration::from_millis(250);

/// One server with its caller, and the means of its turns in microseconds.
struct Traced {
    name: String,
    connections: Vec<Connection>,
    generator: Arc<Generator>,
    means: Vec<f64>,
    _server: Server,
    _place: Place,
}

impl Traced {
    async fn start(name: String, collector: Option<&Collector>, setup: Setup) -> Result<Self> {
        let place = Place::new(Backend::Embedded)?;
        let Setup { program, environment, .. } = setup;
        let setup = Setup { program, environment, ..place.setup("hash") };
        let setup = match collector {
            Some(collector) => collector.collects_for(setup),
            None => setup,
        };
        let server = Server::start_with(setup).await?;
        let ids = fill(&server, FACTS, 1).await?;
        let generator = Arc::new(Generator::new(Verb::Search, &ids, 7)?);
        let connections = load::warm(server.url(), 1, &generator).await?;
        let means = Vec::new();
        Ok(Self { name, connections, generator, means, _server: server, _place: place })
    }

    async fn turn(&mut self) -> Result<()> {
        let connections = std::mem::take(&mut self.connections);
        let (connections, load) = load::run(connections, &self.generator, TURN).await?;
        self.connections = connections;
        self.means.push(load.samples.mean().as_secs_f64() * 1e6);
        Ok(())
    }
}

/// Measures and prints.
pub(crate) async fn measure() -> Result<()> {
    let collecting = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let collector = collecting.spawn(Collector::start()).await??;
    let mut servers = Vec::new();
    if let Some(before) = std::env::var_os("BENCH_BEFORE") {
        let setup = Setup { program: Some(PathBuf::from(before)), ..Setup::default() };
        servers.push(Traced::start("before".into(), None, setup).await?);
    }
    servers.push(Traced::start("off".into(), None, Setup::default()).await?);
    for (name, share) in [("a tenth", "0.1"), ("all", "1")] {
        let environment = vec![("KENNING_OTLP_SAMPLE", share.to_owned())];
        let setup = Setup { environment, ..Setup::default() };
        servers.push(Traced::start(name.into(), Some(&collector), setup).await?);
    }
    for round in 0..ROUNDS {
        for place in 0..servers.len() {
            let at = (round + place) % servers.len();
            servers[at].turn().await?;
        }
    }
    print(&servers);
    drop(collector);
    // Dropping it here would wait, which is not allowed.
    collecting.shutdown_background();
    Ok(())
}

fn print(servers: &[Traced]) {
    let columns = ["traced", "turns", "mean µs", "slower %", "95 % interval"];
    let title = format!("What traces cost: a search, one caller, {FACTS} facts, embedder hash");
    let mut table = Table::new(title, 1, &columns);
    table.note("slower: than the first, in the same round; a negative figure is faster");
    let first = &servers[0];
    for server in servers {
        let pairs = server.means.iter().zip(&first.means);
        let slower: Vec<f64> = pairs.map(|(one, first)| (one / first - 1.0) * 100.0).collect();
        let Interval { low, high } = intervals(&[&slower])[0];
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
        table.row([
            server.name.clone(),
            server.means.len().to_string(),
            micros(mean(&server.means)),
            format!("{:.1}", mean(&slower)),
            format!("{low:.1} to {high:.1}"),
        ]);
    }
    table.print();
}
