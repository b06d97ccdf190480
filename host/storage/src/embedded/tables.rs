//! The tables of `facts.redb`, in format 2.
//!
//! Keys are redb tuples, compared element by element, so keys of different tenants cannot collide.
//! Every record ends with its checksum (see `checksum`). A table's value type is part of the file
//! format, which `migration` brings up to date.

use redb::{ReadTransaction, ReadableTable, Table, TableDefinition, TableError, WriteTransaction};

use super::appends::Appends;
use super::checksum::Checksum;
use crate::{FactId, StorageError};

/// (tenant, id).
pub(crate) type FactKey = (&'static str, &'static str);

/// (order, revision of the last write, hash as encoded by `codec`, checksum).
pub(super) type FactRow = (u64, u64, &'static [u8], u32);

/// (tenant, order, id): a position in the listing.
pub(crate) type OrderKey = (&'static str, u64, &'static str);

/// (tenant, revision of the fact's last write).
pub(super) type PendingKey = (&'static str, u64);

/// (the fact's id, checksum).
pub(super) type PendingRow = (&'static str, u32);

/// (revision, profile, digest, values as little-endian `f32`, checksum).
pub(super) type VectorRow = (u64, &'static str, &'static [u8], &'static [u8], u32);

/// (the tenant's last revision, its number of facts, their bytes as in `Usage`, checksum).
pub(super) type TenantRow = (u64, u64, u64, u32);

/// (tenant, revision of the change).
pub(super) type ChangeKey = (&'static str, u64);

/// (kind, the fact's id, the fact's revision, who appended it, when in milliseconds since 1970,
/// checksum).
pub(super) type ChangeRow = (&'static str, &'static str, u64, u64, u64, u32);

/// (version, bytes, checksum).
pub(super) type DocumentRow = (u64, &'static [u8], u32);

/// (tenant, extension).
pub(super) type SpaceKey = (&'static str, &'static str);

/// (the space's last version, its keys, their bytes with the values, checksum).
pub(super) type SpaceRow = (u64, u64, u64, u32);

/// (tenant, extension, key).
pub(super) type StateKey = (&'static str, &'static str, &'static [u8]);

/// (version, when the key expires in milliseconds since 1970 or 0, value, checksum).
pub(super) type StateRow = (u64, u64, &'static [u8], u32);

/// (tenant, extension, when the key expires, key).
pub(super) type ExpiryKey = (&'static str, &'static str, u64, &'static [u8]);

pub(super) const FACTS: TableDefinition<'_, FactKey, FactRow> = TableDefinition::new("facts");
/// The checksum of each position.
pub(super) const ORDER: TableDefinition<'_, OrderKey, u32> = TableDefinition::new("order");
pub(super) const PENDING: TableDefinition<'_, PendingKey, PendingRow> =
    TableDefinition::new("pending");
pub(super) const VECTORS: TableDefinition<'_, FactKey, VectorRow> = TableDefinition::new("vectors");
pub(super) const TENANTS: TableDefinition<'_, &str, TenantRow> = TableDefinition::new("tenants");
/// Not in files that no version with streams has opened.
pub(super) const CHANGES: TableDefinition<'_, ChangeKey, ChangeRow> =
    TableDefinition::new("changes");
/// As the following two, not in files that no version with state has written to.
pub(super) const SPACES: TableDefinition<'_, SpaceKey, SpaceRow> = TableDefinition::new("spaces");
pub(super) const STATE: TableDefinition<'_, StateKey, StateRow> = TableDefinition::new("state");
/// The checksum of each key that expires.
pub(super) const EXPIRY: TableDefinition<'_, ExpiryKey, u32> = TableDefinition::new("state_expiry");
pub(super) const DOCUMENTS: TableDefinition<'_, &str, DocumentRow> =
    TableDefinition::new("documents");
/// One row: the revision of the last write or deletion of any document, and its checksum.
pub(super) const DOCUMENTS_REVISION: TableDefinition<'_, (), (u64, u32)> =
    TableDefinition::new("documents_revision");
/// The format, and the number of committed changes.
pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

/// In [`META`]: the version of the format.
pub(super) const FORMAT: &str = "format";
/// In [`META`]: the number of committed changes.
pub(super) const COMMITS: &str = "commits";
/// In [`META`]: what [`COMMITS`] was when a version with streams last changed the file. If it is
/// something else, streams lack changes.
pub(super) const STREAMED: &str = "streamed";

/// All tables, opened in one write transaction.
pub(super) struct Tables<'t> {
    pub(super) facts: Table<'t, FactKey, FactRow>,
    pub(super) order: Table<'t, OrderKey, u32>,
    pub(super) pending: Table<'t, PendingKey, PendingRow>,
    pub(super) vectors: Table<'t, FactKey, VectorRow>,
    pub(super) tenants: Table<'t, &'static str, TenantRow>,
    pub(super) changes: Table<'t, ChangeKey, ChangeRow>,
    pub(super) spaces: Table<'t, SpaceKey, SpaceRow>,
    pub(super) state: Table<'t, StateKey, StateRow>,
    pub(super) expiry: Table<'t, ExpiryKey, u32>,
    pub(super) documents: Table<'t, &'static str, DocumentRow>,
    pub(super) documents_revision: Table<'t, (), (u64, u32)>,
    pub(super) meta: Table<'t, &'static str, u64>,
    /// What is said of changes that are appended.
    pub(super) appends: Appends,
}

impl<'t> Tables<'t> {
    /// Opens the tables, and creates those that do not exist.
    pub(super) fn open(tx: &'t WriteTransaction, appends: Appends) -> Result<Self, TableError> {
        Ok(Self {
            appends,
            facts: tx.open_table(FACTS)?,
            order: tx.open_table(ORDER)?,
            pending: tx.open_table(PENDING)?,
            vectors: tx.open_table(VECTORS)?,
            tenants: tx.open_table(TENANTS)?,
            changes: tx.open_table(CHANGES)?,
            spaces: tx.open_table(SPACES)?,
            state: tx.open_table(STATE)?,
            expiry: tx.open_table(EXPIRY)?,
            documents: tx.open_table(DOCUMENTS)?,
            documents_revision: tx.open_table(DOCUMENTS_REVISION)?,
            meta: tx.open_table(META)?,
        })
    }

    pub(super) fn put_fact(
        &mut self,
        key: (&str, &str),
        (order, revision, hash): (u64, u64, &[u8]),
    ) -> Result<(), redb::StorageError> {
        let sum = fact_sum(key, order, revision, hash);
        self.facts.insert(key, (order, revision, hash, sum)).map(drop)
    }

    pub(super) fn put_order(
        &mut self,
        (tenant, order, id): (&str, u64, &str),
    ) -> Result<(), redb::StorageError> {
        let sum = order_sum((tenant, order, id));
        self.order.insert((tenant, order, id), sum).map(drop)
    }

    pub(super) fn put_pending(
        &mut self,
        key: (&str, u64),
        id: &str,
    ) -> Result<(), redb::StorageError> {
        self.pending.insert(key, (id, pending_sum(key, id))).map(drop)
    }

    pub(super) fn put_vector(
        &mut self,
        key: (&str, &str),
        (revision, profile, digest, values): (u64, &str, &[u8], &[u8]),
    ) -> Result<(), redb::StorageError> {
        let sum = vector_sum(key, revision, profile, digest, values);
        self.vectors.insert(key, (revision, profile, digest, values, sum)).map(drop)
    }

    pub(super) fn put_counters(
        &mut self,
        tenant: &str,
        counters: Counters,
    ) -> Result<(), redb::StorageError> {
        let Counters { revision, facts, bytes } = counters;
        let row = (revision, facts, bytes, counters_sum(tenant, counters));
        self.tenants.insert(tenant, row).map(drop)
    }

    pub(super) fn put_change(
        &mut self,
        key: (&str, u64),
        row: (&str, &str, u64, u64, u64),
    ) -> Result<(), redb::StorageError> {
        let (kind, id, of, by, at) = row;
        self.changes.insert(key, (kind, id, of, by, at, change_sum(key, row))).map(drop)
    }

    pub(super) fn put_document(
        &mut self,
        name: &str,
        version: u64,
        bytes: &[u8],
    ) -> Result<(), redb::StorageError> {
        let sum = document_sum(name, version, bytes);
        self.documents.insert(name, (version, bytes, sum)).map(drop)
    }

    pub(super) fn put_documents_revision(
        &mut self,
        revision: u64,
    ) -> Result<(), redb::StorageError> {
        let sum = documents_revision_sum(revision);
        self.documents_revision.insert((), (revision, sum)).map(drop)
    }
}

/// What is counted of a tenant; zeros for one that never had a fact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counters {
    /// The last revision.
    pub(super) revision: u64,
    pub(super) facts: u64,
    /// The bytes of the facts, as in `Usage`.
    pub(super) bytes: u64,
}

/// A tenant's counters.
pub(super) fn counters(
    tenants: &impl ReadableTable<&'static str, TenantRow>,
    tenant: &str,
) -> Result<Result<Counters, StorageError>, redb::StorageError> {
    let Some(row) = tenants.get(tenant)? else { return Ok(Ok(Counters::default())) };
    let (revision, facts, bytes, sum) = row.value();
    let counters = Counters { revision, facts, bytes };
    let is_intact = counters_sum(tenant, counters) == sum;
    Ok(if is_intact { Ok(counters) } else { Err(damaged(format!("the counters of {tenant}"))) })
}

/// Checks a fact's row and returns its order, its revision and its encoded hash.
pub(super) fn intact_fact<'r>(
    (tenant, id): (&str, &str),
    (order, revision, hash, sum): (u64, u64, &'r [u8], u32),
) -> Result<(u64, u64, &'r [u8]), StorageError> {
    if fact_sum((tenant, id), order, revision, hash) == sum {
        return Ok((order, revision, hash));
    }
    Err(StorageError::Damaged {
        record: format!("the fact {id} of {tenant}"),
        reason: MISMATCH.into(),
        fact: FactId::parse(id).ok(),
    })
}

const MISMATCH: &str = "its checksum does not match";

/// The error of a record whose checksum does not match.
pub(super) fn damaged(record: String) -> StorageError {
    StorageError::Damaged { record, reason: MISMATCH.into(), fact: None }
}

pub(super) fn fact_sum((tenant, id): (&str, &str), order: u64, revision: u64, hash: &[u8]) -> u32 {
    let sum = Checksum::of("facts").text(tenant).text(id);
    sum.number(order).number(revision).bytes(hash).sum()
}

pub(super) fn order_sum((tenant, order, id): (&str, u64, &str)) -> u32 {
    Checksum::of("order").text(tenant).number(order).text(id).sum()
}

pub(super) fn pending_sum((tenant, revision): (&str, u64), id: &str) -> u32 {
    Checksum::of("pending").text(tenant).number(revision).text(id).sum()
}

pub(super) fn vector_sum(
    (tenant, id): (&str, &str),
    revision: u64,
    profile: &str,
    digest: &[u8],
    values: &[u8],
) -> u32 {
    let sum = Checksum::of("vectors").text(tenant).text(id).number(revision);
    sum.text(profile).bytes(digest).bytes(values).sum()
}

pub(super) fn counters_sum(tenant: &str, counters: Counters) -> u32 {
    let Counters { revision, facts, bytes } = counters;
    Checksum::of("tenants").text(tenant).number(revision).number(facts).number(bytes).sum()
}

pub(super) fn change_sum(
    (tenant, revision): (&str, u64),
    (kind, id, of, by, at): (&str, &str, u64, u64, u64),
) -> u32 {
    let sum = Checksum::of("changes").text(tenant).number(revision);
    sum.text(kind).text(id).number(of).number(by).number(at).sum()
}

pub(super) fn space_sum(
    (tenant, extension): (&str, &str),
    (version, keys, bytes): (u64, u64, u64),
) -> u32 {
    let sum = Checksum::of("spaces").text(tenant).text(extension);
    sum.number(version).number(keys).number(bytes).sum()
}

pub(super) fn state_sum(
    (tenant, extension, key): (&str, &str, &[u8]),
    (version, expires, value): (u64, u64, &[u8]),
) -> u32 {
    let sum = Checksum::of("state").text(tenant).text(extension).bytes(key);
    sum.number(version).number(expires).bytes(value).sum()
}

pub(super) fn expiry_sum((tenant, extension, expires, key): (&str, &str, u64, &[u8])) -> u32 {
    Checksum::of("state_expiry").text(tenant).text(extension).number(expires).bytes(key).sum()
}

pub(super) fn document_sum(name: &str, version: u64, bytes: &[u8]) -> u32 {
    Checksum::of("documents").text(name).number(version).bytes(bytes).sum()
}

pub(super) fn documents_revision_sum(revision: u64) -> u32 {
    Checksum::of("documents_revision").number(revision).sum()
}

/// Opens one table for reading.
pub(super) fn table<K: redb::Key + 'static, V: redb::Value + 'static>(
    tx: &ReadTransaction,
    definition: TableDefinition<'_, K, V>,
) -> Result<redb::ReadOnlyTable<K, V>, TableError> {
    tx.open_table(definition)
}

/// The same of a table that the file may not have yet.
pub(super) fn table_if_any<K: redb::Key + 'static, V: redb::Value + 'static>(
    tx: &ReadTransaction,
    definition: TableDefinition<'_, K, V>,
) -> Result<Option<redb::ReadOnlyTable<K, V>>, TableError> {
    match tx.open_table(definition) {
        Ok(table) => Ok(Some(table)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error),
    }
}
