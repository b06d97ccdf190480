//! What is in force for a tenant, and the leases of the hosts that follow it.

use std::sync::Arc;
use std::time::Duration;

use kenning_storage::testing::RedisServer;
use kenning_storage::{
    FactQuota, HostLease, Layout, RegistryRevision, SpaceName, StateChange, StateQuota, StateSpace,
    Storage, StorageError, StorageLimits, open,
};

use crate::backends::Backend;
use crate::tools::*;

const LAYOUTS: [Layout; 2] = [Layout::Tenant, Layout::Flat];

const NUMBER: &str = "kenning:{default}:registry";

const HOSTS: &str = "kenning:control:{control}:hosts";

async fn connect(server: &RedisServer, layout: Layout) -> Arc<dyn Storage> {
    open(&server.url(), layout, StorageLimits::default()).await.unwrap()
}

async fn in_force(storage: &dyn Storage) -> RegistryRevision {
    storage.registry_revisions(&[default_tenant()], later()).await.unwrap()[0]
}

async fn raise(storage: &dyn Storage) -> RegistryRevision {
    storage.raise_registry(&default_tenant(), later()).await.unwrap()
}

/// Whether a read, a listing, a change, a new fact, a deletion, and a read, a change and a listing
/// of state were refused as stale.
async fn refused(storage: &dyn Storage, registry: Option<RegistryRevision>) -> [bool; 8] {
    fn is_stale<T: std::fmt::Debug>(result: Result<T, StorageError>) -> bool {
        match result {
            Ok(_) => false,
            Err(StorageError::StaleRegistry) => true,
            Err(other) => panic!("{other:?}"),
        }
    }
    let tenant = default_tenant();
    let quota = FactQuota::default();
    let change = [present("a", &[("content", "changed")])];
    let new = [absent("b", 2)];
    let space =
        StateSpace { tenant: tenant.clone(), name: SpaceName::parse("budget").unwrap(), registry };
    let add = StateChange::Increment { by: 1, ttl: None };
    let most = StateQuota { keys: 10, bytes: 100 };
    [
        is_stale(storage.read_as_of(&tenant, registry, &[id("a")], PLENTY, later()).await),
        is_stale(storage.page_as_of(&tenant, registry, None, 10, later()).await),
        is_stale(storage.write_as_of(&tenant, registry, &change, quota, later()).await),
        is_stale(storage.write_as_of(&tenant, registry, &new, quota, later()).await),
        is_stale(storage.delete_as_of(&tenant, registry, &id("b"), later()).await),
        is_stale(storage.read_state(&space, b"n", later()).await),
        is_stale(storage.change_state(&space, b"n", add, most, later()).await),
        is_stale(storage.list_state(&space, b"", None, 1, later()).await),
    ]
}

/// Over every backend.
pub(crate) async fn a_caller_who_goes_by_what_is_in_force_is_served(backend: &mut impl Backend) {
    let storage = backend.open().await;
    put(&*storage, &[("a", 1)]).await;
    assert_eq!(refused(&*storage, Some(RegistryRevision(0))).await, [false; 8]);
    for _ in 0..3 {
        let raised = raise(&*storage).await;
        assert_eq!(in_force(&*storage).await, raised);
        assert_eq!(refused(&*storage, Some(raised)).await, [false; 8]);
    }
    assert_eq!(refused(&*storage, None).await, [false; 8]);
    storage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_who_goes_by_anything_else_is_refused_and_changes_nothing() {
    for layout in LAYOUTS {
        let server = RedisServer::start();
        let storage = connect(&server, layout).await;
        put(&*storage, &[("a", 1)]).await;
        let first = raise(&*storage).await;
        let second = raise(&*storage).await;
        assert!(second.0 > first.0, "{first:?} {second:?}");
        let later_one = RegistryRevision(second.0 + 1);
        for stale in [RegistryRevision(0), first, later_one] {
            assert_eq!(refused(&*storage, Some(stale)).await, [true; 8], "{stale:?}");
        }
        assert_eq!(get(&*storage, "a").await.unwrap(), hash(&[("content", "a")]));
        assert_eq!(list(&*storage).await, ["a"]);
        assert_eq!(storage.last_revisions(&[default_tenant()], later()).await.unwrap()[0].0, 1);
        // Other tenants have numbers of their own.
        let other = [absent("o", 1)];
        let quota = FactQuota::default();
        let none = Some(RegistryRevision(0));
        let written = storage.write_as_of(&tenant("other"), none, &other, quota, later()).await;
        assert!(written.unwrap()[0].is_some());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_is_never_in_force_twice() {
    let server = RedisServer::start();
    let storage = connect(&server, Layout::Tenant).await;
    let old = raise(&*storage).await;
    let last = raise(&*storage).await;
    storage.drop_registry(&default_tenant(), old, later()).await.unwrap();
    assert_eq!(in_force(&*storage).await, last, "it was raised meanwhile");
    storage.drop_registry(&default_tenant(), last, later()).await.unwrap();
    assert_eq!(in_force(&*storage).await, RegistryRevision(0));
    assert_eq!(refused(&*storage, Some(last)).await, [true; 8]);
    assert!(raise(&*storage).await.0 > last.0, "a later tenant of that name");
    // Redis was set back to an earlier state.
    server.command(&["SET", NUMBER, &old.0.to_string()]);
    assert!(raise(&*storage).await.0 > last.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_tenant_keeps_its_number_until_it_is_dropped() {
    let server = RedisServer::start();
    let storage = connect(&server, Layout::Tenant).await;
    put(&*storage, &[("a", 1)]).await;
    let raised = raise(&*storage).await;
    while storage.delete_tenant(&default_tenant(), later()).await.unwrap() {}
    assert_eq!(in_force(&*storage).await, raised);
    storage.drop_registry(&default_tenant(), raised, later()).await.unwrap();
    assert_eq!(server.command(&["EXISTS", NUMBER]), ":0\r\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_program_put_in_its_place_is_named_and_nothing_is_served() {
    let server = RedisServer::start();
    let storage = connect(&server, Layout::Tenant).await;
    put(&*storage, &[("a", 1)]).await;
    server.command(&["RPUSH", NUMBER, "x"]);
    let known = Some(RegistryRevision(0));
    let read = storage.read_as_of(&default_tenant(), known, &[id("a")], PLENTY, later()).await;
    assert!(matches!(read, Err(StorageError::Refused(_))), "{read:?}");
    let raised = storage.raise_registry(&default_tenant(), later()).await;
    let Err(StorageError::Refused(message)) = raised else { panic!("{raised:?}") };
    assert!(message.contains(NUMBER), "{message}");
}

fn lease(host: &str, revision: u64) -> HostLease {
    HostLease { host: host.into(), revision, unfinished: vec![tenant("slow")] }
}

/// The names of the living hosts, with the one that asks marked.
async fn living(storage: &dyn Storage) -> Vec<String> {
    let hosts = storage.living_hosts(later()).await.unwrap();
    let name = |host: &kenning_storage::LivingHost| {
        let own = if host.is_own { "*" } else { "" };
        format!("{}={}{own}", host.lease.host, host.lease.revision)
    };
    let mut names: Vec<String> = hosts.iter().map(name).collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_live_as_long_as_their_leases() {
    let server = RedisServer::start();
    let one = connect(&server, Layout::Tenant).await;
    let two = connect(&server, Layout::Tenant).await;
    assert!(living(&*one).await.is_empty());
    let minute = Duration::from_secs(60);
    one.renew_lease(&lease("one", 1), minute, later()).await.unwrap();
    two.renew_lease(&lease("two", 2), minute, later()).await.unwrap();
    assert_eq!(living(&*one).await, ["one=1*", "two=2"]);
    one.renew_lease(&lease("one", 3), minute, later()).await.unwrap();
    assert_eq!(living(&*two).await, ["one=3", "two=2*"]);
    let unfinished = two.living_hosts(later()).await.unwrap().remove(0).lease.unfinished;
    assert_eq!(unfinished, [tenant("slow")]);
    one.end_lease(later()).await.unwrap();
    assert_eq!(living(&*two).await, ["two=2*"]);
    two.renew_lease(&lease("two", 4), Duration::from_millis(20), later()).await.unwrap();
    eventually("its end", || living(&*one), Vec::is_empty).await;
    // What has ended is dropped by the next.
    server.command(&["HSET", HOSTS, "x", "of another program"]);
    one.renew_lease(&lease("one", 5), minute, later()).await.unwrap();
    assert_eq!(server.command(&["HLEN", HOSTS]), ":1\r\n");
}
