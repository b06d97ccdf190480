//! Vectors and pending facts.

use kenning_storage::{Revision, StorageError, StoredVector, Vector};

use crate::backends::Backend;
use crate::tools::*;

pub(crate) async fn each_written_fact_is_pending_with_its_newest_revision(
    backend: &mut impl Backend,
) {
    let storage = backend.open().await;
    let first = put(&*storage, &[("a", 1), ("b", 2)]).await;
    let second = write_one(&*storage, present("a", &[("x", "y")])).await.unwrap();
    write_one(&*storage, absent("b", 3)).await;
    assert_eq!(pending(&*storage).await, [("b".into(), first[1]), ("a".into(), second)]);
}

pub(crate) async fn a_vector_of_the_newest_revision_clears_the_mark(backend: &mut impl Backend) {
    let storage = backend.open().await;
    let revisions = put(&*storage, &[("a", 1), ("b", 2)]).await;
    put_vector(&*storage, "a", revisions[0], 1.0).await;
    assert_eq!(pending(&*storage).await, [("b".to_owned(), revisions[1])]);
    assert_eq!(read_vector(&*storage, "a").await, Some(vector(1.0)));
}

pub(crate) async fn a_vector_of_an_older_revision_does_not_clear_the_mark(
    backend: &mut impl Backend,
) {
    let storage = backend.open().await;
    let first = put(&*storage, &[("a", 1)]).await[0];
    let second = write_one(&*storage, present("a", &[("x", "y")])).await.unwrap();
    put_vector(&*storage, "a", first, 1.0).await;
    assert_eq!(pending(&*storage).await, [("a".to_owned(), second)]);
    assert_eq!(read_vector(&*storage, "a").await, Some(vector(1.0)), "better than none");
    put_vector(&*storage, "a", second, 2.0).await;
    assert!(pending(&*storage).await.is_empty());
    assert_eq!(read_vector(&*storage, "a").await, Some(vector(2.0)));
}

pub(crate) async fn an_older_vector_never_replaces_a_newer(backend: &mut impl Backend) {
    let storage = backend.open().await;
    let first = put(&*storage, &[("a", 1)]).await[0];
    let second = write_one(&*storage, present("a", &[("x", "y")])).await.unwrap();
    put_vector(&*storage, "a", second, 2.0).await;
    put_vector(&*storage, "a", first, 1.0).await;
    assert_eq!(read_vector(&*storage, "a").await, Some(vector(2.0)));
    put_vector(&*storage, "a", second, 3.0).await;
    assert_eq!(read_vector(&*storage, "a").await, Some(vector(3.0)), "another profile, say");
}

pub(crate) async fn the_vectors_of_many_windows_are_kept_as_they_are_and_replaced_as_one(
    backend: &mut impl Backend,
) {
    let storage = backend.open().await;
    let revisions = put(&*storage, &[("a", 1), ("b", 2)]).await;
    // As many as a fact has by default, in 384 dimensions; and an operation of 4 MiB.
    let values: Vec<f32> = (0..160 * 384).map(|n| n as f32 / 7.0).collect();
    let windows = Vector { values, ..vector(1.0) };
    let stored =
        |name: &str, revision| StoredVector { id: id(name), revision, vector: windows.clone() };
    let both = || [stored("a", revisions[0]), stored("b", revisions[1])];
    let many: Vec<_> = (0..9).flat_map(|_| both()).collect();
    storage.put_vectors(&default_tenant(), &many, later()).await.unwrap();
    assert_eq!(read_vector(&*storage, "a").await, Some(windows.clone()));
    assert_eq!(read_vector(&*storage, "b").await, Some(windows));
    put_vector(&*storage, "a", revisions[0], 2.0).await;
    assert_eq!(read_vector(&*storage, "a").await, Some(vector(2.0)));
    assert!(pending(&*storage).await.is_empty());
}

pub(crate) async fn a_vector_of_a_deleted_fact_is_not_kept(backend: &mut impl Backend) {
    let storage = backend.open().await;
    let revision = put(&*storage, &[("a", 1)]).await[0];
    delete(&*storage, "a").await.unwrap();
    put_vector(&*storage, "a", revision, 1.0).await;
    assert_eq!(read_vector(&*storage, "a").await, None);
}

pub(crate) async fn a_vector_of_an_earlier_fact_of_that_id_is_not_read(backend: &mut impl Backend) {
    let storage = backend.open().await;
    let revision = put(&*storage, &[("a", 1)]).await[0];
    put_vector(&*storage, "a", revision, 1.0).await;
    delete(&*storage, "a").await.unwrap();
    put(&*storage, &[("a", 1)]).await;
    assert_eq!(read_vector(&*storage, "a").await, None);
    assert_eq!(pending(&*storage).await.len(), 1);
}

pub(crate) async fn a_fact_marked_pending_gets_a_newer_revision(backend: &mut impl Backend) {
    let storage = backend.open().await;
    let revision = put(&*storage, &[("a", 1), ("b", 2)]).await[0];
    put_vector(&*storage, "a", revision, 1.0).await;
    let before = pending(&*storage).await;
    let marked = ids(&["a", "none"]);
    storage.mark_pending(&default_tenant(), &marked, later()).await.unwrap();
    let after = pending(&*storage).await;
    assert_eq!(after.len(), before.len() + 1, "only existing facts are pending: {after:?}");
    let (name, newest) = after.last().unwrap();
    assert_eq!(name, "a");
    assert!(*newest > revision);
    put_vector(&*storage, "a", *newest, 2.0).await;
    assert_eq!(pending(&*storage).await, before);
    assert_eq!(read_vector(&*storage, "a").await, Some(vector(2.0)));
}

pub(crate) async fn vectors_are_read_in_the_order_of_ids(backend: &mut impl Backend) {
    let storage = backend.open().await;
    let revisions = put(&*storage, &[("a", 1), ("b", 2)]).await;
    let stored = |name, n: usize| StoredVector {
        id: id(name),
        revision: revisions[n],
        vector: vector(n as f32),
    };
    let both = [stored("a", 0), stored("b", 1)];
    storage.put_vectors(&default_tenant(), &both, later()).await.unwrap();
    let names = ids(&["b", "none", "a"]);
    let read = storage.read_vectors(&default_tenant(), &names, later()).await.unwrap();
    assert_eq!(read, [Some(vector(1.0)), None, Some(vector(0.0))]);
    assert!(pending(&*storage).await.is_empty());
}

pub(crate) async fn pending_facts_are_listed_by_revision_in_pages(backend: &mut impl Backend) {
    let storage = backend.open().await;
    let names: Vec<String> = (0..7).map(|n| format!("f{n}")).collect();
    // Facts written later are older in the listing: only revisions decide here.
    let facts: Vec<(&str, u64)> = names.iter().map(String::as_str).zip((0..7).rev()).collect();
    let revisions = put(&*storage, &facts).await;
    let mut found = Vec::new();
    let mut after: Option<Revision> = None;
    loop {
        let page = storage.pending(&default_tenant(), after, 3, later()).await.unwrap();
        assert!(page.len() <= 3);
        let Some((_, last)) = page.last() else { break };
        after = Some(*last);
        found.extend(page.into_iter().map(|(id, revision)| (id.as_str().to_owned(), revision)));
    }
    let expected: Vec<(String, Revision)> = names.into_iter().zip(revisions).collect();
    assert_eq!(found, expected);
}

pub(crate) async fn vector_batch_size_violated(backend: &mut impl Backend) {
    let storage = backend.open().await;
    let stored = StoredVector { id: id("a"), revision: Revision(1), vector: vector(1.0) };
    let too_large = StorageError::TooLarge { limit: "storage-batch", allowed: 100, used: 101 };
    let put = storage.put_vectors(&default_tenant(), &vec![stored; 101], later()).await;
    assert_eq!(put, Err(too_large.clone()));
    let read = storage.read_vectors(&default_tenant(), &vec![id("a"); 101], later()).await;
    assert_eq!(read, Err(too_large));
}
