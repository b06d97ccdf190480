//! The embedded backend alone: its file, the lock on it, and the queue of its writer.

use std::sync::Arc;

use kenning_storage::{Layout, OpenError, Storage, StorageLimits, TlsFiles, open};

use crate::backends::{Backend, Embedded};
use crate::tools::*;

async fn try_open(url: &str) -> Result<Arc<dyn Storage>, OpenError> {
    open(url, Layout::Tenant, StorageLimits::default()).await
}

#[tokio::test]
async fn a_directory_in_use_is_refused_until_it_is_closed() {
    let backend = Embedded::new();
    let storage = backend.open().await;
    let second = try_open(&backend.url()).await.map(|_| ()).unwrap_err();
    assert!(matches!(second, OpenError::InUse(_)), "{second}");
    assert!(second.to_string().contains("in use by another process"), "{second}");
    storage.close().await;
    try_open(&backend.url()).await.unwrap();
}

#[tokio::test]
async fn a_missing_directory_is_created() {
    let dir = tempfile::tempdir().unwrap();
    let deep = dir.path().join("a/b");
    try_open(&format!("embedded:{}", deep.display())).await.unwrap();
    assert!(deep.join("facts.redb").is_file());
}

#[tokio::test]
async fn a_file_of_another_format_is_refused_and_left_unchanged() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("facts.redb");
    std::fs::write(&file, "something else".repeat(1_000)).unwrap();
    let url = format!("embedded:{}", dir.path().display());
    let error = try_open(&url).await.map(|_| ()).unwrap_err();
    assert!(matches!(error, OpenError::File { .. }), "{error}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "something else".repeat(1_000));
}

/// What a copy has of a file whose beginning was read before it was changed and the rest after, or
/// the other way round.
#[tokio::test]
async fn a_copy_that_changes_tore_is_refused_and_names_the_command() {
    let backend = Embedded::new();
    let storage = backend.open().await;
    put(&*storage, &[("first", 1)]).await;
    storage.close().await;
    let storage = backend.open().await;
    let file = backend.url().replacen("embedded:", "", 1) + "/facts.redb";
    let before = std::fs::read(&file).unwrap();
    for n in 0..60 {
        write_one(&*storage, absent(&format!("f{n}"), n)).await.unwrap();
    }
    let after = std::fs::read(&file).unwrap();
    for (beginning, rest) in [(&before, &after), (&after, &before)] {
        let dir = tempfile::tempdir().unwrap();
        let mut torn = beginning[..4_096].to_vec();
        torn.extend_from_slice(&rest[4_096..]);
        torn.resize(beginning.len(), 0);
        std::fs::write(dir.path().join("facts.redb"), torn).unwrap();
        let url = format!("embedded:{}", dir.path().display());
        let error = try_open(&url).await.map(|_| ()).unwrap_err();
        assert!(matches!(error, OpenError::File { .. }), "{error}");
        assert!(error.to_string().contains("`kenning backup`"), "{error}");
    }
    storage.close().await;
}

/// To take it for a new database would be to start without the facts that were there.
#[tokio::test]
async fn an_empty_file_is_refused_and_left_unchanged() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("facts.redb");
    std::fs::write(&file, "").unwrap();
    let url = format!("embedded:{}", dir.path().display());
    for error in [
        try_open(&url).await.map(|_| ()).unwrap_err(),
        kenning_storage::check(&url, Layout::Tenant, &TlsFiles::default()).await.unwrap_err(),
    ] {
        assert!(error.to_string().contains("0 bytes"), "{error}");
    }
    let report = kenning_storage::verify(&url, Layout::Tenant, &TlsFiles::default()).await.unwrap();
    assert!(!report.is_intact() && report.damage[0].contains("0 bytes"), "{report:?}");
    assert_eq!(std::fs::metadata(&file).unwrap().len(), 0);
    std::fs::remove_file(&file).unwrap();
    try_open(&url).await.unwrap();
}

#[tokio::test]
async fn only_this_user_can_read_the_file_and_its_directory() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let (facts, url) =
        (dir.path().join("facts"), format!("embedded:{}", dir.path().join("facts").display()));
    let mode =
        |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let set = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    for loosen in [false, true] {
        if loosen {
            set(&facts, 0o755);
            set(&facts.join("facts.redb"), 0o644);
        }
        let storage = try_open(&url).await.unwrap();
        assert_eq!((mode(&facts), mode(&facts.join("facts.redb"))), (0o700, 0o600));
        storage.close().await;
    }
}

#[tokio::test]
async fn a_path_that_is_not_a_directory_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = try_open(&format!("embedded:{}", file.path().display())).await;
    let error = error.map(|_| ()).unwrap_err();
    assert!(matches!(error, OpenError::File { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_writers_than_the_queue_holds_all_succeed() {
    let limits = StorageLimits { queued_writes: 2, commit_jobs: 3, ..StorageLimits::default() };
    all_writes_succeed(limits).await;
}

/// Includes writes that are each larger than the queue.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_bytes_than_the_queue_holds_are_all_written() {
    all_writes_succeed(StorageLimits { queued_bytes: 1, ..StorageLimits::default() }).await;
}

async fn all_writes_succeed(limits: StorageLimits) {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("embedded:{}", dir.path().display());
    let storage = open(&url, Layout::Tenant, limits).await.unwrap();
    let write = |n: u64| {
        let storage = Arc::clone(&storage);
        async move { write_one(&*storage, absent(&format!("f{n}"), n)).await }
    };
    let done = futures::future::join_all((0..64).map(write)).await;
    assert!(done.iter().all(Option::is_some));
    assert_eq!(storage.count(&default_tenant(), later()).await, Ok(64));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_queued_before_closing_are_performed() {
    let backend = Embedded::new();
    let storage = backend.open().await;
    let mut writers = Vec::new();
    for n in 0..64 {
        let storage = Arc::clone(&storage);
        writers.push(tokio::spawn(async move {
            let name = format!("f{n}");
            let done = storage.write(&default_tenant(), &[absent(&name, n)], later()).await;
            (name, done)
        }));
    }
    storage.close().await;
    let mut acknowledged = Vec::new();
    for writer in writers {
        let (name, done) = writer.await.unwrap();
        match done {
            Ok(_) => acknowledged.push(name),
            refused => assert!(unavailable(refused).contains("closed")),
        }
    }
    let storage = backend.open().await;
    let mut listed = list(&*storage).await;
    listed.sort();
    acknowledged.sort();
    assert_eq!(listed, acknowledged);
}
