//! What search reads of the tenant's facts. Needs the grant `index`.

use super::provider;
use crate::{Candidate, Embeddings, Error};

/// The facts nearest to the one vector in `target`, best first, at most `limit` (1 to
/// 10,000). Facts whose vector is still being made are not seen.
///
/// # Errors
/// When the filter or the vector is refused.
pub fn nearest(
    target: &Embeddings,
    filter: Option<&str>,
    limit: u32,
) -> Result<Vec<Candidate>, Error> {
    provider::nearest(target, filter, limit)
}

/// The facts that share words with `text`, best first, at most `limit` (1 to 10,000),
/// ranked by BM25.
///
/// # Errors
/// When the filter is refused.
pub fn matching(text: &str, filter: Option<&str>, limit: u32) -> Result<Vec<Candidate>, Error> {
    provider::matching(text, filter, limit)
}
