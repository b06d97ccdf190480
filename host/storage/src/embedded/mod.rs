//! Facts in one file of this machine: `facts.redb`, behind one writer.
//!
//! Every write waits for a durable commit, and all that are queued share one: one caller pays an
//! fsync for each write, a hundred pay it together. Readers take a snapshot and never wait for the
//! writer. One process at a time may have the file open.
//!
//! `tables` says what the file holds, `changes` what a write does to it, `deletion` what deleting a
//! tenant does, `documents` are beside them; `handle` opens the file and opens it again after a
//! failed disk, `writer` is the thread and `request` what it takes.

mod changes;
pub(crate) mod codec;
mod deletion;
mod documents;
mod handle;
mod reads;
mod request;
pub(crate) mod tables;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use redb::ReadTransaction;
use tokio::time::timeout_at;

use crate::cursor::Place;
use crate::limits::{DELETION_STEP, check_batch, check_document, page_size};
use crate::{
    Description, Document, DocumentName, FactId, Hash, IdPage, OpenError, Revision, Room, Storage,
    StorageError, StorageLimits, StoredVector, TenantId, Usage, Vector, Write,
};
use changes::Change;
use documents::DocumentChange;
use handle::{Fault, Handle};
use request::Request;
use writer::Writer;

pub(crate) struct Embedded {
    dir: PathBuf,
    limits: StorageLimits,
    handle: Arc<Handle>,
    writer: Writer,
}

impl Embedded {
    /// Opens or creates `dir/facts.redb`.
    pub(crate) async fn open(dir: &Path, limits: StorageLimits) -> Result<Self, OpenError> {
        let path = dir.to_path_buf();
        let failed = |reason: String| OpenError::File { path: dir.to_path_buf(), reason };
        // After a crash redb walks the whole file here, which may take a while.
        let handle = tokio::task::spawn_blocking(move || Handle::open(&path))
            .await
            .map_err(|_| failed("the file is damaged beyond what can be repaired".into()))??;
        let handle = Arc::new(handle);
        let writer = Writer::start(Arc::clone(&handle), &limits)
            .map_err(|error| failed(format!("no thread for its writer: {error}")))?;
        Ok(Self { dir: dir.to_path_buf(), limits, handle, writer })
    }

    /// Runs `read` on a snapshot, off the async workers.
    async fn snapshot<T: Send + 'static>(
        &self,
        deadline: Instant,
        read: impl FnOnce(&ReadTransaction) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StorageError> {
        self.snapshot_until(self.limits.end(deadline)?, read).await
    }

    async fn snapshot_until<T: Send + 'static>(
        &self,
        end: Instant,
        read: impl FnOnce(&ReadTransaction) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StorageError> {
        let handle = Arc::clone(&self.handle);
        let task = tokio::task::spawn_blocking(move || handle.read(read));
        match timeout_at(end.into(), task).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(StorageError::Corrupt("a read of facts.redb failed midway".into())),
            Err(_) => Err(StorageError::Timeout { wrote: false }),
        }
    }

    async fn change(
        &self,
        tenant: &TenantId,
        change: Change,
        deadline: Instant,
    ) -> Result<Vec<Option<Revision>>, StorageError> {
        let end = self.limits.end(deadline)?;
        self.writer.submit(Request::Facts(tenant.clone(), change), end).await
    }

    /// Changes a document; the documents' revision with it, `None` if it was not as expected.
    async fn change_document(
        &self,
        change: DocumentChange,
        deadline: Instant,
    ) -> Result<Option<u64>, StorageError> {
        let end = self.limits.document_end(deadline)?;
        let answers = self.writer.submit(Request::Document(change), end).await?;
        Ok(answers.into_iter().next().flatten().map(|Revision(revision)| revision))
    }
}

#[async_trait]
impl Storage for Embedded {
    async fn read(
        &self,
        tenant: &TenantId,
        ids: &[FactId],
        max_bytes: usize,
        deadline: Instant,
    ) -> Result<Vec<Option<Hash>>, StorageError> {
        check_batch(ids.len())?;
        let (tenant, ids) = (tenant.clone(), ids.to_vec());
        self.snapshot(deadline, move |tx| reads::hashes(tx, &tenant, &ids, max_bytes)).await
    }

    async fn page(
        &self,
        tenant: &TenantId,
        cursor: Option<&str>,
        limit: usize,
        deadline: Instant,
    ) -> Result<IdPage, StorageError> {
        let (tenant, after) = (tenant.clone(), cursor.map(Place::decode).transpose()?);
        let limit = page_size(limit);
        self.snapshot(deadline, move |tx| reads::page(tx, &tenant, after.as_ref(), limit)).await
    }

    async fn write_within(
        &self,
        tenant: &TenantId,
        writes: &[Write],
        room: Room,
        deadline: Instant,
    ) -> Result<Vec<Option<Revision>>, StorageError> {
        check_batch(writes.len())?;
        self.change(tenant, Change::Write(writes.to_vec(), room), deadline).await
    }

    async fn delete(
        &self,
        tenant: &TenantId,
        id: &FactId,
        deadline: Instant,
    ) -> Result<Option<Revision>, StorageError> {
        let answers = self.change(tenant, Change::Delete(id.clone()), deadline).await?;
        Ok(answers.into_iter().next().flatten())
    }

    async fn put_vectors(
        &self,
        tenant: &TenantId,
        vectors: &[StoredVector],
        deadline: Instant,
    ) -> Result<(), StorageError> {
        check_batch(vectors.len())?;
        self.change(tenant, Change::PutVectors(vectors.to_vec()), deadline).await.map(|_| ())
    }

    async fn read_vectors(
        &self,
        tenant: &TenantId,
        ids: &[FactId],
        deadline: Instant,
    ) -> Result<Vec<Option<Vector>>, StorageError> {
        check_batch(ids.len())?;
        let (tenant, ids) = (tenant.clone(), ids.to_vec());
        self.snapshot(deadline, move |tx| reads::vectors(tx, &tenant, &ids)).await
    }

    async fn mark_pending(
        &self,
        tenant: &TenantId,
        ids: &[FactId],
        deadline: Instant,
    ) -> Result<(), StorageError> {
        check_batch(ids.len())?;
        self.change(tenant, Change::MarkPending(ids.to_vec()), deadline).await.map(|_| ())
    }

    async fn pending(
        &self,
        tenant: &TenantId,
        after: Option<Revision>,
        limit: usize,
        deadline: Instant,
    ) -> Result<Vec<(FactId, Revision)>, StorageError> {
        let (tenant, limit) = (tenant.clone(), page_size(limit));
        self.snapshot(deadline, move |tx| reads::pending(tx, &tenant, after, limit)).await
    }

    async fn tenants(&self, deadline: Instant) -> Result<Vec<TenantId>, StorageError> {
        self.snapshot(deadline, reads::tenants).await
    }

    async fn usage(&self, tenant: &TenantId, deadline: Instant) -> Result<Usage, StorageError> {
        let tenant = tenant.clone();
        self.snapshot(deadline, move |tx| reads::usage(tx, &tenant)).await
    }

    async fn count(&self, tenant: &TenantId, deadline: Instant) -> Result<u64, StorageError> {
        Ok(self.usage(tenant, deadline).await?.facts)
    }

    async fn delete_tenant(
        &self,
        tenant: &TenantId,
        deadline: Instant,
    ) -> Result<bool, StorageError> {
        let end = self.limits.end(deadline)?;
        let deleted = self.writer.submit(Request::DeleteTenant(tenant.clone()), end).await?;
        Ok(deleted.len() == DELETION_STEP)
    }

    async fn read_document(
        &self,
        name: &DocumentName,
        max_bytes: usize,
        deadline: Instant,
    ) -> Result<Option<Document>, StorageError> {
        let (end, name) = (self.limits.document_end(deadline)?, name.clone());
        self.snapshot_until(end, move |tx| documents::read(tx, &name, max_bytes)).await
    }

    async fn write_document(
        &self,
        name: &DocumentName,
        bytes: &[u8],
        expected: Option<u64>,
        deadline: Instant,
    ) -> Result<Option<u64>, StorageError> {
        check_document(bytes.len())?;
        let (name, bytes) = (name.clone(), bytes.to_vec());
        self.change_document(DocumentChange::Write { name, bytes, expected }, deadline).await
    }

    async fn delete_document(
        &self,
        name: &DocumentName,
        expected: u64,
        deadline: Instant,
    ) -> Result<bool, StorageError> {
        let change = DocumentChange::Delete { name: name.clone(), expected };
        Ok(self.change_document(change, deadline).await?.is_some())
    }

    async fn list_documents(
        &self,
        prefix: &str,
        deadline: Instant,
    ) -> Result<Vec<(DocumentName, u64)>, StorageError> {
        let prefix = prefix.to_owned();
        self.snapshot(deadline, move |tx| documents::list(tx, &prefix)).await
    }

    async fn documents_revision(&self, deadline: Instant) -> Result<u64, StorageError> {
        self.snapshot(deadline, documents::revision).await
    }

    async fn ping(&self, deadline: Instant) -> Result<(), StorageError> {
        self.snapshot(deadline, |_| Ok(())).await
    }

    fn describe(&self) -> Description {
        Description { backend: "embedded", layout: None, address: self.dir.display().to_string() }
    }

    async fn close(&self) {
        self.writer.close().await;
    }
}
