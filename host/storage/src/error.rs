//! Errors of storage.

use std::path::PathBuf;

/// Why an operation failed. Messages contain no credentials and no addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StorageError {
    /// The backend refused the operation or could not be reached; the text says why. Nothing was
    /// changed. Retrying later may help.
    #[error("storage is not available: {0}")]
    Unavailable(String),
    /// The operation did not complete in time, or the connection was lost before its result
    /// arrived.
    #[error("storage did not answer in time{}", doubt(*outcome_unknown))]
    Timeout {
        /// Whether a write may have happened, completely or, for several writes, in part. Always
        /// `false` for a read.
        outcome_unknown: bool,
    },
    /// A request or a fact exceeds a limit. Nothing was changed.
    #[error("{limit} allows {allowed} and {used} were needed")]
    TooLarge {
        /// The name of the limit.
        limit: &'static str,
        /// What it allows.
        allowed: u64,
        /// What was requested or found.
        used: u64,
    },
    /// The write would exceed the tenant's quota. Nothing was changed.
    #[error("the tenant's {quota} are limited to {allowed}, and there are {used}")]
    QuotaExceeded {
        /// `facts` or `bytes`.
        quota: &'static str,
        /// What the quota allows.
        allowed: u64,
        /// What the tenant uses already.
        used: u64,
    },
    /// The cursor was not returned by [`FactStorage::page`](crate::FactStorage::page).
    #[error("invalid cursor; start again without one")]
    InvalidCursor,
    /// The stored data is malformed; the text says what and where.
    #[error("storage is corrupt: {0}")]
    Corrupt(String),
}

fn doubt(outcome_unknown: bool) -> &'static str {
    if outcome_unknown { "; a write may have happened" } else { "" }
}

/// Why a storage could not be opened. Messages contain no credentials.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The address is malformed or names a backend that this build does not support.
    #[error("{0}")]
    Address(String),
    /// Another process, or another part of this one, has the directory open.
    #[error("{} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// The directory or file cannot be used.
    #[error("cannot open {}: {reason}", path.display())]
    File {
        /// The directory or file that was to be opened.
        path: PathBuf,
        /// Why it could not be opened.
        reason: String,
    },
}
