//! What extensions keep from one call to the next.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;

use crate::limits::MAX_EXACT;
use crate::{RegistryRevision, SpaceName, StorageError, TenantId};

/// The state of one extension of one tenant, or what the host keeps for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateSpace {
    /// The tenant.
    pub tenant: TenantId,
    /// The extension's name, or one with a `.` for what the host keeps.
    pub name: SpaceName,
    /// The tenant's registry that the caller goes by (see
    /// [`RegistryStorage`](crate::RegistryStorage)); `None` if that makes no difference.
    pub registry: Option<RegistryRevision>,
}

/// In a space that the host keeps: the revision, in decimal digits, up to which an extension was
/// told of the tenant's changes. A copy has it before the rest of the space, and restoring keeps
/// what it means rather than its number ([`Restorer`](crate::Restorer)).
pub const TOLD_UP_TO: &[u8] = b"position";

/// In a space that the host keeps: which host tells the extension. It is in no copy.
pub const TOLD_BY: &[u8] = b"teller";

/// A value under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateEntry {
    /// Any bytes.
    pub value: Vec<u8>,
    /// Larger than that of every earlier value in this space; never 0.
    pub version: u64,
    /// How long until the key expires; `None` if it does not.
    pub expires_in: Option<Duration>,
}

/// When a key may be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Always.
    Any,
    /// If there is no such key.
    Absent,
    /// If its value has this version.
    Version(u64),
}

/// A change of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateChange {
    /// Set it.
    Set {
        /// The new value.
        value: Vec<u8>,
        /// How long until the key expires; `None` for never.
        ttl: Option<Duration>,
        /// What must be there.
        expected: Expected,
    },
    /// Add to the number under it; without one, to 0.
    Increment {
        /// What to add.
        by: i64,
        /// How long until a new key expires. One that is there keeps its time.
        ttl: Option<Duration>,
    },
    /// Delete it.
    Delete,
}

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateChanged {
    /// The key was set and has this version.
    Set(u64),
    /// The number under the key.
    Number(i64),
    /// Whether there was a key to delete.
    Deleted(bool),
    /// The key does not have the expected version, but this one, or does not exist.
    Lost(Option<u64>),
    /// The value is no number, or the sum does not fit 64 bits.
    NotANumber,
}

/// The most that a space may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateQuota {
    /// The most keys.
    pub keys: u64,
    /// The most bytes of keys and values.
    pub bytes: u64,
}

/// What a space holds. Expired keys count until they are removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StateUsage {
    /// The keys.
    pub keys: u64,
    /// The bytes of keys and values.
    pub bytes: u64,
}

/// One page of keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StatePage {
    /// In the order of their bytes.
    pub keys: Vec<Vec<u8>>,
    /// The key after which the next page begins; `None` on the last page.
    pub after: Option<Vec<u8>>,
}

/// The state of a tenant's extensions: a space of keys and values for each.
///
/// **All of it** is found by [`state_spaces`](Self::state_spaces), then
/// [`list_state`](Self::list_state) with an empty prefix, then [`read_state`](Self::read_state)
/// of each key. Copies have it ([`CopyStorage`](crate::CopyStorage)), but for versions, which only
/// have to differ. Deleting a tenant deletes its spaces.
///
/// **Atomicity.** A change, the usage of its space and its version are one step.
///
/// **Time** is the server's. An expired key is not read or listed. It is removed by later changes
/// in its space, some by each, before the quota is checked.
///
/// **Registry.** With a revision in [`StateSpace::registry`], operations fail with `StaleRegistry`
/// if another is in force, in the same step and before anything is read or changed.
///
/// **Timeouts.** A change may have an unknown outcome; repeating an increment may count twice.
#[async_trait]
pub trait StateStorage: Send + Sync {
    /// Reads a key; `None` if there is none or it has expired.
    ///
    /// # Errors
    /// `StaleRegistry`.
    async fn read_state(
        &self,
        space: &StateSpace,
        key: &[u8],
        deadline: Instant,
    ) -> Result<Option<StateEntry>, StorageError>;

    /// Changes a key.
    ///
    /// # Errors
    /// `TooLarge` with `state_keys` or `state_bytes` if the space would exceed `quota`;
    /// `StaleRegistry`.
    async fn change_state(
        &self,
        space: &StateSpace,
        key: &[u8],
        change: StateChange,
        quota: StateQuota,
        deadline: Instant,
    ) -> Result<StateChanged, StorageError>;

    /// Lists keys that begin with `prefix`, from the first or after the key `after`: of `limit`
    /// (clamped to 1..=1,000) those that have not expired.
    ///
    /// # Errors
    /// `InvalidCursor` if `after` does not begin with `prefix`; `StaleRegistry`.
    async fn list_state(
        &self,
        space: &StateSpace,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
        deadline: Instant,
    ) -> Result<StatePage, StorageError>;

    /// A tenant's spaces that hold or held anything, by their names, whether or not the extension
    /// is still there.
    ///
    /// # Errors
    /// Those of every operation.
    async fn state_spaces(
        &self,
        tenant: &TenantId,
        deadline: Instant,
    ) -> Result<Vec<(SpaceName, StateUsage)>, StorageError>;

    /// Deletes a bounded part of a space. Returns `true` while there is more to delete.
    ///
    /// # Errors
    /// Those of every operation.
    async fn delete_state(
        &self,
        tenant: &TenantId,
        name: &SpaceName,
        deadline: Instant,
    ) -> Result<bool, StorageError>;
}

impl Expected {
    /// Whether it holds of a key whose value has `version`, or that does not exist.
    pub fn holds(self, version: Option<u64>) -> bool {
        match self {
            Self::Any => true,
            Self::Absent => version.is_none(),
            Self::Version(expected) => version == Some(expected),
        }
    }
}

impl StateEntry {
    /// The number of `entry`, or 0, and `by`; `None` if it is no number as an increment would write
    /// it, or the sum does not fit.
    pub fn sum(entry: Option<&Self>, by: i64) -> Option<i64> {
        let Some(entry) = entry else { return Some(by) };
        let text = std::str::from_utf8(&entry.value).ok()?;
        let number: i64 = text.parse().ok()?;
        (number.to_string() == text).then_some(())?;
        number.checked_add(by)
    }
}

impl StateQuota {
    /// No bound, within what both backends count exactly.
    pub(crate) const NONE: Self = Self { keys: MAX_EXACT, bytes: MAX_EXACT };

    /// Refuses what would exceed it. A space that is over it may still shrink.
    pub(crate) fn check(self, was: StateUsage, wanted: StateUsage) -> Result<(), StorageError> {
        let bounds = [
            ("state_keys", self.keys, was.keys, wanted.keys),
            ("state_bytes", self.bytes, was.bytes, wanted.bytes),
        ];
        for (limit, allowed, was, used) in bounds {
            if used > was && used > allowed {
                return Err(StorageError::TooLarge { limit, allowed, used });
            }
        }
        Ok(())
    }
}

/// The number of an entry under [`TOLD_UP_TO`].
pub(crate) fn told_up_to(space: &SpaceName, key: &[u8], value: &[u8]) -> Option<u64> {
    let is_position = space.is_hosts() && key == TOLD_UP_TO;
    let text = std::str::from_utf8(value).ok().filter(|_| is_position)?;
    text.parse().ok()
}

/// Milliseconds since 1970.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis() as u64
}

/// Refuses a cursor of another listing.
pub(crate) fn check_after(prefix: &[u8], after: Option<&[u8]>) -> Result<(), StorageError> {
    match after.is_none_or(|after| after.starts_with(prefix)) {
        true => Ok(()),
        false => Err(StorageError::InvalidCursor),
    }
}
