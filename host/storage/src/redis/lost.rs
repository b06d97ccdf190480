//! Facts that Redis has lost: it evicted them, or another program deleted them. What remains of
//! them, such as their positions in the listing, is removed here.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use redis::Cmd;
use tokio::time::Instant;

use super::changes::Appends;
use super::keys::Keys;
use super::pool::{Effect, Size};
use super::replies::{one, parse};
use super::scripts;
use super::servers::Servers;
use crate::limits::BATCH;
use crate::{FactId, Revision, StorageError, TenantId};

/// A fact that was removed, with the revision of its removal.
pub(super) type Removed = (FactId, Revision);

/// Looks for lost facts of one tenant.
pub(super) struct Lost<'a> {
    pub(super) servers: &'a Servers,
    pub(super) keys: &'a Keys,
    pub(super) appends: &'a Appends,
    pub(super) end: Instant,
}

impl Lost<'_> {
    /// Removes those listed facts from position `start` on that have no key any more, at most a
    /// batch. Returns them and the position at which to continue; `None` at the end.
    pub(super) async fn step(
        &self,
        start: usize,
    ) -> Result<(Vec<Removed>, Option<usize>), StorageError> {
        let mut range = redis::cmd("ZRANGE");
        range.arg(self.keys.order()).arg(start).arg(start + BATCH - 1);
        let members: Vec<Vec<u8>> = one(self.read(&[range]).await?)?;
        if members.is_empty() {
            return Ok((Vec::new(), None));
        }
        let ids = members.iter().filter_map(|member| std::str::from_utf8(member).ok());
        let ids: Vec<FactId> = ids.filter_map(|member| FactId::parse(member).ok()).collect();
        let removed = self.remove(&ids).await?;
        let next = start + members.len() - removed.len();
        Ok((removed, Some(next)))
    }

    /// Removes those of `ids` that have no key any more.
    pub(super) async fn remove(&self, ids: &[FactId]) -> Result<Vec<Removed>, StorageError> {
        let lost = self.without_key(ids).await?;
        if lost.is_empty() {
            return Ok(Vec::new());
        }
        let calls = lost.iter().map(|id| self.remove_call(id)).collect();
        let kind = (Size::Bulk, Effect::Write);
        let replies =
            scripts::run(self.servers, &scripts::REMOVE_DELETED, calls, kind, self.end).await?;
        let mut removed = Vec::new();
        for (id, reply) in lost.into_iter().zip(replies) {
            match u64::try_from(parse::<i64>(reply)?) {
                Ok(revision) if revision > 0 => removed.push((id, Revision(revision))),
                _ => {}
            }
        }
        Ok(removed)
    }

    async fn without_key(&self, ids: &[FactId]) -> Result<Vec<FactId>, StorageError> {
        let exists = |id: &FactId| {
            let mut exists = redis::cmd("EXISTS");
            exists.arg(self.keys.fact(id));
            exists
        };
        let replies = self.read(&ids.iter().map(exists).collect::<Vec<_>>()).await?;
        let mut lost = Vec::new();
        for (id, reply) in ids.iter().zip(replies) {
            if parse::<u64>(reply)? == 0 {
                lost.push(id.clone());
            }
        }
        Ok(lost)
    }

    fn remove_call(&self, id: &FactId) -> Cmd {
        let keys = self.keys;
        let mut of_fact = vec![
            keys.fact(id),
            keys.order(),
            keys.pending(),
            keys.revision(),
            keys.vector(id),
            keys.bytes(),
            keys.stream(),
        ];
        of_fact.extend(keys.seen_if_shared());
        let mut call = scripts::REMOVE_DELETED.call(&of_fact);
        call.arg(id.as_str()).arg(self.appends);
        call
    }

    async fn read(&self, commands: &[Cmd]) -> Result<Vec<redis::Value>, StorageError> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        self.servers.run(commands, (Size::Bulk, Effect::Read), self.end).await
    }
}

/// How many keys Redis had evicted when each tenant's facts were last looked through.
#[derive(Default)]
pub(super) struct Swept(Mutex<HashMap<TenantId, u64>>);

impl Swept {
    /// Whether Redis, which has evicted `evicted` keys by now, may have evicted some of the
    /// tenant's facts since.
    pub(super) fn is_behind(&self, tenant: &TenantId, evicted: u64) -> bool {
        let swept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        swept.get(tenant).copied().unwrap_or_default() != evicted
    }

    pub(super) fn set(&self, tenant: &TenantId, evicted: u64) {
        let mut swept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        swept.insert(tenant.clone(), evicted);
    }
}

/// The number of evicted keys in the reply to `INFO stats`.
pub(super) fn evicted(info: &str) -> u64 {
    let count = info.lines().find_map(|line| line.strip_prefix("evicted_keys:"));
    count.and_then(|count| count.trim().parse().ok()).unwrap_or_default()
}
