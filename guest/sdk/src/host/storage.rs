//! The tenant's facts, for reading. Needs the grant `storage`.

use super::provider;
use crate::{Error, Hash, IdPage};

/// The hashes of `ids`, at most 100, in their order; `None` where there is no such fact.
///
/// The answer is cut where it would not fit the call's bytes, so it may be shorter than
/// `ids`: ask again for the rest. It holds at least one element if `ids` does.
///
/// # Errors
/// When storage fails or is late.
pub fn read(ids: &[&str]) -> Result<Vec<Option<Hash>>, Error> {
    provider::read(ids)
}

/// Ids, newest first, at most `limit` (1 to 1,000), after `cursor` or from the newest.
///
/// # Errors
/// When storage fails or is late, or the cursor is none.
pub fn page(cursor: Option<&str>, limit: u32) -> Result<IdPage, Error> {
    provider::page(cursor, limit)
}
