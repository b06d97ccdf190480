//! What extensions keep: keys and values, versions, numbers, time and quotas.

use std::time::Duration;

use kenning_storage::{
    Expected, SpaceName, StateChange, StateChanged, StateQuota, StateSpace, StateStorage,
    StateUsage, Storage, StorageError, TenantId,
};

use crate::backends::Backend;
use crate::tools::*;

const QUOTA: StateQuota = StateQuota { keys: 5, bytes: 1_000 };

fn extension(name: &str) -> SpaceName {
    SpaceName::parse(name).unwrap()
}

fn space_of(tenant: TenantId, name: &str) -> StateSpace {
    StateSpace { tenant, name: extension(name), registry: None }
}

fn space() -> StateSpace {
    space_of(default_tenant(), "budget")
}

fn set(value: &[u8]) -> StateChange {
    set_if(Expected::Any, value)
}

fn set_if(expected: Expected, value: &[u8]) -> StateChange {
    StateChange::Set { value: value.to_vec(), ttl: None, expected }
}

fn add(by: i64) -> StateChange {
    StateChange::Increment { by, ttl: None }
}

async fn change(storage: &dyn StateStorage, key: &[u8], change: StateChange) -> StateChanged {
    storage.change_state(&space(), key, change, QUOTA, later()).await.unwrap()
}

async fn value(storage: &dyn StateStorage, key: &[u8]) -> Option<Vec<u8>> {
    value_in(storage, &space(), key).await
}

async fn value_in(storage: &dyn StateStorage, space: &StateSpace, key: &[u8]) -> Option<Vec<u8>> {
    storage.read_state(space, key, later()).await.unwrap().map(|entry| entry.value)
}

async fn keys(storage: &dyn StateStorage, prefix: &[u8], limit: usize) -> Vec<Vec<u8>> {
    let (mut found, mut after, space) = (Vec::new(), None::<Vec<u8>>, space());
    loop {
        let page = storage.list_state(&space, prefix, after.as_deref(), limit, later());
        let page = page.await.unwrap();
        assert!(page.keys.len() <= limit);
        found.extend(page.keys);
        after = page.after;
        if after.is_none() {
            return found;
        }
    }
}

async fn delete_all(storage: &dyn Storage, name: &str) {
    while storage.delete_state(&default_tenant(), &extension(name), later()).await.unwrap() {}
}

pub(crate) async fn state_has_keys_of_any_bytes_in_their_order(backend: &mut impl Backend) {
    let storage = backend.open().await;
    let wild: [&[u8]; 4] = [b"\0", b"\0{b}:*", "ä".as_bytes(), b"\xff\xfe"];
    for key in wild.iter().rev() {
        change(&*storage, key, set(key)).await;
    }
    for key in wild {
        assert_eq!(value(&*storage, key).await.as_deref(), Some(key));
    }
    assert_eq!(value(&*storage, b"\0{b}").await, None);
    for limit in [1, 2, 100] {
        assert_eq!(keys(&*storage, b"", limit).await, wild);
        assert_eq!(keys(&*storage, b"\0", limit).await, wild[..2]);
        assert_eq!(keys(&*storage, b"\xff", limit).await, wild[3..]);
        assert_eq!(keys(&*storage, b"b", limit).await, Vec::<Vec<u8>>::new());
    }
    let other = storage.list_state(&space(), b"a", Some(b"b"), 1, later()).await;
    assert_eq!(other, Err(StorageError::InvalidCursor));
    storage.close().await;
    let storage = backend.open().await;
    assert_eq!(value(&*storage, wild[1]).await.as_deref(), Some(wild[1]));
}

pub(crate) async fn state_is_set_if_it_has_the_expected_version(backend: &mut impl Backend) {
    let storage = backend.open().await;
    let first = change(&*storage, b"k", set_if(Expected::Absent, b"a")).await;
    let StateChanged::Set(first) = first else { panic!("{first:?}") };
    let lost = change(&*storage, b"k", set_if(Expected::Absent, b"b")).await;
    assert_eq!(lost, StateChanged::Lost(Some(first)));
    let second = change(&*storage, b"k", set_if(Expected::Version(first), b"b")).await;
    let StateChanged::Set(second) = second else { panic!("{second:?}") };
    assert!(second > first && first > 0);
    let lost = change(&*storage, b"k", set_if(Expected::Version(first), b"c")).await;
    assert_eq!(lost, StateChanged::Lost(Some(second)));
    assert_eq!(storage.read_state(&space(), b"k", later()).await.unwrap().unwrap().version, second);

    assert_eq!(change(&*storage, b"k", StateChange::Delete).await, StateChanged::Deleted(true));
    assert_eq!(change(&*storage, b"k", StateChange::Delete).await, StateChanged::Deleted(false));
    let lost = change(&*storage, b"k", set_if(Expected::Version(second), b"c")).await;
    assert_eq!(lost, StateChanged::Lost(None));
    let third = change(&*storage, b"k", set(b"c")).await;
    assert!(matches!(third, StateChanged::Set(third) if third > second), "{third:?}");

    // Of many at once, one wins.
    let once = || async {
        let change = set_if(Expected::Absent, b"x");
        storage.change_state(&space(), b"race", change, QUOTA, later()).await.unwrap()
    };
    let all = futures::future::join_all((0..10).map(|_| once())).await;
    assert_eq!(all.iter().filter(|changed| matches!(changed, StateChanged::Set(_))).count(), 1);
}

pub(crate) async fn numbers_in_state_have_64_bits(backend: &mut impl Backend) {
    let storage = backend.open().await;
    let count =
        || async { storage.change_state(&space(), b"n", add(2), QUOTA, later()).await.unwrap() };
    futures::future::join_all((0..10).map(|_| count())).await;
    assert_eq!(value(&*storage, b"n").await.as_deref(), Some(&b"20"[..]));
    assert_eq!(change(&*storage, b"n", add(-21)).await, StateChanged::Number(-1));
    let most = change(&*storage, b"most", add(i64::MAX)).await;
    assert_eq!(most, StateChanged::Number(i64::MAX));
    assert_eq!(change(&*storage, b"most", add(1)).await, StateChanged::NotANumber);
    assert_eq!(change(&*storage, b"most", add(-1)).await, StateChanged::Number(i64::MAX - 1));
    for text in [&b"tea"[..], b"", b"01", b"+1", b" 1", b"1.0"] {
        change(&*storage, b"text", set(text)).await;
        assert_eq!(change(&*storage, b"text", add(1)).await, StateChanged::NotANumber, "{text:?}");
        assert_eq!(value(&*storage, b"text").await.as_deref(), Some(text));
    }
}

pub(crate) async fn state_expires_and_makes_room(backend: &mut impl Backend) {
    let storage = backend.open().await;
    let short = Some(Duration::from_millis(50));
    let set_short = StateChange::Set { value: vec![1], ttl: short, expected: Expected::Any };
    for key in [b"a", b"b", b"c", b"d"] {
        change(&*storage, key, set_short.clone()).await;
    }
    change(&*storage, b"d", set(b"stays")).await;
    let hour = Some(Duration::from_secs(3_600));
    for ttl in [hour, None] {
        change(&*storage, b"n", StateChange::Increment { by: 1, ttl }).await;
    }
    eventually("they expire", || keys(&*storage, b"", 100), |keys| keys.len() == 2).await;
    assert_eq!(keys(&*storage, b"", 1).await, [b"d", b"n"]);
    assert_eq!(value(&*storage, b"a").await, None);
    // Five keys are the most, and three have expired.
    for key in [b"e", b"f", b"g"] {
        change(&*storage, key, set(b"")).await;
    }
    let left = async |key: &[u8]| {
        storage.read_state(&space(), key, later()).await.unwrap().unwrap().expires_in
    };
    assert!(left(b"n").await > Some(Duration::from_secs(3_000)), "an increment changes no time");
    change(&*storage, b"g", StateChange::Delete).await;
    let lost = change(&*storage, b"a", set_if(Expected::Version(1), b"")).await;
    assert_eq!(lost, StateChanged::Lost(None), "one that has expired is not there");
    let later_on = StateChange::Set { value: vec![], ttl: hour, expected: Expected::Any };
    change(&*storage, b"a", later_on).await;
    assert!(left(b"a").await > Some(Duration::from_secs(3_000)) && left(b"a").await <= hour);
}

pub(crate) async fn state_is_bounded_in_keys_and_bytes(backend: &mut impl Backend) {
    let storage = backend.open().await;
    let try_change = async |key: &[u8], change| {
        storage.change_state(&space(), key, change, QUOTA, later()).await
    };
    let exceeded = |limit, allowed, used| Err(StorageError::TooLarge { limit, allowed, used });
    for key in [b"a", b"b", b"c", b"d"] {
        change(&*storage, key, set(&[7; 199])).await;
    }
    assert_eq!(try_change(b"e", set(&[7; 200])).await, exceeded("state_bytes", 1_000, 1_001));
    change(&*storage, b"e", set(b"9")).await;
    assert_eq!(try_change(b"f", set(b"")).await, exceeded("state_keys", 5, 6));
    assert_eq!(try_change(b"f", add(1)).await, exceeded("state_keys", 5, 6));
    change(&*storage, b"a", set(&[7; 397])).await;
    let spaces = async || storage.state_spaces(&default_tenant(), later()).await.unwrap();
    let full = StateUsage { keys: 5, bytes: 1_000 };
    assert_eq!(spaces().await, [(extension("budget"), full)]);
    // 9 + 1 has a digit more.
    assert_eq!(try_change(b"e", add(1)).await, exceeded("state_bytes", 1_000, 1_001));
    assert_eq!(value(&*storage, b"e").await.as_deref(), Some(&b"9"[..]), "as before");
    assert_eq!(try_change(b"a", set(&[7; 398])).await, exceeded("state_bytes", 1_000, 1_001));
    change(&*storage, b"a", StateChange::Delete).await;
    assert_eq!(change(&*storage, b"e", add(1)).await, StateChanged::Number(10));
    assert_eq!(spaces().await[0].1, StateUsage { keys: 4, bytes: 603 });
}

pub(crate) async fn spaces_are_apart_and_deleted_each_and_with_their_tenant(
    backend: &mut impl Backend,
) {
    let storage = backend.open().await;
    let spaces =
        [space(), space_of(default_tenant(), "budget-2"), space_of(tenant("other"), "budget")];
    for (n, space) in spaces.iter().enumerate() {
        let change = set(&[n as u8]);
        storage.change_state(space, b"k", change, QUOTA, later()).await.unwrap();
    }
    for (n, space) in spaces.iter().enumerate() {
        assert_eq!(value_in(&*storage, space, b"k").await, Some(vec![n as u8]));
    }
    let names = async || {
        let spaces = storage.state_spaces(&default_tenant(), later()).await.unwrap();
        spaces.into_iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names().await, ["budget", "budget-2"]);
    delete_all(&*storage, "budget").await;
    assert_eq!(names().await, ["budget-2"]);
    assert_eq!(value(&*storage, b"k").await, None);
    assert_eq!(keys(&*storage, b"", 10).await, Vec::<Vec<u8>>::new());
    change(&*storage, b"again", set(b"")).await;
    while storage.delete_tenant(&default_tenant(), later()).await.unwrap() {}
    assert_eq!(names().await, Vec::<String>::new());
    assert_eq!(value_in(&*storage, &spaces[1], b"k").await, None);
    assert_eq!(value(&*storage, b"again").await, None);
    assert_eq!(value_in(&*storage, &spaces[2], b"k").await, Some(vec![2]));
}
