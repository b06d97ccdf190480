//! Tenants: listing them, their usage, and deleting one step by step.

use std::time::Instant;

use async_trait::async_trait;
use redb::{ReadTransaction, ReadableTable};

use super::handle::TransactionError;
use super::request::Request;
use super::tables::{BYTES, TENANTS, Tables, bytes_of, counters, table};
use super::{Embedded, codec};
use crate::limits::DELETION_STEP;
use crate::{StorageError, TenantId, TenantStorage, Usage};

#[async_trait]
impl TenantStorage for Embedded {
    async fn tenants(&self, deadline: Instant) -> Result<Vec<TenantId>, StorageError> {
        self.snapshot(deadline, tenants).await
    }

    async fn usage(&self, tenant: &TenantId, deadline: Instant) -> Result<Usage, StorageError> {
        let tenant = tenant.clone();
        self.snapshot(deadline, move |tx| usage(tx, &tenant)).await
    }

    async fn count(&self, tenant: &TenantId, deadline: Instant) -> Result<u64, StorageError> {
        Ok(self.usage(tenant, deadline).await?.facts)
    }

    async fn delete_tenant(
        &self,
        tenant: &TenantId,
        deadline: Instant,
    ) -> Result<bool, StorageError> {
        let deleted = self.change(Request::DeleteTenant(tenant.clone()), deadline).await?;
        Ok(deleted.len() == DELETION_STEP)
    }
}

fn tenants(tx: &ReadTransaction) -> Result<Vec<TenantId>, TransactionError> {
    let mut tenants = Vec::new();
    for row in table(tx, TENANTS)?.iter()? {
        let name = TenantId::parse(row?.0.value());
        tenants.push(name.map_err(|error| StorageError::Corrupt(error.to_string()))?);
    }
    Ok(tenants)
}

fn usage(tx: &ReadTransaction, tenant: &TenantId) -> Result<Usage, TransactionError> {
    let tenant = tenant.as_str();
    let (_, facts) = counters(&table(tx, TENANTS)?, tenant)?;
    Ok(Usage { facts, bytes: bytes_of(&table(tx, BYTES)?, tenant)? })
}

/// Deletes up to [`DELETION_STEP`] of a tenant's facts with all that belongs to them, and returns
/// how many. A step that deletes fewer leaves nothing of the tenant.
pub(super) fn delete_step(
    tables: &mut Tables<'_>,
    tenant: &str,
) -> Result<usize, TransactionError> {
    let positions = first_positions(tables, tenant)?;
    let mut freed = 0;
    for (order, id) in &positions {
        freed += delete_fact(tables, tenant, *order, id)?;
    }
    if positions.len() < DELETION_STEP {
        tables.tenants.remove(tenant)?;
        tables.bytes.remove(tenant)?;
    } else {
        let (revision, count) = counters(&tables.tenants, tenant)?;
        let left = count.saturating_sub(positions.len() as u64);
        tables.tenants.insert(tenant, (revision, left))?;
        let bytes = bytes_of(&tables.bytes, tenant)?.saturating_sub(freed);
        tables.bytes.insert(tenant, bytes)?;
    }
    Ok(positions.len())
}

/// Deletes one fact without counting it, and returns its size in bytes.
fn delete_fact(
    tables: &mut Tables<'_>,
    tenant: &str,
    order: u64,
    id: &str,
) -> Result<u64, TransactionError> {
    tables.order.remove((tenant, order, id))?;
    tables.vectors.remove((tenant, id))?;
    let Some(fact) = tables.facts.remove((tenant, id))? else {
        return Ok(0);
    };
    let (_, revision, hash) = fact.value();
    tables.pending.remove((tenant, revision))?;
    Ok(codec::size(&codec::decode(hash)?) as u64)
}

/// Order and id of the tenant's first facts.
fn first_positions(
    tables: &Tables<'_>,
    tenant: &str,
) -> Result<Vec<(u64, String)>, TransactionError> {
    // Every fact has an order of at most 2^53 - 1, so this range covers them all.
    let rows = tables.order.range((tenant, 0, "")..(tenant, u64::MAX, ""))?;
    let mut positions = Vec::new();
    for row in rows.take(DELETION_STEP) {
        let key = row?.0;
        let (_, order, id) = key.value();
        positions.push((order, id.to_owned()));
    }
    Ok(positions)
}
