//! Facts: reads of a snapshot, and what the writer does.
//!
//! A change checks everything before it modifies a table, so a request that fails has changed
//! nothing.

use std::time::Instant;

use async_trait::async_trait;
use kenning_trace::Kind;
use redb::{ReadTransaction, ReadableTable};

use super::changes::{New, append};
use super::counters::counters_of;
use super::handle::TransactionError;
use super::request::Request;
use super::tables::{Counters, FACTS, FactRow, ORDER, Tables, intact_fact, order_sum, table};
use super::{Embedded, codec};
use crate::cursor::Position;
use crate::limits::{MAX_EXACT, check_batch, page_size};
use crate::{
    ChangeKind, Condition, FactId, FactQuota, FactStorage, Hash, IdPage, Revision, StorageError,
    TenantId, Usage, Write,
};

/// How many facts are read where they are asked for, and how many bytes of them: what a search
/// needs. Both take less than half a millisecond.
const READ_HERE: usize = 128;
const BYTES_HERE: usize = 256 * 1024;

#[async_trait]
impl FactStorage for Embedded {
    async fn read(
        &self,
        tenant: &TenantId,
        ids: &[FactId],
        max_bytes: usize,
        deadline: Instant,
    ) -> Result<Vec<Option<Hash>>, StorageError> {
        check_batch(ids.len())?;
        let end = self.limits.end(deadline)?;
        if let Some(hashes) = self.read_here(tenant, ids, max_bytes) {
            return Ok(hashes);
        }
        let (tenant, ids) = (tenant.clone(), ids.to_vec());
        self.snapshot_until(end, move |tx| hashes(tx, &tenant, &ids, max_bytes)).await
    }

    async fn page(
        &self,
        tenant: &TenantId,
        cursor: Option<&str>,
        limit: usize,
        deadline: Instant,
    ) -> Result<IdPage, StorageError> {
        let (tenant, after) = (tenant.clone(), cursor.map(Position::decode).transpose()?);
        let limit = page_size(limit);
        self.snapshot(deadline, move |tx| page(tx, &tenant, after.as_ref(), limit)).await
    }

    async fn write_within(
        &self,
        tenant: &TenantId,
        writes: &[Write],
        quota: FactQuota,
        deadline: Instant,
    ) -> Result<Vec<Option<Revision>>, StorageError> {
        check_batch(writes.len())?;
        self.change(Request::Write(tenant.clone(), writes.to_vec(), quota), deadline).await
    }

    async fn delete(
        &self,
        tenant: &TenantId,
        id: &FactId,
        deadline: Instant,
    ) -> Result<Option<Revision>, StorageError> {
        let answers = self.change(Request::Delete(tenant.clone(), id.clone()), deadline).await?;
        Ok(answers.into_iter().next().flatten())
    }

    async fn is_listed(
        &self,
        tenant: &TenantId,
        id: &FactId,
        deadline: Instant,
    ) -> Result<bool, StorageError> {
        let (tenant, id) = (tenant.clone(), id.clone());
        self.snapshot(deadline, move |tx| is_listed(tx, tenant.as_str(), id.as_str())).await
    }
}

impl Embedded {
    /// The same where it is called, which is faster than handing it over; `None` if that is not
    /// brief, or fails.
    fn read_here(
        &self,
        tenant: &TenantId,
        ids: &[FactId],
        max_bytes: usize,
    ) -> Option<Vec<Option<Hash>>> {
        if ids.len() > READ_HERE {
            return None;
        }
        let span = kenning_trace::begin("facts.redb read", Kind::Client);
        let read = |tx: &ReadTransaction| hashes(tx, tenant, ids, max_bytes.min(BYTES_HERE));
        let read = self.handle.read_at_once(read).filter(|hashes| hashes.len() == ids.len());
        if read.is_none()
            && let Some(span) = span
        {
            // The read that follows has one of its own.
            span.discard();
        }
        read
    }
}

fn hashes(
    tx: &ReadTransaction,
    tenant: &TenantId,
    ids: &[FactId],
    max_bytes: usize,
) -> Result<Vec<Option<Hash>>, TransactionError> {
    let facts = table(tx, FACTS)?;
    let mut hashes = Vec::with_capacity(ids.len());
    let mut used = 0;
    for id in ids {
        let key = (tenant.as_str(), id.as_str());
        let row = facts.get(key)?;
        let read = |row: redb::AccessGuard<'_, FactRow>| {
            intact_fact(key, row.value()).and_then(|(_, _, hash)| codec::decode(hash))
        };
        let hash = row.map(read).transpose()?;
        let size = hash.as_ref().map_or(0, codec::size);
        used += size;
        if used > max_bytes && hashes.is_empty() {
            return Err(TransactionError::Request(StorageError::TooLarge {
                limit: "read-bytes",
                allowed: max_bytes as u64,
                used: size as u64,
            }));
        }
        if used > max_bytes {
            break;
        }
        hashes.push(hash);
    }
    Ok(hashes)
}

fn page(
    tx: &ReadTransaction,
    tenant: &TenantId,
    after: Option<&Position>,
    limit: usize,
) -> Result<IdPage, TransactionError> {
    let tenant = tenant.as_str();
    // Orders are at most 2^53 - 1, so this end lies after every fact.
    let end =
        after.map_or((tenant, u64::MAX, ""), |after| (tenant, after.order, after.id.as_str()));
    let order = table(tx, ORDER)?;
    let mut rows = order.range((tenant, 0, "")..end)?.rev();
    let mut positions = Vec::new();
    while positions.len() < limit
        && let Some(row) = rows.next()
    {
        let (key, sum) = row?;
        positions.extend(position(key.value(), sum.value()));
    }
    let more = rows.next().transpose()?.is_some();
    let cursor = positions.last().filter(|_| more).map(Position::encode);
    Ok(IdPage { ids: positions.into_iter().map(|position| position.id).collect(), cursor })
}

/// Looks through the listing, which is in another order.
fn is_listed(tx: &ReadTransaction, tenant: &str, id: &str) -> Result<bool, TransactionError> {
    for row in table(tx, ORDER)?.range((tenant, 0, "")..(tenant, u64::MAX, ""))? {
        if row?.0.value().2 == id {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A position as the table holds it; `None` if it is damaged, which must not hide the others.
fn position((tenant, order, id): (&str, u64, &str), sum: u32) -> Option<Position> {
    if order_sum((tenant, order, id)) != sum {
        tracing::error!(tenant.id = tenant, id, order, "a position in the listing is damaged");
        return None;
    }
    Some(Position { order, id: FactId::parse(id).ok()? })
}

/// A stored fact.
pub(super) struct Current {
    pub(super) order: u64,
    pub(super) revision: u64,
    pub(super) hash: Hash,
}

/// Reads the fact at `key` (tenant, id).
pub(super) fn current(
    tables: &Tables<'_>,
    key: (&str, &str),
) -> Result<Option<Current>, TransactionError> {
    let Some(row) = tables.facts.get(key)? else {
        return Ok(None);
    };
    let (order, revision, hash) = intact_fact(key, row.value())?;
    Ok(Some(Current { order, revision, hash: codec::decode(hash)? }))
}

/// Performs `writes` in their order.
pub(super) fn put_all(
    tables: &mut Tables<'_>,
    tenant: &str,
    writes: &[Write],
    quota: FactQuota,
) -> Result<Vec<Option<Revision>>, TransactionError> {
    let mut revisions = Vec::with_capacity(writes.len());
    for write in writes {
        match put(tables, tenant, write, quota) {
            Ok(revision) => revisions.push(revision),
            Err(TransactionError::Request(error)) if revisions.iter().any(Option::is_some) => {
                tracing::warn!(%error, tenant.id = tenant, "one of several writes failed");
                return Err(StorageError::Uncertain(Box::new(error)).into());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(revisions)
}

fn put(
    tables: &mut Tables<'_>,
    tenant: &str,
    write: &Write,
    quota: FactQuota,
) -> Result<Option<Revision>, TransactionError> {
    let id = write.id.as_str();
    let exists = tables.facts.get((tenant, id))?.is_some();
    if write.fields.is_empty() || exists != (write.condition == Condition::Present) {
        return Ok(None);
    }
    let old = current(tables, (tenant, id))?;
    let known = old.as_ref().map_or(&[][..], |old| &old.hash);
    if !write.expected.iter().all(|field| known.contains(field)) {
        return Ok(None);
    }
    let counters = counters_of(tables, tenant)?;
    let revision = counters.revision + 1;
    let is_new = old.is_none();
    let order = old.as_ref().map_or(write.order.min(MAX_EXACT), |old| old.order);
    let old_mark = old.as_ref().map(|old| old.revision);
    let old_hash = old.map_or_else(Hash::new, |old| old.hash);
    let old_size = codec::size(&old_hash) as u64;
    let hash = merged(old_hash, &write.fields);
    let used = Usage { facts: counters.facts, bytes: counters.bytes };
    let bytes = (used.bytes + codec::size(&hash) as u64).saturating_sub(old_size);
    let facts = used.facts + u64::from(is_new);
    quota.check(used, Usage { facts, bytes })?;
    let hash = codec::encode(&hash)?;

    if let Some(old_mark) = old_mark {
        tables.pending.remove((tenant, old_mark))?;
    }
    if is_new {
        tables.put_order((tenant, order, id))?;
    }
    tables.put_fact((tenant, id), (order, revision, hash.as_slice()))?;
    tables.put_pending((tenant, revision), id)?;
    tables.put_counters(tenant, Counters { revision, facts, bytes })?;
    let kind = if is_new { ChangeKind::Stored } else { ChangeKind::Changed };
    append(tables, tenant, New { revision, kind, id, of: revision })?;
    Ok(Some(Revision(revision)))
}

fn merged(mut hash: Hash, fields: &Hash) -> Hash {
    for (name, value) in fields {
        match hash.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => old.clone_from(value),
            None => hash.push((name.clone(), value.clone())),
        }
    }
    hash
}

/// Deletes a fact, damaged or not; `None` if it does not exist.
pub(super) fn delete(
    tables: &mut Tables<'_>,
    tenant: &str,
    id: &FactId,
) -> Result<Option<Revision>, TransactionError> {
    let id = id.as_str();
    let counters = counters_of(tables, tenant)?;
    let Some(removed) = remove(tables, (tenant, id))? else {
        return Ok(None);
    };
    if removed.is_damaged {
        remove_positions(tables, (tenant, id))?;
    } else {
        tables.order.remove((tenant, removed.order, id))?;
    }
    let revision = counters.revision + 1;
    let facts = counters.facts.saturating_sub(1);
    let bytes = counters.bytes.saturating_sub(removed.bytes);
    tables.put_counters(tenant, Counters { revision, facts, bytes })?;
    append(tables, tenant, New { revision, kind: ChangeKind::Deleted, id, of: revision })?;
    Ok(Some(Revision(revision)))
}

/// What was removed of a fact.
pub(super) struct Removed {
    order: u64,
    pub(super) bytes: u64,
    is_damaged: bool,
}

/// Removes a fact's record, its pending mark and its vector, without counting it.
pub(super) fn remove(
    tables: &mut Tables<'_>,
    key: (&str, &str),
) -> Result<Option<Removed>, TransactionError> {
    let Some(row) = tables.facts.remove(key)? else { return Ok(None) };
    let (order, revision, hash, _) = row.value();
    let is_damaged = intact_fact(key, row.value()).is_err();
    let bytes = codec::decode(hash).map_or(hash.len(), |hash| codec::size(&hash)) as u64;
    tables.pending.remove((key.0, revision))?;
    tables.vectors.remove(key)?;
    Ok(Some(Removed { order, bytes, is_damaged }))
}

/// Removes what names a fact whose own record does not say where that is.
fn remove_positions(
    tables: &mut Tables<'_>,
    (tenant, id): (&str, &str),
) -> Result<(), TransactionError> {
    let positions = (tenant, 0, "")..(tenant, u64::MAX, "");
    tables.order.retain_in(positions, |(_, _, other), _| other != id)?;
    let marks = (tenant, 0)..=(tenant, u64::MAX);
    tables.pending.retain_in(marks, |_, (other, _)| other != id)?;
    Ok(())
}
