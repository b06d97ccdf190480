//! Documents: what operators decided, apart from every tenant's facts.

use std::time::Instant;

use async_trait::async_trait;

use crate::{DocumentName, StorageError};

/// A document as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Grows with each write of the document and is never reused, not even by a later document of
    /// the same name.
    pub version: u64,
    /// The content.
    pub bytes: Vec<u8>,
}

/// The documents of the control plane: tenants, keys, components and their settings.
///
/// Documents belong to no tenant and are seen by every host on the same storage.
///
/// **Ordering.** All documents share one revision counter; a document's version is the revision of
/// its last write. A host that polls [`documents_revision`](Self::documents_revision) notices every
/// change.
///
/// **Atomicity.** A write or deletion happens only if the document still has the version that the
/// caller expects (compare and swap), and takes effect as a whole: a reader sees the old bytes or
/// the new ones, never a mix. Two documents are not changed together.
///
/// **Timeouts.** Reading or writing a document's bytes may take five times
/// [`StorageLimits::operation`](crate::StorageLimits::operation). After an unknown outcome, read
/// the document: its version shows whether the write happened.
///
/// **Sizes.** At most 64 MiB in one document.
#[async_trait]
pub trait DocumentStorage: Send + Sync {
    /// Reads a document; `None` if it does not exist.
    ///
    /// # Errors
    /// `TooLarge` if it has more than `max_bytes` bytes.
    async fn read_document(
        &self,
        name: &DocumentName,
        max_bytes: usize,
        deadline: Instant,
    ) -> Result<Option<Document>, StorageError>;

    /// Writes a document if its version is still `expected`, or with `None` if it does not exist.
    /// Returns the new version; `None` if the version was another.
    ///
    /// # Errors
    /// `TooLarge` for more than 64 MiB.
    async fn write_document(
        &self,
        name: &DocumentName,
        bytes: &[u8],
        expected: Option<u64>,
        deadline: Instant,
    ) -> Result<Option<u64>, StorageError>;

    /// Deletes a document if its version is still `expected`; `false` if it was another.
    ///
    /// # Errors
    /// Those of every operation.
    async fn delete_document(
        &self,
        name: &DocumentName,
        expected: u64,
        deadline: Instant,
    ) -> Result<bool, StorageError>;

    /// Lists the documents whose names begin with `prefix`, by name, with their versions.
    ///
    /// # Errors
    /// Those of every operation.
    async fn list_documents(
        &self,
        prefix: &str,
        deadline: Instant,
    ) -> Result<Vec<(DocumentName, u64)>, StorageError>;

    /// The revision of all documents: 0 before the first write, and larger after each write or
    /// deletion by any host.
    ///
    /// # Errors
    /// Those of every operation.
    async fn documents_revision(&self, deadline: Instant) -> Result<u64, StorageError>;
}
