//! Errors of the index.

use crate::limits;

/// Why the index rejected a call. A rejected call changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// The vector has another number of dimensions than those in the index.
    #[error("the vector has {got} dimensions and the index holds vectors of {expected}")]
    Dimensions {
        /// Dimensions of the vectors in the index.
        expected: usize,
        /// Dimensions of the rejected vector.
        got: usize,
    },
    /// The vector is empty or longer than [`limits::DIMENSIONS`].
    #[error("a vector has 1 to {max} dimensions, not {got}", max = limits::DIMENSIONS)]
    VectorLength {
        /// Dimensions of the rejected vector.
        got: usize,
    },
    /// The vector holds an infinity or a NaN.
    #[error("the vector holds a number that is not finite")]
    NotFinite,
    /// The vector is all zero, so its cosine with others is undefined.
    #[error("the vector is all zero and has no direction")]
    ZeroVector,
    /// The metadata is not a JSON object. Holds the reason, for people.
    #[error("the metadata is not a JSON object: {0}")]
    Metadata(String),
    /// The index holds [`limits::FACTS`] facts already.
    #[error("the index is full: it holds {max} facts", max = limits::FACTS)]
    Full,
    /// The caller of the search stopped it; see [`Work`](crate::Work).
    #[error("the search was stopped")]
    Stopped,
}
