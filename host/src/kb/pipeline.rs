//! The steps of each verb in its session: the tenant's hooks around the logic, and the
//! validation of what both return.

use std::sync::Arc;

use kenning_index::FactIndex;

use super::errors::{self, ErrorMapper, not_found};
use crate::kb::validate;
use crate::registry::Snapshot;
use kenning_core::error::Error;
use kenning_runtime::wit::{self, Answer, Change, Draft, Entry, Fact, FactPage, Query, Stored};
use kenning_runtime::{CallEffects, Generation, Hook, LogicResult, Session};

/// What a draft takes in a host call besides its text and metadata: vector, id and fields.
const DRAFT_OVERHEAD_BYTES: usize = 4 * 1024;

/// What one draft was stored as.
#[derive(Clone, Debug)]
pub struct StoreOutcome {
    /// The ids of its facts: one, unless an extension split the draft.
    pub ids: Vec<String>,
    /// Whether vector search finds all of them already.
    pub indexed: bool,
}

/// One call in its session, with the guests that it uses.
pub struct Pipeline {
    pub(super) session: Session,
    pub(super) snapshot: Snapshot,
    pub(super) errors: ErrorMapper,
}

impl Pipeline {
    pub(super) fn new(session: Session, snapshot: Snapshot, errors: ErrorMapper) -> Self {
        Self { session, snapshot, errors }
    }

    pub(super) fn outcome_unknown(&self) -> bool {
        self.session.outcome_unknown()
    }

    /// Stores drafts; the outcomes are in the order of `drafts`. Fails only if nothing was stored.
    pub(super) async fn store(
        &mut self,
        drafts: Vec<Result<Draft, Error>>,
    ) -> Result<Vec<Result<StoreOutcome, Error>>, Error> {
        let mut outcomes: Vec<Result<StoreOutcome, Error>> = Vec::with_capacity(drafts.len());
        let mut prepared = Vec::with_capacity(drafts.len());
        for draft in drafts {
            let position = outcomes.len();
            outcomes.push(match self.prepare(draft).await {
                Ok(replacements) => {
                    prepared.extend(replacements.into_iter().map(|draft| (position, draft)));
                    Ok(StoreOutcome { ids: Vec::new(), indexed: true })
                }
                Err(error) => Err(error),
            });
        }
        let mut stored_any = false;
        for group in self.groups(prepared) {
            let (positions, drafts): (Vec<usize>, Vec<Draft>) = group.into_iter().unzip();
            match self.store_group(drafts).await {
                Ok(stored) => {
                    stored_any = true;
                    let results = positions.iter().zip(stored);
                    results.for_each(|(at, result)| add(&mut outcomes[*at], result));
                }
                Err(error) if !stored_any => return Err(error),
                // Earlier groups are durable, so their outcomes must reach the caller.
                Err(error) => positions.iter().for_each(|at| outcomes[*at] = Err(error.clone())),
            }
        }
        Ok(outcomes)
    }

    /// The drafts to store instead of `draft`.
    async fn prepare(&mut self, draft: Result<Draft, Error>) -> Result<Vec<Draft>, Error> {
        self.on_store(draft?).await
    }

    /// Splits drafts into groups for one call of the logic each. The logic passes the texts to
    /// the host twice, so they may take half of a host call.
    fn groups(&self, drafts: Vec<(usize, Draft)>) -> Vec<Vec<(usize, Draft)>> {
        let limits = &self.session.services().limits;
        let (most_bytes, most) = (limits.host_call_bytes / 2, limits.batch_facts);
        let mut groups: Vec<Vec<(usize, Draft)>> = Vec::new();
        let mut bytes = 0;
        for draft in drafts {
            let size = draft_bytes(&draft.1) + DRAFT_OVERHEAD_BYTES;
            match groups.last_mut() {
                Some(group) if group.len() < most && bytes + size <= most_bytes => {
                    bytes += size;
                    group.push(draft);
                }
                _ => {
                    bytes = size;
                    groups.push(vec![draft]);
                }
            }
        }
        groups
    }

    async fn store_group(
        &mut self,
        drafts: Vec<Draft>,
    ) -> Result<Vec<Result<Stored, Error>>, Error> {
        let chosen: Vec<_> = drafts.iter().map(|draft| draft.id.clone()).collect();
        let logic = self.logic();
        let stored = self.session.store(&logic, drafts).await;
        let host_failed = matches!(&stored, Ok((_, effects)) if effects.host_failed);
        let stored =
            self.validated(stored, |all, effects| validate::stored(&chosen, all, effects))?;
        let (errors, unknown) = (self.errors, self.outcome_unknown());
        let failed = |error| errors.logic_error(error, unknown, host_failed);
        let result = |stored: Result<Stored, wit::Error>| {
            stored.map(|stored| self.with_index_state(stored)).map_err(failed)
        };
        Ok(stored.into_iter().map(result).collect())
    }

    /// Sets `indexed` from the index: for a repeated store the logic cannot know whether the
    /// fact has its vector by now.
    fn with_index_state(&self, stored: Stored) -> Stored {
        let index = self.session.services().indexes.existing(self.session.tenant());
        let has_vector = index.is_some_and(|index| index.has_vector(&stored.id));
        Stored { indexed: stored.indexed && has_vector, ..stored }
    }

    /// Reads one fact, as the extensions show it.
    pub(super) async fn get(&mut self, id: String) -> Result<Fact, Error> {
        let fact = self.read_one(&id).await?;
        let shown = self.on_read(vec![fact]).await?;
        shown.into_iter().next().ok_or_else(|| not_found(&id))
    }

    /// The fact as it is stored.
    async fn read_one(&mut self, id: &str) -> Result<Fact, Error> {
        let logic = self.logic();
        let read = self.session.get(&logic, vec![id.to_string()]).await;
        let read = self.validated(read, |facts, effects| validate::got(id, facts, effects))?;
        read.into_iter().next().flatten().ok_or_else(|| not_found(id))
    }

    /// Returns one page of facts, as the extensions show them.
    pub(super) async fn list(
        &mut self,
        containing: Option<String>,
        limit: u32,
        cursor: Option<String>,
    ) -> Result<FactPage, Error> {
        let logic = self.logic();
        let page = self.session.list(&logic, containing, limit, cursor).await;
        let mut page =
            self.validated(page, |page, effects| validate::listed(limit, page, effects))?;
        page.facts = self.on_read(page.facts).await?;
        Ok(page)
    }

    /// Changes one fact, after the extensions saw it as it would be.
    pub(super) async fn update(&mut self, id: String, change: Change) -> Result<Stored, Error> {
        let change = match self.snapshot.has(Hook::OnStore) {
            true => self.filter_change(&id, change).await?,
            false => change,
        };
        let logic = self.logic();
        let updated = self.session.update(&logic, id.clone(), change).await;
        self.validated(updated, |stored, effects| validate::updated(&id, stored, effects))
    }

    /// Runs `on-store` on the fact as it would be after `change`, so that storing first and
    /// changing later does not bypass a redaction.
    async fn filter_change(&mut self, id: &str, change: Change) -> Result<Change, Error> {
        let fact = self.read_one(id).await?;
        let draft = Draft {
            id: Some(fact.id),
            text: change.text.unwrap_or(fact.text),
            metadata: change.metadata.unwrap_or(fact.metadata),
            timestamp: Some(fact.timestamp),
        };
        let mut drafts = self.on_store(draft).await?;
        match (drafts.pop(), drafts.is_empty()) {
            (Some(draft), true) if draft.id.as_deref().is_none_or(|given| given == id) => {
                Ok(Change { text: Some(draft.text), metadata: Some(draft.metadata) })
            }
            _ => Err(Error::invalid(
                "/text",
                "an extension splits this fact or gives it another id, which an update cannot do; \
                 delete the fact and store it again",
            )),
        }
    }

    /// Deletes one fact.
    pub(super) async fn delete(&mut self, id: String) -> Result<(), Error> {
        let logic = self.logic();
        let deleted = self.session.delete(&logic, id).await;
        self.validated(deleted, |(), _| Ok(()))
    }

    /// What to index of each fact.
    pub(super) async fn entries(&mut self, ids: Vec<String>) -> Result<Vec<Option<Entry>>, Error> {
        let logic = self.logic();
        let entries = self.session.entries(&logic, ids.clone()).await;
        self.validated(entries, |entries, _| validate::entries(&ids, entries))
    }

    /// Searches: hooks change the query, hide or redact hits, and rerank them.
    pub(super) async fn search(&mut self, query: Query) -> Result<Answer, Error> {
        let query = self.on_query(query).await?;
        let logic = self.logic();
        let answer = self.session.search(&logic, query.clone()).await;
        let mut answer = self
            .validated(answer, |answer, effects| validate::found(query.top_k, answer, effects))?;
        self.read_hits(&mut answer).await?;
        self.rerank(&query, &mut answer).await?;
        Ok(answer)
    }

    pub(super) fn logic(&self) -> Arc<Generation> {
        self.snapshot.logic.clone()
    }

    /// The logic's result, unless the call failed or `check` finds a violation.
    fn validated<T>(
        &self,
        result: LogicResult<T>,
        check: impl FnOnce(&T, &CallEffects) -> Result<(), Error>,
    ) -> Result<T, Error> {
        let unknown = self.outcome_unknown();
        let (result, effects) = result.map_err(|error| self.errors.guest_error(&error, unknown))?;
        let value = match result {
            Ok(value) => value,
            Err(error) => {
                return Err(self.errors.logic_error(error, unknown, effects.host_failed));
            }
        };
        match check(&value, &effects) {
            Ok(()) => Ok(value),
            Err(error) => {
                let error = errors::with_generation(error, &self.snapshot.logic.guest);
                Err(if effects.wrote { error.with_unknown_outcome() } else { error })
            }
        }
    }
}

/// Adds one fact to a draft's outcome. The first fact that failed is the draft's outcome.
fn add(outcome: &mut Result<StoreOutcome, Error>, stored: Result<Stored, Error>) {
    let Ok(so_far) = outcome else { return };
    match stored {
        Ok(wit::Stored { id, indexed }) => {
            so_far.ids.push(id);
            so_far.indexed &= indexed;
        }
        Err(error) => *outcome = Err(error),
    }
}

fn draft_bytes(draft: &Draft) -> usize {
    draft.text.len() + draft.metadata.len()
}
