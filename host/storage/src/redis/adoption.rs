//! Adopts facts that other programs write to `fact:ID`, follows those that they change in place,
//! and removes those that they delete.
//!
//! A task scans the whole database step by step; each step is bounded like any other operation. New
//! facts join the tenant `default` with a position from their `timestamp`, a pending mark and a
//! revision. Hashes without the field `content` are no facts; they are counted and left as they
//! are. A listed fact whose hash is gone is removed. A fact whose fields are not those that were
//! last seen was changed in place, and is marked so.
//!
//! Where Redis tells of such changes (`notices`), they are followed at once, and the scan finds
//! what was not told.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::StreamExt;
use redis::{Cmd, Value};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

use super::changes::Appends;
use super::guard::Guard;
use super::keys::{FLAT_PREFIX, FLAT_TENANT, Keys, TENANTS, flat_id};
use super::lost::Lost;
use super::notices;
use super::pool::{Effect, Size};
use super::replies::{one, parse};
use super::scripts::{self, Source};
use super::servers::Servers;
use super::timestamp;
use crate::limits::{BATCH, MAX_EXACT};
use crate::{Adoption, FactId, Layout, StorageError, StorageLimits, TenantId};

/// The keys that Redis examines in one step: few enough not to delay other commands.
const SCAN_STEP: usize = 500;

/// The facts that one script compares with what was last seen. Redis does nothing else meanwhile.
const EXAMINED: usize = 25;

/// Databases of so many keys are scanned often enough that a change is usually seen within a
/// second: 10,000 facts, a vector for each, and as many other keys.
const FEW_KEYS: u64 = 30_000;

/// The pause after a scan of few keys, as a multiple of its duration: at most half of the time is
/// spent scanning.
const SHORT_PAUSE_FACTOR: u32 = 1;

/// The same for more keys: a twentieth.
const PAUSE_FACTOR: u32 = 20;

/// The pause after a failed scan. Constant rather than growing: a failed scan is cheap, and
/// adoption should resume soon after Redis is back.
const RETRY_PAUSE: Duration = Duration::from_millis(250);

/// The running task. It is stopped when dropped.
pub(super) struct Adopter {
    progress: watch::Receiver<Adoption>,
    task: AbortHandle,
}

impl Adopter {
    pub(super) fn start(
        servers: Arc<Servers>,
        guard: Arc<Guard>,
        appends: Appends,
        limits: StorageLimits,
    ) -> Self {
        let (report, progress) = watch::channel(Adoption::default());
        let task = tokio::spawn(run(servers, guard, appends, limits, report)).abort_handle();
        Self { progress, task }
    }

    pub(super) fn watch(&self) -> watch::Receiver<Adoption> {
        self.progress.clone()
    }

    pub(super) fn stop(&self) {
        self.task.abort();
    }
}

impl Drop for Adopter {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn run(
    servers: Arc<Servers>,
    guard: Arc<Guard>,
    appends: Appends,
    limits: StorageLimits,
    report: watch::Sender<Adoption>,
) {
    let Ok(tenant) = TenantId::parse(FLAT_TENANT) else { return };
    let keys = Keys::new(Layout::Flat, &tenant);
    let (servers, guard, limits, report) = (&*servers, &*guard, &limits, &report);
    let scan = Scan { servers, guard, appends: &appends, limits, keys: &keys, report };
    tokio::join!(scan.repeat(), scan.follow_notices());
}

/// Scans of the database.
struct Scan<'a> {
    servers: &'a Servers,
    guard: &'a Guard,
    appends: &'a Appends,
    limits: &'a StorageLimits,
    keys: &'a Keys,
    report: &'a watch::Sender<Adoption>,
}

impl Scan<'_> {
    async fn repeat(&self) -> Infallible {
        let mut is_failing = false;
        loop {
            let start = Instant::now();
            match self.run().await {
                Ok(keys) => {
                    is_failing = false;
                    let took = start.elapsed();
                    let pause = self.limits.adoption_pause.max(pause_after(took, keys));
                    self.report.send_modify(|progress| {
                        progress.scans += 1;
                        progress.seen_within = Some(took + pause);
                    });
                    sleep(pause).await;
                }
                Err(error) => {
                    if !is_failing {
                        tracing::warn!(%error, "cannot scan for other programs' facts; retrying");
                    }
                    is_failing = true;
                    sleep(RETRY_PAUSE).await;
                }
            }
        }
    }

    /// Follows what Redis tells of single keys. What fails here is left to the next scan.
    async fn follow_notices(&self) -> Infallible {
        loop {
            // A cluster does not have this layout.
            let Some(target) = self.servers.target() else { return std::future::pending().await };
            if let Ok(told) = notices::listen(target, self.limits.connect).await {
                let mut told = std::pin::pin!(told.ready_chunks(BATCH));
                while let Some(mut ids) = told.next().await {
                    ids.sort_unstable();
                    ids.dedup();
                    if let Err(error) = self.look_at_told(&ids).await {
                        tracing::debug!(%error, "cannot follow a notice of another program's fact");
                    }
                }
            }
            sleep(RETRY_PAUSE).await;
        }
    }

    async fn look_at_told(&self, ids: &[FactId]) -> Result<(), StorageError> {
        self.guard.check(Effect::Write, self.end()).await?;
        self.look_at(ids).await?;
        let removed = self.lost().remove(ids).await?;
        self.report_some(removed.len() as u64, |progress, count| progress.removed += count);
        Ok(())
    }

    /// Returns how many keys there are.
    async fn run(&self) -> Result<u64, StorageError> {
        self.guard.check(Effect::Write, self.end()).await?;
        // A user who may not ask has many.
        let keys = one(self.read(&[redis::cmd("DBSIZE")]).await?).unwrap_or(u64::MAX);
        let skipped = self.look_at_all().await?;
        self.report.send_if_modified(|progress| {
            std::mem::replace(&mut progress.skipped, skipped) != skipped
        });
        self.remove_deleted().await?;
        Ok(keys)
    }

    /// Returns the number of hashes that are no facts.
    async fn look_at_all(&self) -> Result<u64, StorageError> {
        let mut cursor = String::from("0");
        let mut skipped = 0;
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(&cursor)
                .arg("MATCH")
                .arg(format!("{FLAT_PREFIX}*"))
                .arg("COUNT")
                .arg(SCAN_STEP);
            let found: Vec<Vec<u8>>;
            (cursor, found) = one(self.read(&[scan]).await?)?;
            let ids: Vec<FactId> = found.iter().filter_map(|key| flat_id(key)).collect();
            for ids in ids.chunks(BATCH) {
                skipped += self.look_at(ids).await?;
            }
            if cursor == "0" {
                return Ok(skipped);
            }
        }
    }

    /// Adopts those of `ids` that are facts and not listed yet, and marks those that were changed.
    /// Returns the number of hashes that are no facts.
    async fn look_at(&self, ids: &[FactId]) -> Result<u64, StorageError> {
        let (listed, unlisted) = self.by_listing(ids).await?;
        self.mark_changed(&listed).await?;
        self.adopt(unlisted).await
    }

    /// Those of `ids` that are listed, and those that are not.
    async fn by_listing(&self, ids: &[FactId]) -> Result<(Vec<FactId>, Vec<FactId>), StorageError> {
        let order = |id: &FactId| {
            let mut order = redis::cmd("ZSCORE");
            order.arg(self.keys.order()).arg(id.as_str());
            order
        };
        let orders = self.read(&ids.iter().map(order).collect::<Vec<_>>()).await?;
        let (mut listed, mut unlisted) = (Vec::new(), Vec::new());
        for (id, order) in ids.iter().zip(orders) {
            let is_listed = parse::<Option<f64>>(order)?.is_some();
            if is_listed { &mut listed } else { &mut unlisted }.push(id.clone());
        }
        Ok((listed, unlisted))
    }

    async fn mark_changed(&self, ids: &[FactId]) -> Result<(), StorageError> {
        let keys = self.keys;
        let call = |ids: &[FactId]| {
            let of_tenant =
                [keys.order(), keys.pending(), keys.revision(), keys.stream(), keys.seen()];
            let facts = ids.iter().map(|id| keys.fact(id));
            let mut call =
                scripts::EXAMINE.call(&of_tenant.into_iter().chain(facts).collect::<Vec<_>>());
            call.arg(self.appends);
            for id in ids {
                call.arg(id.as_str());
            }
            call
        };
        let calls = ids.chunks(EXAMINED).map(call).collect();
        let changed = self.run_script(&scripts::EXAMINE, calls).await?;
        self.report_some(changed, |progress, count| progress.changed += count);
        Ok(())
    }

    /// Adopts those of `ids` that are facts, and returns the number of hashes that are not.
    async fn adopt(&self, ids: Vec<FactId>) -> Result<u64, StorageError> {
        let fields = |id: &FactId| {
            let (mut has_content, mut timestamp) = (redis::cmd("HEXISTS"), redis::cmd("HGET"));
            has_content.arg(self.keys.fact(id)).arg("content");
            timestamp.arg(self.keys.fact(id)).arg("timestamp");
            [has_content, timestamp]
        };
        let read = self.read(&ids.iter().flat_map(fields).collect::<Vec<_>>()).await?;
        let (mut calls, mut skipped) = (Vec::new(), 0);
        for (id, fields) in ids.iter().zip(read.chunks_exact(2)) {
            // A key of another type than hash is not a fact; reading it as one fails.
            let Ok(has_content) = parse::<bool>(fields[0].clone()) else { continue };
            let Ok(timestamp) = parse::<Option<Vec<u8>>>(fields[1].clone()) else { continue };
            match has_content {
                true => calls.push(self.adopt_call(id, order_of(timestamp))),
                false => skipped += 1,
            }
        }
        let adopted = self.run_script(&scripts::ADOPT, calls).await?;
        self.report_some(adopted, |progress, count| progress.adopted += count);
        Ok(skipped)
    }

    fn adopt_call(&self, id: &FactId, order: u64) -> Cmd {
        let keys = self.keys;
        let mut call = scripts::ADOPT.call(&[
            keys.fact(id),
            keys.order(),
            keys.pending(),
            keys.revision(),
            TENANTS.to_owned(),
            keys.bytes(),
            keys.stream(),
            keys.seen(),
        ]);
        call.arg(id.as_str()).arg(FLAT_TENANT).arg(order).arg(self.appends);
        call
    }

    async fn remove_deleted(&self) -> Result<(), StorageError> {
        let mut start = Some(0);
        while let Some(from) = start {
            let (removed, next) = self.lost().step(from).await?;
            self.report_some(removed.len() as u64, |progress, count| progress.removed += count);
            start = next;
        }
        Ok(())
    }

    fn lost(&self) -> Lost<'_> {
        Lost { servers: self.servers, keys: self.keys, appends: self.appends, end: self.end() }
    }

    async fn read(&self, commands: &[Cmd]) -> Result<Vec<Value>, StorageError> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        self.servers.run(commands, (Size::Bulk, Effect::Read), self.end()).await
    }

    /// Runs calls that return how many facts they had an effect on, and returns the sum.
    async fn run_script(&self, script: &Source, calls: Vec<Cmd>) -> Result<u64, StorageError> {
        if calls.is_empty() {
            return Ok(0);
        }
        let kind = (Size::Bulk, Effect::Write);
        let replies = scripts::run(self.servers, script, calls, kind, self.end()).await?;
        replies.into_iter().map(parse::<u64>).sum()
    }

    fn report_some(&self, count: u64, add: impl FnOnce(&mut Adoption, u64)) {
        if count > 0 {
            self.report.send_modify(|progress| add(progress, count));
        }
    }

    fn end(&self) -> Instant {
        Instant::now() + self.limits.operation
    }
}

/// The pause after a scan of so many keys that took so long.
fn pause_after(took: Duration, keys: u64) -> Duration {
    let factor = if keys <= FEW_KEYS { SHORT_PAUSE_FACTOR } else { PAUSE_FACTOR };
    took * factor
}

/// The order of another program's fact: its timestamp if valid, else the current time.
fn order_of(timestamp: Option<Vec<u8>>) -> u64 {
    let text = timestamp.and_then(|bytes| String::from_utf8(bytes).ok());
    text.as_deref().and_then(timestamp::order).unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(now.as_micros()).unwrap_or(MAX_EXACT)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_facts_with_their_vectors_are_scanned_half_of_the_time_at_most() {
        let took = Duration::from_millis(300);
        assert_eq!(pause_after(took, 20_000), took);
        assert_eq!(pause_after(took, 1_000_000), 20 * took);
    }
}
