//! Documents in Redis.
//!
//! A document is a hash. One that is larger than a piece has its bytes in pieces beside it, written
//! before it and read after it, so that no step moves more than a piece. Pieces belong to one
//! write: a document names those of its last, and those that no document came to name expire.

use std::time::Instant;

use redis::Cmd;

use super::Redis;
use super::answers::{self, DocumentHead};
use super::connection::{Effect, Size};
use super::keys::{
    DOCUMENT_NAMES, DOCUMENT_TOKENS, DOCUMENT_VERSIONS, DOCUMENTS_REVISION, document, piece,
    pieces_prefix,
};
use super::scripts;
use crate::limits::{DOCUMENT_CHUNK, check_document, check_document_read};
use crate::{Document, DocumentName, StorageError};

/// How long pieces wait for their document, in seconds: far longer than writing it can take.
const PIECE_LIFE: u64 = 3_600;

impl Redis {
    pub(super) async fn read_document_whole(
        &self,
        name: &DocumentName,
        max_bytes: usize,
        deadline: Instant,
    ) -> Result<Option<Document>, StorageError> {
        let end = self.limits.document_end(deadline)?;
        let mut missed = None;
        loop {
            let Some(head) = self.head(name, end).await? else { return Ok(None) };
            check_document_read(head.length, max_bytes)?;
            if head.pieces == 0 {
                return Ok(Some(Document { version: head.version, bytes: head.bytes }));
            }
            if let Some(bytes) = self.pieces(name, &head, end).await? {
                return Ok(Some(Document { version: head.version, bytes }));
            }
            // Written anew meanwhile, and the new one is read, or damaged.
            if missed == Some(head.version) {
                return Err(StorageError::Corrupt("a document without all of its pieces".into()));
            }
            missed = Some(head.version);
        }
    }

    async fn head(
        &self,
        name: &DocumentName,
        end: Instant,
    ) -> Result<Option<DocumentHead>, StorageError> {
        let mut read = redis::cmd("HMGET");
        read.arg(document(name)).arg(&["version", "length", "pieces", "token", "bytes"]);
        answers::document_head(answers::one(self.read_with(&[read], Size::Bulk, end).await?)?)
    }

    /// The bytes that `head` stands for; `None` if they are not all there.
    async fn pieces(
        &self,
        name: &DocumentName,
        head: &DocumentHead,
        end: Instant,
    ) -> Result<Option<Vec<u8>>, StorageError> {
        let mut bytes = Vec::new();
        for n in 1..=head.pieces {
            let mut read = redis::cmd("GET");
            read.arg(piece(name, &head.token, n));
            let values = self.read_with(&[read], Size::Bulk, end).await?;
            match answers::one::<Option<Vec<u8>>>(values)? {
                Some(piece) => bytes.extend_from_slice(&piece),
                None => return Ok(None),
            }
        }
        Ok((bytes.len() as u64 == head.length).then_some(bytes))
    }

    pub(super) async fn write_document_whole(
        &self,
        name: &DocumentName,
        bytes: &[u8],
        expected: Option<u64>,
        deadline: Instant,
    ) -> Result<Option<u64>, StorageError> {
        check_document(bytes.len())?;
        let end = self.limits.document_end(deadline)?;
        let mut keys = vec![
            document(name),
            DOCUMENT_NAMES.to_owned(),
            DOCUMENT_VERSIONS.to_owned(),
            DOCUMENTS_REVISION.to_owned(),
        ];
        let mut last = bytes.to_vec();
        if bytes.len() > DOCUMENT_CHUNK {
            let token = self.token(end).await.map_err(nothing_yet)?;
            for (chunk, n) in bytes.chunks(DOCUMENT_CHUNK).zip(1..) {
                let key = piece(name, &token, n);
                self.write_piece(&key, chunk, end).await.map_err(nothing_yet)?;
                keys.push(key);
            }
            last = token.into_bytes();
        }
        let mut call = scripts::WRITE_DOCUMENT.call(&keys);
        call.arg(name.as_str()).arg(version_arg(expected)).arg(pieces_prefix(name));
        call.arg(bytes.len()).arg(last);
        let kind = (Size::Bulk, Effect::Write);
        let values = self.run_script(&scripts::WRITE_DOCUMENT, vec![call], kind, end).await?;
        answers::one(values)
    }

    /// Names one write's pieces apart from every other's.
    async fn token(&self, end: Instant) -> Result<String, StorageError> {
        let mut next = redis::cmd("INCR");
        next.arg(DOCUMENT_TOKENS);
        answers::one::<u64>(self.send(&[next], (Size::Small, Effect::Write), end).await?)
            .map(|token| token.to_string())
    }

    async fn write_piece(&self, key: &str, chunk: &[u8], end: Instant) -> Result<(), StorageError> {
        let mut write = redis::cmd("SET");
        write.arg(key).arg(chunk).arg("EX").arg(PIECE_LIFE);
        answers::one(self.send(&[write], (Size::Bulk, Effect::Write), end).await?)
    }
}

/// The call that deletes the document of that version.
pub(super) fn delete_call(name: &DocumentName, expected: u64) -> Cmd {
    let mut call = scripts::DELETE_DOCUMENT.call(&[
        document(name),
        DOCUMENT_NAMES.to_owned(),
        DOCUMENT_VERSIONS.to_owned(),
        DOCUMENTS_REVISION.to_owned(),
    ]);
    call.arg(name.as_str()).arg(expected).arg(pieces_prefix(name));
    call
}

fn version_arg(expected: Option<u64>) -> String {
    expected.map(|version| version.to_string()).unwrap_or_default()
}

/// A piece that may or may not have been written changed no document.
fn nothing_yet(error: StorageError) -> StorageError {
    match error {
        StorageError::Timeout { .. } => StorageError::Timeout { wrote: false },
        error => error,
    }
}
