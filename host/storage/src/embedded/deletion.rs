//! Deleting a tenant, a step at a time.

use redb::ReadableTable;

use super::codec;
use super::handle::Fault;
use super::tables::{Tables, bytes_of, counters};
use crate::limits::DELETION_STEP;

/// Deletes some of a tenant's facts with all that belongs to them; how many. The step that finds
/// fewer than it may take leaves nothing of the tenant.
pub(super) fn step(tables: &mut Tables<'_>, tenant: &str) -> Result<usize, Fault> {
    let places = places(tables, tenant)?;
    let mut freed = 0;
    for (order, id) in &places {
        let id = id.as_str();
        tables.order.remove((tenant, *order, id))?;
        tables.vectors.remove((tenant, id))?;
        let fact = tables.facts.remove((tenant, id))?;
        let fact = fact.map(|row| Ok::<_, Fault>((row.value().1, codec::decode(row.value().2)?)));
        if let Some((revision, hash)) = fact.transpose()? {
            tables.pending.remove((tenant, revision))?;
            freed += codec::size(&hash) as u64;
        }
    }
    if places.len() < DELETION_STEP {
        tables.tenants.remove(tenant)?;
        tables.bytes.remove(tenant)?;
    } else {
        let (revision, count) = counters(&tables.tenants, tenant)?;
        let left = count.saturating_sub(places.len() as u64);
        tables.tenants.insert(tenant, (revision, left))?;
        let bytes = bytes_of(&tables.bytes, tenant)?.saturating_sub(freed);
        tables.bytes.insert(tenant, bytes)?;
    }
    Ok(places.len())
}

/// Places of the tenant's first facts.
fn places(tables: &Tables<'_>, tenant: &str) -> Result<Vec<(u64, String)>, Fault> {
    // Every fact has a place, and no order is as large as the end of the range.
    let rows = tables.order.range((tenant, 0, "")..(tenant, u64::MAX, ""))?;
    let mut places = Vec::new();
    for row in rows.take(DELETION_STEP) {
        let key = row?.0;
        let (_, order, id) = key.value();
        places.push((order, id.to_owned()));
    }
    Ok(places)
}
