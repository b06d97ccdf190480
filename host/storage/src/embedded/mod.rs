//! Storage in one file on this machine, `facts.redb`, with a single writer.
//!
//! Every write waits for a durable commit, and all queued writes share one: a single caller pays an
//! fsync for each write, a hundred callers pay it together. Readers use a snapshot and never wait
//! for the writer. One process at a time can have the file open.
//!
//! `facts`, `vectors`, `changes`, `documents`, `state`, `tenants`, `copies` and `lifecycle`
//! implement the traits of those names, each with its reads and with what the writer does for it.
//! `tables` defines the content of the file, each record of which has a `checksum`, `codec` the
//! encoding of a fact, and `appends` what is said of each change; `migration` brings older files up
//! to date. `opening` opens the file, however it was left, and `handle` again after an I/O error;
//! `room` knows whether the disk is full. `writer` is the writing thread and `request` what it is
//! sent, which `apply` performs with the `counters` of each tenant. `verify` looks for damage, in a
//! file that it opens through `overlay`, with the library's panics kept `quiet`.

mod appends;
mod apply;
mod changes;
mod checksum;
pub(crate) mod codec;
mod copies;
mod counters;
mod documents;
mod facts;
mod handle;
mod lifecycle;
mod migration;
mod opening;
mod overlay;
mod quiet;
mod request;
mod room;
mod state;
pub(crate) mod tables;
mod tenants;
mod vectors;
pub(crate) mod verify;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use kenning_trace::{Kind, OpenSpan};
use redb::ReadTransaction;
use tokio::time::timeout_at;

use crate::{OpenError, QuotaStorage, RegistryStorage, Revision, StorageError, StorageLimits};
use appends::Appends;
use changes::Lasts;
use handle::{Handle, TransactionError};
use request::Request;
use writer::Writer;

/// The embedded backend.
pub(crate) struct Embedded {
    dir: PathBuf,
    limits: StorageLimits,
    appends: Appends,
    handle: Arc<Handle>,
    lasts: Arc<Lasts>,
    writer: Writer,
}

/// One process goes by what it changed itself.
impl RegistryStorage for Embedded {}

/// One process counts for itself.
impl QuotaStorage for Embedded {}

impl Embedded {
    /// Refuses what `open` would refuse, as far as that shows without opening the file.
    pub(crate) fn check(dir: &Path) -> Result<(), OpenError> {
        opening::check(dir)
    }

    /// Opens or creates `dir/facts.redb`.
    pub(crate) async fn open(dir: &Path, limits: StorageLimits) -> Result<Self, OpenError> {
        let path = dir.to_path_buf();
        let failed = |reason: String| OpenError::File { path: dir.to_path_buf(), reason };
        // After a crash redb reads the whole file here, which may take a while.
        let appends = Appends::new(&limits);
        let handle = tokio::task::spawn_blocking(move || Handle::open(&path, appends))
            .await
            .map_err(|_| failed("the file is damaged beyond what can be repaired".into()))??;
        let handle = Arc::new(handle);
        let lasts = Arc::new(Lasts::default());
        let writer = Writer::start(Arc::clone(&handle), Arc::clone(&lasts), &limits)
            .map_err(|error| failed(format!("cannot start the writer thread: {error}")))?;
        Ok(Self { dir: dir.to_path_buf(), limits, appends, handle, lasts, writer })
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
        let span = kenning_trace::begin("facts.redb read", Kind::Client);
        let handle = Arc::clone(&self.handle);
        let task = tokio::task::spawn_blocking(move || handle.read(read));
        let read = match timeout_at(end.into(), task).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(StorageError::Corrupt("a read of facts.redb panicked".into())),
            Err(_) => Err(StorageError::Timeout { outcome_unknown: false }),
        };
        end_span(span, &read);
        read
    }

    /// Has the writer perform a change of facts or vectors.
    async fn change(
        &self,
        request: Request,
        deadline: Instant,
    ) -> Result<Vec<Option<Revision>>, StorageError> {
        let end = self.limits.end(deadline)?;
        let span = kenning_trace::begin("facts.redb write", Kind::Client);
        let written = self.writer.submit(request, end).await;
        end_span(span, &written);
        written
    }
}

/// Ends the span of an operation with how storage failed, if it did.
fn end_span<T>(span: Option<OpenSpan>, result: &Result<T, StorageError>) {
    if let (Some(mut span), Err(error)) = (span, result)
        && let Some(failure) = error.failure()
    {
        span.fail(failure);
    }
}
