//! Measures how late timers fire on the runtime that serves requests. Whatever blocks the
//! runtime's workers shows up here.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

/// Time between two measurements: short enough to see a stall of a few milliseconds, long enough
/// to cost nothing.
const INTERVAL: Duration = Duration::from_millis(10);

/// Measures until aborted; each delay goes to `kenning_runtime_stall_seconds`.
pub fn start() -> JoinHandle<()> {
    let stall = metrics::histogram!("kenning_runtime_stall_seconds");
    tokio::spawn(async move {
        loop {
            let started = Instant::now();
            sleep(INTERVAL).await;
            stall.record(started.elapsed().saturating_sub(INTERVAL).as_secs_f64());
        }
    })
}
