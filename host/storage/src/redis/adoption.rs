//! Adopts facts that other programs write to `fact:ID`, and removes those that they delete.
//!
//! A task scans the whole database step by step; each step is bounded like any other operation. New
//! facts join the tenant `default` with a position from their `timestamp`, a pending mark and a
//! revision. A listed fact whose hash is gone is removed. Fields that another program changes in
//! place are not noticed: the service for which this layout exists never does that.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use redis::{Cmd, Value};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

use super::keys::{FLAT_PREFIX, FLAT_TENANT, Keys, TENANTS};
use super::pool::{Effect, Pool, Size};
use super::replies::{one, parse};
use super::scripts::{self, Source};
use super::timestamp;
use crate::limits::{BATCH, MAX_EXACT};
use crate::{Adoption, FactId, Layout, StorageError, StorageLimits, TenantId};

/// The keys that Redis examines in one step: few enough not to delay other commands.
const SCAN_STEP: usize = 500;

/// The pause after a scan, as a multiple of its duration: at most a twentieth of the time is spent
/// scanning.
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
    pub(super) fn start(pool: Arc<Pool>, limits: StorageLimits) -> Self {
        let (report, progress) = watch::channel(Adoption::default());
        let task = tokio::spawn(run(pool, limits, report)).abort_handle();
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

async fn run(pool: Arc<Pool>, limits: StorageLimits, report: watch::Sender<Adoption>) {
    let Ok(tenant) = TenantId::parse(FLAT_TENANT) else { return };
    let keys = Keys::new(Layout::Flat, &tenant);
    let scan = Scan { pool: &pool, limits: &limits, keys: &keys, report: &report };
    let mut is_failing = false;
    loop {
        let start = Instant::now();
        match scan.run().await {
            Ok(()) => {
                is_failing = false;
                report.send_modify(|progress| progress.scans += 1);
                sleep(limits.adoption_pause.max(start.elapsed() * PAUSE_FACTOR)).await;
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

/// Scans of the database.
struct Scan<'a> {
    pool: &'a Pool,
    limits: &'a StorageLimits,
    keys: &'a Keys,
    report: &'a watch::Sender<Adoption>,
}

impl Scan<'_> {
    async fn run(&self) -> Result<(), StorageError> {
        self.adopt_new().await?;
        self.remove_deleted().await
    }

    async fn adopt_new(&self) -> Result<(), StorageError> {
        let mut cursor = String::from("0");
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(&cursor)
                .arg("MATCH")
                .arg(format!("{FLAT_PREFIX}*"))
                .arg("COUNT")
                .arg(SCAN_STEP);
            let found: Vec<Vec<u8>>;
            (cursor, found) = one(self.read(&[scan]).await?)?;
            let ids: Vec<FactId> = found.iter().filter_map(|key| id_of(key)).collect();
            for ids in ids.chunks(BATCH) {
                self.adopt(self.unlisted(ids).await?).await?;
            }
            if cursor == "0" {
                return Ok(());
            }
        }
    }

    /// Those of `ids` that are not listed yet.
    async fn unlisted(&self, ids: &[FactId]) -> Result<Vec<FactId>, StorageError> {
        let order = |id: &FactId| {
            let mut order = redis::cmd("ZSCORE");
            order.arg(self.keys.order()).arg(id.as_str());
            order
        };
        let orders = self.read(&ids.iter().map(order).collect::<Vec<_>>()).await?;
        let mut unlisted = Vec::new();
        for (id, order) in ids.iter().zip(orders) {
            if parse::<Option<f64>>(order)?.is_none() {
                unlisted.push(id.clone());
            }
        }
        Ok(unlisted)
    }

    async fn adopt(&self, ids: Vec<FactId>) -> Result<(), StorageError> {
        let timestamp = |id: &FactId| {
            let mut read = redis::cmd("HGET");
            read.arg(self.keys.fact(id)).arg("timestamp");
            read
        };
        let timestamps = self.read(&ids.iter().map(timestamp).collect::<Vec<_>>()).await?;
        let calls = ids.iter().zip(timestamps).filter_map(|(id, timestamp)| {
            // A key of another type than hash is not a fact; reading it as one fails.
            let timestamp = parse::<Option<Vec<u8>>>(timestamp).ok()?;
            Some(self.adopt_call(id, order_of(timestamp)))
        });
        let adopted = self.run_script(&scripts::ADOPT, calls.collect()).await?;
        self.report_some(adopted, |progress, count| progress.adopted += count);
        Ok(())
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
        ]);
        call.arg(id.as_str()).arg(FLAT_TENANT).arg(order);
        call
    }

    async fn remove_deleted(&self) -> Result<(), StorageError> {
        let mut start = 0;
        loop {
            let mut range = redis::cmd("ZRANGE");
            range.arg(self.keys.order()).arg(start).arg(start + BATCH - 1);
            let members: Vec<String> = one(self.read(&[range]).await?)?;
            if members.is_empty() {
                return Ok(());
            }
            let ids: Vec<FactId> =
                members.iter().filter_map(|member| FactId::parse(member).ok()).collect();
            let deleted = self.deleted(&ids).await?;
            let calls = deleted.iter().map(|id| self.remove_call(id)).collect();
            let removed = self.run_script(&scripts::REMOVE_DELETED, calls).await?;
            self.report_some(removed, |progress, count| progress.removed += count);
            start += members.len() - usize::try_from(removed).unwrap_or_default();
        }
    }

    /// Those of `ids` that have no hash any more.
    async fn deleted(&self, ids: &[FactId]) -> Result<Vec<FactId>, StorageError> {
        let kind = |id: &FactId| {
            let mut kind = redis::cmd("TYPE");
            kind.arg(self.keys.fact(id));
            kind
        };
        let kinds = self.read(&ids.iter().map(kind).collect::<Vec<_>>()).await?;
        let mut deleted = Vec::new();
        for (id, kind) in ids.iter().zip(kinds) {
            if parse::<String>(kind)? != "hash" {
                deleted.push(id.clone());
            }
        }
        Ok(deleted)
    }

    fn remove_call(&self, id: &FactId) -> Cmd {
        let keys = self.keys;
        let mut call = scripts::REMOVE_DELETED.call(&[
            keys.fact(id),
            keys.order(),
            keys.pending(),
            keys.revision(),
            keys.vector(id),
            keys.bytes(),
        ]);
        call.arg(id.as_str());
        call
    }

    async fn read(&self, commands: &[Cmd]) -> Result<Vec<Value>, StorageError> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        let pipeline = scripts::pipeline(commands);
        self.pool.run(&pipeline, Size::Bulk, Effect::Read, self.end()).await
    }

    /// Runs calls that return 1 if they had an effect, and returns how many did.
    async fn run_script(&self, script: &Source, calls: Vec<Cmd>) -> Result<u64, StorageError> {
        if calls.is_empty() {
            return Ok(0);
        }
        let kind = (Size::Bulk, Effect::Write);
        let replies = scripts::run(self.pool, script, calls, kind, self.end()).await?;
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

/// The id in a fact's key; `None` for other keys such as `fact:origin:session:x`.
pub(crate) fn id_of(key: &[u8]) -> Option<FactId> {
    let id = key.strip_prefix(FLAT_PREFIX.as_bytes())?;
    FactId::parse(std::str::from_utf8(id).ok()?).ok()
}

/// The order of another program's fact: its timestamp if valid, else the current time.
fn order_of(timestamp: Option<Vec<u8>>) -> u64 {
    let text = timestamp.and_then(|bytes| String::from_utf8(bytes).ok());
    text.as_deref().and_then(timestamp::order).unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(now.as_micros()).unwrap_or(MAX_EXACT)
    })
}
