//! Copies of what extensions keep, put into another storage and back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kenning_backup::{Blob, Position, Record};
use kenning_storage::{
    Changes, Expected, Restorer, Revision, SpaceName, StateChange, StateQuota, StateSpace,
    StateStorage, Storage, TOLD_BY, TOLD_UP_TO, TenantId, Wanted,
};
use tokio::sync::mpsc;

use crate::backends::{Backend, Embedded};
use crate::tools::*;

const HOUR: Duration = Duration::from_secs(3_600);

/// The tenant, the space and the key.
type Place = (String, String, Vec<u8>);

/// A value, and when it expires.
type Value = (Vec<u8>, Option<u64>);

fn space(tenant: TenantId, name: &str) -> StateSpace {
    StateSpace { tenant, name: SpaceName::parse(name).unwrap(), registry: None }
}

async fn set(
    storage: &dyn StateStorage,
    space: &StateSpace,
    (key, value): (&[u8], &[u8]),
    ttl: Option<Duration>,
) {
    let change = StateChange::Set { value: value.to_vec(), ttl, expected: Expected::Any };
    let quota = StateQuota { keys: 100, bytes: 10_000 };
    storage.change_state(space, key, change, quota, later()).await.unwrap();
}

async fn get(storage: &dyn StateStorage, space: &StateSpace, key: &[u8]) -> Option<Vec<u8>> {
    storage.read_state(space, key, later()).await.unwrap().map(|entry| entry.value)
}

/// How far an extension of `tenant` was told.
async fn told(storage: &dyn StateStorage, tenant: TenantId, name: &str) -> Revision {
    let value = get(storage, &space(tenant, name), TOLD_UP_TO).await.unwrap();
    Revision(String::from_utf8(value).unwrap().parse().unwrap())
}

async fn last(storage: &dyn Storage, tenant: TenantId) -> Revision {
    storage.last_revisions(&[tenant], later()).await.unwrap()[0]
}

/// All records of a copy.
async fn copied(storage: &dyn Storage) -> Vec<Record> {
    let (to, mut records) = mpsc::channel(16);
    let wanted = Wanted { also: vec![tenant("idle"), tenant("none")], ..Wanted::default() };
    let copy = async {
        let done = storage.copy(&wanted, &to).await;
        drop(to);
        done
    };
    let collect = async {
        let mut all = Vec::new();
        while let Some(record) = records.recv().await {
            all.push(record);
        }
        all
    };
    let (done, all) = tokio::join!(copy, collect);
    done.unwrap();
    all
}

async fn restore(storage: Arc<dyn Storage>, records: Vec<Record>) {
    let mut restorer = Restorer::new(storage, Duration::from_secs(10));
    for record in records {
        restorer.push(record).await.unwrap();
    }
    assert!(restorer.restored().is_complete);
}

/// What is kept by the records of a copy. How far extensions were told has no value here.
fn kept(records: &[Record]) -> BTreeMap<Place, Value> {
    let (mut kept, mut tenant) = (BTreeMap::new(), String::new());
    for record in records {
        match record {
            Record::Tenant { name, .. } => tenant.clone_from(name),
            Record::State { space, key: Blob(key), value: Blob(value), expires } => {
                let value = if key == TOLD_UP_TO { Vec::new() } else { value.clone() };
                let place = (tenant.clone(), space.clone(), key.clone());
                assert_eq!(kept.insert(place, (value, *expires)), None, "each key once");
            }
            Record::LeftOut { what } => panic!("left out: {what}"),
            _ => {}
        }
    }
    kept
}

fn assert_same(before: &BTreeMap<Place, Value>, after: &BTreeMap<Place, Value>) {
    let values = |kept: &BTreeMap<Place, Value>| {
        let values = kept.iter().map(|(place, (value, _))| (place.clone(), value.clone()));
        values.collect::<Vec<_>>()
    };
    assert_eq!(values(before), values(after));
    for (place, (_, expires)) in before {
        let (expires, after) = (expires.unwrap_or_default(), after[place].1.unwrap_or_default());
        assert!(expires.abs_diff(after) < 60_000, "{place:?}: {expires} became {after}");
    }
}

async fn delete_tenant(storage: &dyn Storage, tenant: &TenantId) {
    while storage.delete_tenant(tenant, later()).await.unwrap() {}
}

pub(crate) async fn what_extensions_keep_is_copied_and_comes_back(backend: &mut impl Backend) {
    let storage = backend.open().await;
    put(&*storage, &[("a", 1), ("b", 2), ("c", 3)]).await;
    delete(&*storage, "b").await.unwrap();
    let budget = space(default_tenant(), "budget");
    for key in [&b"\0{b}:*"[..], b"\xff\xfe", b"plain"] {
        set(&*storage, &budget, (key, key), None).await;
    }
    set(&*storage, &budget, (b"hour", b"1"), Some(HOUR)).await;
    set(&*storage, &budget, (b"short", b"1"), Some(Duration::from_millis(20))).await;
    let (follower, behind) =
        (space(default_tenant(), "follower.changes"), space(default_tenant(), "behind.changes"));
    let now = last(&*storage, default_tenant()).await;
    let position = now.0.to_string();
    set(&*storage, &follower, (TOLD_UP_TO, position.as_bytes()), None).await;
    set(&*storage, &follower, (TOLD_BY, b"a host"), Some(HOUR)).await;
    set(&*storage, &follower, (b"letter/1", b"{}"), None).await;
    set(&*storage, &behind, (TOLD_UP_TO, b"1"), None).await;
    set(&*storage, &space(tenant("idle"), "budget"), (b"k", b""), None).await;
    eventually("it expires", || get(&*storage, &budget, b"short"), Option::is_none).await;

    let first = copied(&*storage).await;
    let before = kept(&first);
    let names: Vec<_> = before.keys().map(|(tenant, space, _)| [&**tenant, &**space]).collect();
    let expected = [
        ["default", "behind.changes"],
        ["default", "budget"],
        ["default", "budget"],
        ["default", "budget"],
        ["default", "budget"],
        ["default", "follower.changes"],
        ["default", "follower.changes"],
        ["idle", "budget"],
    ];
    assert_eq!(names, expected, "neither what has expired nor a host's claim");

    let other = Embedded::new();
    let there = other.open().await;
    restore(there.clone(), first).await;
    let second = copied(&*there).await;
    assert_same(&before, &kept(&second));

    for tenant in [default_tenant(), tenant("idle")] {
        delete_tenant(&*storage, &tenant).await;
    }
    // What an attempt left that was interrupted.
    set(&*storage, &budget, (b"left", b""), None).await;
    restore(storage.clone(), second).await;
    assert_same(&before, &kept(&copied(&*storage).await));
    for storage in [&storage, &there] {
        let last = last(&**storage, default_tenant()).await;
        assert!(last >= now);
        assert_eq!(told(&**storage, default_tenant(), "follower.changes").await, last);
        assert_eq!(told(&**storage, default_tenant(), "behind.changes").await, Revision(1));
        let next = storage.changes(&default_tenant(), last, 10, later()).await;
        assert_eq!(next, Ok(Changes::Next(Vec::new())));
        assert_eq!(get(&**storage, &budget, b"left").await, None);
    }
    there.close().await;
}

/// A fact that is stored and deleted again and again, so that the tenant's revision grows.
fn churn() -> Vec<Record> {
    let fields = BTreeMap::from([("content".to_owned(), "tea".to_owned())]);
    let fact = || Record::Fact {
        id: "a".into(),
        order: 1,
        pending: false,
        fields: fields.clone(),
        vector: None,
    };
    let gone = || Record::Gone { id: "a".into() };
    vec![fact(), gone(), fact(), gone(), fact()]
}

pub(crate) async fn how_far_an_extension_was_told_comes_back_as_what_it_means(
    backend: &mut impl Backend,
) {
    let storage = backend.open().await;
    let acme = tenant("acme");
    let state = |space: &str, key: &[u8], value: &[u8], expires| Record::State {
        space: space.into(),
        key: Blob(key.to_vec()),
        value: Blob(value.to_vec()),
        expires,
    };
    let kept = [
        Record::StateBegin,
        state("up.changes", TOLD_UP_TO, b"2", None),
        state("behind.changes", TOLD_UP_TO, b"1", None),
        state("up", TOLD_UP_TO, b"2", None),
        state("up", b"gone", b"", Some(1)),
    ];
    let end = [
        Record::TenantEnd(Position { revision: 2, facts: 1, ..Position::default() }),
        Record::DocumentsEnd { revision: 0, names: Vec::new() },
        Record::End { tenants: vec!["acme".into()] },
    ];
    let begin = vec![Record::Tenant { name: "acme".into(), whole: true, because: None }];
    let records = [begin, churn(), kept.to_vec(), end.to_vec()].concat();
    restore(storage.clone(), records).await;

    let last = last(&*storage, acme.clone()).await;
    assert!(last > Revision(2), "{last:?}: else nothing is shown here");
    assert_eq!(told(&*storage, acme.clone(), "up.changes").await, last);
    let next = storage.changes(&acme, last, 10, later()).await;
    assert_eq!(next, Ok(Changes::Next(Vec::new())), "nothing is told again");
    let behind = told(&*storage, acme.clone(), "behind.changes").await;
    assert_eq!(behind, Revision(1));
    let missed = storage.changes(&acme, behind, 10, later()).await;
    assert_eq!(missed, Ok(Changes::Gap { until: last, last }), "it learns that it missed some");
    assert_eq!(told(&*storage, acme.clone(), "up").await, Revision(2), "its own key is its own");
    assert_eq!(get(&*storage, &space(acme.clone(), "up"), b"gone").await, None);
    assert_eq!(storage.count(&acme, later()).await, Ok(1));
}
