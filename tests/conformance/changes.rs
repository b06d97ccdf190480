//! Streams of changes.

use std::time::Duration;

use kenning_storage::{Change, ChangeKind, Changes, Revision, Storage, StorageLimits};

use crate::backends::Backend;
use crate::tools::*;

pub(crate) async fn changes(storage: &dyn Storage, after: u64) -> Changes {
    storage.changes(&default_tenant(), Revision(after), 1_000, later()).await.unwrap()
}

/// A change as (revision, kind, id, revision of the fact).
type Row = (u64, &'static str, String, u64);

pub(crate) fn row(revision: u64, kind: &'static str, id: &str, of: u64) -> Row {
    (revision, kind, id.to_owned(), of)
}

/// The changes after a position, of which none is missing.
pub(crate) async fn next(storage: &dyn Storage, after: u64) -> Vec<Row> {
    let Changes::Next(changes) = changes(storage, after).await else { panic!("a gap") };
    let row = |change: Change| {
        row(change.revision.0, change.kind.as_str(), change.id.as_str(), change.of.0)
    };
    changes.into_iter().map(row).collect()
}

pub(crate) fn gap(until: u64, last: u64) -> Changes {
    Changes::Gap { until: Revision(until), last: Revision(last) }
}

pub(crate) async fn every_change_is_in_the_stream_at_its_revision(backend: &mut impl Backend) {
    let storage = backend.open().await;
    put(&*storage, &[("a", 1), ("b", 2)]).await;
    write_one(&*storage, present("a", &[("content", "new")])).await.unwrap();
    put_vector(&*storage, "a", Revision(3), 1.0).await;
    delete(&*storage, "b").await.unwrap();
    storage.mark_pending(&default_tenant(), &ids(&["a"]), later()).await.unwrap();
    // None of these changes anything.
    assert_eq!(write_one(&*storage, absent("a", 1)).await, None);
    assert_eq!(delete(&*storage, "b").await, None);
    put_vector(&*storage, "b", Revision(9), 1.0).await;
    storage.mark_pending(&default_tenant(), &ids(&["a", "b"]), later()).await.unwrap();
    let all = [
        row(1, "stored", "a", 1),
        row(2, "stored", "b", 2),
        row(3, "changed", "a", 3),
        row(4, "embedded", "a", 3),
        row(5, "deleted", "b", 5),
        row(6, "marked", "a", 6),
    ];
    assert_eq!(next(&*storage, 0).await, all);
    assert_eq!(next(&*storage, 4).await, all[4..]);
    assert_eq!(next(&*storage, 6).await, []);
    assert_eq!(changes(&*storage, 9).await, gap(6, 6), "beyond the last");
    let lasts = storage.last_revisions(&[default_tenant(), tenant("other")], later()).await;
    assert_eq!(lasts.unwrap(), [Revision(6), Revision(0)]);
}

pub(crate) async fn concurrent_writers_leave_no_hole_in_the_stream(backend: &mut impl Backend) {
    let storage = backend.open().await;
    let writers = (0..4).map(|writer| {
        let storage = storage.clone();
        tokio::spawn(async move {
            for n in 0..25 {
                let write = absent(&format!("f{writer}-{n}"), 1);
                let revision = write_one(&*storage, write).await.unwrap();
                // Whoever has the answer finds the change.
                let after = Revision(revision.0 - 1);
                let found = storage.changes(&default_tenant(), after, 1, later()).await;
                let Ok(Changes::Next(found)) = found else { panic!("{found:?}") };
                assert_eq!(found[0].revision, revision);
                assert!(found[0].is_own);
            }
        })
    });
    futures::future::try_join_all(writers).await.unwrap();
    let revisions: Vec<u64> = next(&*storage, 0).await.into_iter().map(|row| row.0).collect();
    assert_eq!(revisions, (1..=100).collect::<Vec<_>>());
}

pub(crate) async fn a_reader_of_a_stream_that_was_cut_is_told_what_is_missing(
    backend: &mut impl Backend,
) {
    let limits = StorageLimits { changes: 50, ..StorageLimits::default() };
    let storage = backend.open_with(limits).await;
    let names: Vec<String> = (0..400).map(|n| format!("f{n}")).collect();
    put(&*storage, &names.iter().map(|name| (name.as_str(), 1)).collect::<Vec<_>>()).await;
    let Changes::Gap { until, last } = changes(&*storage, 0).await else { panic!("no gap") };
    // Redis cuts streams roughly.
    assert!((200..=350).contains(&until.0) && last == Revision(400), "{until:?} {last:?}");
    let kept = next(&*storage, until.0).await;
    assert_eq!((kept[0].0, kept.len() as u64), (until.0 + 1, 400 - until.0));
    assert_eq!(next(&*storage, 390).await.len(), 10);
    let position = [(default_tenant(), Revision(0))];
    let read = storage.next_changes(&position, 10, Duration::from_secs(10)).await.unwrap();
    assert!(matches!(read[..], [(_, Changes::Gap { .. })]), "{read:?}");
}

pub(crate) async fn changes_are_dropped_when_they_are_old(backend: &mut impl Backend) {
    let change_age = Duration::from_millis(50);
    let limits = StorageLimits { change_age, ..StorageLimits::default() };
    let storage = backend.open_with(limits).await;
    put(&*storage, &[("a", 1), ("b", 2)]).await;
    let mut n = 0;
    let after_others = || {
        n += 1;
        let (storage, write) = (storage.clone(), absent(&format!("f{n}"), 1));
        async move {
            // Also of a tenant that nobody writes to.
            storage.write(&tenant("other"), &[write], later()).await.unwrap();
            changes(&*storage, 0).await
        }
    };
    eventually("all are dropped", after_others, |found| *found == gap(2, 2)).await;
    assert_eq!(next(&*storage, 2).await, []);
    put(&*storage, &[("c", 3)]).await;
    assert_eq!(changes(&*storage, 0).await, gap(2, 3));
    assert_eq!(next(&*storage, 2).await, [row(3, "stored", "c", 3)]);
}

pub(crate) async fn a_reader_is_woken_by_the_changes_of_any_of_its_tenants(
    backend: &mut impl Backend,
) {
    let storage = backend.open().await;
    let position = [(tenant("other"), Revision(0)), (default_tenant(), Revision(0))];
    let waiting = tokio::spawn({
        let (storage, position) = (storage.clone(), position.clone());
        async move { storage.next_changes(&position, 10, Duration::from_secs(60)).await }
    });
    put(&*storage, &[("a", 1)]).await;
    let woken = waiting.await.unwrap().unwrap();
    let [(tenant, Changes::Next(changes))] = &woken[..] else { panic!("{woken:?}") };
    assert_eq!((tenant, changes[0].kind), (&default_tenant(), ChangeKind::Stored));
    // What is there already is returned at once.
    let again = storage.next_changes(&position, 10, Duration::from_secs(60)).await.unwrap();
    assert_eq!(again, woken);
    // One wait after the other loses nothing.
    let mut at = Revision(1);
    let writer = tokio::spawn({
        let storage = storage.clone();
        async move {
            for n in 0..100 {
                put(&*storage, &[(&format!("f{n}"), 1)]).await;
            }
        }
    });
    while at < Revision(101) {
        let after = [(default_tenant(), at)];
        let found = storage.next_changes(&after, 7, Duration::from_secs(60)).await.unwrap();
        for (_, changes) in found {
            let Changes::Next(changes) = changes else { panic!("a gap") };
            for change in changes {
                assert_eq!(change.revision.0, at.0 + 1);
                at = change.revision;
            }
        }
    }
    writer.await.unwrap();
}

pub(crate) async fn a_reader_waits_no_longer_than_it_says(backend: &mut impl Backend) {
    let storage = backend.open().await;
    put(&*storage, &[("a", 1)]).await;
    let position = [(tenant("other"), Revision(0)), (default_tenant(), Revision(1))];
    let none = storage.next_changes(&position, 10, Duration::from_millis(10)).await.unwrap();
    assert_eq!(none, []);
}

pub(crate) async fn deleting_a_tenant_deletes_its_stream(backend: &mut impl Backend) {
    let storage = backend.open().await;
    put(&*storage, &[("a", 1), ("b", 2)]).await;
    // More changes than facts: of a fact that is written again and again.
    for _ in 0..70 {
        let again = vec![present("a", &[("content", "again")]); 100];
        storage.write(&default_tenant(), &again, later()).await.unwrap();
    }
    while storage.delete_tenant(&default_tenant(), later()).await.unwrap() {}
    assert_eq!(changes(&*storage, 0).await, Changes::Next(Vec::new()));
    put(&*storage, &[("c", 1)]).await;
    assert_eq!(next(&*storage, 0).await, [row(1, "stored", "c", 1)]);
    assert_eq!(changes(&*storage, 2).await, gap(1, 1));
}

pub(crate) async fn a_stream_goes_on_after_closing_and_opening(backend: &mut impl Backend) {
    let storage = backend.open().await;
    put(&*storage, &[("a", 1)]).await;
    storage.close().await;
    drop(storage);
    let storage = backend.open().await;
    put(&*storage, &[("b", 2)]).await;
    let both = [row(1, "stored", "a", 1), row(2, "stored", "b", 2)];
    assert_eq!(next(&*storage, 0).await, both);
    let Changes::Next(found) = changes(&*storage, 0).await else { panic!("a gap") };
    assert_eq!(found.iter().map(|change| change.is_own).collect::<Vec<_>>(), [false, true]);
    let position = [(default_tenant(), Revision(0))];
    let read = storage.next_changes(&position, 10, Duration::from_secs(10)).await.unwrap();
    assert_eq!(read, [(default_tenant(), Changes::Next(found))]);
}
