//! What is said of changes that are appended to streams, whatever they are.

use std::hash::{BuildHasher, RandomState};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::StorageLimits;

/// Who appends, when, and the streams' bounds.
#[derive(Clone, Copy, Default)]
pub(super) struct Appends {
    pub(super) writer: u64,
    pub(super) changes: u64,
    age_ms: u64,
    /// Milliseconds since 1970.
    pub(super) at: u64,
}

impl Appends {
    pub(super) fn new(limits: &StorageLimits) -> Self {
        // A random number: what an earlier process wrote is not this one's own.
        let writer = RandomState::new().hash_one(std::process::id());
        let age_ms = u64::try_from(limits.change_age.as_millis()).unwrap_or(u64::MAX);
        Self { writer, changes: limits.changes.max(1) as u64, age_ms, at: 0 }
    }

    /// The same at this moment.
    pub(super) fn now(self) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { at: u64::try_from(since.as_millis()).unwrap_or(u64::MAX), ..self }
    }

    /// Whether a change of that time is no longer kept.
    pub(super) fn is_old(&self, at: u64) -> bool {
        at < self.at.saturating_sub(self.age_ms)
    }
}
