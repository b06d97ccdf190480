//! The backend itself: what it is, whether it responds, what runs in its background, closing it.

use std::fmt;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::watch;

use crate::StorageError;

/// The kinds of backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// One file on this machine, used by one process at a time.
    Embedded,
    /// A Redis server, which several hosts may share.
    Redis,
}

impl Backend {
    /// Its name in configuration and JSON: `embedded` or `redis`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Redis => "redis",
        }
    }

    /// Whether several hosts can use the same storage at once.
    pub fn is_shared(self) -> bool {
        match self {
            Self::Embedded => false,
            Self::Redis => true,
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How keys are laid out in Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Every key contains its tenant.
    Tenant,
    /// The facts of the tenant `default` are at `fact:ID`, shared with other programs; all other
    /// keys are as in `Tenant`.
    Flat,
}

impl Layout {
    /// Its name in configuration and JSON: `tenant` or `flat`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Flat => "flat",
        }
    }
}

/// A description of a storage for operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// The kind of backend.
    pub backend: Backend,
    /// How keys are laid out; `None` where there is no choice.
    pub layout: Option<Layout>,
    /// A directory, or `host:port/db`. Contains no credentials.
    pub address: String,
}

/// Progress of adopting facts that other programs write (flat layout only).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Adoption {
    /// Completed scans of the whole database. After the first, every fact that existed when the
    /// storage was opened is listed.
    pub scans: u64,
    /// Facts adopted since the storage was opened. When it grows, `default` has new pending facts.
    pub adopted: u64,
    /// Facts since then whose fields another program had changed in place. When it grows, `default`
    /// has new pending facts.
    pub changed: u64,
    /// Facts removed since the storage was opened because another program had deleted them. When it
    /// grows, an index of `default` may contain ids that no longer exist.
    pub removed: u64,
    /// Hashes at `fact:ID` without the field `content`, in the last completed scan. They are no
    /// facts, and are left as they are.
    pub skipped: u64,
    /// The longest that a change by another program goes unnoticed, judged by the last scan. Where
    /// Redis tells of changes, they are noticed at once.
    pub seen_within: Option<Duration>,
}

/// A backend's own state.
///
/// **Ordering.** [`close`](Self::close) takes effect at once for operations that start later, and
/// returns after the writes that were already accepted.
///
/// **Timeouts.** Only [`ping`](Self::ping) has a deadline; it never has an effect.
#[async_trait]
pub trait Lifecycle: Send + Sync {
    /// Checks that the backend can serve reads.
    ///
    /// # Errors
    /// Those of every operation.
    async fn ping(&self, deadline: Instant) -> Result<(), StorageError>;

    /// Checks that the backend would accept a write, without writing anything.
    ///
    /// # Errors
    /// What a write would fail with.
    async fn check_writable(&self, deadline: Instant) -> Result<(), StorageError>;

    /// Describes the storage for operators.
    fn describe(&self) -> Description;

    /// Progress of adopting other programs' facts; `None` if this storage adopts none.
    fn adoption(&self) -> Option<watch::Receiver<Adoption>> {
        None
    }

    /// Stops background tasks and, once accepted writes are done, releases files. Later operations
    /// fail with `Unavailable`. Closing twice has no further effect.
    async fn close(&self);
}
