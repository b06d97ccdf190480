//! How storage fails.

use std::path::PathBuf;

/// Why an operation failed. No message holds a credential or an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StorageError {
    /// The backend refused or could not be reached, and why, for a person. Nothing was changed;
    /// trying later may help.
    #[error("storage is not available: {0}")]
    Unavailable(String),
    /// No answer came in time, or the connection broke before it came.
    #[error("storage did not answer in time{}", in_doubt(*wrote))]
    Timeout {
        /// Whether a write may have happened, wholly or in part. Always `false` for a read.
        wrote: bool,
    },
    /// One request or one fact is more than a limit allows. Nothing was changed.
    #[error("{limit} allows {allowed} and {used} were needed")]
    TooLarge {
        /// The limit's name.
        limit: &'static str,
        /// What it allows.
        allowed: u64,
        /// What was asked for or found.
        used: u64,
    },
    /// The tenant has no room for this write. Nothing was changed.
    #[error("the tenant's {quota} are limited to {allowed}, and there are {used}")]
    Full {
        /// `facts` or `bytes`.
        quota: &'static str,
        /// What the tenant may have.
        allowed: u64,
        /// What it has.
        used: u64,
    },
    /// The cursor is not one that `page` gave.
    #[error("this cursor was not made by this listing; begin again without one")]
    InvalidCursor,
    /// What was read is not what a Kenning writes; says what and where.
    #[error("storage holds what it should not: {0}")]
    Corrupt(String),
}

fn in_doubt(wrote: bool) -> &'static str {
    if wrote { "; a write may have happened" } else { "" }
}

/// Why a storage could not be opened. No message holds a credential.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The address is malformed or asks for what this build does not serve.
    #[error("{0}")]
    Address(String),
    /// Another process, or another part of this one, has the directory open.
    #[error("{} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// The directory or file cannot be used.
    #[error("cannot open {}: {reason}", path.display())]
    File {
        /// What was to be opened.
        path: PathBuf,
        /// Why not, for a person.
        reason: String,
    },
}
