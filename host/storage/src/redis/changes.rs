//! Changes in Redis: a stream for each tenant, whose ids are the revisions.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::future::join_all;
use redis::{Cmd, RedisWrite, ToRedisArgs, Value};
use tokio::time::sleep;

use super::pool::{Effect, Size};
use super::replies::{one, parse};
use super::{Redis, error, scripts};
use crate::limits::page_size;
use crate::{
    Change, ChangeKind, ChangeStorage, Changes, FactId, Revision, StorageError, StorageLimits,
    TenantId,
};

/// An entry of a stream: its id, and its fields and values.
type Entry = (String, Vec<(String, Vec<u8>)>);

/// What `XREAD` finds: the keys of streams, and their entries.
type Found = Vec<(Vec<u8>, Vec<Entry>)>;

/// How often a cluster is asked for changes: a blocking read waits for streams of one slot only, so
/// the nodes are asked again and again, at most 5,000 times a second for all tenants together.
const POLL_EACH: Duration = Duration::from_micros(200);
const SHORTEST_POLL: Duration = Duration::from_millis(10);

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
        let keys = tenants.iter().map(|tenant| self.keys(tenant).revision());
        Ok(self.numbers(keys, deadline).await?.into_iter().map(Revision).collect())
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
        if self.servers.is_cluster() {
            return self.poll_changes(after, limit, wait).await;
        }
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
        let found: Option<Found> = parse(values)?;
        let of_tenant = |(key, entries): (Vec<u8>, Vec<Entry>)| {
            streams.get(&key).map(|position| self.of_stream(position, entries))
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
    async fn read_waiting(&self, read: &Cmd, end: Instant) -> Result<Value, StorageError> {
        self.check_open()?;
        self.guard.check(Effect::Read, end.into()).await?;
        let kind = (Size::Waiting, Effect::Read);
        let replies = self.servers.run(std::slice::from_ref(read), kind, end.into()).await?;
        replies.into_iter().next().ok_or_else(error::no_value)
    }

    /// Asks the nodes of a cluster until there are changes or `wait` is over. A node that does not
    /// answer keeps nobody from the others' changes.
    async fn poll_changes(
        &self,
        after: &[(TenantId, Revision)],
        limit: usize,
        wait: Duration,
    ) -> Result<Vec<(TenantId, Changes)>, StorageError> {
        let until = Instant::now() + wait;
        let pause = (POLL_EACH * u32::try_from(after.len()).unwrap_or(u32::MAX)).max(SHORTEST_POLL);
        let read = |(tenant, after): &(TenantId, Revision)| {
            let mut read = redis::cmd("XREAD");
            read.arg("COUNT").arg(page_size(limit)).arg("STREAMS");
            read.arg(self.keys(tenant).stream()).arg(format!("{}-0", after.0));
            read
        };
        let reads: Vec<Cmd> = after.iter().map(read).collect();
        loop {
            let found = self.poll_once(after, &reads, wait.max(SHORTEST_POLL)).await?;
            let now = Instant::now();
            if !found.is_empty() || now >= until {
                return Ok(found);
            }
            sleep(pause.min(until - now)).await;
        }
    }

    async fn poll_once(
        &self,
        after: &[(TenantId, Revision)],
        reads: &[Cmd],
        within: Duration,
    ) -> Result<Vec<(TenantId, Changes)>, StorageError> {
        self.check_open()?;
        let end = Instant::now() + self.limits.operation;
        self.guard.check(Effect::Read, end.into()).await?;
        let groups = self.servers.by_server(reads, end.into()).await?;
        let end = Instant::now() + within;
        let asked = groups.into_iter().map(|positions| async move {
            let reads: Vec<Cmd> = positions.iter().map(|&at| reads[at].clone()).collect();
            let kind = (Size::Waiting, Effect::Read);
            Ok::<_, StorageError>((positions, self.servers.run(&reads, kind, end.into()).await?))
        });
        let (mut found, mut failure, mut has_answer) = (Vec::new(), None, false);
        for answer in join_all(asked).await {
            let (positions, replies) = match answer {
                Ok(answer) => answer,
                Err(error) => {
                    failure = Some(error);
                    continue;
                }
            };
            has_answer = true;
            for (at, reply) in positions.into_iter().zip(replies) {
                let entries = parse::<Option<Found>>(reply).ok().flatten();
                let entries = entries.and_then(|found| found.into_iter().next());
                found.extend(entries.map(|(_, entries)| self.of_stream(&after[at], entries)));
            }
        }
        match failure.filter(|_| !has_answer) {
            Some(error) => Err(error),
            None => Ok(found),
        }
    }

    /// The numbers at `keys`, 0 where there is none, in one round trip.
    pub(super) async fn numbers(
        &self,
        keys: impl Iterator<Item = String>,
        deadline: Instant,
    ) -> Result<Vec<u64>, StorageError> {
        let none = Option::<u64>::unwrap_or_default;
        if !self.servers.is_cluster() {
            let mut read = redis::cmd("MGET");
            keys.for_each(|key| {
                read.arg(key);
            });
            let values = self.read_with(&[read], Size::Small, deadline).await?;
            return Ok(one::<Vec<Option<u64>>>(values)?.into_iter().map(none).collect());
        }
        // One command reads keys of one slot only.
        let read = |key: String| {
            let mut read = redis::cmd("GET");
            read.arg(key);
            read
        };
        let reads: Vec<Cmd> = keys.map(read).collect();
        let values = self.read_with(&reads, Size::Small, deadline).await?;
        values.into_iter().map(|value| parse(value).map(none)).collect()
    }

    /// What is new in the stream of a tenant that was followed up to a revision.
    fn of_stream(
        &self,
        (tenant, after): &(TenantId, Revision),
        entries: Vec<Entry>,
    ) -> (TenantId, Changes) {
        let changes = self.decode(entries);
        // A stream that has changes is compared with the last of them.
        let last = changes.last().map_or(*after, |change| change.revision);
        (tenant.clone(), Changes::following(*after, last, changes))
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
