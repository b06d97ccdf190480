//! The outcome of a guest call: its result and its effects, or why it failed.

use std::fmt;
use std::sync::Arc;

use kenning_embedder::Vector;
use kenning_storage::{FactId, Revision, StorageError};

use crate::guest::Guest;
use crate::recorded_call::RecordedCall;

/// What a guest is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// Nothing: the guest is computing.
    Nothing,
    /// A read from storage.
    Storage,
    /// A write to storage, which may take effect after the call has ended.
    StorageWrite,
    /// The embedder.
    Embedding,
    /// The index, which computes and does not wait.
    Index,
}

impl Waiting {
    /// The name in metrics; `None` where nothing is waited for.
    pub(crate) fn name(self) -> Option<&'static str> {
        match self {
            Self::Nothing => None,
            Self::Storage => Some("storage"),
            Self::StorageWrite => Some("storage-write"),
            Self::Embedding => Some("embedding"),
            Self::Index => Some("index"),
        }
    }
}

/// A guest call that failed.
#[derive(Debug)]
pub struct GuestError {
    /// Why it failed.
    pub cause: CallError,
    /// The guest that was called.
    pub guest: Arc<Guest>,
}

/// Why a guest call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallError {
    /// The guest trapped; the text is wasmtime's.
    Trapped(String),
    /// The guest used up its fuel.
    OutOfFuel {
        /// The fuel it had.
        limit: u64,
    },
    /// The guest was refused memory, and did not recover.
    OutOfMemory {
        /// The limit's name.
        limit: &'static str,
        /// The limit, in its unit.
        allowed: u64,
        /// What the guest would have had, in the same unit.
        used: u64,
    },
    /// The guest exceeded another limit.
    Limit {
        /// The limit's name.
        limit: &'static str,
        /// The limit, in its unit.
        allowed: u64,
        /// What the guest used, in the same unit, where that is known.
        used: Option<u64>,
    },
    /// The deadline passed.
    Deadline {
        /// Whether the guest was computing, and not waiting for a backend.
        in_guest: bool,
        /// What the guest was waiting for.
        waiting: Waiting,
    },
    /// The call was not admitted in time.
    Overloaded {
        /// The name of the limit that was reached.
        limit: &'static str,
        /// The limit, in calls.
        allowed: usize,
    },
    /// A fault of the host; the text is for the log.
    Host(String),
}

impl fmt::Display for CallError {
    /// Never holds the text of a fact or query.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trapped(trap) => write!(f, "trapped: {trap}"),
            Self::OutOfFuel { limit } => write!(f, "used up its fuel of {limit}"),
            Self::OutOfMemory { limit, allowed, used } => {
                write!(f, "was refused memory: {limit} allows {allowed}, and it wanted {used}")
            }
            Self::Limit { limit, allowed, .. } => {
                write!(f, "reached its limit {limit} of {allowed}")
            }
            Self::Deadline { in_guest: true, .. } => {
                f.write_str("was computing when the deadline passed")
            }
            Self::Deadline { waiting, .. } => {
                write!(f, "was waiting ({waiting:?}) when the deadline passed")
            }
            Self::Overloaded { limit, allowed } => write!(f, "all {allowed} {limit} are in use"),
            Self::Host(_) => f.write_str("the host failed"),
        }
    }
}

impl CallError {
    /// Whether the guest is at fault.
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

    /// Its kind, as statistics name it.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Trapped(_) => "trapped",
            Self::OutOfFuel { .. } => "out_of_fuel",
            Self::OutOfMemory { .. } => "out_of_memory",
            Self::Limit { .. } => "limit",
            Self::Deadline { .. } => "deadline",
            Self::Overloaded { .. } | Self::Host(_) => "host",
        }
    }
}

/// What a guest did in a call, to validate its result against.
#[derive(Debug, Default)]
pub struct CallEffects {
    /// The facts that storage gave to this call or that it wrote. A guest cannot have facts from
    /// anywhere else.
    pub facts: Vec<FactId>,
    /// Whether the call wrote.
    pub wrote: bool,
    /// Whether a change did not happen because the fact was no longer as it was read; see
    /// [`Session::update_unchanged`](crate::Session::update_unchanged).
    pub unexpected: bool,
    /// Whether an import failed by a fault of the host.
    pub host_failed: bool,
    /// The last failure of storage in this call.
    pub storage_failure: Option<StorageError>,
    /// The facts that storage could not read, because their records are damaged. The call saw them
    /// as absent.
    pub unreadable: Vec<FactId>,
    /// The vector of the first query that the call embedded.
    pub query_vector: Option<Vector>,
}

/// What storage said of the tenant's registry that a call goes by: whether it is the one in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Validity {
    /// It was not asked.
    #[default]
    NotAsked,
    /// It was asked, and failed.
    Unknown,
    /// It was in force when it was last asked.
    InForce,
    /// It is no longer: the guests, the keys or the quotas of the tenant were changed.
    Stale,
}

/// One guest's part of a call.
pub(crate) struct GuestRun<R> {
    pub(crate) result: Result<(R, CallEffects), GuestError>,
    /// Whether a write timed out, or the guest was stopped after it wrote.
    pub(crate) outcome_unknown: bool,
    /// The greatest revision that storage gave to its writes.
    pub(crate) revision: Option<Revision>,
    pub(crate) validity: Validity,
    pub(crate) fuel_used: u64,
    /// What was noted of it, if it succeeded.
    pub(crate) recorded: Option<RecordedCall>,
}

/// The guest, or the host for it, was computing when its deadline passed; it ends the call.
#[derive(Debug, thiserror::Error)]
#[error("the deadline passed")]
pub(crate) struct DeadlinePassed;

/// A limit that a guest exceeded; it ends the call.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("{limit} allows {allowed} and the guest used {used}")]
pub(crate) struct GuestLimit {
    pub(crate) limit: &'static str,
    pub(crate) allowed: u64,
    pub(crate) used: u64,
}
