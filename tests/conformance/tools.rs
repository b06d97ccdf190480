//! Helpers shared by all tests.

use std::time::{Duration, Instant};

use kenning_storage::{
    Condition, FactId, FactStorage, Hash, Revision, StorageError, StoredVector, TenantId, Vector,
    VectorStorage, Write,
};

/// More bytes than any read here returns.
pub(crate) const PLENTY: usize = 1 << 20;

/// A distant deadline, so that only the storage's own limit ends an operation.
pub(crate) fn later() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

/// The tenant whose facts the flat layout shares with other programs.
pub(crate) fn default_tenant() -> TenantId {
    tenant("default")
}

pub(crate) fn tenant(name: &str) -> TenantId {
    TenantId::parse(name).unwrap()
}

pub(crate) fn id(name: &str) -> FactId {
    FactId::parse(name).unwrap()
}

pub(crate) fn ids(names: &[&str]) -> Vec<FactId> {
    names.iter().map(|name| id(name)).collect()
}

pub(crate) fn hash(fields: &[(&str, &str)]) -> Hash {
    fields.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

pub(crate) fn write(
    name: &str,
    fields: &[(&str, &str)],
    condition: Condition,
    order: u64,
) -> Write {
    Write { id: id(name), fields: hash(fields), condition, expected: Vec::new(), order }
}

pub(crate) fn absent(name: &str, order: u64) -> Write {
    write(name, &[("content", name)], Condition::Absent, order)
}

pub(crate) fn present(name: &str, fields: &[(&str, &str)]) -> Write {
    write(name, fields, Condition::Present, 0)
}

/// Writes new facts of `default` with the given orders. Each write must happen.
pub(crate) async fn put(storage: &dyn FactStorage, facts: &[(&str, u64)]) -> Vec<Revision> {
    let writes: Vec<Write> = facts.iter().map(|(name, order)| absent(name, *order)).collect();
    let mut revisions = Vec::new();
    for writes in writes.chunks(100) {
        let done = storage.write(&default_tenant(), writes, later()).await.unwrap();
        revisions.extend(done.into_iter().map(|revision| revision.expect("a new fact")));
    }
    revisions
}

/// Performs one write to `default`.
pub(crate) async fn write_one(storage: &dyn FactStorage, write: Write) -> Option<Revision> {
    storage.write(&default_tenant(), &[write], later()).await.unwrap()[0]
}

/// Reads one fact of `default`, with its fields sorted by name.
pub(crate) async fn get(storage: &dyn FactStorage, name: &str) -> Option<Hash> {
    get_of(storage, &default_tenant(), name).await
}

pub(crate) async fn get_of(
    storage: &dyn FactStorage,
    tenant: &TenantId,
    name: &str,
) -> Option<Hash> {
    let mut read = storage.read(tenant, &[id(name)], PLENTY, later()).await.unwrap();
    assert_eq!(read.len(), 1);
    let mut hash = read.remove(0)?;
    hash.sort();
    Some(hash)
}

pub(crate) async fn delete(storage: &dyn FactStorage, name: &str) -> Option<Revision> {
    storage.delete(&default_tenant(), &id(name), later()).await.unwrap()
}

/// Lists `default` from `cursor` to the end, in pages of `limit` ids.
pub(crate) async fn list_from(
    storage: &dyn FactStorage,
    mut cursor: Option<String>,
    limit: usize,
) -> Vec<String> {
    let mut listed = Vec::new();
    loop {
        let page =
            storage.page(&default_tenant(), cursor.as_deref(), limit, later()).await.unwrap();
        assert!(page.ids.len() <= limit);
        listed.extend(page.ids.iter().map(|id| id.as_str().to_owned()));
        cursor = page.cursor;
        if cursor.is_none() {
            return listed;
        }
    }
}

pub(crate) async fn list(storage: &dyn FactStorage) -> Vec<String> {
    list_from(storage, None, 1_000).await
}

/// The pending facts of `default`.
pub(crate) async fn pending(storage: &dyn VectorStorage) -> Vec<(String, Revision)> {
    let found = storage.pending(&default_tenant(), None, 1_000, later()).await.unwrap();
    found.into_iter().map(|(id, revision)| (id.as_str().to_owned(), revision)).collect()
}

pub(crate) fn vector(first: f32) -> Vector {
    Vector { profile: "test-3".into(), digest: [first as u8; 32], values: vec![first, -0.5, 0.0] }
}

pub(crate) async fn put_vector(
    storage: &dyn VectorStorage,
    name: &str,
    revision: Revision,
    first: f32,
) {
    let stored = StoredVector { id: id(name), revision, vector: vector(first) };
    storage.put_vectors(&default_tenant(), &[stored], later()).await.unwrap();
}

pub(crate) async fn read_vector(storage: &dyn VectorStorage, name: &str) -> Option<Vector> {
    storage.read_vectors(&default_tenant(), &[id(name)], later()).await.unwrap().remove(0)
}

/// Repeats `ask` until its result satisfies `is_so`. Panics after half a minute.
pub(crate) async fn eventually<T, F: Future<Output = T>>(
    what: &str,
    mut ask: impl FnMut() -> F,
    is_so: impl Fn(&T) -> bool,
) {
    let end = Instant::now() + Duration::from_secs(30);
    while !is_so(&ask().await) {
        assert!(Instant::now() < end, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The message of a result that must be `Unavailable` or `Refused`.
pub(crate) fn unavailable<T: std::fmt::Debug>(result: Result<T, StorageError>) -> String {
    match result {
        Err(StorageError::Unavailable(message) | StorageError::Refused(message)) => message,
        other => panic!("not Unavailable: {other:?}"),
    }
}
