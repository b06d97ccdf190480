//! Errors of storage.

use std::path::PathBuf;

use crate::FactId;

/// Why an operation failed. Messages contain no credentials and no addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StorageError {
    /// The backend refused the operation or could not be reached; the text says why. Nothing was
    /// changed. Retrying later may help.
    #[error("storage is not available: {0}")]
    Unavailable(String),
    /// The backend refuses this host, and will until somebody changes a setting there or here; the
    /// text says which. Nothing was changed.
    #[error("storage is not available: {0}")]
    Refused(String),
    /// The disk is full, or a bound on what may be written to it is reached; the text says which.
    /// Nothing was changed. Reads and deletions may still succeed.
    #[error("storage is full: {0}")]
    Full(String),
    /// The operation did not complete in time, or the connection was lost before its result
    /// arrived.
    #[error("storage did not answer in time{}", doubt(*outcome_unknown))]
    Timeout {
        /// Whether a write may have happened, completely or, for several writes, in part. Always
        /// `false` for a read.
        outcome_unknown: bool,
    },
    /// The connection was lost after a write was sent; the text says how. The write may have
    /// happened.
    #[error("{0}; a write may have happened")]
    ReplyLost(String),
    /// A write failed for this reason after it, or others of the same call, may have happened.
    #[error("{0}; a write may have happened")]
    Uncertain(Box<StorageError>),
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
    #[error("this tenant's {quota} are limited to {allowed}, and {used} are used")]
    QuotaExceeded {
        /// `facts` or `bytes`.
        quota: &'static str,
        /// What the quota allows.
        allowed: u64,
        /// What the tenant uses already.
        used: u64,
    },
    /// The registry of the tenant that the caller goes by is not the one in force: its guests or
    /// its keys were changed. Nothing was changed. Load it again, and repeat the call.
    #[error("the tenant's guests, keys or quotas were changed meanwhile")]
    StaleRegistry,
    /// The cursor was not returned by [`FactStorage::page`](crate::FactStorage::page).
    #[error("invalid cursor; start again without one")]
    InvalidCursor,
    /// The stored data is malformed; the text says what and where.
    #[error("storage is corrupt: {0}")]
    Corrupt(String),
    /// One record is not what was written. The others can be read.
    #[error("{record} is damaged: {reason}")]
    Damaged {
        /// Which record, such as "the fact a".
        record: String,
        /// What is wrong with it.
        reason: String,
        /// Its id, if it is a fact.
        fact: Option<FactId>,
    },
}

impl StorageError {
    /// Whether a write may have happened, completely or in part.
    pub fn is_outcome_unknown(&self) -> bool {
        match self {
            Self::Timeout { outcome_unknown } => *outcome_unknown,
            Self::ReplyLost(_) | Self::Uncertain(_) => true,
            _ => false,
        }
    }

    /// What a caller is told of: a full disk or a stale registry, even if the outcome is unknown;
    /// otherwise the failure as it is, since a failure that is reported alone says that nothing was
    /// changed.
    pub fn told(&self) -> &Self {
        match self.cause() {
            told @ (Self::Full(_) | Self::StaleRegistry) => told,
            _ => self,
        }
    }

    /// How storage failed, for its span; `None` if it did what it had to: the request asked for too
    /// much, or goes by what is no longer in force.
    pub(crate) fn failure(&self) -> Option<&'static str> {
        match self.cause() {
            Self::Unavailable(_) => Some("unavailable"),
            Self::Refused(_) => Some("refused"),
            Self::Full(_) => Some("full"),
            Self::Timeout { .. } => Some("timeout"),
            Self::ReplyLost(_) | Self::Uncertain(_) => Some("reply_lost"),
            Self::Corrupt(_) | Self::Damaged { .. } => Some("corrupt"),
            Self::TooLarge { .. }
            | Self::QuotaExceeded { .. }
            | Self::StaleRegistry
            | Self::InvalidCursor => None,
        }
    }

    /// The failure itself, of one whose outcome is unknown.
    pub fn cause(&self) -> &Self {
        match self {
            Self::Uncertain(cause) => cause.cause(),
            other => other,
        }
    }
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
    /// The backend answers, and must not be used as it is; the text says why and what to do.
    #[error("{0}")]
    Refused(String),
}
