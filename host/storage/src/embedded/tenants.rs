//! Tenants: listing them, their usage, and deleting one step by step.

use std::time::Instant;

use async_trait::async_trait;
use redb::{ReadTransaction, ReadableTable};

use super::Embedded;
use super::changes::drop_some;
use super::counters::counters_of;
use super::facts::remove;
use super::handle::TransactionError;
use super::request::Request;
use super::state;
use super::tables::{Counters, TENANTS, Tables, counters, table};
use crate::limits::{DELETION_STEP, STATE_STEP};
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
        // A damaged name must not hide the others.
        tenants.extend(TenantId::parse(row?.0.value()).ok());
    }
    Ok(tenants)
}

fn usage(tx: &ReadTransaction, tenant: &TenantId) -> Result<Usage, TransactionError> {
    let Counters { facts, bytes, .. } = counters(&table(tx, TENANTS)?, tenant.as_str())??;
    Ok(Usage { facts, bytes })
}

/// The changes that one step of deleting a tenant drops: they are smaller than facts, and there are
/// more of them.
const DROPPED_CHANGES: usize = 10 * DELETION_STEP;

/// Deletes up to [`DELETION_STEP`] of a tenant's facts with all that belongs to them, and some of
/// its changes and its extensions' state. Returns how many facts, or as many as that while anything
/// else is left. A step that
/// returns fewer leaves nothing of the tenant.
pub(super) fn delete_step(
    tables: &mut Tables<'_>,
    tenant: &str,
) -> Result<usize, TransactionError> {
    let counters = counters_of(tables, tenant)?;
    let positions = first_positions(tables, tenant)?;
    let mut freed = 0;
    for (order, id) in &positions {
        tables.order.remove((tenant, *order, id.as_str()))?;
        freed += remove(tables, (tenant, id))?.map_or(0, |removed| removed.bytes);
    }
    let is_last = drop_some(tables, tenant, DROPPED_CHANGES)? < DROPPED_CHANGES
        && state::delete_all(tables, tenant, STATE_STEP)?
        && positions.len() < DELETION_STEP;
    if is_last {
        tables.tenants.remove(tenant)?;
    } else {
        let facts = counters.facts.saturating_sub(positions.len() as u64);
        let bytes = counters.bytes.saturating_sub(freed);
        tables.put_counters(tenant, Counters { facts, bytes, ..counters })?;
    }
    Ok(if is_last { positions.len() } else { DELETION_STEP })
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
