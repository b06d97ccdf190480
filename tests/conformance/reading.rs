//! Reading facts, and the bound on the bytes of a result.

use kenning_storage::{Condition, Storage, StorageError};

use crate::backends::Backend;
use crate::tools::*;

/// Three facts of ten bytes each: a name of one and a value of nine.
async fn three(storage: &dyn Storage) {
    for name in ["a", "b", "c"] {
        let fields = [("x", "123456789")];
        write_one(storage, write(name, &fields, Condition::Absent, 1)).await.unwrap();
    }
}

async fn how_many(storage: &dyn Storage, names: &[&str], bytes: usize) -> usize {
    storage.read(&default_tenant(), &ids(names), bytes, later()).await.unwrap().len()
}

pub(crate) async fn hashes_come_in_the_order_of_ids(backend: &mut impl Backend) {
    let storage = backend.open().await;
    put(&*storage, &[("a", 1), ("b", 2), ("c", 3)]).await;
    let ids = ids(&["c", "none", "a", "b", "a"]);
    let read = storage.read(&default_tenant(), &ids, PLENTY, later()).await.unwrap();
    let content = |name| Some(hash(&[("content", name)]));
    assert_eq!(read, [content("c"), None, content("a"), content("b"), content("a")]);
}

pub(crate) async fn empty_batches_succeed(backend: &mut impl Backend) {
    let storage = backend.open().await;
    assert_eq!(storage.read(&default_tenant(), &[], 0, later()).await, Ok(vec![]));
    assert_eq!(storage.read_vectors(&default_tenant(), &[], later()).await, Ok(vec![]));
    assert_eq!(storage.write(&default_tenant(), &[], later()).await, Ok(vec![]));
    assert_eq!(storage.put_vectors(&default_tenant(), &[], later()).await, Ok(()));
}

pub(crate) async fn read_bytes_obeyed(backend: &mut impl Backend) {
    let storage = backend.open().await;
    three(&*storage).await;
    assert_eq!(how_many(&*storage, &["a"], 10).await, 1);
    assert_eq!(how_many(&*storage, &["a", "b", "c"], 30).await, 3);
}

pub(crate) async fn read_bytes_violated(backend: &mut impl Backend) {
    let storage = backend.open().await;
    three(&*storage).await;
    let read = storage.read(&default_tenant(), &ids(&["a", "b"]), 9, later()).await;
    let expected = StorageError::TooLarge { limit: "read-bytes", allowed: 9, used: 10 };
    assert_eq!(read, Err(expected));
}

pub(crate) async fn a_result_is_cut_after_the_last_hash_that_fits(backend: &mut impl Backend) {
    let storage = backend.open().await;
    three(&*storage).await;
    assert_eq!(how_many(&*storage, &["a", "b", "c"], 29).await, 2);
    assert_eq!(how_many(&*storage, &["a", "b", "c"], 20).await, 2);
    assert_eq!(how_many(&*storage, &["a", "b", "c"], 19).await, 1);
}

pub(crate) async fn an_absent_fact_counts_no_bytes(backend: &mut impl Backend) {
    let storage = backend.open().await;
    three(&*storage).await;
    let ids = ids(&["none", "a", "nor-this", "b"]);
    let read = storage.read(&default_tenant(), &ids, 10, later()).await.unwrap();
    let found: Vec<bool> = read.iter().map(Option::is_some).collect();
    assert_eq!(found, [false, true, false]);
    let nothing = storage.read(&default_tenant(), &ids[..1], 0, later()).await;
    assert_eq!(nothing, Ok(vec![None]));
}
