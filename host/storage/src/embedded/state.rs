//! What extensions keep: reads of a snapshot, and what the writer does.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use redb::{ReadTransaction, ReadableTable};

use super::Embedded;
use super::handle::TransactionError;
use super::request::{Request, StateRequest};
use super::tables::{
    SPACES, STATE, StateKey, StateRow, Tables, damaged, expiry_sum, space_sum, state_sum,
    table_if_any,
};
use crate::limits::{EXPIRED, STATE_STEP, page_size};
use crate::state::{check_after, now};
use crate::{
    SpaceName, StateChange, StateChanged, StateEntry, StatePage, StateQuota, StateSpace,
    StateStorage, StateUsage, StorageError, TenantId,
};

/// The tenant and the extension.
type Space<'a> = (&'a str, &'a str);

#[async_trait]
impl StateStorage for Embedded {
    async fn read_state(
        &self,
        space: &StateSpace,
        key: &[u8],
        deadline: Instant,
    ) -> Result<Option<StateEntry>, StorageError> {
        let (space, key) = (space.clone(), key.to_vec());
        self.snapshot(deadline, move |tx| read(tx, &space, &key)).await
    }

    async fn change_state(
        &self,
        space: &StateSpace,
        key: &[u8],
        change: StateChange,
        quota: StateQuota,
        deadline: Instant,
    ) -> Result<StateChanged, StorageError> {
        let (tenant, name) = (space.tenant.clone(), space.name.clone());
        let (key, outcome) = (key.to_vec(), Arc::new(OnceLock::new()));
        let request = StateRequest { tenant, name, key, change, quota, outcome: outcome.clone() };
        self.change(Request::State(request), deadline).await?;
        let none = || StorageError::Corrupt("a change of state without an outcome".into());
        outcome.get().copied().ok_or_else(none)
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
        let (space, prefix, limit) = (space.clone(), prefix.to_vec(), page_size(limit));
        let after = after.map(<[u8]>::to_vec);
        self.snapshot(deadline, move |tx| list(tx, &space, &prefix, after, limit)).await
    }

    async fn state_spaces(
        &self,
        tenant: &TenantId,
        deadline: Instant,
    ) -> Result<Vec<(SpaceName, StateUsage)>, StorageError> {
        let tenant = tenant.clone();
        self.snapshot(deadline, move |tx| spaces(tx, &tenant)).await
    }

    async fn delete_state(
        &self,
        tenant: &TenantId,
        extension: &SpaceName,
        deadline: Instant,
    ) -> Result<bool, StorageError> {
        let request = Request::DeleteState(tenant.clone(), extension.clone());
        Ok(self.change(request, deadline).await?.len() == STATE_STEP)
    }
}

/// When a key expires that is set now; 0 for never.
fn expires(now: u64, ttl: Option<Duration>) -> u64 {
    ttl.map_or(0, |ttl| now.saturating_add(ttl.as_millis() as u64))
}

/// What is under a key, and when it expires; 0 for never.
struct Entry {
    entry: StateEntry,
    expires: u64,
}

impl Entry {
    fn has_expired(&self, now: u64) -> bool {
        self.expires != 0 && self.expires <= now
    }
}

fn entry(
    state: &impl ReadableTable<StateKey, StateRow>,
    (tenant, extension): Space<'_>,
    key: &[u8],
) -> Result<Option<Entry>, TransactionError> {
    let Some(row) = state.get((tenant, extension, key))? else { return Ok(None) };
    let (version, expires, value, sum) = row.value();
    if state_sum((tenant, extension, key), (version, expires, value)) != sum {
        return Err(damaged(format!("a key in the state of {extension} of {tenant}")).into());
    }
    let entry = StateEntry { value: value.to_vec(), version, expires_in: None };
    Ok(Some(Entry { entry, expires }))
}

fn read(
    tx: &ReadTransaction,
    space: &StateSpace,
    key: &[u8],
) -> Result<Option<StateEntry>, TransactionError> {
    let Some(state) = table_if_any(tx, STATE)? else { return Ok(None) };
    let now = now();
    let found = entry(&state, (space.tenant.as_str(), space.name.as_str()), key)?;
    Ok(found.filter(|found| !found.has_expired(now)).map(|Entry { entry, expires }| {
        let expires_in = (expires != 0).then(|| Duration::from_millis(expires - now));
        StateEntry { expires_in, ..entry }
    }))
}

fn list(
    tx: &ReadTransaction,
    space: &StateSpace,
    prefix: &[u8],
    after: Option<Vec<u8>>,
    limit: usize,
) -> Result<StatePage, TransactionError> {
    let Some(state) = table_if_any(tx, STATE)? else { return Ok(StatePage::default()) };
    let (tenant, extension) = (space.tenant.as_str(), space.name.as_str());
    let (now, mut page, mut last) = (now(), StatePage::default(), None);
    let first = after.as_deref().unwrap_or(prefix);
    let rows = state.range((tenant, extension, first)..)?;
    let mut left = limit;
    for row in rows {
        let (at, row) = row?;
        let (of, name, key) = at.value();
        if (of, name) != (tenant, extension) || !key.starts_with(prefix) {
            break;
        }
        if after.as_deref() == Some(key) {
            continue;
        }
        if left == 0 {
            page.after = last;
            break;
        }
        left -= 1;
        last = Some(key.to_vec());
        let (_, expires, ..) = row.value();
        if expires == 0 || expires > now {
            page.keys.push(key.to_vec());
        }
    }
    Ok(page)
}

fn spaces(
    tx: &ReadTransaction,
    tenant: &TenantId,
) -> Result<Vec<(SpaceName, StateUsage)>, TransactionError> {
    let mut found = Vec::new();
    let Some(spaces) = table_if_any(tx, SPACES)? else { return Ok(found) };
    for row in spaces.range((tenant.as_str(), "")..)? {
        let (key, row) = row?;
        let (of, extension) = key.value();
        if of != tenant.as_str() {
            break;
        }
        let (_, keys, bytes, _) = row.value();
        // A damaged name must not hide the others.
        if let Ok(extension) = SpaceName::parse(extension) {
            found.push((extension, StateUsage { keys, bytes }));
        }
    }
    Ok(found)
}

/// What is counted of a space.
#[derive(Clone, Copy, Default)]
struct Counted {
    version: u64,
    usage: StateUsage,
}

/// What a space holds. Damaged counters are counted again.
fn counted(tables: &Tables<'_>, space: Space<'_>) -> Result<Counted, TransactionError> {
    let Some(row) = tables.spaces.get(space)? else { return Ok(Counted::default()) };
    let (version, keys, bytes, sum) = row.value();
    if space_sum(space, (version, keys, bytes)) == sum {
        return Ok(Counted { version, usage: StateUsage { keys, bytes } });
    }
    let mut again = Counted::default();
    for row in tables.state.range((space.0, space.1, &[][..])..)? {
        let (key, row) = row?;
        let (tenant, extension, key) = key.value();
        if (tenant, extension) != space {
            break;
        }
        let (version, _, value, _) = row.value();
        again.version = again.version.max(version);
        again.usage.keys += 1;
        again.usage.bytes += (key.len() + value.len()) as u64;
    }
    Ok(again)
}

fn put_counted(
    tables: &mut Tables<'_>,
    space: Space<'_>,
    Counted { version, usage }: Counted,
) -> Result<(), TransactionError> {
    let StateUsage { keys, bytes } = usage;
    let sum = space_sum(space, (version, keys, bytes));
    tables.spaces.insert(space, (version, keys, bytes, sum))?;
    Ok(())
}

/// Removes a key and returns the bytes that it took; `None` if there is none.
fn remove(
    tables: &mut Tables<'_>,
    (tenant, extension): Space<'_>,
    key: &[u8],
) -> Result<Option<u64>, TransactionError> {
    let Some(row) = tables.state.remove((tenant, extension, key))? else { return Ok(None) };
    let (_, expires, value, _) = row.value();
    if expires != 0 {
        tables.expiry.remove((tenant, extension, expires, key))?;
    }
    Ok(Some((key.len() + value.len()) as u64))
}

fn put(
    tables: &mut Tables<'_>,
    (tenant, extension): Space<'_>,
    key: &[u8],
    (version, expires, value): (u64, u64, &[u8]),
) -> Result<(), TransactionError> {
    let at = (tenant, extension, key);
    let sum = state_sum(at, (version, expires, value));
    tables.state.insert(at, (version, expires, value, sum))?;
    if expires != 0 {
        let at = (tenant, extension, expires, key);
        tables.expiry.insert(at, expiry_sum(at))?;
    }
    Ok(())
}

/// Removes expired keys, `key` among them.
fn remove_expired(
    tables: &mut Tables<'_>,
    space: Space<'_>,
    key: &[u8],
    now: u64,
) -> Result<Counted, TransactionError> {
    let mut counted = counted(tables, space)?;
    let mut expired = Vec::new();
    let (tenant, extension) = space;
    let none = &[][..];
    let until_now = (tenant, extension, 0, none)..(tenant, extension, now + 1, none);
    for row in tables.expiry.range(until_now)?.take(EXPIRED) {
        expired.push(row?.0.value().3.to_vec());
    }
    if entry(&tables.state, space, key)?.is_some_and(|entry| entry.has_expired(now)) {
        expired.push(key.to_vec());
    }
    for key in &expired {
        if let Some(bytes) = remove(tables, space, key)? {
            counted.usage.keys = counted.usage.keys.saturating_sub(1);
            counted.usage.bytes = counted.usage.bytes.saturating_sub(bytes);
        }
    }
    if !expired.is_empty() {
        put_counted(tables, space, counted)?;
    }
    Ok(counted)
}

/// Performs a change.
pub(super) fn apply(
    tables: &mut Tables<'_>,
    request: &StateRequest,
) -> Result<StateChanged, TransactionError> {
    let StateRequest { tenant, name, key, change, quota, .. } = request;
    let (space, now) = ((tenant.as_str(), name.as_str()), now());
    let mut counted = remove_expired(tables, space, key, now)?;
    let old = entry(&tables.state, space, key)?;
    let version = old.as_ref().map(|old| old.entry.version);
    let (value, expires, number) = match change {
        StateChange::Delete => {
            if let Some(bytes) = remove(tables, space, key)? {
                counted.usage.keys = counted.usage.keys.saturating_sub(1);
                counted.usage.bytes = counted.usage.bytes.saturating_sub(bytes);
                put_counted(tables, space, counted)?;
            }
            return Ok(StateChanged::Deleted(version.is_some()));
        }
        StateChange::Set { expected, .. } if !expected.holds(version) => {
            return Ok(StateChanged::Lost(version));
        }
        StateChange::Set { value, ttl, .. } => (value.clone(), expires(now, *ttl), None),
        StateChange::Increment { by, ttl } => {
            let old_entry = old.as_ref().map(|old| &old.entry);
            let Some(sum) = StateEntry::sum(old_entry, *by) else {
                return Ok(StateChanged::NotANumber);
            };
            let expires = old.as_ref().map_or_else(|| expires(now, *ttl), |old| old.expires);
            (sum.to_string().into_bytes(), expires, Some(sum))
        }
    };
    let was = old.as_ref().map_or(0, |old| (key.len() + old.entry.value.len()) as u64);
    let wanted = StateUsage {
        keys: counted.usage.keys + u64::from(old.is_none()),
        bytes: counted.usage.bytes.saturating_sub(was) + (key.len() + value.len()) as u64,
    };
    quota.check(counted.usage, wanted)?;
    remove(tables, space, key)?;
    let version = counted.version + 1;
    put(tables, space, key, (version, expires, &value))?;
    put_counted(tables, space, Counted { version, usage: wanted })?;
    Ok(number.map_or(StateChanged::Set(version), StateChanged::Number))
}

/// Deletes up to `most` keys of a space and returns how many; with the last, the space.
pub(super) fn delete_some(
    tables: &mut Tables<'_>,
    space: Space<'_>,
    most: usize,
) -> Result<usize, TransactionError> {
    let mut keys = Vec::new();
    for row in tables.state.range((space.0, space.1, &[][..])..)?.take(most) {
        let at = row?.0;
        let (tenant, extension, key) = at.value();
        if (tenant, extension) != space {
            break;
        }
        keys.push(key.to_vec());
    }
    for key in &keys {
        remove(tables, space, key)?;
    }
    if keys.len() < most {
        tables.spaces.remove(space)?;
    }
    Ok(keys.len())
}

/// Deletes up to `most` keys of a tenant. Returns whether nothing is left.
pub(super) fn delete_all(
    tables: &mut Tables<'_>,
    tenant: &str,
    most: usize,
) -> Result<bool, TransactionError> {
    let mut left = most;
    while left > 0 {
        let first = {
            let mut rows = tables.spaces.range((tenant, "")..)?;
            let row = rows.next().transpose()?;
            row.map(|(key, _)| (key.value().0.to_owned(), key.value().1.to_owned()))
        };
        let Some((_, extension)) = first.filter(|(of, _)| of == tenant) else { return Ok(true) };
        left -= delete_some(tables, (tenant, &extension), left)?;
    }
    Ok(false)
}
