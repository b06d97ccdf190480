//! Changes in Redis: a stream for each tenant, whose ids are the revisions.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use redis::{RedisWrite, ToRedisArgs, Value};

use super::pool::{Effect, Size};
use super::replies::{one, parse};
use super::{Redis, scripts};
use crate::limits::page_size;
use crate::{
    Change, ChangeKind, ChangeStorage, Changes, FactId, Revision, StorageError, StorageLimits,
    TenantId,
};

/// An entry of a stream: its id, and its fields and values.
type Entry = (String, Vec<(String, Vec<u8>)>);

/// What every script that appends to a stream is told: who writes, and the stream's bounds.
#[derive(Clone)]
pub(super) struct Appends {
    writer: String,
    changes: usize,
    age_ms: u64,
}

impl Appends {
    pub(super) fn new(limits: &StorageLimits) -> Self {
        // A random number: two hosts, or two runs of one, must not take each other for themselves.
        let writer = format!("{:016x}", RandomState::new().hash_one(std::process::id()));
        let age_ms = u64::try_from(limits.change_age.as_millis()).unwrap_or(u64::MAX);
        Self { writer, changes: limits.changes.max(1), age_ms: age_ms.max(1) }
    }
}

impl Appends {
    /// The name under which this storage value writes.
    pub(super) fn writer(&self) -> &str {
        &self.writer
    }
}

impl ToRedisArgs for Appends {
    fn write_redis_args<W: RedisWrite + ?Sized>(&self, out: &mut W) {
        out.write_arg(self.writer.as_bytes());
        out.write_arg_fmt(self.changes);
        out.write_arg_fmt(self.age_ms);
    }
}

#[async_trait]
impl ChangeStorage for Redis {
    async fn last_revisions(
        &self,
        tenants: &[TenantId],
        deadline: Instant,
    ) -> Result<Vec<Revision>, StorageError> {
        if tenants.is_empty() {
            return Ok(Vec::new());
        }
        let mut read = redis::cmd("MGET");
        for tenant in tenants {
            read.arg(self.keys(tenant).revision());
        }
        let values = self.read_with(&[read], Size::Small, deadline).await?;
        let revisions: Vec<Option<u64>> = one(values)?;
        Ok(revisions.into_iter().map(|last| Revision(last.unwrap_or_default())).collect())
    }

    async fn changes(
        &self,
        tenant: &TenantId,
        after: Revision,
        limit: usize,
        deadline: Instant,
    ) -> Result<Changes, StorageError> {
        let keys = self.keys(tenant);
        let mut call = scripts::CHANGES.call(&[keys.stream(), keys.revision()]);
        call.arg(after.0).arg(page_size(limit));
        let kind = (Size::Small, Effect::Read);
        let values = self.run_script(&scripts::CHANGES, vec![call], kind, deadline).await?;
        let (last, entries): (u64, Vec<Entry>) = one(values)?;
        Ok(Changes::following(after, Revision(last), self.decode(entries)))
    }

    async fn next_changes(
        &self,
        after: &[(TenantId, Revision)],
        limit: usize,
        wait: Duration,
    ) -> Result<Vec<(TenantId, Changes)>, StorageError> {
        let streams: HashMap<Vec<u8>, &(TenantId, Revision)> = after
            .iter()
            .map(|position| (self.keys(&position.0).stream().into_bytes(), position))
            .collect();
        let mut read = redis::cmd("XREAD");
        read.arg("COUNT").arg(page_size(limit));
        read.arg("BLOCK").arg(wait.as_millis().max(1) as u64).arg("STREAMS");
        let (keys, positions): (Vec<_>, Vec<_>) =
            streams.iter().map(|(key, (_, after))| (key, format!("{}-0", after.0))).unzip();
        read.arg(keys).arg(positions);
        let deadline = Instant::now() + wait + self.limits.operation;
        let values = self.read_waiting(&read, deadline).await?;
        let found: Option<Vec<(Vec<u8>, Vec<Entry>)>> = parse(values)?;
        let of_tenant = |(key, entries): (Vec<u8>, Vec<Entry>)| {
            let (tenant, after) = *streams.get(&key)?;
            let changes = self.decode(entries);
            // A stream that has changes is compared with the last of them.
            let last = changes.last().map_or(*after, |change| change.revision);
            Some((tenant.clone(), Changes::following(*after, last, changes)))
        };
        Ok(found.unwrap_or_default().into_iter().filter_map(of_tenant).collect())
    }

    async fn claim_embedding(
        &self,
        tenant: &TenantId,
        lease: Duration,
        deadline: Instant,
    ) -> Result<bool, StorageError> {
        let mut call = scripts::CLAIM.call(&[self.keys(tenant).claim()]);
        call.arg(&self.appends.writer).arg(lease.as_millis().max(1) as u64);
        let kind = (Size::Small, Effect::Write);
        one(self.run_script(&scripts::CLAIM, vec![call], kind, deadline).await?)
    }
}

impl Redis {
    /// Sends a command that Redis may answer late, by `end`.
    async fn read_waiting(&self, read: &redis::Cmd, end: Instant) -> Result<Value, StorageError> {
        self.check_open()?;
        self.guard.check(Effect::Read, end.into()).await?;
        let pipeline = scripts::pipeline([read]);
        let replies = self.pool.run(&pipeline, Size::Waiting, Effect::Read, end.into()).await?;
        let reply = replies.into_iter().next();
        reply.ok_or_else(|| StorageError::Corrupt("a reply without a value".into()))
    }

    /// The entries that are changes. What another program added to a stream is left out, and shows
    /// as a gap where it took the place of a change.
    fn decode(&self, entries: Vec<Entry>) -> Vec<Change> {
        entries.into_iter().filter_map(|entry| self.change(entry)).collect()
    }

    fn change(&self, (position, fields): Entry) -> Option<Change> {
        let field = |wanted: &str| {
            let (_, value) = fields.iter().find(|(name, _)| name == wanted)?;
            std::str::from_utf8(value).ok()
        };
        let (revision, _) = position.split_once('-')?;
        Some(Change {
            revision: Revision(revision.parse().ok()?),
            id: FactId::parse(field("id")?).ok()?,
            kind: ChangeKind::parse(field("kind")?)?,
            of: Revision(field("of")?.parse().ok()?),
            is_own: field("by")? == self.appends.writer,
        })
    }
}
