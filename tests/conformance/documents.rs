//! Documents: versions, listing, sizes, and how other hosts notice changes.

use std::sync::Arc;

use kenning_storage::{Document, DocumentName, Storage, StorageError};

use crate::backends::Backend;
use crate::tools::*;

fn name(name: &str) -> DocumentName {
    DocumentName::parse(name).unwrap()
}

async fn save(storage: &dyn Storage, at: &str, bytes: &[u8], expected: Option<u64>) -> Option<u64> {
    storage.write_document(&name(at), bytes, expected, later()).await.unwrap()
}

async fn load(storage: &dyn Storage, at: &str) -> Option<Document> {
    storage.read_document(&name(at), usize::MAX, later()).await.unwrap()
}

async fn revision(storage: &dyn Storage) -> u64 {
    storage.documents_revision(later()).await.unwrap()
}

/// Larger than a piece and not a multiple of one; no two neighbouring bytes are equal.
fn large(salt: u8) -> Vec<u8> {
    (0..9_000_001_u32).map(|n| (n % 251) as u8 ^ salt).collect()
}

pub(crate) async fn a_document_is_read_as_it_was_written(backend: &mut impl Backend) {
    let storage = backend.open().await;
    assert_eq!(load(&*storage, "a").await, None);
    for (at, bytes) in [("a", b"\0\xff\r\n".to_vec()), ("empty", vec![]), ("b/c:d", large(0))] {
        let version = save(&*storage, at, &bytes, None).await.expect(at);
        assert!(load(&*storage, at).await == Some(Document { version, bytes }), "{at}");
    }
}

pub(crate) async fn a_document_is_written_only_over_the_expected_version(
    backend: &mut impl Backend,
) {
    let storage = backend.open().await;
    assert_eq!(save(&*storage, "a", b"0", Some(1)).await, None);
    let first = save(&*storage, "a", b"1", None).await.unwrap();
    assert_eq!(save(&*storage, "a", b"2", None).await, None);
    assert_eq!(save(&*storage, "a", b"2", Some(first + 1)).await, None);
    assert_eq!(load(&*storage, "a").await.unwrap().bytes, b"1");
    let second = save(&*storage, "a", b"2", Some(first)).await.unwrap();
    assert!(second > first);
    assert_eq!(load(&*storage, "a").await, Some(Document { version: second, bytes: b"2".into() }));
}

pub(crate) async fn a_version_is_never_reused(backend: &mut impl Backend) {
    let storage = backend.open().await;
    let first = save(&*storage, "a", b"1", None).await.unwrap();
    let delete = |version| {
        let storage = Arc::clone(&storage);
        async move { storage.delete_document(&name("a"), version, later()).await.unwrap() }
    };
    assert!(!delete(first + 1).await);
    assert!(delete(first).await);
    assert!(!delete(first).await, "it is deleted already");
    assert_eq!(load(&*storage, "a").await, None);
    let second = save(&*storage, "a", b"2", None).await.unwrap();
    assert!(second > first);
    assert!(!delete(first).await, "it is another document now");
    assert_eq!(load(&*storage, "a").await.unwrap().bytes, b"2");
}

pub(crate) async fn of_concurrent_writers_of_one_version_exactly_one_wins(
    backend: &mut impl Backend,
) {
    let storage = backend.open().await;
    let before = save(&*storage, "a", b"before", None).await;
    let writers: Vec<_> = (0..16_u8)
        .map(|n| {
            let storage = Arc::clone(&storage);
            tokio::spawn(async move { (save(&*storage, "a", &[n], before).await, n) })
        })
        .collect();
    let mut winners = Vec::new();
    for writer in writers {
        let (version, n) = writer.await.unwrap();
        winners.extend(version.map(|version| Document { version, bytes: vec![n] }));
    }
    assert_eq!(winners.len(), 1);
    assert_eq!(load(&*storage, "a").await.as_ref(), winners.first());
}

pub(crate) async fn documents_are_listed_by_prefix(backend: &mut impl Backend) {
    let storage = backend.open().await;
    let mut versions = Vec::new();
    for at in ["t/b", "t/a", "t", "u/a", "T/z", "t/", "t-x"] {
        versions.push((name(at), save(&*storage, at, b"x", None).await.unwrap()));
    }
    let listed = async |prefix: &str| storage.list_documents(prefix, later()).await.unwrap();
    let expected = [&versions[5], &versions[1], &versions[0]];
    assert_eq!(listed("t/").await.iter().collect::<Vec<_>>(), expected);
    assert_eq!(listed("nothing").await, []);
    assert_eq!(listed("").await.len(), versions.len());
    assert!(storage.delete_document(&name("t/a"), versions[1].1, later()).await.unwrap());
    assert_eq!(listed("t/a").await, []);
}

pub(crate) async fn the_revision_grows_with_changes_only(backend: &mut impl Backend) {
    let storage = backend.open().await;
    let begin = revision(&*storage).await;
    let version = save(&*storage, "a", b"1", None).await.unwrap();
    let written = revision(&*storage).await;
    assert!(written > begin);
    assert_eq!(save(&*storage, "a", b"2", None).await, None);
    assert!(!storage.delete_document(&name("b"), version, later()).await.unwrap());
    put(&*storage, &[("fact", 1)]).await;
    assert_eq!(revision(&*storage).await, written);
    assert!(storage.delete_document(&name("a"), version, later()).await.unwrap());
    assert!(revision(&*storage).await > written);
}

pub(crate) async fn document_bytes_obeyed_and_violated(backend: &mut impl Backend) {
    let storage = backend.open().await;
    for (at, bytes) in [("small", vec![7; 100]), ("large", large(1))] {
        let used = bytes.len();
        save(&*storage, at, &bytes, None).await.unwrap();
        let at = name(at);
        let read = |most| storage.read_document(&at, most, later());
        assert!(read(used).await.unwrap().is_some_and(|document| document.bytes == bytes));
        let (allowed, used) = (used as u64 - 1, used as u64);
        let too_large = StorageError::TooLarge { limit: "document-bytes", allowed, used };
        assert_eq!(read(bytes.len() - 1).await, Err(too_large));
    }
    let bytes = vec![0; (64 << 20) + 1];
    let write = storage.write_document(&name("huge"), &bytes, None, later()).await;
    assert!(matches!(write, Err(StorageError::TooLarge { limit: "document-bytes", .. })));
    assert_eq!(load(&*storage, "huge").await, None);
}

pub(crate) async fn a_document_being_replaced_is_read_as_old_or_new_never_mixed(
    backend: &mut impl Backend,
) {
    let storage = backend.open().await;
    let documents = [large(1), large(2)];
    let mut version = save(&*storage, "a", &documents[0], None).await;
    let reader = tokio::spawn({
        let (storage, documents) = (Arc::clone(&storage), documents.clone());
        async move {
            let mut newest = 0;
            while newest < 5 {
                let read = load(&*storage, "a").await.unwrap();
                assert!(documents.contains(&read.bytes), "a mix of two writes");
                assert!(read.version >= newest);
                newest = read.version;
            }
        }
    });
    for n in 1..5 {
        version = save(&*storage, "a", &documents[n % 2], version).await;
        assert!(version.is_some());
    }
    reader.await.unwrap();
}

pub(crate) async fn documents_survive_closing_and_opening(backend: &mut impl Backend) {
    let storage = backend.open().await;
    let version = save(&*storage, "a", &large(3), None).await.unwrap();
    let before = revision(&*storage).await;
    storage.close().await;
    drop(storage);
    let storage = backend.open().await;
    assert!(load(&*storage, "a").await == Some(Document { version, bytes: large(3) }));
    assert_eq!(revision(&*storage).await, before);
    assert!(save(&*storage, "b", b"x", None).await.unwrap() > version);
}
