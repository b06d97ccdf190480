//! One host is stopped for a while, Redis is killed and started, and all streams are cut.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use kenning_tests::{Crowd, Hosts, RedisServer};
use tokio::task::block_in_place;
use tokio::time::sleep;

use super::{Allowed, CALLERS, FACTS, HOSTS, Report, calling_while};

/// Changes that a stream keeps: fewer than are made while a host is stopped.
const LIMITS: &str = "stream_changes = 50";

/// Seconds that a proxy waits for a host that may be stopped.
const PATIENCE: u32 = 3;

/// How long Redis is gone.
const GONE: Duration = Duration::from_secs(1);

const STOPPED: usize = HOSTS - 1;

/// What calls may meet while a host is stopped and Redis is gone.
const EXPECTED: [&str; 7] = [
    "broken off",
    "502 of a proxy",
    "503 of a proxy",
    "504 of a proxy",
    "storage_unavailable",
    "timeout",
    "unknown outcome",
];

pub(super) async fn run(during: Duration, report: &mut Report) -> Result<()> {
    let mut hosts = Hosts::start(HOSTS, LIMITS, PATIENCE).await?;
    let mut crowd = Crowd::of_hosts(hosts.proxies(), "d", CALLERS, 13);
    crowd.send_revisions(true);
    crowd.settle_in(FACTS).await?;
    crowd.tally();
    let begun = Instant::now();
    let disturbing = disturb(&mut hosts, during);
    calling_while(&mut crowd, disturbing).await?;
    let what = format!("a host stopped for {} s, Redis killed, streams cut", during.as_secs());
    let took = begun.elapsed();
    report.agree(&what, &hosts, &mut crowd).await?;
    report.add(&what, &crowd.tally(), took, Allowed { stale: false, errors: &EXPECTED });
    Ok(())
}

async fn disturb(hosts: &mut Hosts, during: Duration) -> Result<()> {
    hosts.host(STOPPED)?.pause().await?;
    sleep(during / 2).await;
    block_in_place(|| hosts.redis_mut().kill());
    sleep(GONE).await;
    block_in_place(|| hosts.redis_mut().restart());
    block_in_place(|| cut(hosts.redis()))?;
    sleep(during / 2).await;
    block_in_place(|| cut(hosts.redis()))?;
    hosts.host(STOPPED)?.resume().await
}

/// Drops all changes of all tenants.
fn cut(redis: &RedisServer) -> Result<()> {
    let script = "local cut = 0 for _, key in ipairs(redis.call('KEYS', 'kenning:*:stream')) do \
                  redis.call('XTRIM', key, 'MAXLEN', 0) cut = cut + 1 end return cut";
    let reply = redis.command(&["EVAL", script, "0"]);
    ensure!(reply == format!(":{CALLERS}\r\n"), "cut: {reply:?}");
    Ok(())
}
