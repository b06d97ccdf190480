//! Waiting for what happens in its own time.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::Value;

use crate::Caller;

/// What has not happened by then never will: the slowest thing to wait for, the
/// indexer's look for what other hosts left pending, comes every minute.
const PATIENCE: Duration = Duration::from_secs(120);

const POLL: Duration = Duration::from_millis(10);

/// Asks until there is an answer; an error of the question ends it.
pub async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask().await? {
            return Ok(answer);
        }
        if begun.elapsed() > PATIENCE {
            bail!("never happened: {what}");
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Waits until every fact of the caller's tenant can be found by meaning; gives the
/// statistics that say so.
pub async fn all_indexed(caller: &Caller) -> Result<Value> {
    until("all facts are indexed", async || {
        let stats = caller.get("/v1/stats").await?;
        let done = stats.json["pending"] == 0
            && stats.json["indexed"] == stats.json["facts"]
            && stats.json["index"]["state"] != "loading";
        Ok(done.then_some(stats.json))
    })
    .await
}
