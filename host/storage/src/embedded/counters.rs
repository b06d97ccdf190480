//! A tenant's counters, as the writer uses them.

use redb::ReadableTable;

use super::codec;
use super::handle::TransactionError;
use super::tables::{Counters, Tables, counters};
use crate::limits::MAX_EXACT;

/// What is to be added to the largest revision that is found when a tenant's counters are damaged:
/// more than the number of deletions that were last, of which nothing is left.
const REVISION_GAP: u64 = 1 << 20;

/// A tenant's counters. Damaged ones are counted again.
pub(super) fn counters_of(tables: &Tables<'_>, tenant: &str) -> Result<Counters, TransactionError> {
    match counters(&tables.tenants, tenant)? {
        Ok(counters) => Ok(counters),
        Err(error) => {
            tracing::error!(%error, "it is counted again");
            recount(tables, tenant)
        }
    }
}

fn recount(tables: &Tables<'_>, tenant: &str) -> Result<Counters, TransactionError> {
    let mut counted = Counters::default();
    for row in tables.facts.range((tenant, "")..)? {
        let (key, row) = row?;
        if key.value().0 != tenant {
            break;
        }
        let (_, revision, hash, _) = row.value();
        counted.facts += 1;
        counted.bytes += codec::decode(hash).map_or(hash.len(), |hash| codec::size(&hash)) as u64;
        counted.revision = counted.revision.max(revision);
    }
    counted.revision = (counted.revision + REVISION_GAP).min(MAX_EXACT);
    Ok(counted)
}
