//! Storing drafts: the tenant's hooks on each, then inserts, upserts and updates in their order.

use std::time::{Duration, Instant};

use kenning_embedder::Vector;
use kenning_index::FactIndex;
use kenning_storage::{FactId, Hash, Storage, TenantId};
use serde::Deserialize;
use utoipa::ToSchema;

use super::changing::ATTEMPTS;
use super::errors;
use super::pipeline::{Pipeline, StoreOutcome};
use crate::kb::validate;
use kenning_core::error::{Code, Error};
use kenning_runtime::wit::{self, Draft, Stored};

/// What a draft takes in a host call besides its text and metadata: vector, id and fields.
const DRAFT_OVERHEAD_BYTES: usize = 4 * 1024;

/// What storing does where the fact's id is taken, and where it is not. `insert`: a fact with the
/// same content stays as it is; with other content it is a `conflict`. `upsert`: the text and the
/// metadata replace those of the fact; without such a fact, they become one. `update`: they
/// replace those of the fact; without such a fact it is `not_found`. Metadata that is left out is
/// `{}` here, as in any store; a change of only a part is `PATCH`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum StoreMode {
    /// A fact with the same content stays as it is; with other content it is a `conflict`.
    #[default]
    Insert,
    /// The text and metadata replace the fact's. Without such a fact, they become one.
    Upsert,
    /// The text and metadata replace the fact's. Without such a fact it is `not_found`.
    Update,
}

/// A draft, and what storing it may do.
#[derive(Clone, Debug)]
pub struct Submission {
    /// What to store.
    pub draft: Draft,
    /// What happens where its id is taken, or not.
    pub mode: StoreMode,
    /// Its vector, as the caller gave it: in a tenant whose vectors callers give, and only there.
    pub vector: Option<Vec<f32>>,
}

impl From<Draft> for Submission {
    fn from(draft: Draft) -> Self {
        Self { draft, mode: StoreMode::default(), vector: None }
    }
}

/// A draft after its hooks. An extension may have split it off another.
pub(super) struct Prepared {
    /// Which submission it belongs to.
    position: usize,
    pub(super) draft: Draft,
    mode: StoreMode,
    /// The vector that its caller gave.
    pub(super) vector: Option<Vector>,
}

/// What inserting a draft came to.
enum Inserted {
    Stored(StoreOutcome),
    /// A fact with its id has other content.
    Taken(Error),
    /// Its id was taken, and there is no fact now: it was deleted meanwhile, or what is in its
    /// place is no fact.
    NoFact(Error),
    Failed(Error),
}

impl Pipeline {
    /// Stores what is submitted; the outcomes are in its order. Fails only if nothing was stored.
    pub(super) async fn store(
        &mut self,
        submitted: Vec<Result<Submission, Error>>,
    ) -> Result<Vec<Result<StoreOutcome, Error>>, Error> {
        let mut outcomes: Vec<Result<StoreOutcome, Error>> = Vec::with_capacity(submitted.len());
        let mut prepared = Vec::with_capacity(submitted.len());
        for (position, submission) in submitted.into_iter().enumerate() {
            outcomes.push(match self.prepare(submission, position).await {
                Ok(drafts) => {
                    prepared.extend(drafts);
                    Ok(StoreOutcome::NONE)
                }
                Err(error) => Err(error),
            });
        }
        let mut stored_any = false;
        for group in self.groups(prepared) {
            let positions: Vec<usize> = group.iter().map(|draft| draft.position).collect();
            match self.store_group(group).await {
                Ok(stored) => {
                    stored_any |= stored.iter().any(Result::is_ok);
                    let results = positions.iter().zip(stored);
                    results.for_each(|(at, result)| add(&mut outcomes[*at], result));
                }
                Err(error) if !stored_any => return Err(error),
                // Earlier groups are durable, so their outcomes must reach the caller.
                Err(error) => positions.iter().for_each(|at| outcomes[*at] = Err(error.clone())),
            }
        }
        self.trace_failed(&mut outcomes);
        Ok(outcomes)
    }

    /// Adds what the call did to the errors of single drafts, which do not end it.
    fn trace_failed(&self, outcomes: &mut [Result<StoreOutcome, Error>]) {
        if outcomes.iter().any(Result::is_err) {
            let trace = self.session.trace();
            let failed = outcomes.iter_mut().filter_map(|outcome| outcome.as_mut().err());
            failed.for_each(|error| error.trace = Some(Box::new(trace.clone())));
        }
    }

    /// The drafts to store for a submission.
    async fn prepare(
        &mut self,
        submission: Result<Submission, Error>,
        position: usize,
    ) -> Result<Vec<Prepared>, Error> {
        let Submission { draft, mode, vector } = submission?;
        let vector = self.given_vector(vector.as_deref())?;
        let id = draft.id.clone();
        let mut drafts = self.on_store(draft).await?;
        if let (StoreMode::Update, Some(id)) = (mode, &id) {
            errors::check_is_same_fact(id, &drafts)?;
        }
        if let (StoreMode::Upsert | StoreMode::Update, [draft]) = (mode, &mut drafts[..]) {
            // An extension that keeps one fact whole need not repeat its id.
            draft.id = draft.id.take().or(id);
        }
        if vector.is_some() && drafts.len() != 1 {
            let message = "an extension splits this fact, and its caller gave one vector";
            return Err(Error::invalid("/vector", message));
        }
        let prepared = |draft| Prepared { position, draft, mode, vector: vector.clone() };
        Ok(drafts.into_iter().map(prepared).collect())
    }

    /// Splits drafts into groups for one call of the logic each. The logic passes the texts to
    /// the host twice, so they may take half of a host call. No id is twice in a group, so that
    /// of two drafts with one id the second finds what the first has stored.
    fn groups(&self, drafts: Vec<Prepared>) -> Vec<Vec<Prepared>> {
        let limits = &self.session.services().limits;
        let (most_bytes, most) = (limits.host_call_bytes / 2, limits.batch_facts);
        let mut groups: Vec<Vec<Prepared>> = Vec::new();
        let mut bytes = 0;
        for draft in drafts {
            let size = draft_bytes(&draft.draft) + DRAFT_OVERHEAD_BYTES;
            let fits = |group: &Vec<Prepared>| {
                group.len() < most
                    && bytes + size <= most_bytes
                    && group.iter().all(|other| can_share_a_call(other, &draft))
            };
            match groups.last_mut().filter(|group| fits(group)) {
                Some(group) => {
                    bytes += size;
                    group.push(draft);
                }
                None => {
                    bytes = size;
                    groups.push(vec![draft]);
                }
            }
        }
        groups
    }

    async fn store_group(
        &mut self,
        group: Vec<Prepared>,
    ) -> Result<Vec<Result<StoreOutcome, Error>>, Error> {
        self.give(&group);
        if let [Prepared { draft, mode: StoreMode::Update, .. }] = &group[..] {
            return Ok(vec![self.replace(draft.clone()).await]);
        }
        let inserted = self.insert(group.iter().map(|one| one.draft.clone()).collect()).await?;
        let mut outcomes = Vec::with_capacity(group.len());
        if group.iter().any(|one| one.vector.is_some()) {
            // Nobody can make them again, so they are as durable as their facts.
            self.session.services().indexes.flush().await;
        }
        for (Prepared { draft, mode, vector, .. }, inserted) in group.into_iter().zip(inserted) {
            outcomes.push(match inserted {
                Inserted::Stored(outcome) => self.with_vector(outcome, draft, mode, vector).await,
                Inserted::Taken(_) | Inserted::NoFact(_) if mode == StoreMode::Upsert => {
                    self.upsert_taken(draft).await
                }
                Inserted::Taken(error) | Inserted::NoFact(error) | Inserted::Failed(error) => {
                    Err(error)
                }
            });
        }
        Ok(outcomes)
    }

    /// Upserts a draft whose id was taken. Each step is one atomic write, so another call sees the
    /// fact as it was or as it is, and never without it.
    async fn upsert_taken(&mut self, draft: Draft) -> Result<StoreOutcome, Error> {
        let mut refused = None;
        for _ in 0..ATTEMPTS {
            match self.replace(draft.clone()).await {
                Err(error) if error.code == Code::NotFound && !self.outcome_unknown() => {}
                done => return done,
            }
            // The fact was deleted meanwhile.
            match self.insert(vec![draft.clone()]).await?.pop() {
                Some(Inserted::Stored(outcome)) => return Ok(outcome),
                Some(Inserted::Failed(error)) => return Err(error),
                Some(Inserted::NoFact(error)) => refused = Some(error),
                Some(Inserted::Taken(_)) | None => refused = None,
            }
        }
        let id = draft.id.unwrap_or_default();
        Err(refused.unwrap_or_else(|| errors::contended(&id)))
    }

    async fn insert(&mut self, drafts: Vec<Draft>) -> Result<Vec<Inserted>, Error> {
        let chosen: Vec<_> = drafts.iter().map(|draft| draft.id.clone()).collect();
        let logic = self.logic();
        let stored = self.session.store(&logic, drafts).await;
        let (stored, effects) =
            self.validated(stored, |all, effects| validate::stored(&chosen, all, effects))?;
        let (mapper, unknown) = (self.errors, self.outcome_unknown());
        let services = self.session.services();
        let (storage, tenant) = (services.storage.clone(), self.session.tenant().clone());
        let (bytes, time) = (services.limits.host_call_bytes, services.limits.storage_operation);
        let mut results = Vec::with_capacity(stored.len());
        for outcome in stored {
            results.push(match outcome {
                Ok(stored) => Inserted::Stored(self.outcome(stored).await),
                Err(wit::Error::Conflict(id)) => {
                    if is_no_fact(&*storage, &tenant, &id, (bytes, time)).await {
                        Inserted::NoFact(errors::no_fact(&id))
                    } else {
                        let conflict = wit::Error::Conflict(id);
                        Inserted::Taken(mapper.logic_error(conflict, unknown, &effects))
                    }
                }
                Err(error) => Inserted::Failed(mapper.logic_error(error, unknown, &effects)),
            });
        }
        Ok(results)
    }

    /// The outcome of one fact, with what the index knows: the logic cannot know whether there was
    /// time for all windows of a long text, nor, for a repeated store, whether the fact has its
    /// vector by now.
    pub(super) async fn outcome(&self, Stored { id, indexed }: Stored) -> StoreOutcome {
        let held = self.session.services().indexes.held();
        let mut index = held.open(self.session.tenant());
        if indexed && !index.has_vector(&id) {
            // A fact that was there may not be loaded yet.
            index = held.loaded(self.session.tenant(), self.session.deadline()).await;
        }
        let embedded_bytes = index.embedded_bytes(&id);
        let indexed = indexed && index.has_vector(&id);
        StoreOutcome { ids: vec![id], indexed, embedded_bytes, replaced: false }
    }
}

/// Whether one call of the logic can store both: it inserts, each id once.
fn can_share_a_call(one: &Prepared, other: &Prepared) -> bool {
    let inserts = |draft: &Prepared| draft.mode != StoreMode::Update;
    let is_same = one.draft.id.is_some() && one.draft.id == other.draft.id;
    // The logic asks for a vector by the text that it stands for.
    let differ = one.draft.text == other.draft.text && one.vector != other.vector;
    inserts(one) && inserts(other) && !is_same && !differ
}

/// Whether what is in the way of a draft with the id `id` is no fact, but what another program
/// stored under the fact's key. Reads at most `bytes`.
async fn is_no_fact(
    storage: &dyn Storage,
    tenant: &TenantId,
    id: &str,
    (bytes, time): (usize, Duration),
) -> bool {
    let Ok(id) = FactId::parse(id) else { return false };
    let read = storage.read(tenant, &[id], bytes, Instant::now() + time).await;
    let is_fact = |hash: &Hash| hash.iter().any(|(name, _)| name == "content");
    read.is_ok_and(|hashes| !hashes.iter().flatten().any(is_fact))
}

/// Adds one fact to a submission's outcome. The first fact that failed is its outcome.
fn add(outcome: &mut Result<StoreOutcome, Error>, stored: Result<StoreOutcome, Error>) {
    let Ok(so_far) = outcome else { return };
    match stored {
        Ok(StoreOutcome { ids, indexed, embedded_bytes, replaced }) => {
            so_far.ids.extend(ids);
            so_far.indexed &= indexed;
            so_far.embedded_bytes = so_far.embedded_bytes.or(embedded_bytes);
            so_far.replaced &= replaced;
        }
        Err(error) => *outcome = Err(error),
    }
}

fn draft_bytes(draft: &Draft) -> usize {
    draft.text.len() + draft.metadata.len()
}
