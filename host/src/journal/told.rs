//! How far each extension was told of its tenant's changes, who tells it, and the changes that it
//! did not take. Kept as state beside the tenant's facts, in a space of the host's own, which
//! backups hold too.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kenning_core::limits::Limits;
use kenning_storage::{
    Expected, Revision, SpaceName, StateChange, StateChanged, StateEntry, StateQuota, StateSpace,
    Storage, StorageError, TOLD_BY, TOLD_UP_TO, TenantId,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::now;

/// Follows an extension's name in the name of the space; no extension's name has a `.`.
const SPACE: &str = ".changes";

const LETTERS: &[u8] = b"letter/";

/// Most characters of what a letter says of the failure.
const ERROR_CHARACTERS: usize = 1024;

/// Letters of one page.
const PAGE: usize = 1_000;

/// The name of the space for what an extension was told.
///
/// # Errors
/// If `extension` is no name of one.
pub fn space_name(extension: &str) -> Result<SpaceName, StorageError> {
    let name = format!("{extension}{SPACE}");
    SpaceName::parse(&name).map_err(|error| StorageError::Corrupt(error.to_string()))
}

/// Whether a space is for what an extension was told.
pub fn is_of_told(space: &str) -> bool {
    space.ends_with(SPACE)
}

/// A change that an extension did not take.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, ToSchema)]
pub struct DeadLetter {
    /// The number of the change.
    pub revision: u64,
    /// The fact's id; empty where changes were missed.
    pub fact_id: String,
    /// `stored`, `changed`, `deleted`, or `missed`.
    pub kind: String,
    /// Why it was not taken the last time.
    pub error: String,
    /// How often it was told.
    pub attempts: u32,
    /// When it was set aside.
    #[schema(format = DateTime)]
    pub time: String,
}

impl DeadLetter {
    /// A letter of now; of a long error, the beginning.
    pub fn new(revision: u64, fact_id: &str, kind: &str, error: &str, attempts: u32) -> Self {
        let (fact_id, kind) = (fact_id.to_string(), kind.to_string());
        let error = error.chars().take(ERROR_CHARACTERS).collect();
        Self { revision, fact_id, kind, error, attempts, time: now() }
    }
}

/// What one extension was told.
#[derive(Clone)]
pub struct ToldChanges {
    storage: Arc<dyn Storage>,
    space: StateSpace,
    operation: Duration,
    letters: u64,
}

impl ToldChanges {
    /// Of the extension `name`.
    ///
    /// # Errors
    /// If `name` is no name of one.
    pub fn of(
        storage: &Arc<dyn Storage>,
        limits: &Limits,
        tenant: &TenantId,
        name: &str,
    ) -> Result<Self, StorageError> {
        let (tenant, name) = (tenant.clone(), space_name(name)?);
        let space = StateSpace { tenant, name, registry: None };
        let (storage, operation) = (storage.clone(), limits.storage_operation);
        Ok(Self { storage, space, operation, letters: limits.dead_letters })
    }

    /// The last change that needs not be told any more; `None` if it was never told anything.
    ///
    /// # Errors
    /// When storage fails, as for all functions here.
    pub async fn position(&self) -> Result<Option<Revision>, StorageError> {
        let entry = self.read(TOLD_UP_TO).await?;
        Ok(entry.and_then(|entry| number(&entry.value)).map(Revision))
    }

    /// Moves the position.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn set_position(&self, position: Revision) -> Result<(), StorageError> {
        self.set(TOLD_UP_TO, position.0.to_string().into_bytes(), None, Expected::Any).await?;
        Ok(())
    }

    /// Begins at `position` if nothing was ever told.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn begin(&self, position: Revision) -> Result<(), StorageError> {
        self.set(TOLD_UP_TO, position.0.to_string().into_bytes(), None, Expected::Absent).await?;
        Ok(())
    }

    /// Claims the telling for `host` for a time, or longer if it has it already. `false` while
    /// another host has it.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn claim(&self, host: &str, time: Duration) -> Result<bool, StorageError> {
        let expected = match self.read(TOLD_BY).await? {
            None => Expected::Absent,
            Some(entry) if entry.value == host.as_bytes() => Expected::Version(entry.version),
            Some(_) => return Ok(false),
        };
        let set = self.set(TOLD_BY, host.as_bytes().to_vec(), Some(time), expected).await?;
        Ok(matches!(set, StateChanged::Set(_)))
    }

    /// Ends this host's claim.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn release(&self) -> Result<(), StorageError> {
        self.change(TOLD_BY, StateChange::Delete).await.map(drop)
    }

    /// Keeps a change that was not taken, in place of the oldest one if there are too many.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn set_aside(&self, letter: &DeadLetter) -> Result<(), StorageError> {
        let key = letter_key(letter.revision);
        let value = serde_json::to_vec(letter).unwrap_or_default();
        loop {
            match self.set(&key, value.clone(), None, Expected::Any).await {
                Err(StorageError::TooLarge { .. }) => {}
                result => return result.map(drop),
            }
            let oldest = self.storage.list_state(&self.space, LETTERS, None, 1, self.until());
            let Some(oldest) = oldest.await?.keys.into_iter().next() else {
                let reason = "there is no room for a change that was not taken";
                return Err(StorageError::Corrupt(reason.into()));
            };
            tracing::warn!(
                tenant = %self.space.tenant, space = %self.space.name,
                "the oldest change that was not taken is dropped (dead_letters)"
            );
            self.change(&oldest, StateChange::Delete).await?;
        }
    }

    /// Drops a letter. Returns whether there was one.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn drop_letter(&self, revision: u64) -> Result<bool, StorageError> {
        let deleted = self.change(&letter_key(revision), StateChange::Delete).await?;
        Ok(deleted == StateChanged::Deleted(true))
    }

    /// The changes that were not taken, oldest first, after a revision: at most `limit`.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn letters(&self, after: u64, limit: usize) -> Result<Vec<DeadLetter>, StorageError> {
        let (mut letters, mut after) = (Vec::new(), Some(letter_key(after)));
        while let Some(cursor) = after {
            let page = self.storage.list_state(
                &self.space,
                LETTERS,
                Some(cursor.as_slice()),
                PAGE.min(limit),
                self.until(),
            );
            let page = page.await?;
            for key in page.keys {
                if letters.len() == limit {
                    return Ok(letters);
                }
                let Some(entry) = self.read(&key).await? else { continue };
                letters.extend(serde_json::from_slice::<DeadLetter>(&entry.value).ok());
            }
            after = page.after;
        }
        Ok(letters)
    }

    async fn read(&self, key: &[u8]) -> Result<Option<StateEntry>, StorageError> {
        self.storage.read_state(&self.space, key, self.until()).await
    }

    async fn set(
        &self,
        key: &[u8],
        value: Vec<u8>,
        ttl: Option<Duration>,
        expected: Expected,
    ) -> Result<StateChanged, StorageError> {
        self.change(key, StateChange::Set { value, ttl, expected }).await
    }

    async fn change(&self, key: &[u8], change: StateChange) -> Result<StateChanged, StorageError> {
        // Position and teller besides the letters.
        let quota = StateQuota { keys: self.letters + 2, bytes: u64::MAX >> 12 };
        self.storage.change_state(&self.space, key, change, quota, self.until()).await
    }

    fn until(&self) -> Instant {
        Instant::now() + self.operation
    }
}

/// Keys of letters are ordered as their revisions.
fn letter_key(revision: u64) -> Vec<u8> {
    [LETTERS, format!("{revision:020}").as_bytes()].concat()
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}
