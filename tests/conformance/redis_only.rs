//! Redis alone: a server that is down, silent or full, or holds unexpected data.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kenning_storage::testing::{RedisServer, free_port};
use kenning_storage::{Layout, Storage, StorageError, StorageLimits, TlsFiles, open};

use crate::tools::*;

const TENANTS: &str = "kenning:tenants";

/// A storage with short timeouts, for tests that wait for them.
async fn impatient(url: &str) -> Arc<dyn Storage> {
    let limits = StorageLimits {
        operation: Duration::from_millis(300),
        connect: Duration::from_millis(100),
        ..StorageLimits::default()
    };
    open(url, Layout::Tenant, limits).await.unwrap()
}

async fn connect(url: &str) -> Arc<dyn Storage> {
    open(url, Layout::Tenant, StorageLimits::default()).await.unwrap()
}

async fn read(storage: &dyn Storage) -> Result<usize, StorageError> {
    let read = storage.read(&default_tenant(), &[id("f")], PLENTY, later()).await;
    read.map(|hashes| hashes.iter().flatten().count())
}

async fn write_f(storage: &dyn Storage, name: &str) -> Result<bool, StorageError> {
    let done = storage.write(&default_tenant(), &[absent(name, 1)], later()).await;
    done.map(|revisions| revisions[0].is_some())
}

async fn until_writable(storage: &dyn Storage) {
    eventually("service again", || write_f(storage, "good-again"), Result::is_ok).await;
}

#[tokio::test]
async fn a_missing_redis_can_be_opened_and_is_unavailable() {
    let storage = connect(&format!("redis://127.0.0.1:{}", free_port())).await;
    assert!(unavailable(read(&*storage).await).contains("refused the connection"));
    assert!(unavailable(write_f(&*storage, "f").await).contains("refused the connection"));
    assert!(unavailable(storage.ping(later()).await).contains("refused the connection"));
}

#[tokio::test]
async fn a_redis_that_starts_later_is_used() {
    let mut server = RedisServer::start();
    server.kill();
    let storage = connect(&server.url()).await;
    unavailable(write_f(&*storage, "f").await);
    server.restart();
    until_writable(&*storage).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_redis_is_unavailable_until_it_is_restarted() {
    let mut server = RedisServer::start();
    let storage = connect(&server.url()).await;
    assert_eq!(write_f(&*storage, "f").await, Ok(true));
    server.kill();
    let gone =
        |result: &Result<bool, StorageError>| matches!(result, Err(StorageError::Unavailable(_)));
    eventually("a refusal", || write_f(&*storage, "g"), gone).await;
    unavailable(read(&*storage).await);
    server.restart();
    until_writable(&*storage).await;
    assert_eq!(read(&*storage).await, Ok(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_redis_times_out_and_recovers_by_itself() {
    let server = RedisServer::start();
    let storage = impatient(&server.url()).await;
    eventually("a first write", || write_f(&*storage, "f"), Result::is_ok).await;
    server.stop();
    // The first write may use the existing connection; the others find none.
    for n in 0..4 {
        let write = write_f(&*storage, &format!("in-doubt-{n}")).await;
        assert!(matches!(write, Err(StorageError::Timeout { .. })), "{write:?}");
        assert_eq!(read(&*storage).await, Err(StorageError::Timeout { outcome_unknown: false }));
    }
    server.cont();
    until_writable(&*storage).await;
    eventually("a read", || read(&*storage), |count| *count == Ok(1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_dropped_by_a_firewall_cost_one_operation() {
    let server = RedisServer::start();
    let proxy = DroppingProxy::start(server.port()).await;
    let storage = connect(&format!("redis://127.0.0.1:{}", proxy.port)).await;
    use_every_connection(&*storage).await;
    proxy.drop_connections();
    assert_eq!(write_f(&*storage, "g").await, Err(StorageError::Timeout { outcome_unknown: true }));
    // None of the other dropped connections is tried first.
    use_every_connection(&*storage).await;
    assert_eq!(write_f(&*storage, "g").await, Ok(true), "the dropped write did not happen");
}

async fn use_every_connection(storage: &dyn Storage) {
    for _ in 0..4 {
        assert!(read(storage).await.is_ok());
        storage.read(&default_tenant(), &ids(&["f", "g"]), PLENTY, later()).await.unwrap();
    }
}

#[tokio::test]
async fn a_caller_with_little_time_abandons_no_connection() {
    let server = RedisServer::start();
    let storage = connect(&server.url()).await;
    use_every_connection(&*storage).await;
    let before = server.command(&["INFO", "stats"]);
    server.stop();
    for _ in 0..20 {
        let soon = Instant::now() + Duration::from_millis(1);
        let read = storage.read(&default_tenant(), &[id("f")], PLENTY, soon).await;
        assert_eq!(read, Err(StorageError::Timeout { outcome_unknown: false }));
    }
    server.cont();
    use_every_connection(&*storage).await;
    let taken = |info: &str| {
        let line = info.lines().find_map(|l| l.strip_prefix("total_connections_received:"));
        line.and_then(|count| count.parse::<u64>().ok()).unwrap()
    };
    // The test's own query made one.
    assert_eq!(taken(&server.command(&["INFO", "stats"])), taken(&before) + 1);
}

#[tokio::test]
async fn a_write_without_a_connection_has_a_known_outcome() {
    let server = RedisServer::start();
    server.stop();
    let storage = impatient(&server.url()).await;
    assert_eq!(
        write_f(&*storage, "f").await,
        Err(StorageError::Timeout { outcome_unknown: false })
    );
    server.cont();
    until_writable(&*storage).await;
    assert_eq!(list(&*storage).await, ["good-again"]);
}

#[tokio::test]
async fn a_wrong_password_is_reported_and_not_remembered() {
    let server = RedisServer::start_with_password("right");
    let storage = connect(&server.url_with_password("hunter2")).await;
    for _ in 0..3 {
        let message = unavailable(read(&*storage).await);
        assert!(message.contains("refused the user or the password"), "{message}");
        assert!(!message.contains("hunter2"), "{message}");
    }
    server.command(&["CONFIG", "SET", "requirepass", "hunter2"]);
    until_writable(&*storage).await;
}

#[tokio::test]
async fn a_password_is_used_and_a_missing_one_is_reported() {
    let server = RedisServer::start_with_password("right");
    let storage = connect(&server.url_with_password("right")).await;
    assert_eq!(write_f(&*storage, "f").await, Ok(true));
    assert!(!format!("{:?}", storage.describe()).contains("right"));
    let without = connect(&server.url()).await;
    assert!(unavailable(read(&*without).await).contains("asks for a password"));
}

#[tokio::test]
async fn the_database_in_the_address_is_used() {
    let server = RedisServer::start();
    let third = connect(&format!("{}/3", server.url())).await;
    assert_eq!(write_f(&*third, "f").await, Ok(true));
    assert_eq!(third.describe().address, format!("127.0.0.1:{}/3", server.port()));
    let zeroth = connect(&server.url()).await;
    assert_eq!(read(&*zeroth).await, Ok(0));
    let no_such = connect(&format!("{}/99", server.url())).await;
    unavailable(read(&*no_such).await);
}

#[tokio::test]
async fn resp2_is_used_if_the_address_asks_for_it() {
    let server = RedisServer::start();
    let storage = connect(&format!("{}/0?protocol=resp2", server.url())).await;
    let revisions = put(&*storage, &[("a", 1), ("b", 2)]).await;
    put_vector(&*storage, "a", revisions[0], 1.0).await;
    assert_eq!(list_from(&*storage, None, 1).await, ["b", "a"]);
    assert_eq!(get(&*storage, "a").await, Some(hash(&[("content", "a")])));
    assert_eq!(read_vector(&*storage, "a").await, Some(vector(1.0)));
    assert_eq!(pending(&*storage).await, [("b".to_owned(), revisions[1])]);
}

#[tokio::test]
async fn keys_follow_the_layout() {
    let server = RedisServer::start();
    let storage = connect(&server.url()).await;
    let revision = put(&*storage, &[("f", 1)]).await[0];
    put_vector(&*storage, "f", revision, 1.0).await;
    write_f(&*storage, "g").await.unwrap();
    for (key, kind) in [
        ("kenning:{default}:fact:f", "hash"),
        ("kenning:{default}:fact:g", "hash"),
        ("kenning:{default}:order", "zset"),
        ("kenning:{default}:pending", "zset"),
        ("kenning:{default}:vector:f", "hash"),
        ("kenning:{default}:revision", "string"),
        ("kenning:{default}:bytes", "string"),
        ("kenning:{default}:stream", "stream"),
        ("kenning:tenants", "set"),
        ("kenning:control:{control}:format", "string"),
    ] {
        assert_eq!(server.command(&["TYPE", key]), format!("+{kind}\r\n"), "{key}");
    }
    assert_eq!(server.command(&["DBSIZE"]), ":10\r\n");
    let fields = server.command(&["HGETALL", "kenning:{default}:fact:f"]);
    assert_eq!(fields, "*2\r\n$7\r\ncontent\r\n$1\r\nf\r\n");
}

#[tokio::test]
async fn a_key_of_another_type_is_no_fact_and_left_unchanged() {
    let server = RedisServer::start();
    let storage = connect(&server.url()).await;
    server.command(&["SET", "kenning:{default}:fact:f", "text"]);
    assert_eq!(get(&*storage, "f").await, None);
    assert_eq!(write_f(&*storage, "f").await, Ok(false));
    let change = storage.write(&default_tenant(), &[present("f", &[("a", "b")])], later()).await;
    assert_eq!(change, Ok(vec![None]));
    assert_eq!(delete(&*storage, "f").await, None);
    assert_eq!(server.command(&["GET", "kenning:{default}:fact:f"]), "$4\r\ntext\r\n");

    let batch = [absent("f", 1), absent("g", 2)];
    let mixed = storage.write(&default_tenant(), &batch, later()).await.unwrap();
    assert!(mixed[0].is_none() && mixed[1].is_some(), "{mixed:?}");
    let read = storage.read(&default_tenant(), &ids(&["f", "g"]), PLENTY, later()).await;
    assert_eq!(read, Ok(vec![None, Some(hash(&[("content", "g")]))]));
    assert_eq!(list(&*storage).await, ["g"]);
}

#[tokio::test]
async fn rows_that_another_program_added_hide_no_others() {
    let server = RedisServer::start();
    let storage = connect(&server.url()).await;
    put(&*storage, &[("a", 10), ("b", 20), ("c", 30)]).await;
    for (key, rows) in [("order", 5..45), ("pending", 0..40)] {
        for n in rows {
            let key = format!("kenning:{{default}}:{key}");
            server.command(&["ZADD", &key, &n.to_string(), &format!("no id: {n}")]);
        }
    }
    server.command(&["SADD", "kenning:tenants", "no name: at all"]);
    for limit in [1, 2, 3, 1_000] {
        assert_eq!(list_from(&*storage, None, limit).await, ["c", "b", "a"], "{limit}");
    }
    let first = storage.pending(&default_tenant(), None, 1, later()).await.unwrap();
    assert_eq!(first.len(), 1);
    assert_eq!(pending(&*storage).await.len(), 3);
    assert_eq!(storage.tenants(later()).await, Ok(vec![default_tenant()]));
}

#[tokio::test]
async fn facts_that_redis_lost_are_removed_from_the_listing() {
    let server = RedisServer::start();
    let storage = connect(&server.url()).await;
    let revisions = put(&*storage, &[("a", 1), ("b", 2), ("c", 3)]).await;
    server.command(&["DEL", "kenning:{default}:fact:b"]);
    server.command(&["SET", "kenning:{default}:fact:c", "text"]);
    let lost = storage.remove_lost(&default_tenant(), &ids(&["a", "b", "c", "d"]), later()).await;
    let lost = lost.unwrap();
    assert!(lost.len() == 1 && lost[0].0 == id("b") && lost[0].1 > revisions[2], "{lost:?}");
    assert_eq!(list(&*storage).await, ["c", "a"]);
    assert_eq!(storage.count(&default_tenant(), later()).await, Ok(2));
    assert!(pending(&*storage).await.iter().all(|(id, _)| id != "b"));
    assert_eq!(storage.remove_all_lost(&default_tenant(), later()).await, Ok(vec![]));
}

#[tokio::test]
async fn a_full_redis_refuses_whole_writes_and_allows_deletions() {
    let server = RedisServer::start();
    let storage = connect(&server.url()).await;
    assert_eq!(write_f(&*storage, "f").await, Ok(true));
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    assert!(unavailable(write_f(&*storage, "g").await).contains("out of memory"));
    assert_eq!(get(&*storage, "g").await, None);
    assert_eq!(list(&*storage).await, ["f"]);
    assert!(delete(&*storage, "f").await.is_some());
    server.command(&["CONFIG", "SET", "maxmemory", "0"]);
    assert_eq!(write_f(&*storage, "g").await, Ok(true));
}

#[tokio::test]
async fn a_replica_allows_reads_and_refuses_writes() {
    let server = RedisServer::start();
    let storage = connect(&server.url()).await;
    assert_eq!(write_f(&*storage, "f").await, Ok(true));
    server.command(&["REPLICAOF", "127.0.0.1", &free_port().to_string()]);
    assert!(unavailable(write_f(&*storage, "g").await).contains("read-only replica"));
    assert_eq!(read(&*storage).await, Ok(1));
    assert_eq!(list_from(&*storage, None, 1).await, ["f"]);
}

#[tokio::test]
async fn scripts_that_redis_lost_are_sent_again() {
    let server = RedisServer::start();
    let storage = connect(&server.url()).await;
    assert_eq!(write_f(&*storage, "f").await, Ok(true));
    server.command(&["SCRIPT", "FLUSH"]);
    assert_eq!(write_f(&*storage, "f").await, Ok(false));
    server.command(&["SCRIPT", "FLUSH"]);
    assert_eq!(read(&*storage).await, Ok(1));
    server.command(&["SCRIPT", "FLUSH"]);
    assert!(delete(&*storage, "f").await.is_some());
}

/// A proxy that can drop the state of its connections, as a firewall does: data sent on them
/// vanishes and nothing is closed. New connections work.
struct DroppingProxy {
    port: u16,
    epoch: tokio::sync::watch::Sender<u64>,
}

impl DroppingProxy {
    async fn start(to: u16) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (epoch, epochs) = tokio::sync::watch::channel(0);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(carry(near, to, epochs.clone()));
            }
        });
        Self { port, epoch }
    }

    fn drop_connections(&self) {
        self.epoch.send_modify(|epoch| *epoch += 1);
    }
}

async fn carry(
    mut near: tokio::net::TcpStream,
    to: u16,
    mut epochs: tokio::sync::watch::Receiver<u64>,
) {
    epochs.mark_unchanged();
    let mut far = tokio::net::TcpStream::connect(("127.0.0.1", to)).await.unwrap();
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => return,
        dropped = epochs.changed() => {
            // The test is over.
            if dropped.is_err() { return }
        }
    }
    // Both ends stay open, and arriving data is not even read.
    std::future::pending::<()>().await;
}

/// Each key that a write changes besides the fact itself, replaced by another program.
#[tokio::test]
async fn a_key_of_kennings_with_another_type_is_named_and_nothing_is_written() {
    let server = RedisServer::start();
    let storage = connect(&server.url()).await;
    let own = |name: &str| format!("kenning:{{default}}:{name}");
    let keys = [own("order"), own("pending"), own("revision"), own("bytes"), TENANTS.to_owned()];
    write_f(&*storage, "f").await.unwrap();
    for key in &keys {
        server.command(&["RENAME", key, "kept"]);
        server.command(&["SET", key, "another program's"]);
        let refused = write_f(&*storage, "g").await;
        let Err(StorageError::Refused(message)) = refused else { panic!("{key}: {refused:?}") };
        assert!(message.contains(&format!("the key {key} is a string")), "{message}");
        assert_eq!(server.command(&["EXISTS", &own("fact:g")]), ":0\r\n", "{key}");
        let refused = storage.delete(&default_tenant(), &id("f"), later()).await;
        // A deletion does not change the set of tenants.
        if key == TENANTS {
            write_f(&*storage, "f").await.unwrap_err();
            storage.tenants(later()).await.unwrap_err();
            assert!(matches!(storage.ping(later()).await, Err(StorageError::Refused(_))));
        } else {
            assert!(matches!(refused, Err(StorageError::Refused(_))), "{key}: {refused:?}");
            assert_eq!(server.command(&["EXISTS", &own("fact:f")]), ":1\r\n", "{key}");
        }
        let tls = TlsFiles::default();
        let report = kenning_storage::verify(&server.url(), Layout::Tenant, &tls).await.unwrap();
        assert_eq!(report.found, 1, "{report:?}");
        assert!(report.damage[0].contains(&format!("the key {key} is a string")), "{report:?}");
        server.command(&["RENAME", "kept", key]);
    }
    assert!(write_f(&*storage, "g").await.unwrap());
}
