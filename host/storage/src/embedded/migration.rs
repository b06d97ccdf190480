//! Brings an older file up to the current format.
//!
//! Format 1 had no checksums and did not say its version. Its tables are renamed, so that an older
//! Kenning refuses the file instead of finding it empty, and their records are moved in steps, each
//! one transaction. A migration that was interrupted goes on at the next start.
//!
//! Streams of changes came later and left the format as it was. A version without them can open the
//! file, and what it writes is missing in them; so they begin anew after it.

use redb::{
    Database, Key, ReadableDatabase, TableDefinition, TableHandle, Value, WriteTransaction,
};

use super::appends::Appends;
use super::tables::{
    CHANGES, COMMITS, Counters, FORMAT, FactKey, META, OrderKey, PendingKey, STREAMED, Tables,
    counters,
};

/// The format that this version writes.
pub(super) const CURRENT: u64 = 2;

/// The most records and bytes that one step moves.
const STEP_RECORDS: usize = 10_000;
const STEP_BYTES: usize = 16 << 20;

/// Revision, profile, vector and text digest.
type VectorRow1 = (u64, &'static str, &'static [u8], &'static [u8]);

/// The tables of format 1, with the names that they have since the migration began.
const FACTS_1: TableDefinition<'_, FactKey, (u64, u64, &[u8])> = TableDefinition::new("facts_1");
const ORDER_1: TableDefinition<'_, OrderKey, ()> = TableDefinition::new("order_1");
const PENDING_1: TableDefinition<'_, PendingKey, &str> = TableDefinition::new("pending_1");
const VECTORS_1: TableDefinition<'_, FactKey, VectorRow1> = TableDefinition::new("vectors_1");
const TENANTS_1: TableDefinition<'_, &str, (u64, u64)> = TableDefinition::new("tenants_1");
const BYTES_1: TableDefinition<'_, &str, u64> = TableDefinition::new("bytes_1");
const DOCUMENTS_1: TableDefinition<'_, &str, (u64, &[u8])> = TableDefinition::new("documents_1");
const DOCUMENTS_REVISION_1: TableDefinition<'_, (), u64> =
    TableDefinition::new("documents_revision_1");

/// The names of format 1's tables.
const NAMES_1: [&str; 8] =
    ["facts", "order", "pending", "vectors", "tenants", "bytes", "documents", "documents_revision"];

/// The state of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// It has no tables yet.
    Empty,
    /// It says its version, and nothing is left of an older one.
    Version(u64),
    /// It is of format 1, or was and is only partly migrated.
    First,
}

/// Reads which format a file has.
pub(super) fn format(database: &impl ReadableDatabase) -> Result<Format, redb::Error> {
    let tx = database.begin_read()?;
    let names: Vec<String> = tx.list_tables()?.map(|table| table.name().to_owned()).collect();
    let is_left = |name: &str| names.iter().any(|other| *other == format!("{name}_1"));
    if names.iter().any(|name| name == "meta") {
        let version = tx.open_table(META)?.get(FORMAT)?.map_or(0, |version| version.value());
        let is_partly = version == CURRENT && NAMES_1.iter().any(|name| is_left(name));
        return Ok(if is_partly { Format::First } else { Format::Version(version) });
    }
    let has_facts = names.iter().any(|name| name == "facts");
    Ok(if has_facts { Format::First } else { Format::Empty })
}

/// Migrates a file of format 1.
pub(super) fn migrate(database: &Database) -> Result<(), redb::Error> {
    tracing::warn!("facts.redb has the format of an older version and is being migrated");
    begin(database)?;
    move_all(database, FACTS_1, |new, key, (order, revision, hash)| {
        new.put_fact(key, (order, revision, hash))?;
        Ok(hash.len())
    })?;
    move_all(database, ORDER_1, |new, key, ()| new.put_order(key).map(|()| 0))?;
    move_all(database, PENDING_1, |new, key, id| new.put_pending(key, id).map(|()| 0))?;
    move_all(database, VECTORS_1, |new, key, (revision, profile, digest, values)| {
        new.put_vector(key, (revision, profile, digest, values))?;
        Ok(values.len())
    })?;
    move_all(database, TENANTS_1, |new, tenant, (revision, facts)| {
        let bytes = old_counters(new, tenant)?.bytes;
        new.put_counters(tenant, Counters { revision, facts, bytes }).map(|()| 0)
    })?;
    move_all(database, BYTES_1, |new, tenant, bytes| {
        let counters = Counters { bytes, ..old_counters(new, tenant)? };
        new.put_counters(tenant, counters).map(|()| 0)
    })?;
    move_all(database, DOCUMENTS_1, |new, name, (version, bytes)| {
        new.put_document(name, version, bytes)?;
        Ok(bytes.len())
    })?;
    move_all(database, DOCUMENTS_REVISION_1, |new, (), revision| {
        new.put_documents_revision(revision).map(|()| 0)
    })?;
    tracing::warn!(format = CURRENT, "facts.redb is migrated");
    Ok(())
}

/// What was moved of a tenant's counters so far.
fn old_counters(new: &Tables<'_>, tenant: &str) -> Result<Counters, redb::StorageError> {
    Ok(counters(&new.tenants, tenant)?.unwrap_or_default())
}

/// Drops all streams if a version without them has changed the file.
pub(super) fn renew_streams(database: &Database) -> Result<(), redb::Error> {
    let tx = database.begin_read()?;
    let meta = tx.open_table(META)?;
    let number = |name| Ok::<_, redb::Error>(meta.get(name)?.map(|number| number.value()));
    let commits = number(COMMITS)?.unwrap_or_default();
    if number(STREAMED)? == Some(commits) {
        return Ok(());
    }
    let tx = database.begin_write()?;
    tx.delete_table(CHANGES)?;
    {
        let mut tables = Tables::open(&tx, Appends::default())?;
        tables.meta.insert(STREAMED, commits)?;
    }
    tx.commit()?;
    Ok(())
}

/// Sets format 1's tables aside and makes those of the current format, in one step.
fn begin(database: &Database) -> Result<(), redb::Error> {
    let tx = database.begin_write()?;
    let has_meta = tx.list_tables()?.any(|table| table.name() == "meta");
    if !has_meta {
        set_aside(&tx)?;
    }
    create(&tx)?;
    tx.commit()?;
    Ok(())
}

fn set_aside(tx: &WriteTransaction) -> Result<(), redb::Error> {
    let names: Vec<String> = tx.list_tables()?.map(|table| table.name().to_owned()).collect();
    for name in NAMES_1.iter().filter(|name| names.iter().any(|other| other == *name)) {
        let new = format!("{name}_1");
        // Only the names count here.
        let (old, new) = (untyped(name), untyped(&new));
        tx.rename_table(old, new)?;
    }
    Ok(())
}

fn untyped(name: &str) -> TableDefinition<'_, (), ()> {
    TableDefinition::new(name)
}

/// Makes the tables of a new file.
pub(super) fn initialize(database: &Database) -> Result<(), redb::Error> {
    let tx = database.begin_write()?;
    create(&tx)?;
    tx.commit()?;
    Ok(())
}

/// Makes all tables of the current format and says that the file has it.
fn create(tx: &WriteTransaction) -> Result<(), redb::Error> {
    let mut tables = Tables::open(tx, Appends::default())?;
    tables.meta.insert(FORMAT, CURRENT)?;
    Ok(())
}

/// Moves all records of `from`, and deletes it.
fn move_all<K: Key + 'static, V: Value + 'static>(
    database: &Database,
    from: TableDefinition<'_, K, V>,
    put: impl for<'a> Fn(
        &mut Tables<'_>,
        K::SelfType<'a>,
        V::SelfType<'a>,
    ) -> Result<usize, redb::StorageError>,
) -> Result<(), redb::Error> {
    loop {
        let tx = database.begin_write()?;
        let is_done = move_some(&tx, from, &put)?;
        if is_done {
            tx.delete_table(from)?;
        }
        tx.commit()?;
        if is_done {
            return Ok(());
        }
    }
}

/// Moves some records; `true` if none is left.
fn move_some<K: Key + 'static, V: Value + 'static>(
    tx: &WriteTransaction,
    from: TableDefinition<'_, K, V>,
    put: &impl for<'a> Fn(
        &mut Tables<'_>,
        K::SelfType<'a>,
        V::SelfType<'a>,
    ) -> Result<usize, redb::StorageError>,
) -> Result<bool, redb::Error> {
    let (mut old, mut new) = (tx.open_table(from)?, Tables::open(tx, Appends::default())?);
    let (mut records, mut bytes) = (0, 0);
    while records < STEP_RECORDS && bytes < STEP_BYTES {
        let Some((key, value)) = old.pop_first()? else { return Ok(true) };
        bytes += put(&mut new, key.value(), value.value())?;
        records += 1;
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use redb::ReadableTable;

    use super::super::Embedded;
    use super::super::tables::TENANTS;
    use super::*;
    use crate::{
        ChangeStorage, Changes, Condition, FactId, FactStorage, Lifecycle, Revision, StorageLimits,
        TenantId, Write,
    };

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    async fn store(storage: &Embedded, id: &str) -> u64 {
        let fields = vec![("content".to_owned(), id.to_owned())];
        let (id, condition) = (FactId::parse(id).unwrap(), Condition::Absent);
        let write = Write { id, fields, condition, expected: Vec::new(), order: 1 };
        let tenant = TenantId::parse("acme").unwrap();
        let revisions = storage.write(&tenant, &[write], later()).await.unwrap();
        revisions[0].unwrap().0
    }

    async fn after(storage: &Embedded, revision: u64) -> Changes {
        let tenant = TenantId::parse("acme").unwrap();
        storage.changes(&tenant, Revision(revision), 10, later()).await.unwrap()
    }

    /// Does what a version without streams does to a file that has some.
    fn change_without_streams(database: &Database) {
        let tx = database.begin_write().unwrap();
        {
            let mut tables = Tables::open(&tx, Appends::default()).unwrap();
            let old = tables.tenants.get("acme").unwrap().unwrap().value();
            let counters = Counters { revision: old.0 + 1, facts: old.1, bytes: old.2 };
            tables.put_counters("acme", counters).unwrap();
            let commits = tables.meta.get(COMMITS).unwrap().unwrap().value();
            tables.meta.insert(COMMITS, commits + 1).unwrap();
        }
        tx.commit().unwrap();
    }

    #[tokio::test]
    async fn what_a_version_without_streams_wrote_is_a_gap() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Embedded::open(dir.path(), StorageLimits::default());
        let storage = open().await.unwrap();
        assert_eq!(store(&storage, "a").await, 1);
        storage.close().await;
        drop(storage);

        let file = dir.path().join("facts.redb");
        let storage = open().await.unwrap();
        assert!(matches!(after(&storage, 0).await, Changes::Next(found) if found.len() == 1));
        storage.close().await;
        drop(storage);
        change_without_streams(&Database::open(&file).unwrap());

        let storage = open().await.unwrap();
        let until = Revision(2);
        assert_eq!(after(&storage, 0).await, Changes::Gap { until, last: until });
        assert_eq!(after(&storage, 2).await, Changes::Next(Vec::new()));
        assert_eq!(store(&storage, "b").await, 3);
        assert!(matches!(after(&storage, 2).await, Changes::Next(found) if found.len() == 1));
        storage.close().await;
        drop(storage);

        // One from before there were streams.
        let database = Database::open(&file).unwrap();
        let tx = database.begin_write().unwrap();
        tx.delete_table(CHANGES).unwrap();
        tx.open_table(META).unwrap().remove(STREAMED).unwrap();
        tx.commit().unwrap();
        assert_eq!(format(&database).unwrap(), Format::Version(CURRENT));
        let facts = database.begin_read().unwrap().open_table(TENANTS).unwrap();
        assert_eq!(facts.get("acme").unwrap().unwrap().value().0, 3);
        drop((facts, database));
        let report = super::super::verify::verify(dir.path()).await.unwrap();
        assert!(report.is_intact(), "{report:?}");
        let storage = open().await.unwrap();
        assert_eq!(after(&storage, 3).await, Changes::Next(Vec::new()));
        assert_eq!(store(&storage, "c").await, 4);
        storage.close().await;
        drop(storage);
        let report = super::super::verify::verify(dir.path()).await.unwrap();
        assert!(report.is_intact() && report.records.contains(&("changes", 1)), "{report:?}");
    }
}
