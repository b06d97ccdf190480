//! The steps of each verb in its session: the tenant's hooks around the logic, and the
//! validation of what both return.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kenning_index::FactIndex;
use kenning_storage::{FactId, Hash, Storage, TenantId};

use super::SessionEnd;
use super::errors::{self, ErrorMapper, not_found};
use super::hook_log::HookLog;
use super::returned::{self, Violation};
use crate::kb::validate;
use crate::registry::Snapshot;
use kenning_core::error::{Code, Error};
use kenning_runtime::wit::{self, Change, Draft, Entry, Fact, FactPage, Stored};
use kenning_runtime::{CallEffects, Generation, Guest, Hook, LogicResult, Session};
use kenning_storage::Revision;

/// What a draft takes in a host call besides its text and metadata: vector, id and fields.
const DRAFT_OVERHEAD_BYTES: usize = 4 * 1024;

/// What one draft was stored as.
#[derive(Clone, Debug)]
pub struct StoreOutcome {
    /// The ids of its facts: one, unless an extension split the draft.
    pub ids: Vec<String>,
    /// Whether vector search finds all of them already.
    pub indexed: bool,
    /// How many bytes of the text vector search can find, if that is not all of it; of the first
    /// fact of which it is so.
    pub embedded_bytes: Option<usize>,
}

/// One call in its session, with the guests that it uses.
pub struct Pipeline {
    pub(super) session: Session,
    pub(super) snapshot: Snapshot,
    pub(super) errors: ErrorMapper,
    pub(super) hooks: HookLog,
    withheld: Withheld,
}

/// The facts that a guest spoilt on their way to the caller.
#[derive(Default)]
struct Withheld {
    count: u64,
    /// What was wrong with the first of them.
    first: Option<Error>,
}

impl Pipeline {
    pub(super) fn new(session: Session, snapshot: Snapshot, errors: ErrorMapper) -> Self {
        let (hooks, withheld) = Default::default();
        Self { session, snapshot, errors, hooks, withheld }
    }

    /// The same, with a log of what its hooks do.
    pub(super) fn logging(self, hooks: HookLog) -> Self {
        Self { hooks, ..self }
    }

    /// How many facts the caller is not shown because a guest spoilt them.
    pub(super) fn withheld(&self) -> u64 {
        self.withheld.count
    }

    /// Counts a fact that `guest` spoilt. The log has one line for the first of a call.
    pub(super) fn withhold(&mut self, guest: &Guest, violation: &Violation) {
        self.withheld.count += 1;
        if !self.session.is_dry_run() {
            metrics::counter!("kenning_withheld_facts_total", "component" => guest.component.kind())
                .increment(1);
        }
        if self.withheld.first.is_none() {
            let error = errors::violation(guest, violation);
            if !self.session.is_dry_run() {
                tracing::warn!(component = guest.component.name(), %error, "facts withheld");
            }
            self.withheld.first = Some(error);
        }
    }

    /// Without the facts that the logic spoilt.
    pub(super) fn keep_valid<T>(&mut self, all: Vec<T>, fact: impl Fn(&T) -> &Fact) -> Vec<T> {
        let guest = self.snapshot.logic.guest.clone();
        let mut valid = Vec::with_capacity(all.len());
        for one in all {
            match returned::fact(fact(&one)) {
                Ok(()) => valid.push(one),
                Err(violation) => self.withhold(&guest, &violation),
            }
        }
        valid
    }

    /// The tenant's revision after the last write of this call, if it wrote.
    pub(super) fn revision(&self) -> Option<Revision> {
        self.session.revision()
    }

    /// How the session ends if it ends now.
    pub(super) fn ended(&self) -> SessionEnd {
        SessionEnd {
            wrote: self.revision().is_some(),
            outcome_unknown: self.outcome_unknown(),
            validity: self.snapshot.registry.map(|_| self.session.validity()),
        }
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
                    Ok(StoreOutcome { ids: Vec::new(), indexed: true, embedded_bytes: None })
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
    ) -> Result<Vec<Result<StoreOutcome, Error>>, Error> {
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
                Ok(stored) => Ok(self.outcome(stored).await),
                Err(wit::Error::Conflict(id))
                    if is_no_fact(&*storage, &tenant, &id, (bytes, time)).await =>
                {
                    Err(errors::no_fact(&id))
                }
                Err(error) => Err(mapper.logic_error(error, unknown, &effects)),
            });
        }
        Ok(results)
    }

    /// The outcome of one fact, with what the index knows: the logic cannot know whether there was
    /// time for all windows of a long text, nor, for a repeated store, whether the fact has its
    /// vector by now.
    async fn outcome(&self, Stored { id, indexed }: Stored) -> StoreOutcome {
        let held = self.session.services().indexes.held();
        let mut index = held.open(self.session.tenant());
        if indexed && !index.has_vector(&id) {
            // A fact that was there may not be loaded yet.
            index = held.loaded(self.session.tenant(), self.session.deadline()).await;
        }
        let embedded_bytes = index.embedded_bytes(&id);
        let indexed = indexed && index.has_vector(&id);
        StoreOutcome { ids: vec![id], indexed, embedded_bytes }
    }

    /// Reads one fact, as the extensions show it.
    pub(super) async fn get(&mut self, id: String) -> Result<Fact, Error> {
        let fact = self.read_one(&id).await?;
        let shown = self.on_read(vec![fact]).await?;
        let spoilt = self.withheld.first.take();
        shown.into_iter().next().ok_or_else(|| spoilt.unwrap_or_else(|| not_found(&id)))
    }

    /// The ids of those facts that exist, can be served and are shown by the extensions.
    pub(super) async fn visible(&mut self, ids: Vec<String>) -> Result<BTreeSet<String>, Error> {
        let mut facts = Vec::with_capacity(ids.len());
        for id in ids {
            match self.read_any(&id).await {
                Ok(fact) => facts.push(fact),
                Err(error) if error.code == Code::NotFound || errors::is_damaged(&error) => {}
                Err(error) => return Err(error),
            }
        }
        let facts = self.keep_valid(facts, |fact| fact);
        let shown = self.on_read(facts).await?;
        Ok(shown.into_iter().map(|fact| fact.id).collect())
    }

    /// The fact as it is stored.
    async fn read_one(&mut self, id: &str) -> Result<Fact, Error> {
        let fact = self.read_any(id).await?;
        match returned::fact(&fact) {
            Ok(()) => Ok(fact),
            Err(violation) => Err(errors::violation(&self.logic().guest, &violation)),
        }
    }

    /// The same, whatever the logic made of it.
    async fn read_any(&mut self, id: &str) -> Result<Fact, Error> {
        let logic = self.logic();
        let read = self.session.get(&logic, vec![id.to_string()]).await;
        let (read, effects) =
            self.validated(read, |facts, effects| validate::got(id, facts, effects))?;
        let is_damaged = !effects.unreadable.is_empty();
        read.into_iter().next().flatten().ok_or_else(|| match is_damaged {
            true => errors::damaged(id),
            false => not_found(id),
        })
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
        let (mut page, _) =
            self.validated(page, |page, effects| validate::listed(limit, page, effects))?;
        let facts = self.keep_valid(page.facts, |fact| fact);
        page.facts = self.on_read(facts).await?;
        Ok(page)
    }

    /// Changes one fact, after the extensions saw it as it would be.
    pub(super) async fn update(
        &mut self,
        id: String,
        change: Change,
    ) -> Result<StoreOutcome, Error> {
        let change = match self.snapshot.has(Hook::OnStore) {
            true => self.filter_change(&id, change).await?,
            false => change,
        };
        let logic = self.logic();
        let updated = self.session.update(&logic, id.clone(), change).await;
        let updated =
            self.validated(updated, |stored, effects| validate::updated(&id, stored, effects));
        let (stored, _) = updated?;
        Ok(self.outcome(stored).await)
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
        self.validated(deleted, |(), _| Ok(())).map(|((), _)| ())
    }

    /// What to index of each fact.
    pub(super) async fn entries(&mut self, ids: Vec<String>) -> Result<Vec<Option<Entry>>, Error> {
        let logic = self.logic();
        let entries = self.session.entries(&logic, ids.clone()).await;
        let entries = self.validated(entries, |entries, _| validate::entries(&ids, entries));
        entries.map(|(entries, _)| entries)
    }

    pub(super) fn logic(&self) -> Arc<Generation> {
        self.snapshot.logic.clone()
    }

    /// The logic's result and effects, unless the call failed or `check` finds a violation.
    pub(super) fn validated<T>(
        &self,
        result: LogicResult<T>,
        check: impl FnOnce(&T, &CallEffects) -> Result<(), Error>,
    ) -> Result<(T, CallEffects), Error> {
        let unknown = self.outcome_unknown();
        let (result, effects) = result.map_err(|error| self.errors.guest_error(&error, unknown))?;
        let value = match result {
            Ok(value) => value,
            Err(error) => {
                return Err(self.errors.logic_error(error, unknown, &effects));
            }
        };
        match check(&value, &effects) {
            Ok(()) => Ok((value, effects)),
            Err(error) => {
                let error = errors::with_generation(error, &self.snapshot.logic.guest);
                Err(if effects.wrote { error.with_unknown_outcome() } else { error })
            }
        }
    }
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

/// Adds one fact to a draft's outcome. The first fact that failed is the draft's outcome.
fn add(outcome: &mut Result<StoreOutcome, Error>, stored: Result<StoreOutcome, Error>) {
    let Ok(so_far) = outcome else { return };
    match stored {
        Ok(StoreOutcome { ids, indexed, embedded_bytes }) => {
            so_far.ids.extend(ids);
            so_far.indexed &= indexed;
            so_far.embedded_bytes = so_far.embedded_bytes.or(embedded_bytes);
        }
        Err(error) => *outcome = Err(error),
    }
}

fn draft_bytes(draft: &Draft) -> usize {
    draft.text.len() + draft.metadata.len()
}
