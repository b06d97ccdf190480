//! Read access to the tenant's facts. Needs the grant `storage`.

use super::provider;
use crate::{Error, Hash, IdPage};

/// Reads the hashes of `ids`, at most 100, in order; `None` where there is no such fact.
///
/// The result is truncated if it would exceed [`Allowance::bytes`](crate::Allowance), so it
/// may be shorter than `ids`; read the rest in another call. It holds at least one element
/// if `ids` does.
///
/// # Errors
/// If storage fails or times out.
pub fn read(ids: &[&str]) -> Result<Vec<Option<Hash>>, Error> {
    provider::read(ids)
}

/// Lists ids, newest first, at most `limit` (1 to 1,000), after `cursor` or from the newest.
///
/// # Errors
/// If storage fails or times out, or if the cursor is invalid.
pub fn page(cursor: Option<&str>, limit: u32) -> Result<IdPage, Error> {
    provider::page(cursor, limit)
}
