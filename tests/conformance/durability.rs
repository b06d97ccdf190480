//! Durability after closing and after a crash.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use kenning_storage::testing::RedisServer;
use kenning_storage::{Layout, Storage, StorageLimits, open};
use tokio::sync::mpsc;

use crate::backends::Backend;
use crate::tools::*;

/// The acknowledgements to wait for before the crash.
const BEFORE_THE_CRASH: usize = 200;

/// The environment variable with the child's storage address.
const CHILD_URL: &str = "KENNING_STORAGE_TEST_CHILD_URL";

pub(crate) async fn acknowledged_writes_survive_a_crash(backend: &mut impl Backend) {
    let acknowledged = backend.crash_while_writing().await;
    assert!(acknowledged.len() >= BEFORE_THE_CRASH);
    let storage = backend.open().await;
    eventually("service after a crash", || storage.ping(later()), Result::is_ok).await;
    for name in &acknowledged {
        assert_eq!(get(&*storage, name).await, Some(hash(&[("content", name)])), "lost: {name}");
    }
    // What was not acknowledged exists either with all that belongs to it or not at all.
    let mut listed = list(&*storage).await;
    let mut waiting: Vec<String> = pending(&*storage).await.into_iter().map(|p| p.0).collect();
    for name in &listed {
        assert_eq!(get(&*storage, name).await, Some(hash(&[("content", name)])), "torn: {name}");
    }
    assert_eq!(storage.count(&default_tenant(), later()).await, Ok(listed.len() as u64));
    listed.sort();
    waiting.sort();
    assert_eq!(listed, waiting);
}

pub(crate) async fn everything_survives_closing_and_opening(backend: &mut impl Backend) {
    let storage = backend.open().await;
    let revisions = put(&*storage, &[("a", 1), ("b", 2), ("c", 3)]).await;
    put_vector(&*storage, "a", revisions[0], 1.0).await;
    delete(&*storage, "c").await.unwrap();
    storage.close().await;
    drop(storage);

    let storage = backend.open().await;
    assert_eq!(list(&*storage).await, ["b", "a"]);
    assert_eq!(get(&*storage, "b").await, Some(hash(&[("content", "b")])));
    assert_eq!(read_vector(&*storage, "a").await, Some(vector(1.0)));
    assert_eq!(pending(&*storage).await, [("b".to_owned(), revisions[1])]);
    assert_eq!(storage.tenants(later()).await, Ok(vec![default_tenant()]));
    let next = write_one(&*storage, absent("d", 4)).await.unwrap();
    assert!(next.0 > revisions[2].0 + 1, "the deletion had a revision, too");
}

pub(crate) async fn a_closed_storage_is_unavailable(backend: &mut impl Backend) {
    let storage = backend.open().await;
    put(&*storage, &[("a", 1)]).await;
    storage.close().await;
    storage.close().await;
    let read = storage.read(&default_tenant(), &[id("a")], PLENTY, later()).await;
    assert!(unavailable(read).contains("closed"));
    let write = storage.write(&default_tenant(), &[absent("b", 1)], later()).await;
    assert!(unavailable(write).contains("closed"));
}

pub(crate) async fn a_storage_answers_pings_and_describes_itself(backend: &mut impl Backend) {
    let storage = backend.open().await;
    assert_eq!(storage.ping(later()).await, Ok(()));
    assert_eq!(storage.describe().backend, backend.kind());
}

/// Writes as fast as possible from eight tasks until a write fails, and sends the ids of the
/// acknowledged writes.
fn write_on(storage: Arc<dyn Storage>) -> mpsc::UnboundedReceiver<String> {
    let (acknowledge, acknowledged) = mpsc::unbounded_channel();
    for task in 0..8 {
        let (storage, acknowledge) = (Arc::clone(&storage), acknowledge.clone());
        tokio::spawn(async move {
            for n in 0.. {
                let name = format!("f-{task}-{n}");
                let done = storage.write(&default_tenant(), &[absent(&name, n)], later()).await;
                if done.is_err() || acknowledge.send(name).is_err() {
                    return;
                }
            }
        });
    }
    acknowledged
}

pub(crate) async fn crash_a_server(
    storage: Arc<dyn Storage>,
    server: &mut RedisServer,
) -> Vec<String> {
    let mut acknowledgements = write_on(storage);
    let mut acknowledged = Vec::new();
    while acknowledged.len() < BEFORE_THE_CRASH {
        acknowledged.push(acknowledgements.recv().await.expect("writes continue until the crash"));
    }
    server.kill();
    while let Some(name) = acknowledgements.recv().await {
        acknowledged.push(name);
    }
    server.restart();
    acknowledged
}

pub(crate) async fn crash_a_child(url: &str) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "durability::child_that_writes_until_it_is_killed"])
        .args(["--ignored", "--nocapture"])
        .env(CHILD_URL, url)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let read = tokio::task::spawn_blocking(move || {
        let mut acknowledged = Vec::new();
        for line in output.lines().map_while(Result::ok) {
            // The test runner's output may precede the first of our lines.
            let name =
                line.split_once("acknowledged ").and_then(|(_, rest)| rest.strip_suffix('.'));
            acknowledged.extend(name.map(str::to_owned));
            if acknowledged.len() == BEFORE_THE_CRASH {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        acknowledged
    });
    tokio::time::timeout(Duration::from_secs(60), read).await.expect("a child that writes").unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "not a test: what `crash_a_child` runs and kills"]
async fn child_that_writes_until_it_is_killed() {
    use std::io::Write;
    let url = std::env::var(CHILD_URL).expect("set by crash_a_child");
    let storage = open(&url, Layout::Tenant, StorageLimits::default()).await.unwrap();
    let mut acknowledged = write_on(storage);
    while let Some(name) = acknowledged.recv().await {
        // A single write, so that only the last line can be incomplete when the kill comes.
        let line = format!("acknowledged {name}.\n");
        std::io::stdout().write_all(line.as_bytes()).unwrap();
    }
}
