//! Vectors and pending facts: reads of a snapshot, and what the writer does.

use std::time::Instant;

use async_trait::async_trait;
use redb::{ReadTransaction, ReadableTable};

use super::Embedded;
use super::changes::{New, append};
use super::counters::counters_of;
use super::handle::TransactionError;
use super::request::Request;
use super::tables::{
    Counters, PENDING, Tables, VECTORS, VectorRow, intact_fact, pending_sum, table, vector_sum,
};
use crate::limits::{check_batch, page_size};
use crate::{
    ChangeKind, FactId, Revision, StorageError, StoredVector, TenantId, Vector, VectorStorage,
    vector_bytes,
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
        let key = (tenant.as_str(), id.as_str());
        Ok(vectors.get(key)?.and_then(|row| intact_vector(key, row)))
    };
    ids.iter().map(read).collect()
}

/// A vector as the table holds it. One that is damaged is made again, like one that is missing.
fn intact_vector(key: (&str, &str), row: redb::AccessGuard<'_, VectorRow>) -> Option<Vector> {
    let (revision, profile, digest, values, sum) = row.value();
    if vector_sum(key, revision, profile, digest, values) != sum {
        tracing::error!(tenant.id = key.0, id = key.1, "a vector is damaged; it is made again");
        return None;
    }
    vector_bytes::vector(profile, digest, values).ok()
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
    let mut rows = marks.range((tenant.as_str(), first)..=(tenant.as_str(), u64::MAX))?;
    while found.len() < limit
        && let Some(row) = rows.next()
    {
        let (key, row) = row?;
        let (id, sum) = row.value();
        // A damaged mark must not hide the others.
        let id = FactId::parse(id).ok().filter(|_| pending_sum(key.value(), id) == sum);
        found.extend(id.map(|id| (id, Revision(key.value().1))));
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
        tables.put_vector(key, row)?;
        let counters = counters_of(tables, tenant)?;
        let new = counters.revision + 1;
        tables.put_counters(tenant, Counters { revision: new, ..counters })?;
        let kind = ChangeKind::Embedded;
        append(tables, tenant, New { revision: new, kind, id: key.1, of: revision })?;
    }
    if written == revision {
        tables.pending.remove((tenant, revision))?;
    }
    Ok(())
}

/// Marks a fact as pending with a new revision, if it exists, is not damaged and has no mark.
pub(super) fn mark_pending(
    tables: &mut Tables<'_>,
    tenant: &str,
    id: &FactId,
) -> Result<(), TransactionError> {
    let key = (tenant, id.as_str());
    let Some((order, old, hash)) = tables.facts.get(key)?.and_then(|row| {
        let (order, revision, hash) = intact_fact(key, row.value()).ok()?;
        Some((order, revision, hash.to_vec()))
    }) else {
        return Ok(());
    };
    if tables.pending.get((tenant, old))?.is_some() {
        return Ok(());
    }
    let counters = counters_of(tables, tenant)?;
    let revision = counters.revision + 1;
    tables.put_fact(key, (order, revision, &hash))?;
    tables.put_pending((tenant, revision), key.1)?;
    tables.put_counters(tenant, Counters { revision, ..counters })?;
    append(tables, tenant, New { revision, kind: ChangeKind::Marked, id: key.1, of: revision })?;
    Ok(())
}
