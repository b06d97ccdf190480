//! The flat layout alone: adopting other programs' facts.

use std::sync::Arc;

use kenning_storage::testing::RedisServer;
use kenning_storage::{Adoption, Layout, Storage, StorageLimits, Usage, open};
use std::time::Duration;

use crate::tools::*;

async fn flat(server: &RedisServer) -> Arc<dyn Storage> {
    let limits =
        StorageLimits { adoption_pause: Duration::from_millis(20), ..StorageLimits::default() };
    open(&server.url(), Layout::Flat, limits).await.unwrap()
}

/// Stores a fact as another program does.
fn store(server: &RedisServer, name: &str, timestamp: &str) {
    let key = format!("fact:{name}");
    let words =
        ["HSET", &key, "content", name, "metadata", "{}", "timestamp", timestamp, "id", name];
    assert_eq!(server.command(&words), ":4\r\n");
}

async fn reached(storage: &dyn Storage, what: &str, is_so: impl FnMut(&Adoption) -> bool) {
    let mut adoption = storage.adoption().expect("the flat layout adopts facts");
    let reached = tokio::time::timeout(Duration::from_secs(30), adoption.wait_for(is_so)).await;
    reached.unwrap_or_else(|_| panic!("never happened: {what}")).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_existing_database_is_adopted_in_the_order_of_its_timestamps() {
    let server = RedisServer::start();
    store(&server, "second", "2025-10-10T12:30:00.000002");
    store(&server, "first", "2025-10-10T12:30:00.000001");
    store(&server, "third", "2025-10-12T12:30:00+00:00");
    store(&server, "undated", "yesterday");
    let storage = flat(&server).await;
    reached(&*storage, "a first scan", |adoption| adoption.scans > 0).await;
    assert_eq!(list(&*storage).await, ["undated", "third", "second", "first"]);
    assert_eq!(storage.tenants(later()).await, Ok(vec![default_tenant()]));
    assert_eq!(storage.count(&default_tenant(), later()).await, Ok(4));
    let mut waiting: Vec<String> = pending(&*storage).await.into_iter().map(|p| p.0).collect();
    waiting.sort();
    assert_eq!(waiting, ["first", "second", "third", "undated"]);
    assert_eq!(storage.adoption().unwrap().borrow().adopted, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_keys_and_other_types_are_not_facts() {
    let server = RedisServer::start();
    store(&server, "real", "2025-10-10T12:30:00");
    server.command(&["HSET", "fact:origin:session:x", "a", "b"]);
    server.command(&["SET", "fact:text", "not a hash"]);
    server.command(&["RPUSH", "fact:list", "not a hash"]);
    server.command(&["HSET", "fact:", "a", "b"]);
    server.command(&["HSET", "fact:a b", "a", "b"]);
    server.command(&["HSET", "other:x", "a", "b"]);
    let storage = flat(&server).await;
    reached(&*storage, "two scans", |adoption| adoption.scans > 1).await;
    assert_eq!(list(&*storage).await, ["real"]);
    assert_eq!(storage.adoption().unwrap().borrow().adopted, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fact_that_another_program_stores_later_is_adopted_once() {
    let server = RedisServer::start();
    let storage = flat(&server).await;
    let ours = put(&*storage, &[("ours", 1)]).await[0];
    store(&server, "theirs", "2025-10-10T12:30:00");
    assert!(get(&*storage, "theirs").await.is_some(), "readable at once");
    reached(&*storage, "adoption", |adoption| adoption.adopted == 1).await;
    let waiting = pending(&*storage).await;
    assert_eq!(waiting[0], ("ours".to_owned(), ours));
    assert!(waiting[1].0 == "theirs" && waiting[1].1 > ours);
    let scans = storage.adoption().unwrap().borrow().scans;
    reached(&*storage, "more scans", |adoption| adoption.scans > scans + 2).await;
    assert_eq!(pending(&*storage).await, waiting);
    assert_eq!(list(&*storage).await, ["theirs", "ours"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fact_that_another_program_deletes_is_removed() {
    let server = RedisServer::start();
    let storage = flat(&server).await;
    let revisions = put(&*storage, &[("a", 1), ("b", 2)]).await;
    put_vector(&*storage, "a", revisions[0], 1.0).await;
    server.command(&["DEL", "fact:a"]);
    assert_eq!(get(&*storage, "a").await, None);
    reached(&*storage, "removal", |adoption| adoption.removed == 1).await;
    assert_eq!(list(&*storage).await, ["b"]);
    assert_eq!(read_vector(&*storage, "a").await, None);
    let next = write_one(&*storage, absent("c", 3)).await.unwrap();
    assert!(next.0 > revisions[1].0 + 1, "a removal is a change, too");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_facts_are_adopted_and_removed() {
    let server = RedisServer::start();
    for n in 0..350 {
        store(&server, &format!("f{n}"), "2025-10-10T12:30:00");
    }
    let storage = flat(&server).await;
    reached(&*storage, "a first scan", |adoption| adoption.scans > 0).await;
    assert_eq!(storage.count(&default_tenant(), later()).await, Ok(350));
    for n in 0..349 {
        server.command(&["DEL", &format!("fact:f{n}")]);
    }
    reached(&*storage, "removals", |adoption| adoption.removed == 349).await;
    assert_eq!(list(&*storage).await, ["f349"]);
}

#[tokio::test]
async fn other_programs_read_exactly_what_is_written() {
    let server = RedisServer::start();
    let storage = flat(&server).await;
    put(&*storage, &[("f", 1)]).await;
    storage.write(&tenant("acme"), &[absent("g", 1)], later()).await.unwrap();
    let fields = server.command(&["HGETALL", "fact:f"]);
    assert_eq!(fields, "*2\r\n$7\r\ncontent\r\n$1\r\nf\r\n");
    assert_eq!(server.command(&["KEYS", "fact:*"]), "*1\r\n$6\r\nfact:f\r\n");
    assert_eq!(server.command(&["EXISTS", "kenning:{acme}:fact:g"]), ":1\r\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_fact_can_be_changed_and_deleted() {
    let server = RedisServer::start();
    store(&server, "theirs", "2025-10-10T12:30:00");
    let storage = flat(&server).await;
    put(&*storage, &[("ours", 1)]).await;
    assert!(write_one(&*storage, present("theirs", &[("content", "new")])).await.is_some());
    reached(&*storage, "a first scan", |adoption| adoption.scans > 0).await;
    assert_eq!(
        list(&*storage).await,
        ["theirs", "ours"],
        "its position follows from its timestamp"
    );
    assert!(delete(&*storage, "theirs").await.is_some());
    assert_eq!(server.command(&["EXISTS", "fact:theirs"]), ":0\r\n");
    assert_eq!(list(&*storage).await, ["ours"]);
}

#[tokio::test]
async fn bytes_that_are_not_utf8_are_replaced() {
    let server = RedisServer::start();
    let script = "return redis.call('HSET', 'fact:f', 'content', 'a\\255b')";
    assert_eq!(server.command(&["EVAL", script, "0"]), ":1\r\n");
    let storage = flat(&server).await;
    assert_eq!(get(&*storage, "f").await, Some(hash(&[("content", "a\u{fffd}b")])));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn adoption_starts_once_redis_is_up() {
    let mut server = RedisServer::start();
    store(&server, "f", "2025-10-10T12:30:00");
    server.kill();
    let storage = flat(&server).await;
    assert_eq!(*storage.adoption().unwrap().borrow(), Adoption::default());
    server.restart();
    reached(&*storage, "a first scan", |adoption| adoption.scans > 0).await;
    assert_eq!(list(&*storage).await, ["f"]);
}

#[tokio::test]
async fn other_layouts_adopt_nothing() {
    let server = RedisServer::start();
    store(&server, "f", "2025-10-10T12:30:00");
    let limits = StorageLimits::default();
    let storage = open(&server.url(), Layout::Tenant, limits).await.unwrap();
    assert!(storage.adoption().is_none());
    assert_eq!(get(&*storage, "f").await, None);
}

/// The size of a fact that another program deleted is unknown, so the average is subtracted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_of_other_programs_facts_are_estimated() {
    let server = RedisServer::start();
    let storage = flat(&server).await;
    put(&*storage, &[("ours", 1)]).await;
    store(&server, "theirs", "2025-10-10T12:30:00");
    reached(&*storage, "adoption", |adoption| adoption.adopted == 1).await;
    // content, metadata, timestamp and id with their values.
    let (ours, theirs) = (7 + 4, 7 + 6 + 8 + 2 + 9 + 19 + 2 + 6);
    let usage = async || storage.usage(&default_tenant(), later()).await.unwrap();
    assert_eq!(usage().await, Usage { facts: 2, bytes: ours + theirs });
    server.command(&["DEL", "fact:theirs"]);
    reached(&*storage, "removal", |adoption| adoption.removed == 1).await;
    assert_eq!(usage().await, Usage { facts: 1, bytes: (ours + theirs) / 2 });
    delete(&*storage, "ours").await.unwrap();
    assert_eq!(usage().await.facts, 0);
}

/// Changes a fact in place, as another program does.
fn change(server: &RedisServer, name: &str, content: &str) {
    assert_eq!(server.command(&["HSET", &format!("fact:{name}"), "content", content]), ":0\r\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fact_that_another_program_changes_in_place_is_pending_again() {
    let server = RedisServer::start();
    store(&server, "theirs", "2025-10-10T12:30:00");
    let storage = flat(&server).await;
    put(&*storage, &[("ours", 1)]).await;
    reached(&*storage, "adoption", |adoption| adoption.adopted == 1).await;
    for (name, times) in [("theirs", 1), ("ours", 2)] {
        let before = pending(&*storage).await.into_iter().find(|(id, _)| id == name).unwrap().1;
        change(&server, name, "edited");
        reached(&*storage, "a change", |adoption| adoption.changed == times).await;
        let after = pending(&*storage).await.into_iter().find(|(id, _)| id == name).unwrap().1;
        assert!(after > before, "{name}");
    }
    let listed = list(&*storage).await;
    assert_eq!(listed, ["theirs", "ours"], "changes move nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_this_program_writes_is_not_taken_for_a_change_by_another() {
    let server = RedisServer::start();
    let storage = flat(&server).await;
    put(&*storage, &[("kept", 1), ("changed", 2), ("deleted", 3)]).await;
    assert!(write_one(&*storage, present("changed", &[("content", "new")])).await.is_some());
    assert!(delete(&*storage, "deleted").await.is_some());
    let scans = storage.adoption().unwrap().borrow().scans;
    reached(&*storage, "more scans", |adoption| adoption.scans > scans + 2).await;
    let adoption = *storage.adoption().unwrap().borrow();
    assert_eq!((adoption.adopted, adoption.changed, adoption.removed), (0, 0, 0));
    assert!(adoption.seen_within.is_some());
    assert_eq!(server.command(&["HLEN", "kenning:{default}:seen"]), ":2\r\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_redis_tells_of_is_followed_without_a_scan() {
    let server = RedisServer::start();
    assert_eq!(server.command(&["CONFIG", "SET", "notify-keyspace-events", "Kghx"]), "+OK\r\n");
    // The next scan is an hour away.
    let adoption_pause = Duration::from_secs(3_600);
    let limits = StorageLimits { adoption_pause, ..StorageLimits::default() };
    let storage = open(&server.url(), Layout::Flat, limits).await.unwrap();
    reached(&*storage, "a first scan", |adoption| adoption.scans > 0).await;
    // Subscribed, sooner or later: until then nothing is told.
    let mut subscribed = tokio::time::interval(Duration::from_millis(5));
    while !server.command(&["PUBSUB", "NUMPAT"]).starts_with(":1") {
        subscribed.tick().await;
    }
    store(&server, "theirs", "2025-10-10T12:30:00");
    reached(&*storage, "adoption", |adoption| adoption.adopted == 1).await;
    change(&server, "theirs", "edited");
    reached(&*storage, "a change", |adoption| adoption.changed == 1).await;
    server.command(&["DEL", "fact:theirs"]);
    reached(&*storage, "removal", |adoption| adoption.removed == 1).await;
    assert_eq!(storage.adoption().unwrap().borrow().scans, 1);
    assert_eq!(list(&*storage).await, [""; 0]);
}
