//! Facts: reads of a snapshot, and what the writer does.
//!
//! A change checks everything before it modifies a table, so a request that fails has changed
//! nothing.

use std::time::Instant;

use async_trait::async_trait;
use redb::{ReadTransaction, ReadableTable};

use super::handle::TransactionError;
use super::request::Request;
use super::tables::{FACTS, ORDER, Tables, bytes_of, counters, table};
use super::{Embedded, codec};
use crate::cursor::Position;
use crate::limits::{MAX_EXACT, check_batch, page_size};
use crate::{
    Condition, FactId, FactQuota, FactStorage, Hash, IdPage, Revision, StorageError, TenantId,
    Usage, Write,
};

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
        let (tenant, ids) = (tenant.clone(), ids.to_vec());
        self.snapshot(deadline, move |tx| hashes(tx, &tenant, &ids, max_bytes)).await
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
        let row = facts.get((tenant.as_str(), id.as_str()))?;
        let hash = row.map(|row| codec::decode(row.value().2)).transpose()?;
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
    for row in rows.by_ref().take(limit) {
        let key = row?.0;
        let (_, order, id) = key.value();
        positions.push(Position { order, id: stored_id(id)? });
    }
    let more = rows.next().transpose()?.is_some();
    let cursor = positions.last().filter(|_| more).map(Position::encode);
    Ok(IdPage { ids: positions.into_iter().map(|position| position.id).collect(), cursor })
}

/// An id as a table holds it.
pub(super) fn stored_id(text: &str) -> Result<FactId, StorageError> {
    FactId::parse(text).map_err(|error| StorageError::Corrupt(error.to_string()))
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
    let (order, revision, hash) = row.value();
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
                tracing::error!(%error, tenant.id = tenant, "one of several writes failed");
                return Err(StorageError::Timeout { outcome_unknown: true }.into());
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
    let old = current(tables, (tenant, id))?;
    if write.fields.is_empty() || old.is_some() != (write.condition == Condition::Present) {
        return Ok(None);
    }
    let (last, count) = counters(&tables.tenants, tenant)?;
    let revision = last + 1;
    let is_new = old.is_none();
    let order = old.as_ref().map_or(write.order.min(MAX_EXACT), |old| old.order);
    let old_mark = old.as_ref().map(|old| old.revision);
    let old_hash = old.map_or_else(Hash::new, |old| old.hash);
    let old_size = codec::size(&old_hash) as u64;
    let hash = merged(old_hash, &write.fields);
    let used = Usage { facts: count, bytes: bytes_of(&tables.bytes, tenant)? };
    let bytes = (used.bytes + codec::size(&hash) as u64).saturating_sub(old_size);
    quota.check(used, Usage { facts: count + u64::from(is_new), bytes })?;
    let hash = codec::encode(&hash)?;

    if let Some(old_mark) = old_mark {
        tables.pending.remove((tenant, old_mark))?;
    }
    if is_new {
        tables.order.insert((tenant, order, id), ())?;
    }
    tables.facts.insert((tenant, id), (order, revision, hash.as_slice()))?;
    tables.pending.insert((tenant, revision), id)?;
    tables.tenants.insert(tenant, (revision, count + u64::from(is_new)))?;
    tables.bytes.insert(tenant, bytes)?;
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

/// Deletes a fact; `None` if it does not exist.
pub(super) fn delete(
    tables: &mut Tables<'_>,
    tenant: &str,
    id: &FactId,
) -> Result<Option<Revision>, TransactionError> {
    let id = id.as_str();
    let Some(old) = current(tables, (tenant, id))? else {
        return Ok(None);
    };
    let size = codec::size(&old.hash) as u64;
    let bytes = bytes_of(&tables.bytes, tenant)?.saturating_sub(size);
    tables.facts.remove((tenant, id))?;
    tables.bytes.insert(tenant, bytes)?;
    let (last, count) = counters(&tables.tenants, tenant)?;
    tables.order.remove((tenant, old.order, id))?;
    tables.pending.remove((tenant, old.revision))?;
    tables.vectors.remove((tenant, id))?;
    tables.tenants.insert(tenant, (last + 1, count.saturating_sub(1)))?;
    Ok(Some(Revision(last + 1)))
}
