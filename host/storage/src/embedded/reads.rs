//! Reads of one snapshot.

use redb::{ReadTransaction, ReadableTable};

use super::codec;
use super::handle::Fault;
use super::tables::{BYTES, FACTS, ORDER, PENDING, TENANTS, VECTORS, bytes_of, counters, table};
use crate::cursor::Place;
use crate::{FactId, Hash, IdPage, Revision, StorageError, TenantId, Usage, Vector, vector_bytes};

fn id(text: &str) -> Result<FactId, StorageError> {
    FactId::parse(text).map_err(|error| StorageError::Corrupt(error.to_string()))
}

pub(super) fn hashes(
    tx: &ReadTransaction,
    tenant: &TenantId,
    ids: &[FactId],
    max_bytes: usize,
) -> Result<Vec<Option<Hash>>, Fault> {
    let facts = table(tx, FACTS)?;
    let mut hashes = Vec::with_capacity(ids.len());
    let mut used = 0;
    for id in ids {
        let row = facts.get((tenant.as_str(), id.as_str()))?;
        let hash = row.map(|row| codec::decode(row.value().2)).transpose()?;
        let size = hash.as_ref().map_or(0, codec::size);
        used += size;
        if used > max_bytes && hashes.is_empty() {
            return Err(Fault::Request(StorageError::TooLarge {
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

pub(super) fn page(
    tx: &ReadTransaction,
    tenant: &TenantId,
    after: Option<&Place>,
    limit: usize,
) -> Result<IdPage, Fault> {
    let tenant = tenant.as_str();
    // No order is as large as the end of the range without a cursor.
    let end =
        after.map_or((tenant, u64::MAX, ""), |place| (tenant, place.order, place.id.as_str()));
    let order = table(tx, ORDER)?;
    let mut rows = order.range((tenant, 0, "")..end)?.rev();
    let mut places = Vec::new();
    for row in rows.by_ref().take(limit) {
        let key = row?.0;
        let (_, order, text) = key.value();
        places.push(Place { order, id: id(text)? });
    }
    let more = rows.next().transpose()?.is_some();
    let cursor = places.last().filter(|_| more).map(Place::encode);
    Ok(IdPage { ids: places.into_iter().map(|place| place.id).collect(), cursor })
}

pub(super) fn vectors(
    tx: &ReadTransaction,
    tenant: &TenantId,
    ids: &[FactId],
) -> Result<Vec<Option<Vector>>, Fault> {
    let vectors = table(tx, VECTORS)?;
    let read = |id: &FactId| {
        let Some(row) = vectors.get((tenant.as_str(), id.as_str()))? else {
            return Ok(None);
        };
        let (_, profile, digest, values) = row.value();
        Ok(Some(vector_bytes::vector(profile, digest, values)?))
    };
    ids.iter().map(read).collect()
}

pub(super) fn pending(
    tx: &ReadTransaction,
    tenant: &TenantId,
    after: Option<Revision>,
    limit: usize,
) -> Result<Vec<(FactId, Revision)>, Fault> {
    let begin = after.map_or(0, |Revision(after)| after.saturating_add(1));
    let marks = table(tx, PENDING)?;
    let mut found = Vec::new();
    for row in marks.range((tenant.as_str(), begin)..=(tenant.as_str(), u64::MAX))?.take(limit) {
        let (key, text) = row?;
        found.push((id(text.value())?, Revision(key.value().1)));
    }
    Ok(found)
}

pub(super) fn tenants(tx: &ReadTransaction) -> Result<Vec<TenantId>, Fault> {
    let mut tenants = Vec::new();
    for row in table(tx, TENANTS)?.iter()? {
        let name = TenantId::parse(row?.0.value());
        tenants.push(name.map_err(|error| StorageError::Corrupt(error.to_string()))?);
    }
    Ok(tenants)
}

pub(super) fn usage(tx: &ReadTransaction, tenant: &TenantId) -> Result<Usage, Fault> {
    let tenant = tenant.as_str();
    let (_, facts) = counters(&table(tx, TENANTS)?, tenant)?;
    Ok(Usage { facts, bytes: bytes_of(&table(tx, BYTES)?, tenant)? })
}
