//! What a write does to a tenant's facts. Each change reads first and then writes, so that a
//! request that fails has changed nothing.

use redb::ReadableTable;

use super::codec;
use super::handle::Fault;
use super::tables::{Tables, bytes_of, counters};
use crate::limits::MAX_EXACT;
use crate::{
    Condition, FactId, Hash, Revision, Room, StorageError, StoredVector, TenantId, Usage, Write,
    vector_bytes,
};

/// One change of one tenant's facts.
pub(super) enum Change {
    Write(Vec<Write>, Room),
    Delete(FactId),
    PutVectors(Vec<StoredVector>),
    MarkPending(Vec<FactId>),
}

impl Change {
    /// Roughly how much it adds to a commit.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Write(writes, _) => writes.iter().map(|write| codec::size(&write.fields)).sum(),
            Self::Delete(_) | Self::MarkPending(_) => 0,
            Self::PutVectors(vectors) => vectors.iter().map(|v| 4 * v.vector.values.len()).sum(),
        }
    }

    /// Performs the change; one answer for each write, one for a delete, none for others.
    pub(super) fn apply(
        &self,
        tables: &mut Tables<'_>,
        tenant: &TenantId,
    ) -> Result<Vec<Option<Revision>>, Fault> {
        let tenant = tenant.as_str();
        match self {
            Self::Write(writes, room) => put_all(tables, tenant, writes, *room),
            Self::Delete(id) => Ok(vec![delete(tables, tenant, id)?]),
            Self::PutVectors(vectors) => {
                vectors.iter().try_for_each(|vector| put_vector(tables, tenant, vector))?;
                Ok(Vec::new())
            }
            Self::MarkPending(ids) => {
                ids.iter().try_for_each(|id| mark_pending(tables, tenant, id))?;
                Ok(Vec::new())
            }
        }
    }
}

fn put_all(
    tables: &mut Tables<'_>,
    tenant: &str,
    writes: &[Write],
    room: Room,
) -> Result<Vec<Option<Revision>>, Fault> {
    let mut revisions = Vec::with_capacity(writes.len());
    for write in writes {
        match put(tables, tenant, write, room) {
            Ok(revision) => revisions.push(revision),
            Err(Fault::Request(error)) if revisions.iter().any(Option::is_some) => {
                tracing::error!(%error, tenant.id = tenant, "one of several writes failed");
                return Err(StorageError::Timeout { wrote: true }.into());
            }
            Err(fault) => return Err(fault),
        }
    }
    Ok(revisions)
}

/// A fact as it stands.
struct Current {
    order: u64,
    revision: u64,
    hash: Hash,
}

fn current(tables: &Tables<'_>, key: (&str, &str)) -> Result<Option<Current>, Fault> {
    let Some(row) = tables.facts.get(key)? else {
        return Ok(None);
    };
    let (order, revision, hash) = row.value();
    Ok(Some(Current { order, revision, hash: codec::decode(hash)? }))
}

fn put(
    tables: &mut Tables<'_>,
    tenant: &str,
    write: &Write,
    room: Room,
) -> Result<Option<Revision>, Fault> {
    let id = write.id.as_str();
    let old = current(tables, (tenant, id))?;
    if write.fields.is_empty() || old.is_some() != (write.condition == Condition::Present) {
        return Ok(None);
    }
    let (last, count) = counters(&tables.tenants, tenant)?;
    let revision = last + 1;
    let is_new = old.is_none();
    let order = old.as_ref().map_or(write.order.min(MAX_EXACT), |old| old.order);
    let stale_mark = old.as_ref().map(|old| old.revision);
    let old_hash = old.map_or_else(Hash::new, |old| old.hash);
    let old_size = codec::size(&old_hash) as u64;
    let hash = merged(old_hash, &write.fields);
    let used = Usage { facts: count, bytes: bytes_of(&tables.bytes, tenant)? };
    let bytes = (used.bytes + codec::size(&hash) as u64).saturating_sub(old_size);
    room.check(used, Usage { facts: count + u64::from(is_new), bytes })?;
    let hash = codec::encode(&hash)?;

    if let Some(stale_mark) = stale_mark {
        tables.pending.remove((tenant, stale_mark))?;
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

fn delete(tables: &mut Tables<'_>, tenant: &str, id: &FactId) -> Result<Option<Revision>, Fault> {
    let id = id.as_str();
    let Some(old) = current(tables, (tenant, id))? else {
        return Ok(None);
    };
    let Current { order, revision: stale_mark, hash } = old;
    let bytes = bytes_of(&tables.bytes, tenant)?.saturating_sub(codec::size(&hash) as u64);
    tables.facts.remove((tenant, id))?;
    tables.bytes.insert(tenant, bytes)?;
    let (last, count) = counters(&tables.tenants, tenant)?;
    tables.order.remove((tenant, order, id))?;
    tables.pending.remove((tenant, stale_mark))?;
    tables.vectors.remove((tenant, id))?;
    tables.tenants.insert(tenant, (last + 1, count.saturating_sub(1)))?;
    Ok(Some(Revision(last + 1)))
}

fn put_vector(tables: &mut Tables<'_>, tenant: &str, new: &StoredVector) -> Result<(), Fault> {
    let key = (tenant, new.id.as_str());
    let Some(written) = tables.facts.get(key)?.map(|row| row.value().1) else {
        return Ok(());
    };
    let Revision(revision) = new.revision;
    let known = tables.vectors.get(key)?.map(|row| row.value().0);
    if known.is_none_or(|known| known <= revision) {
        let values = vector_bytes::to_bytes(&new.vector.values);
        let vector = &new.vector;
        let row = (revision, vector.profile.as_str(), &vector.digest[..], values.as_slice());
        tables.vectors.insert(key, row)?;
    }
    if written == revision {
        tables.pending.remove((tenant, revision))?;
    }
    Ok(())
}

fn mark_pending(tables: &mut Tables<'_>, tenant: &str, id: &FactId) -> Result<(), Fault> {
    let id = id.as_str();
    let Some(old) = current(tables, (tenant, id))? else {
        return Ok(());
    };
    let (last, count) = counters(&tables.tenants, tenant)?;
    let revision = last + 1;
    let hash = codec::encode(&old.hash)?;
    tables.pending.remove((tenant, old.revision))?;
    tables.facts.insert((tenant, id), (old.order, revision, hash.as_slice()))?;
    tables.pending.insert((tenant, revision), id)?;
    tables.tenants.insert(tenant, (revision, count))?;
    Ok(())
}
