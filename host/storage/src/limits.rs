//! Every bound of storage: its unit, its default and where that comes from.

use std::time::{Duration, Instant};

use crate::{Room, StorageError, Usage};

/// The bounds of one storage. [`StorageLimits::default`] is what the product runs with; tests make
/// them small.
#[derive(Debug, Clone)]
pub struct StorageLimits {
    /// One operation, whole. An operation ends by this or by its own deadline, whichever is
    /// earlier. Default 2 s, the bound of the service whose users this one takes over.
    pub operation: Duration,
    /// Redis: one connection attempt. Default 0.5 s, a quarter of `operation`, so that an attempt,
    /// its retry and the command fit into one operation.
    pub connect: Duration,
    /// Redis: how many connections carry small commands, taken in turn. Default 2; more gave
    /// nothing on two cores.
    pub small_connections: usize,
    /// Redis: how many connections carry bulk reads, so that a large answer does not stand before
    /// a small one (measured: 64 MiB delayed a PING by 1.6 s). Default 2.
    pub bulk_connections: usize,
    /// Redis, flat layout: the shortest pause between two looks for other programs' facts.
    /// Default 2 s; the pause is never under 20 times what the last look took, so looking costs
    /// Redis at most a twentieth of its time.
    pub adoption_pause: Duration,
    /// Embedded: writes that wait for the writer, in jobs. Default 1,024; then callers wait, up to
    /// their deadline.
    pub queued_writes: usize,
    /// Embedded: what those writes hold together, in bytes. Default 64 MiB, four of the largest
    /// commits; then callers wait, too. A disk that hangs must not fill the memory.
    pub queued_bytes: usize,
    /// Embedded: the most jobs that share one durable commit. Default 512.
    pub commit_jobs: usize,
}

/// The most ids, writes or vectors in one operation: what one pipeline may hold.
pub(crate) const BATCH: usize = 100;

/// The most ids in one answer of `page` or `pending`.
pub(crate) const PAGE: usize = 1_000;

/// The most bytes of one document: a component of 50 MiB with room to spare.
pub(crate) const DOCUMENT_BYTES: usize = 64 << 20;

/// Redis: documents above this are kept in pieces of this size, so that each step moves little
/// enough to end well within `operation` over 100 Mbit/s.
pub(crate) const DOCUMENT_CHUNK: usize = 4 << 20;

/// A document may be some hundred times larger than a fact, and no caller who wants a fact waits
/// for it: reading or writing one may take this many times `operation`.
pub(crate) const DOCUMENT_PATIENCE: u32 = 5;

/// Facts that one step of deleting a tenant takes: on Redis a step holds up everyone else's
/// commands, for about a millisecond with this.
pub(crate) const DELETION_STEP: usize = 500;

/// Orders and revisions live in Redis as doubles, which count exactly up to here: 2^53 - 1.
/// In microseconds since 1970 that is the year 2255.
pub(crate) const MAX_EXACT: u64 = (1 << 53) - 1;

impl Default for StorageLimits {
    fn default() -> Self {
        Self {
            operation: Duration::from_secs(2),
            connect: Duration::from_millis(500),
            small_connections: 2,
            bulk_connections: 2,
            adoption_pause: Duration::from_secs(2),
            queued_writes: 1_024,
            queued_bytes: 64 << 20,
            commit_jobs: 512,
        }
    }
}

impl StorageLimits {
    /// When an operation that begins now and has `deadline` must have ended. One that is late
    /// already does not begin.
    pub(crate) fn end(&self, deadline: Instant) -> Result<Instant, StorageError> {
        let now = Instant::now();
        if deadline <= now {
            return Err(StorageError::Timeout { wrote: false });
        }
        Ok(deadline.min(now + self.operation))
    }

    /// As `end`, for a document's bytes.
    pub(crate) fn document_end(&self, deadline: Instant) -> Result<Instant, StorageError> {
        self.end(deadline)?;
        Ok(deadline.min(Instant::now() + DOCUMENT_PATIENCE * self.operation))
    }
}

impl Room {
    /// Refuses to go from `used` to `wanted`, where that is more and more than there is room for.
    pub(crate) fn check(&self, used: Usage, wanted: Usage) -> Result<(), StorageError> {
        let quotas = [
            ("facts", self.facts, used.facts, wanted.facts),
            ("bytes", self.bytes, used.bytes, wanted.bytes),
        ];
        for (quota, allowed, used, wanted) in quotas {
            if let Some(allowed) = allowed
                && wanted > used
                && wanted > allowed
            {
                return Err(StorageError::Full { quota, allowed, used });
            }
        }
        Ok(())
    }
}

/// Refuses more than [`BATCH`] things in one operation.
pub(crate) fn check_batch(used: usize) -> Result<(), StorageError> {
    if used <= BATCH {
        return Ok(());
    }
    Err(StorageError::TooLarge { limit: "storage-batch", allowed: BATCH as u64, used: used as u64 })
}

/// Refuses a document that is too large to write.
pub(crate) fn check_document(used: usize) -> Result<(), StorageError> {
    check_document_read(used as u64, DOCUMENT_BYTES)
}

/// Refuses a document that is too large for its reader.
pub(crate) fn check_document_read(used: u64, allowed: usize) -> Result<(), StorageError> {
    let allowed = allowed as u64;
    if used <= allowed {
        return Ok(());
    }
    Err(StorageError::TooLarge { limit: "document-bytes", allowed, used })
}

/// A page's size within what is allowed.
pub(crate) fn page_size(limit: usize) -> usize {
    limit.clamp(1, PAGE)
}
