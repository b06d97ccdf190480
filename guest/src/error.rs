//! The contract's `error`, case by case.
//!
//! Code matches on the case; the payload is for people. [`Error::Other`] is only for a
//! port that violates its contract: no code may depend on it.

use crate::limits;

/// The result of every operation and every port.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call failed, which tells the caller what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The request is malformed; the same request will always fail.
    #[error("{0}")]
    Invalid(Problem),
    /// The filter is malformed; the same filter will always fail.
    #[error("{0}")]
    InvalidFilter(Problem),
    /// There is no fact with this id.
    #[error("there is no fact {0}")]
    NotFound(String),
    /// A fact with this id exists and has different content.
    #[error("the fact {0} exists with different content")]
    Conflict(String),
    /// A limit was exceeded; a smaller call may succeed.
    #[error("{0}")]
    TooLarge(Exceeded),
    /// A backend could not be reached, and nothing was changed.
    #[error("{0}")]
    Unavailable(Failure),
    /// A backend did not answer in time; a write may have happened.
    #[error("{0}")]
    Timeout(Failure),
    /// The vector was made by a different model than the index uses; the text names both.
    #[error("{0}")]
    ProfileMismatch(String),
    /// Anything else; the text is for a log.
    #[error("{0}")]
    Other(String),
}

impl Error {
    /// An invalid request; `pointer` is a JSON pointer to the problem.
    pub fn invalid(pointer: &str, message: impl Into<String>) -> Self {
        Self::Invalid(Problem { pointer: pointer.into(), message: message.into() })
    }

    /// `used` exceeds `limit`.
    pub fn too_large(limit: limits::Limit, used: usize) -> Self {
        let limits::Limit { name, allowed } = limit;
        Self::TooLarge(Exceeded { limit: name.into(), allowed, used: used as u64 })
    }

    /// `port` returned a different number of elements than it was asked for.
    pub(crate) fn miscounted(port: &str) -> Self {
        Self::Other(port.to_owned() + " returned the wrong number of elements")
    }
}

/// Where a request is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Problem {
    /// A JSON pointer into the request, such as `/metadata`.
    pub pointer: String,
    /// What is wrong and how to fix it, for a person.
    pub message: String,
}

/// A limit that a call exceeded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{limit} is limited to {allowed}, and this call has {used}")]
pub struct Exceeded {
    /// The limit's name in the documentation.
    pub limit: String,
    /// The maximum.
    pub allowed: u64,
    /// What the call used or would have used.
    pub used: u64,
}

/// A backend that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// Which backend.
    pub backend: Backend,
    /// For a person; contains no host name and no key.
    pub message: String,
}

/// A service that the host calls on the logic's behalf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// Holds the facts.
    Storage,
    /// Turns texts into vectors.
    Embedding,
}
