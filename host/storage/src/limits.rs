//! The bounds of storage, each with its unit, its default and the reason for it.

use std::time::{Duration, Instant};

use crate::{FactQuota, StorageError, TlsFiles, Usage};

/// The bounds of one storage. The product runs with [`StorageLimits::default`]; tests use smaller
/// ones.
#[derive(Debug, Clone)]
pub struct StorageLimits {
    /// The longest a whole operation may take. It ends by this or by its own deadline, whichever
    /// is earlier. Default 2 s, as in the service that this one replaces.
    pub operation: Duration,
    /// Redis: the longest one connection attempt may take. Default 0.5 s, a quarter of `operation`,
    /// so that an attempt, a retry and the command fit into one operation.
    pub connect: Duration,
    /// Redis: the number of connections for small commands, used round-robin. Default 2; more were
    /// no faster on two cores.
    pub small_connections: usize,
    /// Redis: the number of connections for bulk transfers, so that a large reply does not delay a
    /// small one (measured: 64 MiB delayed a PING by 1.6 s). Default 2.
    pub bulk_connections: usize,
    /// Redis, flat layout: the shortest pause between two scans for other programs' facts. Default
    /// 0.5 s. The pause is at least 20 times the duration of the last scan, so that scanning takes
    /// at most a twentieth of the time; with up to 30,000 keys, as long as the scan, so that
    /// changes to 10,000 facts are usually seen within a second.
    pub adoption_pause: Duration,
    /// Redis: whether to write to a server whose policy evicts facts (`allkeys-*`). Default no.
    pub allow_eviction: bool,
    /// Redis: the files for TLS. Default none: the system's authorities, no client's certificate.
    pub tls: TlsFiles,
    /// About how many changes are kept of each tenant, for other hosts and for callers to follow.
    /// Default 20,000, about 2 MiB.
    pub changes: usize,
    /// How long a change is kept. Default one hour.
    pub change_age: Duration,
    /// Embedded: the most requests in the writer's queue. Default 1,024; further callers wait up to
    /// their deadline.
    pub queued_writes: usize,
    /// Embedded: the most bytes in the writer's queue. Default 64 MiB, four of the largest commits;
    /// further callers wait up to their deadline. It keeps a hanging disk from filling memory.
    pub queued_bytes: usize,
    /// Embedded: the most requests that share one durable commit. Default 512.
    pub commit_jobs: usize,
}

/// The most ids, writes or vectors in one operation, and so in one Redis pipeline.
pub(crate) const BATCH: usize = 100;

/// The most ids in one result of `page` or `pending`.
pub(crate) const PAGE: usize = 1_000;

/// The most bytes in one document: enough for a component of 50 MiB.
pub(crate) const DOCUMENT_BYTES: usize = 64 << 20;

/// Redis: larger documents are stored in pieces of this many bytes, so that each step completes
/// well within `operation` at 100 Mbit/s.
pub(crate) const DOCUMENT_CHUNK: usize = 4 << 20;

/// Reading or writing a document may take this many times `operation`: documents can be a hundred
/// times larger than facts, and no interactive caller waits for one.
pub(crate) const DOCUMENT_FACTOR: u32 = 5;

/// The facts deleted by one step of deleting a tenant. On Redis a step blocks all other commands,
/// for about a millisecond at this size.
pub(crate) const DELETION_STEP: usize = 500;

/// The expired keys that one change of an extension's state removes.
pub(crate) const EXPIRED: usize = 100;

/// The keys of an extension's state that one step of deleting it removes.
pub(crate) const STATE_STEP: usize = 1_000;

/// The largest order and revision, 2^53 - 1: Redis stores both as doubles, which are exact up to
/// here. In microseconds since 1970 that is the year 2255.
pub(crate) const MAX_EXACT: u64 = (1 << 53) - 1;

impl Default for StorageLimits {
    fn default() -> Self {
        Self {
            operation: Duration::from_secs(2),
            connect: Duration::from_millis(500),
            small_connections: 2,
            bulk_connections: 2,
            adoption_pause: Duration::from_millis(500),
            allow_eviction: false,
            tls: TlsFiles::default(),
            changes: 20_000,
            change_age: Duration::from_secs(3_600),
            queued_writes: 1_024,
            queued_bytes: 64 << 20,
            commit_jobs: 512,
        }
    }
}

impl StorageLimits {
    /// When an operation that starts now with `deadline` must end. Fails if the deadline has
    /// passed.
    pub(crate) fn end(&self, deadline: Instant) -> Result<Instant, StorageError> {
        let now = Instant::now();
        if deadline <= now {
            return Err(StorageError::Timeout { outcome_unknown: false });
        }
        Ok(deadline.min(now + self.operation))
    }

    /// As `end`, for reading or writing a document's bytes.
    pub(crate) fn document_end(&self, deadline: Instant) -> Result<Instant, StorageError> {
        self.end(deadline)?;
        Ok(deadline.min(Instant::now() + DOCUMENT_FACTOR * self.operation))
    }
}

impl FactQuota {
    /// Refuses an increase from `used` to `wanted` beyond the quota. A tenant that is over its
    /// quota may still shrink.
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
                return Err(StorageError::QuotaExceeded { quota, allowed, used });
            }
        }
        Ok(())
    }
}

/// Refuses more than [`BATCH`] items in one operation.
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

/// Refuses to read a document larger than `allowed` bytes.
pub(crate) fn check_document_read(used: u64, allowed: usize) -> Result<(), StorageError> {
    let allowed = allowed as u64;
    if used <= allowed {
        return Ok(());
    }
    Err(StorageError::TooLarge { limit: "document-bytes", allowed, used })
}

/// Clamps a page size to what is allowed.
pub(crate) fn page_size(limit: usize) -> usize {
    limit.clamp(1, PAGE)
}
