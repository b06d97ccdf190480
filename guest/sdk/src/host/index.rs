//! The tenant's search index. Needs the grant `index`.

use super::provider;
use crate::{Candidate, Embeddings, Error};

/// The facts nearest to the single vector in `target`, best first, at most `limit` (1 to
/// 10,000). Facts that have not been embedded yet are not found.
///
/// # Errors
/// If the filter or the vector is invalid, or if the index fails.
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
/// If the filter is invalid, or if the index fails.
pub fn matching(text: &str, filter: Option<&str>, limit: u32) -> Result<Vec<Candidate>, Error> {
    provider::matching(text, filter, limit)
}
