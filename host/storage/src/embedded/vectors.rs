//! Vectors and pending facts: reads of a snapshot, and what the writer does.

use std::time::Instant;

use async_trait::async_trait;
use redb::{ReadTransaction, ReadableTable};

use super::facts::{current, stored_id};
use super::handle::TransactionError;
use super::request::Request;
use super::tables::{PENDING, Tables, VECTORS, counters, table};
use super::{Embedded, codec};
use crate::limits::{check_batch, page_size};
use crate::{
    FactId, Revision, StorageError, StoredVector, TenantId, Vector, VectorStorage, vector_bytes,
};

#[async_trait]
impl VectorStorage for Embedded {
    async fn put_vectors(
        &self,
        tenant: &TenantId,
        vectors: &[StoredVector],
        deadline: Instant,
    ) -> Result<(), StorageError> {
        check_batch(vectors.len())?;
        let request = Request::PutVectors(tenant.clone(), vectors.to_vec());
        self.change(request, deadline).await.map(|_| ())
    }

    async fn read_vectors(
        &self,
        tenant: &TenantId,
        ids: &[FactId],
        deadline: Instant,
    ) -> Result<Vec<Option<Vector>>, StorageError> {
        check_batch(ids.len())?;
        let (tenant, ids) = (tenant.clone(), ids.to_vec());
        self.snapshot(deadline, move |tx| vectors(tx, &tenant, &ids)).await
    }

    async fn mark_pending(
        &self,
        tenant: &TenantId,
        ids: &[FactId],
        deadline: Instant,
    ) -> Result<(), StorageError> {
        check_batch(ids.len())?;
        let request = Request::MarkPending(tenant.clone(), ids.to_vec());
        self.change(request, deadline).await.map(|_| ())
    }

    async fn pending(
        &self,
        tenant: &TenantId,
        after: Option<Revision>,
        limit: usize,
        deadline: Instant,
    ) -> Result<Vec<(FactId, Revision)>, StorageError> {
        let (tenant, limit) = (tenant.clone(), page_size(limit));
        self.snapshot(deadline, move |tx| pending(tx, &tenant, after, limit)).await
    }
}

fn vectors(
    tx: &ReadTransaction,
    tenant: &TenantId,
    ids: &[FactId],
) -> Result<Vec<Option<Vector>>, TransactionError> {
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

fn pending(
    tx: &ReadTransaction,
    tenant: &TenantId,
    after: Option<Revision>,
    limit: usize,
) -> Result<Vec<(FactId, Revision)>, TransactionError> {
    let first = after.map_or(0, |Revision(after)| after.saturating_add(1));
    let marks = table(tx, PENDING)?;
    let mut found = Vec::new();
    for row in marks.range((tenant.as_str(), first)..=(tenant.as_str(), u64::MAX))?.take(limit) {
        let (key, id) = row?;
        found.push((stored_id(id.value())?, Revision(key.value().1)));
    }
    Ok(found)
}

/// Stores `new` if its fact exists and has no vector of a newer revision.
pub(super) fn put(
    tables: &mut Tables<'_>,
    tenant: &str,
    new: &StoredVector,
) -> Result<(), TransactionError> {
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

/// Marks a fact as pending with a new revision, if it exists.
pub(super) fn mark_pending(
    tables: &mut Tables<'_>,
    tenant: &str,
    id: &FactId,
) -> Result<(), TransactionError> {
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
