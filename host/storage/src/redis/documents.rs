//! Documents in Redis.
//!
//! A document is a hash. The bytes of a large one are in separate pieces, written before the hash
//! and read after it, so that no step transfers more than one piece. Each write has its own pieces;
//! the hash names those of the last write, and pieces that no document names expire.

use std::time::Instant;

use async_trait::async_trait;
use redis::Cmd;

use super::keys::{
    DOCUMENT_NAMES, DOCUMENT_TOKENS, DOCUMENT_VERSIONS, DOCUMENTS_REVISION, document, piece,
    pieces_prefix,
};
use super::pool::{Effect, Size};
use super::replies::{self, DocumentHead};
use super::{Redis, scripts};
use crate::limits::{DOCUMENT_CHUNK, check_document, check_document_read};
use crate::{Document, DocumentName, DocumentStorage, StorageError};

/// When a piece expires that no document names, in seconds: far longer than writing one can take.
const PIECE_EXPIRY: u64 = 3_600;

#[async_trait]
impl DocumentStorage for Redis {
    async fn read_document(
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
            // Either the document was overwritten meanwhile and the next attempt reads the new
            // version, or it is damaged.
            if missed == Some(head.version) {
                return Err(StorageError::Corrupt("a document with missing pieces".into()));
            }
            missed = Some(head.version);
        }
    }

    async fn write_document(
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
            let token = self.token(end).await.map_err(nothing_changed)?;
            for (chunk, n) in bytes.chunks(DOCUMENT_CHUNK).zip(1..) {
                let key = piece(name, &token, n);
                self.write_piece(&key, chunk, end).await.map_err(nothing_changed)?;
                keys.push(key);
            }
            last = token.into_bytes();
        }
        let mut call = scripts::WRITE_DOCUMENT.call(&keys);
        call.arg(name.as_str()).arg(version_arg(expected)).arg(pieces_prefix(name));
        call.arg(bytes.len()).arg(last);
        let kind = (Size::Bulk, Effect::Write);
        let values = self.run_script(&scripts::WRITE_DOCUMENT, vec![call], kind, end).await?;
        replies::one(values)
    }

    async fn delete_document(
        &self,
        name: &DocumentName,
        expected: u64,
        deadline: Instant,
    ) -> Result<bool, StorageError> {
        let call = delete_call(name, expected);
        let kind = (Size::Small, Effect::Write);
        let values = self.run_script(&scripts::DELETE_DOCUMENT, vec![call], kind, deadline).await?;
        Ok(replies::one::<u64>(values)? == 1)
    }

    async fn list_documents(
        &self,
        prefix: &str,
        deadline: Instant,
    ) -> Result<Vec<(DocumentName, u64)>, StorageError> {
        let mut call = scripts::LIST_DOCUMENTS.call(&[DOCUMENT_NAMES, DOCUMENT_VERSIONS]);
        call.arg(prefix);
        let kind = (Size::Bulk, Effect::Read);
        let values = self.run_script(&scripts::LIST_DOCUMENTS, vec![call], kind, deadline).await?;
        replies::documents(replies::one(values)?)
    }

    async fn documents_revision(&self, deadline: Instant) -> Result<u64, StorageError> {
        let mut command = redis::cmd("GET");
        command.arg(DOCUMENTS_REVISION);
        let values = self.read_with(&[command], Size::Small, deadline).await?;
        Ok(replies::one::<Option<u64>>(values)?.unwrap_or_default())
    }
}

impl Redis {
    /// Reads a document's hash.
    async fn head(
        &self,
        name: &DocumentName,
        end: Instant,
    ) -> Result<Option<DocumentHead>, StorageError> {
        let mut read = redis::cmd("HMGET");
        read.arg(document(name)).arg(&["version", "length", "pieces", "token", "bytes"]);
        replies::document_head(replies::one(self.read_with(&[read], Size::Bulk, end).await?)?)
    }

    /// Reads the pieces that `head` names; `None` if some are missing.
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
            match replies::one::<Option<Vec<u8>>>(values)? {
                Some(piece) => bytes.extend_from_slice(&piece),
                None => return Ok(None),
            }
        }
        Ok((bytes.len() as u64 == head.length).then_some(bytes))
    }

    /// A token that distinguishes the pieces of this write from those of every other.
    async fn token(&self, end: Instant) -> Result<String, StorageError> {
        let mut next = redis::cmd("INCR");
        next.arg(DOCUMENT_TOKENS);
        replies::one::<u64>(self.send(&[next], (Size::Small, Effect::Write), end).await?)
            .map(|token| token.to_string())
    }

    async fn write_piece(&self, key: &str, chunk: &[u8], end: Instant) -> Result<(), StorageError> {
        let mut write = redis::cmd("SET");
        write.arg(key).arg(chunk).arg("EX").arg(PIECE_EXPIRY);
        replies::one(self.send(&[write], (Size::Bulk, Effect::Write), end).await?)
    }
}

/// The call that deletes a document of version `expected`.
fn delete_call(name: &DocumentName, expected: u64) -> Cmd {
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

/// Whether or not a piece was written, no document has changed yet.
fn nothing_changed(error: StorageError) -> StorageError {
    match error {
        StorageError::Timeout { .. } => StorageError::Timeout { outcome_unknown: false },
        StorageError::ReplyLost(reason) => StorageError::Unavailable(reason),
        error => error,
    }
}
