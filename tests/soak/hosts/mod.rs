//! Three hosts on one Redis, behind nginx and haproxy, each of which gives every request to the
//! next host: 64 callers store, change, delete, list and search their own facts and check every
//! answer.

mod disturbed;
mod killed;
mod staleness;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use futures::future::join;
use kenning_tests::report::{Table, ms};
use kenning_tests::{Crowd, Hosts, Tally};

const HOSTS: usize = 3;
const CALLERS: usize = 64;

/// Facts that each caller has before it is counted.
const FACTS: usize = 2;

/// Seconds that no answer takes while no host is stopped: a change whose outcome is not known comes
/// from a host that is gone.
const PATIENCE: u32 = 60;

/// For how long all goes on.
pub(crate) struct Length {
    /// Calls that send back the revision of a write.
    pub(crate) calls: usize,
    /// How long hosts are killed.
    pub(crate) kills: Duration,
    /// How long a host is stopped.
    pub(crate) pause: Duration,
}

/// Where this part is named.
pub(crate) const LONG: Length =
    Length { calls: 100_000, kills: Duration::from_secs(180), pause: Duration::from_secs(60) };

/// Where all parts run.
pub(crate) const SHORT: Length =
    Length { calls: 20_000, kills: Duration::from_secs(20), pause: Duration::from_secs(10) };

/// What callers saw, how hosts agreed with storage afterwards, and what was broken.
struct Report {
    calls: Table,
    agreement: Table,
    broken: Vec<String>,
}

/// What callers may meet.
#[derive(Clone, Copy)]
struct Allowed<'a> {
    stale: bool,
    errors: &'a [&'a str],
}

/// Where nothing is disturbed and revisions are sent back.
const NOTHING: Allowed<'static> = Allowed { stale: false, errors: &[] };

pub(crate) async fn run(length: &Length) -> Result<()> {
    let mut report = Report::new();
    let mut staleness = staleness::table();
    let ended = stages(length, &mut report, &mut staleness).await;
    staleness.print();
    let kept = report.print();
    ended.and(kept)
}

async fn stages(length: &Length, report: &mut Report, staleness: &mut Table) -> Result<()> {
    let mut hosts = Hosts::start(HOSTS, "", PATIENCE).await?;
    let mut crowd = Crowd::of_hosts(hosts.proxies(), "m", CALLERS, 12);
    crowd.send_revisions(true);
    crowd.settle_in(FACTS).await?;
    let begun = Instant::now();
    crowd.call(length.calls.div_ceil(CALLERS)).await;
    report.add("revision sent back", &crowd.tally(), begun.elapsed(), NOTHING);

    staleness::measure(&hosts.callers(), "nothing", length.calls, staleness).await?;
    crowd.send_revisions(false);
    let begun = Instant::now();
    let callers = hosts.callers();
    let beside = format!("{CALLERS} callers");
    let measuring = staleness::measure(&callers, &beside, length.calls, staleness);
    calling_while(&mut crowd, measuring).await?;
    let allowed = Allowed { stale: true, ..NOTHING };
    report.add("revision not sent back", &crowd.tally(), begun.elapsed(), allowed);

    killed::run(&mut hosts, &mut crowd, length.kills, report).await?;
    disturbed::run(length.pause, report).await
}

/// Callers call as long as the other takes.
async fn calling_while(crowd: &mut Crowd, other: impl Future<Output = Result<()>>) -> Result<()> {
    let stop = AtomicBool::new(false);
    let ended = async {
        let ended = other.await;
        stop.store(true, Ordering::Relaxed);
        ended
    };
    join(crowd.call_until(&stop), ended).await.1
}

impl Report {
    fn new() -> Self {
        let columns = ["", "calls", "calls/s", "checked", "stale", "wrong", "lost", "longest ms"];
        let columns: Vec<&str> = columns.into_iter().chain(["errors"]).collect();
        let mut calls = Table::new("Hosts", 1, &columns);
        calls.note(format!(
            "{CALLERS} callers of {HOSTS} hosts, half of them through nginx, half through haproxy"
        ));
        let columns = ["after", "facts compared", "tenants read again", "took ms"];
        let mut agreement = Table::new("Hosts agree with storage", 1, &columns);
        agreement
            .note("Compared: searches for the words of facts that there are and were, by host");
        Self { calls, agreement, broken: Vec::new() }
    }

    fn add(&mut self, what: &str, tally: &Tally, took: Duration, allowed: Allowed<'_>) {
        let rate = tally.calls as f64 / took.as_secs_f64();
        let broken = [&tally.stale, &tally.wrong, &tally.lost];
        let counts = broken.map(|broken| broken.len().to_string());
        let cells = [what.into(), tally.calls.to_string(), format!("{rate:.0}")];
        let checked = [tally.checked.to_string()].into_iter().chain(counts);
        let cells = cells.into_iter().chain(checked);
        self.calls.row(cells.chain([ms(tally.longest), tally.errors_listed()]));
        let is_broken = |fact: &&String| !allowed.stale || !tally.stale.contains(fact);
        self.broken.extend(tally.broken().filter(is_broken).map(|one| format!("{what}: {one}")));
        let errors = tally.errors_but(allowed.errors);
        self.broken.extend(errors.into_iter().map(|error| format!("{what}: error {error}")));
    }

    /// Waits until all hosts find what storage has, and compares what callers know with it.
    async fn agree(&mut self, after: &str, hosts: &Hosts, crowd: &mut Crowd) -> Result<()> {
        let begun = Instant::now();
        hosts.all_ready().await?;
        let compared = crowd.until_agreed(&hosts.callers()).await?;
        let counts = [compared.to_string(), hosts.read_again()?.to_string(), ms(begun.elapsed())];
        self.agreement.row([after.to_string()].into_iter().chain(counts));
        crowd.reckon().await
    }

    fn print(&self) -> Result<()> {
        self.calls.print();
        self.agreement.print();
        let first: Vec<_> = self.broken.iter().take(20).collect();
        ensure!(first.is_empty(), "{} promises were broken: {first:#?}", self.broken.len());
        Ok(())
    }
}
