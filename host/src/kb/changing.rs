//! Changing a fact: its text, its metadata, or both.
//!
//! A change that is made of what is stored (an extension's view of the whole fact, or merged
//! metadata) is written only if the fact is still what was read, and made again if it is not. So no
//! change of another caller is lost, on whichever host it happens.

use std::time::{Duration, Instant};

use kenning_storage::{FactId, Hash};

use super::errors::{self, not_found};
use super::merge::merged;
use super::pipeline::{Pipeline, StoreOutcome};
use crate::kb::{check_bytes, validate};
use kenning_core::error::Error;
use kenning_runtime::Hook;
use kenning_runtime::wit::{Change, Draft, Fact};
use tokio::time::sleep;

/// How often a change is made again because the fact was changed meanwhile.
pub(super) const ATTEMPTS: usize = 20;

/// When to look again for the vector of a fact whose text was just changed. After all attempts the
/// fact has none: the call that changed it was cut off.
const NEXT_LOOK: Duration = Duration::from_millis(20);

/// A change of one fact; what is `None` stays.
#[derive(Clone, Debug, Default)]
pub struct Patch {
    /// What the fact is to say.
    pub text: Option<String>,
    /// What becomes of its metadata.
    pub metadata: Option<MetadataPatch>,
    /// The vector of the new text, in a tenant whose callers give them.
    pub vector: Option<Vec<f32>>,
}

/// What becomes of a fact's metadata. Both are JSON objects as text.
#[derive(Clone, Debug)]
pub enum MetadataPatch {
    /// This object takes its place.
    Replace(String),
    /// This merge patch (RFC 7396) is applied to it.
    Merge(String),
}

impl MetadataPatch {
    fn apply(&self, metadata: &str) -> Result<String, Error> {
        match self {
            Self::Replace(object) => Ok(object.clone()),
            Self::Merge(patch) => merged(metadata, patch),
        }
    }

    /// The object that replaces the metadata, or is merged into it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Replace(object) | Self::Merge(object) => object,
        }
    }
}

impl Pipeline {
    /// Changes one fact, after the extensions saw it as it would be.
    pub(super) async fn update(&mut self, id: String, patch: Patch) -> Result<StoreOutcome, Error> {
        let Patch { text, metadata, vector } = patch;
        let vector = match (&text, &vector) {
            // The fact keeps the vector that it has.
            (None, None) => None,
            _ => self.given_vector(vector.as_deref())?,
        };
        let gives = self.given_dimensions().is_some();
        match metadata {
            Some(MetadataPatch::Merge(_)) => {}
            _ if gives || self.snapshot.has(Hook::OnStore) => {}
            metadata => {
                let metadata = metadata.map(|patch| patch.as_str().to_owned());
                return self.change(id, Change { text, metadata }).await;
            }
        }
        for attempt in 1..=ATTEMPTS {
            let read = self.read_hash(&id).await?;
            let fact = self.read_one(&id).await?;
            let change = Change {
                text: text.clone(),
                metadata: metadata.as_ref().map(|patch| patch.apply(&fact.metadata)).transpose()?,
            };
            let allowed = self.session.services().limits.fact_metadata_bytes;
            let used = change.metadata.as_ref().map_or(0, String::len);
            check_bytes("fact_metadata_bytes", allowed, used)?;
            let old_text = if gives { fact.text.clone() } else { String::new() };
            let change = self.filter_change(fact, change).await?;
            if gives {
                let vector = match &vector {
                    Some(vector) => Some(vector.clone()),
                    None => self.stored_vector(&id, &old_text).await?,
                };
                if vector.is_none() && attempt < ATTEMPTS {
                    // The call that changed the text has not stored its vector yet.
                    sleep(NEXT_LOOK).await;
                    continue;
                }
                self.give_one(change.text.as_ref().unwrap_or(&old_text), vector);
            }
            if let Some(updated) = self.change_unchanged(read, change).await? {
                if gives {
                    self.session.services().indexes.flush().await;
                }
                return Ok(updated);
            }
        }
        Err(errors::contended(&id))
    }

    /// Replaces the text and the metadata of the fact with the draft's id.
    pub(super) async fn replace(&mut self, draft: Draft) -> Result<StoreOutcome, Error> {
        let id = draft.id.ok_or_else(|| Error::internal("an update without an id"))?;
        let change = Change { text: Some(draft.text), metadata: Some(draft.metadata) };
        self.change(id, change).await
    }

    async fn change(&mut self, id: String, change: Change) -> Result<StoreOutcome, Error> {
        let logic = self.logic();
        let updated = self.session.update(&logic, id.clone(), change).await;
        let (stored, _) =
            self.validated(updated, |stored, effects| validate::updated(&id, stored, effects))?;
        Ok(StoreOutcome { replaced: true, ..self.outcome(stored).await })
    }

    /// The same, if the fact is still as it was read; `None` if it is not.
    async fn change_unchanged(
        &mut self,
        read: (FactId, Hash),
        change: Change,
    ) -> Result<Option<StoreOutcome>, Error> {
        let (id, logic) = (read.0.to_string(), self.logic());
        let updated = self.session.update_unchanged(&logic, read, change).await;
        if let Ok((Err(_), effects)) = &updated
            && effects.unexpected
            && !effects.wrote
        {
            return Ok(None);
        }
        let (stored, _) =
            self.validated(updated, |stored, effects| validate::updated(&id, stored, effects))?;
        Ok(Some(StoreOutcome { replaced: true, ..self.outcome(stored).await }))
    }

    /// The fact's hash, as storage has it.
    async fn read_hash(&self, id: &str) -> Result<(FactId, Hash), Error> {
        let fact = FactId::parse(id).map_err(|_| not_found(id))?;
        let services = self.session.services();
        let (bytes, until) =
            (services.limits.host_call_bytes, Instant::now() + services.limits.storage_operation);
        let ids = std::slice::from_ref(&fact);
        let read = services.storage.read(self.session.tenant(), ids, bytes, until).await;
        let mut read = read
            .map_err(|error| kenning_tenants::storage_error_named(self.errors.storage, &error))?;
        let hash = read.pop().flatten().ok_or_else(|| not_found(id))?;
        Ok((fact, hash))
    }

    /// Runs `on-store` on the fact as it would be after `change`, so that storing first and
    /// changing later does not bypass a redaction.
    async fn filter_change(&mut self, fact: Fact, change: Change) -> Result<Change, Error> {
        if !self.snapshot.has(Hook::OnStore) {
            return Ok(change);
        }
        let id = fact.id.clone();
        let draft = Draft {
            id: Some(fact.id),
            text: change.text.unwrap_or(fact.text),
            metadata: change.metadata.unwrap_or(fact.metadata),
            timestamp: Some(fact.timestamp),
        };
        let mut drafts = self.on_store(draft).await?;
        errors::check_is_same_fact(&id, &drafts)?;
        let draft = drafts.pop().ok_or_else(|| Error::internal("no draft after the hooks"))?;
        Ok(Change { text: Some(draft.text), metadata: Some(draft.metadata) })
    }
}
