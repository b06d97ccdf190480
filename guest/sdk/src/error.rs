//! Why a call of the host failed.

use std::fmt;

/// Why a call of the host failed. The case is for code, the payload for people.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The request is malformed. The same request will always fail.
    Invalid(Problem),
    /// The filter is malformed. The same filter will always fail.
    InvalidFilter(Problem),
    /// There is no fact with this id.
    NotFound(String),
    /// The id exists with other content.
    Conflict(String),
    /// A limit was reached. The same call will fail again; a smaller one may not.
    TooLarge(Exceeded),
    /// The backend refused or could not be reached. Trying later may help.
    Unavailable(Failure),
    /// The backend did not answer in time.
    Timeout(Failure),
    /// The vector belongs to another model than the index. The string names both. Embed
    /// again before trying again.
    ProfileMismatch(String),
    /// Anything else, in words for a log.
    Other(String),
}

/// Where a request is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// A JSON pointer into the request.
    pub pointer: String,
    /// What is wrong and what to do, for a person.
    pub message: String,
}

/// A limit that stopped a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exceeded {
    /// The limit's name, as in the documentation.
    pub limit: String,
    /// What is allowed.
    pub allowed: u64,
    /// What the call would have used.
    pub used: u64,
}

/// A backend that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which one.
    pub backend: Backend,
    /// For a person.
    pub message: String,
}

/// What the host reaches on an extension's behalf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// Where facts live.
    Storage,
    /// What makes vectors of texts.
    Embedding,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(Problem { pointer, message })
            | Self::InvalidFilter(Problem { pointer, message }) => {
                write!(f, "{message} (at {pointer:?})")
            }
            Self::NotFound(id) => write!(f, "there is no fact {id:?}"),
            Self::Conflict(id) => write!(f, "the fact {id:?} exists with other content"),
            Self::TooLarge(Exceeded { limit, allowed, used }) => {
                write!(f, "{limit} is limited to {allowed}, and this call has {used}")
            }
            Self::Unavailable(failure) | Self::Timeout(failure) => f.write_str(&failure.message),
            Self::ProfileMismatch(message) | Self::Other(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for Error {}
