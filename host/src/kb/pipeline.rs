//! What a verb does in its turn: the tenant's hooks around the logic, and the checks
//! on what both answer.

use std::sync::Arc;

use kenning_index::FactIndex;

use super::errors::{self, ErrorMapper, not_found};
use crate::kb::validate;
use crate::registry::Snapshot;
use kenning_core::error::Error;
use kenning_runtime::wit::{self, Answer, Change, Draft, Entry, Fact, FactPage, Query, Stored};
use kenning_runtime::{CallEffects, Generation, Hook, LogicResult, Session};

/// A draft's vector, id and fields beside its text and metadata.
const DRAFT_OVERHEAD_BYTES: usize = 4 * 1024;

/// What became of one draft: the facts it is kept as, one unless an extension split
/// it.
#[derive(Clone, Debug)]
pub struct StoreOutcome {
    pub ids: Vec<String>,
    /// Whether all of them can be found by meaning already.
    pub indexed: bool,
}

/// One call on the guests' workers, with the guests it is to use.
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

    pub(super) async fn store(
        &mut self,
        drafts: Vec<Result<Draft, Error>>,
    ) -> Result<Vec<Result<StoreOutcome, Error>>, Error> {
        let mut outcomes: Vec<Result<StoreOutcome, Error>> = Vec::with_capacity(drafts.len());
        let mut flat = Vec::with_capacity(drafts.len());
        for draft in drafts {
            let place = outcomes.len();
            outcomes.push(match self.prepare(draft).await {
                Ok(prepared) => {
                    flat.extend(prepared.into_iter().map(|draft| (place, draft)));
                    Ok(StoreOutcome { ids: Vec::new(), indexed: true })
                }
                Err(error) => Err(error),
            });
        }
        let mut stored_any = false;
        for group in self.groups(flat) {
            let (places, drafts): (Vec<usize>, Vec<Draft>) = group.into_iter().unzip();
            match self.store_group(drafts).await {
                Ok(stored) => {
                    stored_any = true;
                    places.iter().zip(stored).for_each(|(at, one)| add(&mut outcomes[*at], one));
                }
                Err(error) if !stored_any => return Err(error),
                // What went before is durable, and must be said to be.
                Err(error) => places.iter().for_each(|at| outcomes[*at] = Err(error.clone())),
            }
        }
        Ok(outcomes)
    }

    /// The drafts to store in place of one.
    async fn prepare(&mut self, draft: Result<Draft, Error>) -> Result<Vec<Draft>, Error> {
        self.on_store(draft?).await
    }

    /// Splits drafts so that each group's texts, handed over twice, fit a host call.
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
            self.answered(stored, |all, effects| validate::stored(&chosen, all, effects))?;
        let (errors, unknown) = (self.errors, self.outcome_unknown());
        let failed = |error| errors.error(error, unknown, host_failed);
        let checked = |one: Result<Stored, wit::Error>| {
            one.map(|stored| self.findable(stored)).map_err(failed)
        };
        Ok(stored.into_iter().map(checked).collect())
    }

    /// A store that is repeated says what became of the first one's vector, which the
    /// logic cannot know.
    fn findable(&self, stored: Stored) -> Stored {
        let index = self.session.services().indexes.existing(self.session.tenant());
        let has_vector = index.is_some_and(|index| index.has_vector(&stored.id));
        Stored { indexed: stored.indexed && has_vector, ..stored }
    }

    pub(super) async fn get(&mut self, id: String) -> Result<Fact, Error> {
        let fact = self.read_one(&id).await?;
        let left = self.on_read(vec![fact]).await?;
        left.into_iter().next().ok_or_else(|| not_found(&id))
    }

    /// The fact as it is stored.
    async fn read_one(&mut self, id: &str) -> Result<Fact, Error> {
        let logic = self.logic();
        let read = self.session.get(&logic, vec![id.to_string()]).await;
        let read = self.answered(read, |facts, effects| validate::got(id, facts, effects))?;
        read.into_iter().next().flatten().ok_or_else(|| not_found(id))
    }

    pub(super) async fn list(
        &mut self,
        containing: Option<String>,
        limit: u32,
        cursor: Option<String>,
    ) -> Result<FactPage, Error> {
        let logic = self.logic();
        let page = self.session.list(&logic, containing, limit, cursor).await;
        let mut page =
            self.answered(page, |page, effects| validate::listed(limit, page, effects))?;
        page.facts = self.on_read(page.facts).await?;
        Ok(page)
    }

    pub(super) async fn update(&mut self, id: String, change: Change) -> Result<Stored, Error> {
        let change = match self.snapshot.has(Hook::OnStore) {
            true => self.changed(&id, change).await?,
            false => change,
        };
        let logic = self.logic();
        let updated = self.session.update(&logic, id.clone(), change).await;
        self.answered(updated, |stored, effects| validate::updated(&id, stored, effects))
    }

    /// What the hooks make of the fact as it would be: a redaction cannot be
    /// skipped by storing first and changing later.
    async fn changed(&mut self, id: &str, change: Change) -> Result<Change, Error> {
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
                "an extension splits this fact or gives it another id, which a change cannot do; \
                 delete it and store it anew",
            )),
        }
    }

    pub(super) async fn delete(&mut self, id: String) -> Result<(), Error> {
        let logic = self.logic();
        let deleted = self.session.delete(&logic, id).await;
        self.answered(deleted, |(), _| Ok(()))
    }

    pub(super) async fn entries(&mut self, ids: Vec<String>) -> Result<Vec<Option<Entry>>, Error> {
        let logic = self.logic();
        let entries = self.session.entries(&logic, ids.clone()).await;
        self.answered(entries, |entries, _| validate::entries(&ids, entries))
    }

    pub(super) async fn search(&mut self, query: Query) -> Result<Answer, Error> {
        let query = self.on_query(query).await?;
        let logic = self.logic();
        let answer = self.session.search(&logic, query.clone()).await;
        let check =
            |answer: &Answer, effects: &CallEffects| validate::found(query.top_k, answer, effects);
        let mut answer = self.answered(answer, check)?;
        self.read_hits(&mut answer).await?;
        self.rerank(&query, &mut answer).await?;
        Ok(answer)
    }

    pub(super) fn logic(&self) -> Arc<Generation> {
        self.snapshot.logic.clone()
    }

    /// The logic's answer, if `check` finds that it can be true.
    fn answered<T>(
        &self,
        verb: LogicResult<T>,
        check: impl FnOnce(&T, &CallEffects) -> Result<(), Error>,
    ) -> Result<T, Error> {
        let unknown = self.outcome_unknown();
        let (result, effects) = verb.map_err(|error| self.errors.guest_error(&error, unknown))?;
        let value = match result {
            Ok(value) => value,
            Err(error) => return Err(self.errors.error(error, unknown, effects.host_failed)),
        };
        match check(&value, &effects) {
            Ok(()) => Ok(value),
            Err(error) => {
                let error = errors::of_generation(error, &self.snapshot.logic.guest);
                Err(if effects.wrote { error.with_unknown_outcome() } else { error })
            }
        }
    }
}

/// One more fact that a draft is kept as, unless one of its facts failed before.
fn add(kept: &mut Result<StoreOutcome, Error>, stored: Result<Stored, Error>) {
    let Ok(sofar) = kept else { return };
    match stored {
        Ok(wit::Stored { id, indexed }) => {
            sofar.ids.push(id);
            sofar.indexed &= indexed;
        }
        Err(error) => *kept = Err(error),
    }
}

fn draft_bytes(draft: &Draft) -> usize {
    draft.text.len() + draft.metadata.len()
}
