//! What came of a guest call: its result and its effects, or why it failed.

use std::sync::Arc;

use kenning_storage::FactId;

use crate::guest::Guest;

/// What a guest was waiting for when its call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    Nothing,
    Storage,
    /// A write of storage, which may happen even if nobody waits for it any more.
    StorageWrite,
    Embedding,
    Index,
}

/// A guest that did not come to its end.
#[derive(Debug)]
pub struct GuestError {
    pub cause: CallError,
    pub guest: Arc<Guest>,
}

/// How a call ended that did not come to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallError {
    Trapped(String),
    OutOfFuel {
        limit: u64,
    },
    OutOfMemory {
        limit: &'static str,
        allowed: u64,
        used: u64,
    },
    Limit {
        limit: &'static str,
        allowed: u64,
        used: Option<u64>,
    },
    /// The deadline passed, in the guest or in what it waited for.
    Deadline {
        in_guest: bool,
        waiting: Waiting,
    },
    /// No place to run became free in time.
    Overloaded {
        limit: &'static str,
        allowed: usize,
    },
    /// A fault of the host.
    Host(String),
}

impl CallError {
    /// Whether it is the guest's own doing.
    pub fn is_guests(&self) -> bool {
        match self {
            Self::Trapped(_)
            | Self::OutOfFuel { .. }
            | Self::OutOfMemory { .. }
            | Self::Limit { .. } => true,
            Self::Deadline { in_guest, .. } => *in_guest,
            Self::Overloaded { .. } | Self::Host(_) => false,
        }
    }
}

/// What a guest did that its answer is held against.
#[derive(Debug, Default)]
pub struct CallEffects {
    /// The facts that storage gave it or that it wrote; there is nowhere else it could
    /// have them from.
    pub facts: Vec<FactId>,
    pub wrote: bool,
    /// The host answered one of its imports with a fault of its own.
    pub host_failed: bool,
}

/// One guest's part of a call.
pub(crate) struct GuestRun<R> {
    pub(crate) result: Result<(R, CallEffects), GuestError>,
    /// A write timed out in it, or it was cut after it wrote.
    pub(crate) outcome_unknown: bool,
    pub(crate) fuel_used: u64,
}

/// A limit that a guest broke; it ends the call.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("{limit} allows {allowed} and the guest used {used}")]
pub(crate) struct GuestLimit {
    pub(crate) limit: &'static str,
    pub(crate) allowed: u64,
    pub(crate) used: u64,
}
