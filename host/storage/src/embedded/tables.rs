//! The tables of `facts.redb`.
//!
//! Keys are redb tuples, compared element by element, so keys of different tenants cannot collide.
//! A table's value type is part of the file format: changing one requires a new table name.

use redb::{ReadTransaction, ReadableTable, Table, TableDefinition, TableError, WriteTransaction};

/// (tenant, id).
pub(crate) type FactKey = (&'static str, &'static str);

/// (order, revision of the last write, hash as encoded by `codec`).
type FactRow = (u64, u64, &'static [u8]);

/// (tenant, order, id): a position in the listing.
pub(crate) type OrderKey = (&'static str, u64, &'static str);

/// (tenant, revision of the fact's last write).
type PendingKey = (&'static str, u64);

/// (revision, profile, digest, values as little-endian `f32`).
type VectorRow = (u64, &'static str, &'static [u8], &'static [u8]);

/// (the tenant's last revision, its number of facts).
type TenantRow = (u64, u64);

/// (version, bytes).
type DocumentRow = (u64, &'static [u8]);

pub(super) const FACTS: TableDefinition<'_, FactKey, FactRow> = TableDefinition::new("facts");
pub(super) const ORDER: TableDefinition<'_, OrderKey, ()> = TableDefinition::new("order");
/// The id of each pending fact.
pub(super) const PENDING: TableDefinition<'_, PendingKey, &str> = TableDefinition::new("pending");
pub(super) const VECTORS: TableDefinition<'_, FactKey, VectorRow> = TableDefinition::new("vectors");
pub(super) const TENANTS: TableDefinition<'_, &str, TenantRow> = TableDefinition::new("tenants");
/// The bytes of each tenant's facts, as in `Usage`.
pub(super) const BYTES: TableDefinition<'_, &str, u64> = TableDefinition::new("bytes");
pub(super) const DOCUMENTS: TableDefinition<'_, &str, DocumentRow> =
    TableDefinition::new("documents");
/// One row: the revision of the last write or deletion of any document.
pub(super) const DOCUMENTS_REVISION: TableDefinition<'_, (), u64> =
    TableDefinition::new("documents_revision");

/// All tables, opened in one write transaction.
pub(super) struct Tables<'t> {
    pub(super) facts: Table<'t, FactKey, FactRow>,
    pub(super) order: Table<'t, OrderKey, ()>,
    pub(super) pending: Table<'t, PendingKey, &'static str>,
    pub(super) vectors: Table<'t, FactKey, VectorRow>,
    pub(super) tenants: Table<'t, &'static str, TenantRow>,
    pub(super) bytes: Table<'t, &'static str, u64>,
    pub(super) documents: Table<'t, &'static str, DocumentRow>,
    pub(super) documents_revision: Table<'t, (), u64>,
}

impl<'t> Tables<'t> {
    /// Opens the tables, and creates those that do not exist.
    pub(super) fn open(tx: &'t WriteTransaction) -> Result<Self, TableError> {
        Ok(Self {
            facts: tx.open_table(FACTS)?,
            order: tx.open_table(ORDER)?,
            pending: tx.open_table(PENDING)?,
            vectors: tx.open_table(VECTORS)?,
            tenants: tx.open_table(TENANTS)?,
            bytes: tx.open_table(BYTES)?,
            documents: tx.open_table(DOCUMENTS)?,
            documents_revision: tx.open_table(DOCUMENTS_REVISION)?,
        })
    }
}

/// A tenant's last revision and its number of facts; zeros for a tenant that never had one.
pub(super) fn counters(
    tenants: &impl ReadableTable<&'static str, TenantRow>,
    tenant: &str,
) -> Result<TenantRow, redb::StorageError> {
    Ok(tenants.get(tenant)?.map_or((0, 0), |row| row.value()))
}

/// The bytes of a tenant's facts.
pub(super) fn bytes_of(
    bytes: &impl ReadableTable<&'static str, u64>,
    tenant: &str,
) -> Result<u64, redb::StorageError> {
    Ok(bytes.get(tenant)?.map_or(0, |row| row.value()))
}

/// Opens one table for reading.
pub(super) fn table<K: redb::Key + 'static, V: redb::Value + 'static>(
    tx: &ReadTransaction,
    definition: TableDefinition<'_, K, V>,
) -> Result<redb::ReadOnlyTable<K, V>, TableError> {
    tx.open_table(definition)
}
