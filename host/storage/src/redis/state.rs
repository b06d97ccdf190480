//! What extensions keep, in Redis: beside the tenant's facts, for each extension hashes of values
//! and versions, and sorted sets of keys and of when they expire.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use redis::{Cmd, Value};

use super::keys::SpaceKeys;
use super::pool::{Effect, Size};
use super::registry::Known;
use super::replies::{one, parse};
use super::{Redis, scripts};
use crate::limits::{EXPIRED, page_size};
use crate::state::check_after;
use crate::{
    Expected, SpaceName, StateChange, StateChanged, StateEntry, StatePage, StateQuota, StateSpace,
    StateStorage, StateUsage, StorageError, TenantId,
};

#[async_trait]
impl StateStorage for Redis {
    async fn read_state(
        &self,
        space: &StateSpace,
        key: &[u8],
        deadline: Instant,
    ) -> Result<Option<StateEntry>, StorageError> {
        let calls = self.reads(space, &[key]);
        let kind = (Size::Small, Effect::Read);
        let replies = self.run_script(&scripts::READ_STATE, calls, kind, deadline).await?;
        Ok(one::<Option<Found>>(replies)?.map(entry))
    }

    async fn change_state(
        &self,
        space: &StateSpace,
        key: &[u8],
        change: StateChange,
        quota: StateQuota,
        deadline: Instant,
    ) -> Result<StateChanged, StorageError> {
        let (registry, keys) = self.keys_of_space(space);
        let spaces = self.keys(&space.tenant).spaces();
        let SpaceKeys { usage, values, versions, keys, expiry } = keys;
        let all = [registry, spaces, usage, values, versions, keys, expiry];
        let mut call = scripts::CHANGE_STATE.call(&all);
        call.arg(Known(space.registry)).arg(space.name.as_str()).arg(key);
        let milliseconds =
            |ttl: Option<Duration>| ttl.map_or_else(String::new, |ttl| ttl.as_millis().to_string());
        match change {
            StateChange::Set { value, ttl, expected } => {
                let expected = match expected {
                    Expected::Any => String::new(),
                    Expected::Absent => "0".into(),
                    Expected::Version(version) => version.to_string(),
                };
                call.arg("set").arg(expected).arg(value).arg(milliseconds(ttl));
            }
            StateChange::Increment { by, ttl } => {
                call.arg("increment").arg("").arg(by).arg(milliseconds(ttl));
            }
            StateChange::Delete => {
                call.arg("delete").arg("").arg("").arg("");
            }
        }
        call.arg(quota.keys).arg(quota.bytes).arg(EXPIRED);
        let kind = (Size::Small, Effect::Write);
        let replies = self.run_script(&scripts::CHANGE_STATE, vec![call], kind, deadline).await?;
        changed(&one::<Vec<String>>(replies)?, quota)
    }

    async fn list_state(
        &self,
        space: &StateSpace,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
        deadline: Instant,
    ) -> Result<StatePage, StorageError> {
        check_after(prefix, after)?;
        let (registry, keys) = self.keys_of_space(space);
        let begin = match after {
            Some(after) => [b"(", after].concat(),
            None => [b"[", prefix].concat(),
        };
        let mut call = scripts::LIST_STATE.call(&[&registry, &keys.keys, &keys.expiry]);
        call.arg(Known(space.registry)).arg(prefix).arg(begin).arg(page_size(limit));
        let kind = (Size::Small, Effect::Read);
        let replies = self.run_script(&scripts::LIST_STATE, vec![call], kind, deadline).await?;
        let (after, keys): (Option<Vec<u8>>, Vec<Vec<u8>>) = one(replies)?;
        Ok(StatePage { keys, after })
    }

    async fn state_spaces(
        &self,
        tenant: &TenantId,
        deadline: Instant,
    ) -> Result<Vec<(SpaceName, StateUsage)>, StorageError> {
        let mut names = self.names_of_spaces(tenant, deadline).await?;
        names.sort();
        let usage = |name: &SpaceName| {
            let keys = self.keys(tenant).space(name);
            let (mut count, mut bytes) = (redis::cmd("HLEN"), redis::cmd("HGET"));
            count.arg(keys.values);
            bytes.arg(keys.usage).arg("bytes");
            [count, bytes]
        };
        let commands: Vec<_> = names.iter().flat_map(usage).collect();
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        let mut replies = self.read_with(&commands, Size::Small, deadline).await?.into_iter();
        let mut next = || replies.next().unwrap_or(Value::Nil);
        let used = |name| {
            let (keys, bytes) = (parse(next())?, parse::<Option<u64>>(next())?);
            Ok((name, StateUsage { keys, bytes: bytes.unwrap_or_default() }))
        };
        names.into_iter().map(used).collect()
    }

    async fn delete_state(
        &self,
        tenant: &TenantId,
        extension: &SpaceName,
        deadline: Instant,
    ) -> Result<bool, StorageError> {
        let keys = self.keys(tenant);
        let SpaceKeys { usage, values, versions, keys: names, expiry } = keys.space(extension);
        let all = [keys.spaces(), usage, values, versions, names, expiry];
        let mut call = scripts::DELETE_STATE.call(&all);
        call.arg(extension.as_str());
        let kind = (Size::Small, Effect::Write);
        let replies = self.run_script(&scripts::DELETE_STATE, vec![call], kind, deadline).await?;
        one::<u64>(replies).map(|_| false)
    }
}

impl Redis {
    /// Reads several keys in one round trip.
    pub(super) async fn read_states(
        &self,
        space: &StateSpace,
        keys: &[Vec<u8>],
        deadline: Instant,
    ) -> Result<Vec<Option<StateEntry>>, StorageError> {
        let calls = self.reads(space, keys);
        let kind = (Size::Bulk, Effect::Read);
        let replies = self.run_script(&scripts::READ_STATE, calls, kind, deadline).await?;
        let found = |reply| parse::<Option<Found>>(reply).map(|found| found.map(entry));
        replies.into_iter().map(found).collect()
    }

    fn reads<K: AsRef<[u8]>>(&self, space: &StateSpace, keys: &[K]) -> Vec<Cmd> {
        let (registry, of) = self.keys_of_space(space);
        let read = |key: &K| {
            let mut call =
                scripts::READ_STATE.call(&[&registry, &of.values, &of.versions, &of.expiry]);
            call.arg(Known(space.registry)).arg(key.as_ref());
            call
        };
        keys.iter().map(read).collect()
    }

    fn keys_of_space(&self, space: &StateSpace) -> (String, SpaceKeys) {
        let keys = self.keys(&space.tenant);
        (keys.registry(), keys.space(&space.name))
    }

    /// The extensions of which there is, or was, a space.
    pub(super) async fn names_of_spaces(
        &self,
        tenant: &TenantId,
        deadline: Instant,
    ) -> Result<Vec<SpaceName>, StorageError> {
        let mut command = redis::cmd("SMEMBERS");
        command.arg(self.keys(tenant).spaces());
        let names: Vec<Vec<u8>> = one(self.read_with(&[command], Size::Small, deadline).await?)?;
        // What is no name was added by another program, and must not hide the others.
        let names = names.iter().filter_map(|name| std::str::from_utf8(name).ok());
        Ok(names.filter_map(|name| SpaceName::parse(name).ok()).collect())
    }
}

/// A value, its version, and the milliseconds until it expires, or -1 for never.
type Found = (Vec<u8>, u64, i64);

fn entry((value, version, left): Found) -> StateEntry {
    let expires_in = u64::try_from(left).ok().map(Duration::from_millis);
    StateEntry { value, version, expires_in }
}

/// What `change_state.lua` says.
fn changed(reply: &[String], quota: StateQuota) -> Result<StateChanged, StorageError> {
    let wrong = || StorageError::Corrupt(format!("{reply:?} for a change of state"));
    let kind = reply.first().ok_or_else(wrong)?;
    let number = || reply.get(1).and_then(|text| text.parse::<u64>().ok()).ok_or_else(wrong);
    let exceeded = |limit, allowed| {
        let used = number()?;
        Err(StorageError::TooLarge { limit, allowed, used })
    };
    match kind.as_str() {
        "set" => number().map(StateChanged::Set),
        "number" => {
            let sum = reply.get(1).and_then(|text| text.parse().ok()).ok_or_else(wrong)?;
            Ok(StateChanged::Number(sum))
        }
        "deleted" => number().map(|found| StateChanged::Deleted(found == 1)),
        "lost" => number().map(|version| StateChanged::Lost((version > 0).then_some(version))),
        "text" => Ok(StateChanged::NotANumber),
        "state_keys" => exceeded("state_keys", quota.keys),
        "state_bytes" => exceeded("state_bytes", quota.bytes),
        _ => Err(wrong()),
    }
}
