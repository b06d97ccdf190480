//! Callers behind nginx and haproxy, each of which gives every request to the next of three hosts,
//! find what they wrote by its revision, also while a host is killed.

use anyhow::Result;
use futures::future::join;
use kenning_tests::{Crowd, Hosts};

const CALLERS: usize = 16;

/// Calls of each caller before a host is killed, and as many after that.
const CALLS: usize = 60;

/// Seconds that nothing takes.
const PATIENCE: u32 = 60;

/// What calls may meet that were on their way to a host when it was killed.
const EXPECTED: [&str; 4] = ["broken off", "502 of a proxy", "503 of a proxy", "unknown outcome"];

#[tokio::test]
async fn callers_find_what_they_wrote_also_while_a_host_is_killed() -> Result<()> {
    let mut hosts = Hosts::start(3, "follow_lag_ms = 60000", PATIENCE).await?;
    let mut crowd = Crowd::of_hosts(hosts.proxies(), "m", CALLERS, 12);
    crowd.send_revisions(true);
    crowd.settle_in(1).await?;
    crowd.call(CALLS).await;
    let tally = crowd.tally();
    tally.assert_kept();
    assert!(tally.errors.is_empty(), "{tally:#?}");
    crowd.read_doubtful(true);
    let killing = async {
        hosts.kill(0).await?;
        hosts.restart(0).await
    };
    let ((), killed) = join(crowd.call(CALLS), killing).await;
    killed?;
    hosts.all_ready().await?;
    crowd.reckon().await?;
    crowd.until_agreed(&hosts.callers()).await?;
    let tally = crowd.tally();
    tally.assert_kept();
    assert!(tally.errors_but(&EXPECTED).is_empty(), "{tally:#?}");
    Ok(())
}
