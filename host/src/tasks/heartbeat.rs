//! A heartbeat of the runtime that serves: how much later than asked for a timer
//! woke. Anything that holds up the runtime's workers shows here, whoever did it.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

/// Between two beats: often enough to see a stall of some milliseconds, seldom
/// enough to cost nothing.
const BEAT: Duration = Duration::from_millis(10);

/// Beats until aborted; each beat's delay goes to `kenning_runtime_stall_seconds`.
pub fn start() -> JoinHandle<()> {
    let stall = metrics::histogram!("kenning_runtime_stall_seconds");
    tokio::spawn(async move {
        loop {
            let begun = Instant::now();
            sleep(BEAT).await;
            stall.record(begun.elapsed().saturating_sub(BEAT).as_secs_f64());
        }
    })
}
