//! Writing facts: conditions, atomicity, revisions.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use kenning_storage::{Condition, Revision, StorageError, Write};

use crate::backends::Backend;
use crate::tools::*;

pub(crate) async fn a_written_fact_is_read_with_exactly_its_fields(backend: &mut impl Backend) {
    let storage = backend.open().await;
    let fields = [("content", "c"), ("id", "f"), ("metadata", "{}"), ("timestamp", "t")];
    let done = write_one(&*storage, write("f", &fields, Condition::Absent, 1)).await;
    assert!(done.is_some());
    assert_eq!(get(&*storage, "f").await, Some(hash(&fields)));
}

pub(crate) async fn a_write_if_absent_happens_once(backend: &mut impl Backend) {
    let storage = backend.open().await;
    assert!(write_one(&*storage, absent("f", 1)).await.is_some());
    let second = write("f", &[("content", "other")], Condition::Absent, 2);
    assert_eq!(write_one(&*storage, second).await, None);
    assert_eq!(get(&*storage, "f").await, Some(hash(&[("content", "f")])));
}

pub(crate) async fn a_write_if_present_needs_the_fact(backend: &mut impl Backend) {
    let storage = backend.open().await;
    assert_eq!(write_one(&*storage, present("f", &[("content", "x")])).await, None);
    assert_eq!(get(&*storage, "f").await, None);
    assert!(list(&*storage).await.is_empty());
    assert!(pending(&*storage).await.is_empty());
}

pub(crate) async fn a_write_that_expects_fields_happens_only_if_they_are_so(
    backend: &mut impl Backend,
) {
    let storage = backend.open().await;
    let fields = [("a", "1"), ("b", "1")];
    write_one(&*storage, write("f", &fields, Condition::Absent, 1)).await.unwrap();
    let change = |expected: &[(&str, &str)], value: &str| Write {
        expected: hash(expected),
        ..present("f", &[("a", value)])
    };
    for unlike in [[("a", "2")], [("c", "1")], [("b", "")]] {
        assert_eq!(write_one(&*storage, change(&unlike, "x")).await, None, "{unlike:?}");
    }
    let partly = [("a", "1"), ("b", "2")];
    assert_eq!(write_one(&*storage, change(&partly, "x")).await, None);
    assert_eq!(get(&*storage, "f").await, Some(hash(&fields)));
    assert!(write_one(&*storage, change(&fields, "2")).await.is_some());
    assert_eq!(write_one(&*storage, change(&fields, "3")).await, None, "it changed meanwhile");
    assert_eq!(get(&*storage, "f").await, Some(hash(&[("a", "2"), ("b", "1")])));
    // More than Lua's stack takes as arguments.
    let many: Vec<_> = (0..2_000).map(|number| (format!("n{number:04}"), "v".to_owned())).collect();
    let new = Write { fields: many.clone(), ..write("many", &[], Condition::Absent, 2) };
    assert!(write_one(&*storage, new).await.is_some());
    let all = Write { expected: many, ..present("many", &[("n0000", "w")]) };
    assert!(write_one(&*storage, all).await.is_some());
}

pub(crate) async fn a_write_if_present_keeps_other_fields_and_the_position(
    backend: &mut impl Backend,
) {
    let storage = backend.open().await;
    let both = [("a", "1"), ("b", "1")];
    write_one(&*storage, write("old", &both, Condition::Absent, 1)).await.unwrap();
    put(&*storage, &[("new", 2)]).await;
    let change = write("old", &[("b", "2"), ("c", "2")], Condition::Present, 9);
    assert!(write_one(&*storage, change).await.is_some());
    assert_eq!(get(&*storage, "old").await, Some(hash(&[("a", "1"), ("b", "2"), ("c", "2")])));
    assert_eq!(list(&*storage).await, ["new", "old"]);
}

pub(crate) async fn of_two_fields_with_one_name_the_later_wins(backend: &mut impl Backend) {
    let storage = backend.open().await;
    let twice = [("a", "1"), ("a", "2")];
    write_one(&*storage, write("f", &twice, Condition::Absent, 1)).await.unwrap();
    assert_eq!(get(&*storage, "f").await, Some(hash(&[("a", "2")])));
}

pub(crate) async fn a_write_without_fields_never_happens(backend: &mut impl Backend) {
    let storage = backend.open().await;
    put(&*storage, &[("there", 1)]).await;
    let writes =
        [write("new", &[], Condition::Absent, 1), present("there", &[]), absent("other", 2)];
    let done = storage.write(&default_tenant(), &writes, later()).await.unwrap();
    assert_eq!(done[..2], [None, None]);
    assert!(done[2].is_some());
    assert_eq!(list(&*storage).await, ["other", "there"]);
    let none = storage.write(&default_tenant(), &writes[..1], later()).await.unwrap();
    assert_eq!(none, [None]);
}

pub(crate) async fn a_failed_condition_does_not_stop_the_others_of_its_batch(
    backend: &mut impl Backend,
) {
    let storage = backend.open().await;
    put(&*storage, &[("b", 1)]).await;
    let writes = [absent("a", 1), absent("b", 2), absent("c", 3), absent("a", 4)];
    let done = storage.write(&default_tenant(), &writes, later()).await.unwrap();
    let happened: Vec<bool> = done.iter().map(Option::is_some).collect();
    assert_eq!(happened, [true, false, true, false]);
    assert_eq!(list(&*storage).await, ["c", "b", "a"]);
}

pub(crate) async fn revisions_grow_with_each_write_and_deletion(backend: &mut impl Backend) {
    let storage = backend.open().await;
    let mut revisions = put(&*storage, &[("a", 1), ("b", 2)]).await;
    revisions.push(write_one(&*storage, present("a", &[("x", "1")])).await.unwrap());
    revisions.push(delete(&*storage, "b").await.unwrap());
    revisions.push(write_one(&*storage, absent("b", 3)).await.unwrap());
    assert!(revisions.is_sorted_by(|a, b| a < b), "{revisions:?}");
}

pub(crate) async fn of_concurrent_writers_of_one_id_exactly_one_wins_whole(
    backend: &mut impl Backend,
) {
    let storage = backend.open().await;
    let mut writers = Vec::new();
    for n in 0..32 {
        let storage = Arc::clone(&storage);
        writers.push(tokio::spawn(async move {
            let n = n.to_string();
            let fields = [("a", n.as_str()), ("b", n.as_str())];
            let done = write_one(&*storage, write("f", &fields, Condition::Absent, 1)).await;
            done.map(|_| n)
        }));
    }
    let mut winners = Vec::new();
    for writer in writers {
        winners.extend(writer.await.unwrap());
    }
    assert_eq!(winners.len(), 1);
    let n = winners[0].as_str();
    assert_eq!(get(&*storage, "f").await, Some(hash(&[("a", n), ("b", n)])));
    assert_eq!(list(&*storage).await, ["f"]);
}

pub(crate) async fn concurrent_writers_get_distinct_revisions(backend: &mut impl Backend) {
    let storage = backend.open().await;
    put(&*storage, &[("f", 1)]).await;
    let mut writers = Vec::new();
    for n in 0..32 {
        let storage = Arc::clone(&storage);
        writers.push(tokio::spawn(async move {
            let n = n.to_string();
            let fields = [("a", n.as_str()), ("b", n.as_str())];
            (write_one(&*storage, present("f", &fields)).await.unwrap(), n)
        }));
    }
    let mut done: Vec<(Revision, String)> = Vec::new();
    for writer in writers {
        done.push(writer.await.unwrap());
    }
    let distinct: HashSet<Revision> = done.iter().map(|(revision, _)| *revision).collect();
    assert_eq!(distinct.len(), 32);
    let (newest, n) = done.iter().max().unwrap();
    let expected = hash(&[("a", n), ("b", n), ("content", "f")]);
    assert_eq!(get(&*storage, "f").await, Some(expected), "the larger revision happened later");
    assert_eq!(pending(&*storage).await, [("f".to_owned(), *newest)]);
}

pub(crate) async fn many_fields_are_one_write(backend: &mut impl Backend) {
    let storage = backend.open().await;
    let names: Vec<String> = (0..2_345).map(|n| format!("field-{n:05}")).collect();
    let fields: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "v")).collect();
    write_one(&*storage, write("f", &fields, Condition::Absent, 1)).await.unwrap();
    assert_eq!(get(&*storage, "f").await, Some(hash(&fields)));
}

pub(crate) async fn any_text_is_read_as_it_was_written(backend: &mut impl Backend) {
    let storage = backend.open().await;
    let fields = [("", "empty name"), ("content", "ä€😀\0\r\n\"\\"), ("empty", ""), ("n\0é", "v")];
    write_one(&*storage, write("f", &fields, Condition::Absent, 1)).await.unwrap();
    assert_eq!(get(&*storage, "f").await, Some(hash(&fields)));
}

pub(crate) async fn batch_size_obeyed(backend: &mut impl Backend) {
    let storage = backend.open().await;
    let writes: Vec<_> = (0..100).map(|n| absent(&format!("f{n}"), n)).collect();
    let done = storage.write(&default_tenant(), &writes, later()).await.unwrap();
    assert!(done.len() == 100 && done.iter().all(Option::is_some));
}

pub(crate) async fn batch_size_violated(backend: &mut impl Backend) {
    let storage = backend.open().await;
    let writes: Vec<_> = (0..101).map(|n| absent(&format!("f{n}"), n)).collect();
    let too_large = StorageError::TooLarge { limit: "storage-batch", allowed: 100, used: 101 };
    let done = storage.write(&default_tenant(), &writes, later()).await;
    assert_eq!(done, Err(too_large.clone()));
    let ids: Vec<_> = writes.into_iter().map(|write| write.id).collect();
    let read = storage.read(&default_tenant(), &ids, PLENTY, later()).await;
    assert_eq!(read, Err(too_large));
    assert!(list(&*storage).await.is_empty());
}

pub(crate) async fn an_operation_past_its_deadline_does_not_start(backend: &mut impl Backend) {
    let storage = backend.open().await;
    let past = Instant::now();
    let write = storage.write(&default_tenant(), &[absent("f", 1)], past).await;
    assert_eq!(write, Err(StorageError::Timeout { outcome_unknown: false }));
    let read = storage.read(&default_tenant(), &[id("f")], PLENTY, past).await;
    assert_eq!(read, Err(StorageError::Timeout { outcome_unknown: false }));
    assert_eq!(get(&*storage, "f").await, None);
}
