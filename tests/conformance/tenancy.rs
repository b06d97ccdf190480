//! Tenants: isolation, usage, quotas and deletion.

use std::sync::Arc;

use kenning_storage::{Condition, FactQuota, Revision, Storage, StorageError, StoredVector, Usage};

use crate::backends::Backend;
use crate::tools::*;

pub(crate) async fn tenants_do_not_see_each_other(backend: &mut impl Backend) {
    let storage = backend.open().await;
    let (a, b) = (tenant("a"), default_tenant());
    let facts = [write("f", &[("content", "of a")], Condition::Absent, 1)];
    let written = storage.write(&a, &facts, later()).await.unwrap()[0].unwrap();
    let stored = StoredVector { id: id("f"), revision: Revision(0), vector: vector(1.0) };
    storage.put_vectors(&a, &[stored], later()).await.unwrap();

    assert_eq!(get_of(&*storage, &b, "f").await, None);
    assert!(storage.page(&b, None, 10, later()).await.unwrap().ids.is_empty());
    assert_eq!(storage.pending(&b, None, 10, later()).await, Ok(vec![]));
    assert_eq!(storage.read_vectors(&b, &[id("f")], later()).await, Ok(vec![None]));
    assert_eq!(storage.delete(&b, &id("f"), later()).await, Ok(None));
    let change = storage.write(&b, &[present("f", &[("content", "of b")])], later()).await;
    assert_eq!(change, Ok(vec![None]));

    assert_eq!(get_of(&*storage, &a, "f").await, Some(hash(&[("content", "of a")])));
    assert_eq!(storage.pending(&a, None, 10, later()).await, Ok(vec![(id("f"), written)]));
    assert_eq!(storage.read_vectors(&a, &[id("f")], later()).await.unwrap(), [Some(vector(1.0))]);
}

pub(crate) async fn similar_names_do_not_collide(backend: &mut impl Backend) {
    let storage = backend.open().await;
    let pairs = [("a", "b.c"), ("a.b", "c"), ("a-b", "c"), ("A", "b.c"), ("a", "b"), ("ab", "c")];
    for (owner, name) in pairs {
        let fields = [("content", owner)];
        let facts = [write(name, &fields, Condition::Absent, 1)];
        let done = storage.write(&tenant(owner), &facts, later()).await.unwrap();
        assert!(done[0].is_some(), "{owner} {name}");
    }
    for (owner, name) in pairs {
        let read = get_of(&*storage, &tenant(owner), name).await;
        assert_eq!(read, Some(hash(&[("content", owner)])), "{owner} {name}");
    }
    let page = storage.page(&tenant("a"), None, 10, later()).await.unwrap();
    assert_eq!(page.ids, ids(&["b.c", "b"]));
}

pub(crate) async fn a_tenant_is_listed_from_its_first_fact(backend: &mut impl Backend) {
    let storage = backend.open().await;
    assert_eq!(storage.tenants(later()).await, Ok(vec![]));
    for name in ["zoe", "acme"] {
        storage.write(&tenant(name), &[absent("f", 1)], later()).await.unwrap();
    }
    storage.write(&tenant("never"), &[present("f", &[("a", "b")])], later()).await.unwrap();
    let known = vec![tenant("acme"), tenant("zoe")];
    assert_eq!(storage.tenants(later()).await, Ok(known.clone()));
    storage.delete(&tenant("acme"), &id("f"), later()).await.unwrap();
    assert_eq!(storage.tenants(later()).await, Ok(known));
}

pub(crate) async fn facts_are_counted_by_tenant(backend: &mut impl Backend) {
    let storage = backend.open().await;
    put(&*storage, &[("a", 1), ("b", 2)]).await;
    storage.write(&tenant("other"), &[absent("a", 1)], later()).await.unwrap();
    write_one(&*storage, absent("a", 3)).await;
    write_one(&*storage, present("a", &[("x", "y")])).await.unwrap();
    assert_eq!(storage.count(&default_tenant(), later()).await, Ok(2));
    assert_eq!(storage.count(&tenant("other"), later()).await, Ok(1));
    assert_eq!(storage.count(&tenant("nobody"), later()).await, Ok(0));
}

pub(crate) async fn a_deleted_tenant_is_gone_and_starts_afresh(backend: &mut impl Backend) {
    let storage = backend.open().await;
    let other = tenant("other");
    storage.write(&other, &[absent("f", 1)], later()).await.unwrap();
    let revisions = put(&*storage, &[("f", 1), ("waits", 2)]).await;
    put_vector(&*storage, "f", revisions[0], 1.0).await;

    assert_eq!(storage.delete_tenant(&default_tenant(), later()).await, Ok(false));
    assert_eq!(get(&*storage, "f").await, None);
    assert!(list(&*storage).await.is_empty());
    assert!(pending(&*storage).await.is_empty());
    assert_eq!(read_vector(&*storage, "f").await, None);
    assert_eq!(storage.count(&default_tenant(), later()).await, Ok(0));
    assert_eq!(storage.tenants(later()).await, Ok(vec![other.clone()]));
    assert_eq!(get_of(&*storage, &other, "f").await, Some(hash(&[("content", "f")])));

    assert_eq!(storage.delete_tenant(&default_tenant(), later()).await, Ok(false));
    assert_eq!(put(&*storage, &[("f", 1)]).await, revisions[..1], "revisions start afresh");
    assert_eq!(read_vector(&*storage, "f").await, None);
}

pub(crate) async fn a_large_tenant_is_deleted_in_steps(backend: &mut impl Backend) {
    let storage = backend.open().await;
    let names: Vec<String> = (0..1_234).map(|n| format!("f{n}")).collect();
    let facts: Vec<(&str, u64)> = names.iter().map(String::as_str).zip(0..).collect();
    put(&*storage, &facts).await;
    let mut left = 1_234;
    while storage.delete_tenant(&default_tenant(), later()).await.unwrap() {
        let count = storage.count(&default_tenant(), later()).await.unwrap();
        assert!(count < left, "each step deletes some");
        left = count;
    }
    assert!(left < 1_000, "no single step deletes so many");
    assert!(list(&*storage).await.is_empty());
    assert_eq!(storage.tenants(later()).await, Ok(vec![]));
}

async fn usage(storage: &dyn Storage) -> Usage {
    storage.usage(&default_tenant(), later()).await.unwrap()
}

pub(crate) async fn bytes_are_counted_with_every_change(backend: &mut impl Backend) {
    let storage = backend.open().await;
    assert_eq!(usage(&*storage).await, Usage::default());
    let fields = [("content", "12345"), ("n", "ä"), ("n", "äö")];
    write_one(&*storage, write("f", &fields, Condition::Absent, 1)).await.unwrap();
    assert_eq!(usage(&*storage).await, Usage { facts: 1, bytes: 12 + 5 });
    write_one(&*storage, write("f", &fields, Condition::Absent, 1)).await;
    assert_eq!(usage(&*storage).await, Usage { facts: 1, bytes: 17 }, "nothing was written");
    let change = [("content", "1"), ("new", "")];
    write_one(&*storage, present("f", &change)).await.unwrap();
    assert_eq!(usage(&*storage).await, Usage { facts: 1, bytes: 8 + 5 + 3 });
    put(&*storage, &[("g", 1)]).await;
    delete(&*storage, "f").await.unwrap();
    assert_eq!(usage(&*storage).await, Usage { facts: 1, bytes: 8 });
    storage.write(&tenant("other"), &[absent("f", 1)], later()).await.unwrap();
    assert_eq!(usage(&*storage).await, Usage { facts: 1, bytes: 8 });
    storage.close().await;
    drop(storage);
    let storage = backend.open().await;
    assert_eq!(usage(&*storage).await, Usage { facts: 1, bytes: 8 });
    storage.delete_tenant(&default_tenant(), later()).await.unwrap();
    assert_eq!(usage(&*storage).await, Usage::default());
}

pub(crate) async fn quota_of_facts_obeyed_and_violated(backend: &mut impl Backend) {
    let storage = backend.open().await;
    let quota = FactQuota { facts: Some(2), bytes: None };
    let store =
        async |writes: &[_]| storage.write_within(&default_tenant(), writes, quota, later()).await;
    assert!(store(&[absent("a", 1), absent("b", 2)]).await.is_ok());
    let full = StorageError::QuotaExceeded { quota: "facts", allowed: 2, used: 2 };
    assert_eq!(store(&[absent("c", 3)]).await, Err(full));
    assert_eq!(list(&*storage).await, ["b", "a"]);
    assert_eq!(
        store(&[absent("a", 3)]).await,
        Ok(vec![None]),
        "an existing fact does not count again"
    );
    assert!(store(&[present("a", &[("more", "bytes")])]).await.unwrap()[0].is_some());
    let partly = store(&[present("a", &[("x", "y")]), absent("c", 3)]).await;
    let error = partly.unwrap_err();
    assert!(error.is_outcome_unknown(), "{error}");
    assert!(matches!(error.cause(), StorageError::QuotaExceeded { .. }), "{error}");
    delete(&*storage, "b").await.unwrap();
    assert!(store(&[absent("c", 3)]).await.unwrap()[0].is_some());
}

pub(crate) async fn quota_of_bytes_obeyed_and_violated(backend: &mut impl Backend) {
    let storage = backend.open().await;
    let quota = FactQuota { facts: None, bytes: Some(20) };
    let store =
        async |write| storage.write_within(&default_tenant(), &[write], quota, later()).await;
    let fact = |name: &str, value: &str| write(name, &[("content", value)], Condition::Absent, 1);
    assert!(store(fact("a", "1234567890123")).await.unwrap()[0].is_some(), "20 of 20");
    let full = StorageError::QuotaExceeded { quota: "bytes", allowed: 20, used: 20 };
    assert_eq!(store(fact("b", "")).await, Err(full.clone()));
    let longer = present("a", &[("content", "12345678901234")]);
    assert_eq!(store(longer).await, Err(full));
    assert_eq!(get(&*storage, "a").await, Some(hash(&[("content", "1234567890123")])));
    assert!(store(present("a", &[("content", "1")])).await.unwrap()[0].is_some());
    assert!(store(fact("b", "12345")).await.unwrap()[0].is_some());
    // A tenant whose quota was reduced below its usage may still shrink.
    let none = FactQuota { facts: Some(0), bytes: Some(0) };
    let shrink = [present("b", &[("content", "")])];
    let shrunk = storage.write_within(&default_tenant(), &shrink, none, later()).await;
    assert!(shrunk.unwrap()[0].is_some());
}

pub(crate) async fn concurrent_writers_do_not_exceed_the_quota_together(
    backend: &mut impl Backend,
) {
    let storage = backend.open().await;
    let quota = FactQuota { facts: Some(5), bytes: None };
    let writers: Vec<_> = (0..20)
        .map(|n| {
            let storage = Arc::clone(&storage);
            let write = [absent(&format!("f{n}"), n)];
            tokio::spawn(async move {
                storage.write_within(&default_tenant(), &write, quota, later()).await
            })
        })
        .collect();
    let mut happened = 0;
    for writer in writers {
        match writer.await.unwrap() {
            Ok(_) => happened += 1,
            Err(error) => assert!(matches!(error, StorageError::QuotaExceeded { .. }), "{error}"),
        }
    }
    assert_eq!(happened, 5);
    assert_eq!(usage(&*storage).await.facts, 5);
}
