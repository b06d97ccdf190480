//! Errors of host calls.

use std::fmt;

/// Why a host call failed. Code matches on the case; the payload is for people.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The request is malformed. The same request will always fail.
    Invalid(Problem),
    /// The filter is malformed. The same filter will always fail.
    InvalidFilter(Problem),
    /// There is no fact with this id.
    NotFound(String),
    /// A fact with this id exists and has different content; or, as a sentence, how a key of the
    /// state differs from what was expected.
    Conflict(String),
    /// A limit was exceeded. The same call will fail again; a smaller one may succeed.
    TooLarge(Exceeded),
    /// The backend rejected the call or could not be reached. Retrying later may help.
    Unavailable(Failure),
    /// The backend did not answer in time.
    Timeout(Failure),
    /// The vector was made by a different model than the index uses. The string names
    /// both. Embed the text again, then retry.
    ProfileMismatch(String),
    /// Anything else; the text is for a log.
    Other(String),
}

/// Where a request is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// A JSON pointer into the request.
    pub pointer: String,
    /// What is wrong and how to fix it, for a person.
    pub message: String,
}

/// A limit that a call exceeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exceeded {
    /// The limit's name in the documentation.
    pub limit: String,
    /// The maximum.
    pub allowed: u64,
    /// What the call would have used.
    pub used: u64,
}

/// A backend that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which backend.
    pub backend: Backend,
    /// What happened, for a person.
    pub message: String,
}

/// A service that the host calls on an extension's behalf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// Holds the facts.
    Storage,
    /// Turns texts into vectors.
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
            // An id has no spaces.
            Self::Conflict(sentence) if sentence.contains(' ') => f.write_str(sentence),
            Self::Conflict(id) => write!(f, "the fact {id:?} exists with different content"),
            Self::TooLarge(Exceeded { limit, allowed, used }) => {
                write!(f, "{limit} is limited to {allowed}, and this call has {used}")
            }
            Self::Unavailable(failure) | Self::Timeout(failure) => f.write_str(&failure.message),
            Self::ProfileMismatch(message) | Self::Other(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for Error {}
