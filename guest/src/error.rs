//! Why a call failed: `error` of the contract, case by case.
//!
//! The case is for code and the payload for people. Use [`Error::Other`] only for a
//! port that broke its promise: nothing may branch on it.

use crate::limits;

/// What every verb and every port answers with.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call failed, and so what the caller can do.
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
    /// The id exists with other content.
    #[error("the fact {0} exists with other content")]
    Conflict(String),
    /// A limit was reached; a smaller call may pass.
    #[error("{0}")]
    TooLarge(Exceeded),
    /// A backend could not be reached, and nothing was changed.
    #[error("{0}")]
    Unavailable(Failure),
    /// A backend did not answer in time; a write may have happened.
    #[error("{0}")]
    Timeout(Failure),
    /// The vector belongs to another model than the index; the text names both.
    #[error("{0}")]
    ProfileMismatch(String),
    /// Anything else, in words for a log.
    #[error("{0}")]
    Other(String),
}

impl Error {
    /// The request is wrong at `pointer`, a JSON pointer.
    pub fn invalid(pointer: &str, message: impl Into<String>) -> Self {
        Self::Invalid(Problem { pointer: pointer.into(), message: message.into() })
    }

    /// `used` is more than the `limit` allows.
    pub fn too_large(limit: limits::Limit, used: usize) -> Self {
        let limits::Limit { name, allowed } = limit;
        Self::TooLarge(Exceeded { limit: name.into(), allowed, used: used as u64 })
    }

    /// `port` answered with another number of elements than it was asked for.
    pub(crate) fn miscounted(port: &str) -> Self {
        Self::Other(port.to_owned() + " answered with a wrong number of elements")
    }
}

/// Where a request is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Problem {
    /// A JSON pointer into the request, such as `/metadata`.
    pub pointer: String,
    /// What is wrong and what to do, for a person.
    pub message: String,
}

/// A limit that stopped a call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{limit} allows {allowed}, not {used}")]
pub struct Exceeded {
    /// The limit's name, as in the documentation.
    pub limit: String,
    /// The most that is allowed.
    pub allowed: u64,
    /// What the call came to.
    pub used: u64,
}

/// A backend that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// Which.
    pub backend: Backend,
    /// For a person; names no host and no key.
    pub message: String,
}

/// What the host reaches on the logic's behalf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// Where facts live.
    Storage,
    /// Texts to vectors.
    Embedding,
}
