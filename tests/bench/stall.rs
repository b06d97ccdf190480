//! Whether guests that compute delay the runtime that serves.
//!
//! The server's heartbeat (`kenning_runtime_stall_seconds`) counts by how much later than asked
//! for a timer of its own woke. It is read before and after some seconds in which nobody calls,
//! and some in which eight guests spin. A timer counts whole milliseconds, so it is late by up to
//! one of them on any machine.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http::Method;
use kenning_tests::report::Table;
use kenning_tests::{Caller, Server, Setup, component, send};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::sleep;

const SPINNING: usize = 8;
const WATCHED: Duration = Duration::from_secs(10);

/// Guests that nothing but the end of the measurement ends.
const NO_END: &str = "[limits]\nfuel_base = 1000000000000000\nfuel_max = 1000000000000000\n\
                      search_ms = 600000\n";

const NAME: &str = "kenning_runtime_stall_seconds";

pub(crate) async fn measure() -> Result<()> {
    let logic = Some(component("hostile")?);
    let setup = Setup { logic, config: Some(NO_END.into()), ..Setup::default() };
    let server = Server::start_with(setup).await?;
    let columns = ["guests spinning", "beats", "p50 ms", "p99", "max"];
    let mut table = Table::new("How late the serving runtime's timer is", 1, &columns);
    table.note(format!("{} s each, as the server counts it", WATCHED.as_secs()));
    table.row(watch(&server).await?.cells("none"));
    let mut spinning = JoinSet::new();
    for _ in 0..SPINNING {
        let request = server.request(Method::POST, "/v1/search").json(&json!({ "query": "spin" }));
        spinning.spawn(send(request));
    }
    table.row(watch(&server).await?.cells(&SPINNING.to_string()));
    ensure!(spinning.try_join_next().is_none(), "a guest that was to spin has ended");
    table.print();
    spinning.shutdown().await;
    Ok(())
}

/// Beats by their delays.
#[derive(Clone, Default)]
struct Beats {
    /// How many were late by no more than so many seconds, the last by any.
    buckets: Vec<(f64, f64)>,
}

async fn watch(server: &Caller) -> Result<Beats> {
    let before = beats(server).await?;
    sleep(WATCHED).await;
    let mut after = beats(server).await?;
    for ((_, count), (_, earlier)) in after.buckets.iter_mut().zip(before.buckets) {
        *count -= earlier;
    }
    Ok(after)
}

async fn beats(server: &Caller) -> Result<Beats> {
    let text = server.get("/metrics").await?.text;
    let start = format!("{NAME}_bucket{{le=\"");
    let lines = text.lines().filter_map(|line| line.strip_prefix(&start));
    let buckets = lines.map(|line| {
        let (bound, count) = line.split_once("\"} ").context("a bucket without a count")?;
        let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse()? };
        Ok((bound, count.trim().parse()?))
    });
    let buckets = buckets.collect::<Result<Vec<_>>>()?;
    ensure!(!buckets.is_empty(), "the server has no {NAME}");
    Ok(Beats { buckets })
}

impl Beats {
    fn count(&self) -> f64 {
        self.buckets.last().map_or(0.0, |(_, count)| *count)
    }

    /// The bound of the first bucket that, with those below it, holds this share of all.
    fn within(&self, share: f64) -> String {
        let wanted = self.count() * share;
        let bucket = self.buckets.iter().find(|(_, count)| *count >= wanted);
        let (bound, _) = bucket.copied().unwrap_or_default();
        format!("≤ {}", bound * 1e3)
    }

    fn cells(&self, name: &str) -> Vec<String> {
        let count = format!("{:.0}", self.count());
        vec![name.into(), count, self.within(0.5), self.within(0.99), self.within(1.0)]
    }
}
