//! Hosts are killed, one after the other.

use std::time::{Duration, Instant};

use anyhow::Result;
use kenning_tests::{Crowd, Hosts};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::{Allowed, HOSTS, Report, calling_while};

/// How often one is killed, and how long it is gone.
const EVERY: Duration = Duration::from_secs(5);
const GONE: Duration = Duration::from_secs(1);

/// What calls may meet that were on their way to a host when it was killed.
const EXPECTED: [&str; 5] =
    ["broken off", "502 of a proxy", "503 of a proxy", "504 of a proxy", "unknown outcome"];

pub(super) async fn run(
    hosts: &mut Hosts,
    crowd: &mut Crowd,
    during: Duration,
    report: &mut Report,
) -> Result<()> {
    crowd.send_revisions(true);
    crowd.read_doubtful(true);
    let begun = Instant::now();
    let kills = during.as_secs() / EVERY.as_secs();
    let killing = async {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for victim in (0..HOSTS).cycle().take(kills as usize) {
            ticks.tick().await;
            hosts.kill(victim).await?;
            sleep(GONE).await;
            hosts.restart(victim).await?;
        }
        ticks.tick().await;
        Ok(())
    };
    calling_while(crowd, killing).await?;
    let what = format!("{kills} kills of a host");
    let took = begun.elapsed();
    report.agree(&what, hosts, crowd).await?;
    report.add(&what, &crowd.tally(), took, Allowed { stale: false, errors: &EXPECTED });
    Ok(())
}
