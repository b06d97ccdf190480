//! Storage in one file on this machine, `facts.redb`, with a single writer.
//!
//! Every write waits for a durable commit, and all queued writes share one: a single caller pays an
//! fsync for each write, a hundred callers pay it together. Readers use a snapshot and never wait
//! for the writer. One process at a time can have the file open.
//!
//! `facts`, `vectors`, `documents`, `tenants` and `lifecycle` implement the traits of those names,
//! each with its reads and with what the writer does for it. `tables` defines the content of the
//! file and `codec` the encoding of a fact. `handle` opens the file, and reopens it after an I/O
//! error. `writer` is the writing thread and `request` what it is sent, which `apply` performs.

mod apply;
pub(crate) mod codec;
mod documents;
mod facts;
mod handle;
mod lifecycle;
mod request;
pub(crate) mod tables;
mod tenants;
mod vectors;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use redb::ReadTransaction;
use tokio::time::timeout_at;

use crate::{OpenError, Revision, StorageError, StorageLimits};
use handle::{Handle, TransactionError};
use request::Request;
use writer::Writer;

/// The embedded backend.
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
        // After a crash redb reads the whole file here, which may take a while.
        let handle = tokio::task::spawn_blocking(move || Handle::open(&path))
            .await
            .map_err(|_| failed("the file is damaged beyond what can be repaired".into()))??;
        let handle = Arc::new(handle);
        let writer = Writer::start(Arc::clone(&handle), &limits)
            .map_err(|error| failed(format!("cannot start the writer thread: {error}")))?;
        Ok(Self { dir: dir.to_path_buf(), limits, handle, writer })
    }

    /// Runs `read` on a snapshot, outside the async workers.
    async fn snapshot<T: Send + 'static>(
        &self,
        deadline: Instant,
        read: impl FnOnce(&ReadTransaction) -> Result<T, TransactionError> + Send + 'static,
    ) -> Result<T, StorageError> {
        self.snapshot_until(self.limits.end(deadline)?, read).await
    }

    /// As `snapshot`, until exactly `end`.
    async fn snapshot_until<T: Send + 'static>(
        &self,
        end: Instant,
        read: impl FnOnce(&ReadTransaction) -> Result<T, TransactionError> + Send + 'static,
    ) -> Result<T, StorageError> {
        let handle = Arc::clone(&self.handle);
        let task = tokio::task::spawn_blocking(move || handle.read(read));
        match timeout_at(end.into(), task).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(StorageError::Corrupt("a read of facts.redb panicked".into())),
            Err(_) => Err(StorageError::Timeout { outcome_unknown: false }),
        }
    }

    /// Has the writer perform a change of facts or vectors.
    async fn change(
        &self,
        request: Request,
        deadline: Instant,
    ) -> Result<Vec<Option<Revision>>, StorageError> {
        let end = self.limits.end(deadline)?;
        self.writer.submit(request, end).await
    }
}
