//! What can be wrong with what an index is given.

use crate::limits;

/// Why the index refused a call. It changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// The vector cannot be compared with those in the index.
    #[error("the vector has {got} dimensions and the index holds vectors of {expected}")]
    Dimensions {
        /// Of the vectors in the index.
        expected: usize,
        /// Of the vector given.
        got: usize,
    },
    /// No index takes a vector of this length.
    #[error("a vector has 1 to {max} dimensions, not {got}", max = limits::DIMENSIONS)]
    VectorLength {
        /// Of the vector given.
        got: usize,
    },
    /// The vector holds a number that is not finite.
    #[error("the vector holds a number that is not finite")]
    NotFinite,
    /// The vector points nowhere, so nothing is near it.
    #[error("the vector is all zero and has no direction")]
    ZeroVector,
    /// The metadata is not a JSON object.
    #[error("the metadata is not a JSON object: {0}")]
    Metadata(String),
    /// The index holds as many facts as it can.
    #[error("the index holds {max} facts and no more fit", max = limits::FACTS)]
    Full,
}
