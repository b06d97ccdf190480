//! Streams of changes in Redis alone: what other programs and other hosts do to them.

use std::sync::Arc;
use std::time::Duration;

use kenning_storage::testing::RedisServer;
use kenning_storage::{Changes, Layout, Revision, Storage, StorageLimits, open};

use crate::changes::{changes, gap, next, row};
use crate::tools::*;

const STREAM: &str = "kenning:{default}:stream";

async fn with(server: &RedisServer, layout: Layout, limits: StorageLimits) -> Arc<dyn Storage> {
    open(&server.url(), layout, limits).await.unwrap()
}

async fn connect(server: &RedisServer, layout: Layout) -> Arc<dyn Storage> {
    with(server, layout, StorageLimits::default()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fact_that_was_adopted_or_lost_is_in_the_stream() {
    let server = RedisServer::start();
    server.command(&["HSET", "fact:a", "content", "theirs"]);
    let adoption_pause = Duration::from_millis(20);
    let limits = StorageLimits { adoption_pause, ..StorageLimits::default() };
    let storage = with(&server, Layout::Flat, limits).await;
    let changes = async || next(&*storage, 0).await;
    eventually("adopted", changes, |rows| *rows == [row(1, "stored", "a", 1)]).await;
    server.command(&["DEL", "fact:a"]);
    eventually("removed", changes, |rows| rows.get(1) == Some(&row(2, "deleted", "a", 2))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_gone_is_a_gap_and_begins_anew() {
    let server = RedisServer::start();
    let storage = connect(&server, Layout::Tenant).await;
    put(&*storage, &[("a", 1), ("b", 2)]).await;
    // Of a database from before there were streams.
    server.command(&["DEL", STREAM]);
    assert_eq!(changes(&*storage, 1).await, gap(2, 2));
    assert_eq!(next(&*storage, 2).await, []);
    put(&*storage, &[("c", 1)]).await;
    assert_eq!(next(&*storage, 2).await, [row(3, "stored", "c", 3)]);
    assert_eq!(changes(&*storage, 1).await, gap(2, 3));
    // Something that is no stream is replaced by one.
    server.command(&["SET", STREAM, "theirs"]);
    put(&*storage, &[("again", 1)]).await;
    assert_eq!(next(&*storage, 3).await, [row(4, "stored", "again", 4)]);
    // A change that another program took out of the middle.
    put(&*storage, &[("e", 1), ("f", 1)]).await;
    server.command(&["XDEL", STREAM, "5-0"]);
    assert_eq!(next(&*storage, 3).await, [row(4, "stored", "again", 4)]);
    assert_eq!(changes(&*storage, 4).await, gap(5, 6));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_stream_is_gone_after_its_age() {
    let server = RedisServer::start();
    let change_age = Duration::from_millis(50);
    let limits = StorageLimits { change_age, ..StorageLimits::default() };
    let storage = with(&server, Layout::Tenant, limits).await;
    put(&*storage, &[("a", 1), ("b", 2)]).await;
    let exists = async || server.command(&["EXISTS", STREAM]);
    eventually("it is gone", exists, |reply| reply == ":0\r\n").await;
    assert_eq!(changes(&*storage, 0).await, gap(2, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_host_changed_is_not_ones_own() {
    let server = RedisServer::start();
    let (reader, writer) =
        (connect(&server, Layout::Tenant).await, connect(&server, Layout::Tenant).await);
    let waiting = tokio::spawn({
        let (reader, position) = (reader.clone(), [(default_tenant(), Revision(0))]);
        async move { reader.next_changes(&position, 10, Duration::from_secs(60)).await }
    });
    // Two that wait have a connection each.
    let position = [(tenant("other"), Revision(0))];
    let other = reader.next_changes(&position, 10, Duration::from_millis(10)).await.unwrap();
    assert_eq!(other, []);
    put(&*writer, &[("a", 1)]).await;
    let woken = waiting.await.unwrap().unwrap();
    let [(_, Changes::Next(changes))] = &woken[..] else { panic!("{woken:?}") };
    assert!(!changes[0].is_own);
    storage_deletes(&server, &*writer).await;
}

async fn storage_deletes(server: &RedisServer, storage: &dyn Storage) {
    assert_eq!(storage.delete_tenant(&default_tenant(), later()).await, Ok(false));
    assert_eq!(server.command(&["EXISTS", STREAM]), ":0\r\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_host_at_a_time_has_a_claim() {
    let server = RedisServer::start();
    let (one, two) =
        (connect(&server, Layout::Tenant).await, connect(&server, Layout::Tenant).await);
    let claim = async |storage: &dyn Storage, lease| {
        storage.claim_embedding(&default_tenant(), lease, later()).await.unwrap()
    };
    let minute = Duration::from_secs(60);
    assert!(claim(&*one, minute).await);
    assert!(!claim(&*two, minute).await);
    assert!(claim(&*one, Duration::from_millis(20)).await, "renewed, and soon over");
    eventually("the claim ends", async || claim(&*two, minute).await, |has| *has).await;
    assert!(!claim(&*one, minute).await);
}
