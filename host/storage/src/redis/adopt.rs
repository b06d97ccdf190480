//! Takes in facts that other programs write to `fact:ID`, and lets go of those they delete.
//!
//! A task looks through the whole database, a step at a time, each step bounded like any other
//! operation. What it finds new joins the tenant `default`: a place by its `timestamp`, a pending
//! mark, a revision. What is listed and has no hash any more leaves. A fact whose fields another
//! program changes in place is not noticed: the service this layout is for never does that.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use redis::{Cmd, Value};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

use super::answers::{one, parse};
use super::connection::{Connections, Effect, Size};
use super::keys::{FLAT_PREFIX, FLAT_TENANT, Keys, TENANTS};
use super::scripts::{self, Source};
use super::timestamp;
use crate::limits::{BATCH, MAX_EXACT};
use crate::{Adoption, FactId, Layout, StorageError, StorageLimits, TenantId};

/// Keys that Redis looks at in one step. Short enough not to hold up other commands.
const STEP: usize = 500;

/// How often a look may follow another: at most one twentieth of the time is spent looking.
const REST_FACTOR: u32 = 20;

/// How long to wait for a Redis that does not answer.
const RETRY: Duration = Duration::from_millis(250);

/// The running task; ends when dropped.
pub(super) struct Adopter {
    progress: watch::Receiver<Adoption>,
    task: AbortHandle,
}

impl Adopter {
    pub(super) fn start(connections: Arc<Connections>, limits: StorageLimits) -> Self {
        let (report, progress) = watch::channel(Adoption::default());
        let task = tokio::spawn(run(connections, limits, report)).abort_handle();
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
    connections: Arc<Connections>,
    limits: StorageLimits,
    report: watch::Sender<Adoption>,
) {
    let Ok(tenant) = TenantId::parse(FLAT_TENANT) else { return };
    let keys = Keys::new(Layout::Flat, &tenant);
    let pass = Pass { connections: &connections, limits: &limits, keys: &keys, report: &report };
    let mut is_failing = false;
    loop {
        let begin = Instant::now();
        match pass.run().await {
            Ok(()) => {
                is_failing = false;
                report.send_modify(|progress| progress.passes += 1);
                sleep(limits.adoption_pause.max(begin.elapsed() * REST_FACTOR)).await;
            }
            Err(error) => {
                if !is_failing {
                    tracing::warn!(%error, "could not look for other programs' facts; will retry");
                }
                is_failing = true;
                sleep(RETRY).await;
            }
        }
    }
}

/// One look over the database.
struct Pass<'a> {
    connections: &'a Connections,
    limits: &'a StorageLimits,
    keys: &'a Keys,
    report: &'a watch::Sender<Adoption>,
}

impl Pass<'_> {
    async fn run(&self) -> Result<(), StorageError> {
        self.adopt_new().await?;
        self.forget_gone().await
    }

    async fn adopt_new(&self) -> Result<(), StorageError> {
        let mut cursor = String::from("0");
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(&cursor).arg("MATCH").arg(format!("{FLAT_PREFIX}*")).arg("COUNT").arg(STEP);
            let found: Vec<Vec<u8>>;
            (cursor, found) = one(self.read(&[scan]).await?)?;
            let ids: Vec<FactId> = found.iter().filter_map(|key| id_of(key)).collect();
            for ids in ids.chunks(BATCH) {
                self.adopt(self.unknown(ids).await?).await?;
            }
            if cursor == "0" {
                return Ok(());
            }
        }
    }

    /// Those of `ids` that are not listed yet.
    async fn unknown(&self, ids: &[FactId]) -> Result<Vec<FactId>, StorageError> {
        let place = |id: &FactId| {
            let mut place = redis::cmd("ZSCORE");
            place.arg(self.keys.order()).arg(id.as_str());
            place
        };
        let places = self.read(&ids.iter().map(place).collect::<Vec<_>>()).await?;
        let mut unknown = Vec::new();
        for (id, place) in ids.iter().zip(places) {
            if parse::<Option<f64>>(place)?.is_none() {
                unknown.push(id.clone());
            }
        }
        Ok(unknown)
    }

    async fn adopt(&self, ids: Vec<FactId>) -> Result<(), StorageError> {
        let timestamp = |id: &FactId| {
            let mut read = redis::cmd("HGET");
            read.arg(self.keys.fact(id)).arg("timestamp");
            read
        };
        let timestamps = self.read(&ids.iter().map(timestamp).collect::<Vec<_>>()).await?;
        let calls = ids.iter().zip(timestamps).filter_map(|(id, timestamp)| {
            // A key that is no hash refuses to be read as one, and is no fact.
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

    async fn forget_gone(&self) -> Result<(), StorageError> {
        let mut begin = 0;
        loop {
            let mut range = redis::cmd("ZRANGE");
            range.arg(self.keys.order()).arg(begin).arg(begin + BATCH - 1);
            let members: Vec<String> = one(self.read(&[range]).await?)?;
            if members.is_empty() {
                return Ok(());
            }
            let ids: Vec<FactId> =
                members.iter().filter_map(|member| FactId::parse(member).ok()).collect();
            let gone = self.gone(&ids).await?;
            let calls = gone.iter().map(|id| self.forget_call(id)).collect();
            let removed = self.run_script(&scripts::FORGET, calls).await?;
            self.report_some(removed, |progress, count| progress.removed += count);
            begin += members.len() - usize::try_from(removed).unwrap_or_default();
        }
    }

    async fn gone(&self, ids: &[FactId]) -> Result<Vec<FactId>, StorageError> {
        let kind = |id: &FactId| {
            let mut kind = redis::cmd("TYPE");
            kind.arg(self.keys.fact(id));
            kind
        };
        let kinds = self.read(&ids.iter().map(kind).collect::<Vec<_>>()).await?;
        let mut gone = Vec::new();
        for (id, kind) in ids.iter().zip(kinds) {
            if parse::<String>(kind)? != "hash" {
                gone.push(id.clone());
            }
        }
        Ok(gone)
    }

    fn forget_call(&self, id: &FactId) -> Cmd {
        let keys = self.keys;
        let mut call = scripts::FORGET.call(&[
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
        self.connections.run(&pipeline, Size::Bulk, Effect::Read, self.end()).await
    }

    /// Runs calls that answer 1 where they did something; the sum of their answers.
    async fn run_script(&self, script: &Source, calls: Vec<Cmd>) -> Result<u64, StorageError> {
        if calls.is_empty() {
            return Ok(0);
        }
        let kind = (Size::Bulk, Effect::Write);
        let answers = scripts::run(self.connections, script, calls, kind, self.end()).await?;
        answers.into_iter().map(parse::<u64>).sum()
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

/// The fact a key names, if it can be one: side keys such as `fact:origin:session:x` cannot.
pub(crate) fn id_of(key: &[u8]) -> Option<FactId> {
    let id = key.strip_prefix(FLAT_PREFIX.as_bytes())?;
    FactId::parse(std::str::from_utf8(id).ok()?).ok()
}

/// A foreign fact's order: when it says it was stored, else now.
fn order_of(timestamp: Option<Vec<u8>>) -> u64 {
    let text = timestamp.and_then(|bytes| String::from_utf8(bytes).ok());
    text.as_deref().and_then(timestamp::order).unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(now.as_micros()).unwrap_or(MAX_EXACT)
    })
}
