//! Keys and values that this extension keeps from one call to the next. Needs the grant `state`.
//!
//! Nobody else reads or writes them. A key is 1 to 512 bytes, a value at most 64 KiB, and all of
//! them together at most 10,000 keys of 16 MiB; a change beyond that fails with
//! [`Error::TooLarge`](crate::Error::TooLarge) and changes nothing.
//!
//! The host may repeat a call, so a count of calls can be too high; what must happen once is
//! compared and set.
//!
//! ```
//! use std::time::Duration;
//!
//! use kenning_extension::state;
//! use kenning_extension::testing::Host;
//!
//! let host = Host::new();
//! host.run(|| {
//!     let day = Some(Duration::from_secs(86_400));
//!     assert_eq!(state::increment("summaries today", 1, day), Ok(1));
//!     assert_eq!(state::increment("summaries today", 1, day), Ok(2));
//! });
//! assert_eq!(host.state("summaries today").as_deref(), Some(&b"2"[..]));
//! ```

use std::time::Duration;

use super::provider;
use crate::{Error, KeyPage, StateEntry};

/// Reads a key; `None` if there is no such key or it has expired.
///
/// # Errors
/// If the key is empty or too long, or storage fails.
pub fn get(key: impl AsRef<[u8]>) -> Result<Option<StateEntry>, Error> {
    provider::state_get(key.as_ref())
}

/// Sets a key and returns the new version. With `ttl` the key expires after so long; without, it
/// never does, even if it did before.
///
/// # Errors
/// If key or value are too long, all of them too large, or storage fails.
pub fn set(
    key: impl AsRef<[u8]>,
    value: impl AsRef<[u8]>,
    ttl: Option<Duration>,
) -> Result<u64, Error> {
    provider::state_set(key.as_ref(), value.as_ref(), ttl.map(milliseconds))
}

/// Sets a key if it still has the version `expected`, or, with `None`, if there is no such key.
///
/// # Errors
/// [`Error::Conflict`] if it has not; then read it again and decide. Otherwise as [`set`].
pub fn compare_and_set(
    key: impl AsRef<[u8]>,
    expected: Option<u64>,
    value: impl AsRef<[u8]>,
    ttl: Option<Duration>,
) -> Result<u64, Error> {
    let (key, value, ttl) = (key.as_ref(), value.as_ref(), ttl.map(milliseconds));
    provider::state_compare_and_set(key, expected, value, ttl)
}

/// Adds to the number under a key, which is its value in decimal digits, and returns the sum. A key
/// that does not exist counts as 0 and expires after `ttl`; one that exists keeps its time.
///
/// # Errors
/// [`Error::Invalid`] if the value is no number or the sum does not fit. Otherwise as [`set`].
pub fn increment(key: impl AsRef<[u8]>, by: i64, ttl: Option<Duration>) -> Result<i64, Error> {
    provider::state_increment(key.as_ref(), by, ttl.map(milliseconds))
}

/// Deletes a key. Returns whether there was one.
///
/// # Errors
/// As [`get`].
pub fn delete(key: impl AsRef<[u8]>) -> Result<bool, Error> {
    provider::state_delete(key.as_ref())
}

/// Lists the keys that begin with `prefix`, in the order of their bytes, at most `limit` (1 to
/// 1,000), from the first or from where `cursor` points.
///
/// # Errors
/// If the cursor is of another listing, or storage fails.
pub fn list(prefix: impl AsRef<[u8]>, cursor: Option<&[u8]>, limit: u32) -> Result<KeyPage, Error> {
    provider::state_list(prefix.as_ref(), cursor, limit)
}

fn milliseconds(ttl: Duration) -> u64 {
    u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)
}
