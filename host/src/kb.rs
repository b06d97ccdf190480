//! The verbs. HTTP, the indexer and whatever face comes next all meet here; each
//! verb takes one snapshot of the active generation and makes one guest call.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kenning_storage::TenantId;
use serde_json::json;

use crate::error::{Blame, Code, Error};
use crate::indexing::Progress;
use crate::runtime::wit::{self, Answer, Backend, Change, Draft, Fact, FactPage, Query, Stored};
use crate::runtime::{
    Call, CallError, Ended, Finished, Generation, GenerationRef, LogicCall, Registry, Runtime,
    Services,
};

/// Who calls, and when the answer has to be there.
#[derive(Clone, Debug)]
pub struct Caller {
    pub tenant: TenantId,
    pub deadline: Instant,
    /// No person waits: under load, calls of others go first.
    pub patient: bool,
}

impl Caller {
    /// A caller who waits for `time`.
    pub fn within(tenant: TenantId, time: Duration) -> Self {
        Self { tenant, deadline: Instant::now() + time, patient: false }
    }

    /// The same for work in bulk and in the background.
    #[must_use]
    pub fn patient(self) -> Self {
        Self { patient: true, ..self }
    }
}

/// A value, and the generation of the logic that made it.
pub struct Answered<T> {
    pub value: T,
    pub generation: GenerationRef,
}

/// The knowledge base.
pub struct Kb {
    runtime: Runtime,
    registry: Registry,
    services: Arc<Services>,
    /// How messages call the storage: users know it by its name.
    storage_name: &'static str,
}

impl Kb {
    pub fn new(runtime: Runtime, registry: Registry, services: Arc<Services>) -> Self {
        let storage_name = match services.storage.describe().backend {
            "redis" => "Redis",
            _ => "Storage",
        };
        Self { runtime, registry, services, storage_name }
    }

    pub fn services(&self) -> &Services {
        &self.services
    }

    /// What messages call the storage.
    pub fn storage_name(&self) -> &'static str {
        self.storage_name
    }

    /// The generation that answers now.
    pub fn generation(&self) -> GenerationRef {
        self.registry.active().reference.clone()
    }

    /// Stores drafts; each has an outcome of its own, in their order.
    pub async fn store(
        &self,
        caller: &Caller,
        drafts: Vec<Draft>,
    ) -> Result<Answered<Vec<Result<Stored, Error>>>, Error> {
        let drafts =
            drafts.into_iter().map(|draft| self.check(draft)).collect::<Result<Vec<_>, _>>()?;
        let (bytes, facts) = (drafts.iter().map(draft_bytes).sum(), drafts.len());
        let finished = self
            .run(caller, "store", bytes, facts, move |logic, store| {
                Box::pin(async move {
                    logic.kenning_knowledge_facts().call_store_drafts(store, &drafts).await
                })
            })
            .await?;
        let outcome_unknown = finished.outcome_unknown;
        let answered = self.answered(finished)?;
        if answered.value.len() != facts {
            let error = guest_broke("stored_facts", facts, answered.value.len());
            return Err(error.with_unknown_outcome().from_guest(answered.generation));
        }
        let outcomes = answered.value.into_iter();
        let outcomes = outcomes.map(|o| o.map_err(|error| self.error(error, outcome_unknown)));
        let value = outcomes.collect();
        Ok(Answered { value, generation: answered.generation })
    }

    /// Stores those drafts that are whole, in as many guest calls as their size
    /// needs; the others keep their errors. In the order given.
    pub async fn store_each(
        &self,
        caller: &Caller,
        drafts: Vec<Result<Draft, Error>>,
    ) -> Result<Answered<Vec<Result<Stored, Error>>>, Error> {
        let mut generation = self.generation();
        let mut outcomes: Vec<Option<Result<Stored, Error>>> = Vec::with_capacity(drafts.len());
        let mut whole = Vec::with_capacity(drafts.len());
        for draft in drafts {
            match draft.and_then(|draft| self.check(draft)) {
                Ok(draft) => {
                    whole.push((outcomes.len(), draft));
                    outcomes.push(None);
                }
                Err(error) => outcomes.push(Some(Err(error))),
            }
        }
        for group in self.groups(whole) {
            let (places, drafts): (Vec<usize>, Vec<Draft>) = group.into_iter().unzip();
            let answered = self.store(caller, drafts).await?;
            generation = answered.generation;
            for (place, outcome) in places.into_iter().zip(answered.value) {
                outcomes[place] = Some(outcome);
            }
        }
        let missing = || Err(Error::internal("a draft was not stored"));
        let value = outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(missing)).collect();
        Ok(Answered { value, generation })
    }

    /// The host's own bounds on a draft; the logic has its rules on top.
    fn check(&self, draft: Draft) -> Result<Draft, Error> {
        let limits = &self.services.limits;
        check_bytes("fact_text_bytes", limits.fact_text_bytes, draft.text.len())?;
        check_bytes("fact_metadata_bytes", limits.fact_metadata_bytes, draft.metadata.len())?;
        Ok(draft)
    }

    /// Splits drafts so that each group's texts, handed over twice, fit a host call.
    fn groups(&self, drafts: Vec<(usize, Draft)>) -> Vec<Vec<(usize, Draft)>> {
        let most = self.services.limits.host_call_bytes / 2;
        let mut groups: Vec<Vec<(usize, Draft)>> = Vec::new();
        let mut bytes = most;
        for draft in drafts {
            let size = draft_bytes(&draft.1) + DRAFT_OVERHEAD_BYTES;
            if bytes + size > most {
                groups.push(Vec::new());
                bytes = 0;
            }
            bytes += size;
            if let Some(group) = groups.last_mut() {
                group.push(draft);
            }
        }
        groups
    }

    /// Reads one fact.
    pub async fn get(&self, caller: &Caller, id: String) -> Result<Answered<Fact>, Error> {
        let ids = vec![id.clone()];
        let answered = self
            .call(caller, "get", 0, 1, move |logic, store| {
                Box::pin(async move { logic.kenning_knowledge_facts().call_get(store, &ids).await })
            })
            .await?;
        match answered.value.into_iter().next().flatten() {
            Some(value) => Ok(Answered { value, generation: answered.generation }),
            None => Err(not_found(&id).from_guest(answered.generation)),
        }
    }

    /// Facts, newest first.
    pub async fn list(
        &self,
        caller: &Caller,
        containing: Option<String>,
        limit: u32,
        cursor: Option<String>,
    ) -> Result<Answered<FactPage>, Error> {
        // A substring is looked for in as many facts as the budget allows.
        let facts = if containing.is_some() { usize::MAX / 2 } else { limit as usize };
        let answered = self
            .call(caller, "list", 0, facts, move |logic, store| {
                Box::pin(async move {
                    logic
                        .kenning_knowledge_facts()
                        .call_list(store, containing.as_deref(), limit, cursor.as_deref())
                        .await
                })
            })
            .await?;
        let (allowed, used) = (limit as usize, answered.value.facts.len());
        if used > allowed {
            let error = guest_broke("page_facts", allowed, used);
            return Err(error.from_guest(answered.generation));
        }
        Ok(answered)
    }

    /// Changes one fact.
    pub async fn update(
        &self,
        caller: &Caller,
        id: String,
        change: Change,
    ) -> Result<Answered<Stored>, Error> {
        let length = |part: &Option<String>| part.as_ref().map_or(0, String::len);
        let (text, metadata) = (length(&change.text), length(&change.metadata));
        let limits = &self.services.limits;
        check_bytes("fact_text_bytes", limits.fact_text_bytes, text)?;
        check_bytes("fact_metadata_bytes", limits.fact_metadata_bytes, metadata)?;
        let bytes = text + metadata;
        self.call(caller, "update", bytes, 1, move |logic, store| {
            Box::pin(async move {
                logic.kenning_knowledge_facts().call_update(store, &id, &change).await
            })
        })
        .await
    }

    /// Deletes one fact.
    pub async fn delete(&self, caller: &Caller, id: String) -> Result<Answered<()>, Error> {
        self.call(caller, "delete", 0, 1, move |logic, store| {
            Box::pin(async move { logic.kenning_knowledge_facts().call_delete(store, &id).await })
        })
        .await
    }

    /// Searches.
    pub async fn search(&self, caller: &Caller, query: Query) -> Result<Answered<Answer>, Error> {
        let (bytes, hits) = (query.text.len(), query.top_k as usize);
        let mut answered = self
            .call(caller, "search", bytes, hits, move |logic, store| {
                Box::pin(async move {
                    logic.kenning_knowledge_search().call_search(store, &query).await
                })
            })
            .await?;
        let found = &answered.value.hits;
        if found.len() > hits {
            let error = guest_broke("search_hits", hits, found.len());
            return Err(error.from_guest(answered.generation));
        }
        if found.iter().any(|hit| !hit.score.is_finite()) {
            let error = Error::new(Code::GuestLimit, "the logic gave a score that is no number");
            return Err(error.from_guest(answered.generation));
        }
        answered.value.degraded.extend(self.unfinished_index());
        Ok(answered)
    }

    /// What is to be indexed of facts, for the indexer.
    pub async fn entries(
        &self,
        caller: &Caller,
        ids: Vec<String>,
    ) -> Result<Vec<Option<wit::Entry>>, Error> {
        let facts = ids.len();
        let answered = self.call(caller, "entries", 0, facts, move |logic, store| {
            Box::pin(async move { logic.kenning_knowledge_facts().call_entries(store, &ids).await })
        });
        Ok(answered.await?.value)
    }

    fn unfinished_index(&self) -> Option<String> {
        match &*self.services.indexing.progress().borrow() {
            Progress::Ready => None,
            Progress::Building { facts } => {
                Some(format!("index: still being built, {facts} facts so far"))
            }
            Progress::Stalled { reason } => Some(format!("index: not built yet: {reason}")),
        }
    }

    async fn call<R: Send + 'static>(
        &self,
        caller: &Caller,
        operation: &'static str,
        bytes: usize,
        items: usize,
        run: impl LogicCall<R>,
    ) -> Result<Answered<R>, Error> {
        self.answered(self.run(caller, operation, bytes, items, run).await?)
    }

    /// A guest call, as the guest ended it.
    async fn run<R: Send + 'static>(
        &self,
        caller: &Caller,
        operation: &'static str,
        bytes: usize,
        items: usize,
        run: impl LogicCall<R>,
    ) -> Result<Finished<R>, Error> {
        let generation: Arc<Generation> = self.registry.active();
        let call = Call {
            tenant: caller.tenant.clone(),
            deadline: caller.deadline,
            fuel: self.services.limits.fuel(bytes, items),
            operation,
            patient: caller.patient,
        };
        let outcome = self.runtime.call(generation, call, run).await;
        let (Ok(Finished { outcome_unknown, .. }) | Err(CallError { outcome_unknown, .. })) =
            &outcome;
        if *outcome_unknown {
            // What may have been written was not indexed.
            self.services.indexing.mark_late(&caller.tenant);
        }
        outcome.map_err(|error| self.call_error(operation, error))
    }

    fn answered<R>(&self, finished: Finished<R>) -> Result<Answered<R>, Error> {
        let Finished { result, generation, outcome_unknown } = finished;
        match result {
            Ok(value) => Ok(Answered { value, generation }),
            Err(error) => Err(self.error(error, outcome_unknown).from_guest(generation)),
        }
    }

    /// A failure that the guest reported.
    fn error(&self, error: wit::Error, outcome_unknown: bool) -> Error {
        match error {
            wit::Error::Invalid(problem) => Error::invalid(&problem.pointer, problem.message),
            wit::Error::InvalidFilter(problem) => Error::new(Code::InvalidFilter, problem.message)
                .with_details(json!({ "pointer": problem.pointer })),
            wit::Error::NotFound(id) => not_found(&id),
            wit::Error::Conflict(id) => {
                Error::new(Code::Conflict, format!("the fact {id:?} exists with other content"))
            }
            wit::Error::TooLarge(limit) => {
                Error::too_large(&limit.limit, limit.allowed, limit.used)
            }
            wit::Error::Unavailable(failure) => self.unavailable(failure),
            wit::Error::Timeout(failure) => {
                self.timeout(failure.backend, &failure.message, outcome_unknown)
            }
            wit::Error::ProfileMismatch(both) => Error::new(Code::DimensionMismatch, both),
            wit::Error::Other(reason) => Error::internal(reason),
        }
    }

    fn unavailable(&self, failure: wit::Failure) -> Error {
        match failure.backend {
            Backend::Storage => {
                let name = self.storage_name;
                let message = format!("{name} not available: {}", failure.message);
                Error::new(Code::StorageUnavailable, message)
            }
            Backend::Embedding => {
                let message = format!("Embedding not available: {}", failure.message);
                Error::new(Code::EmbeddingUnavailable, message)
            }
        }
    }

    fn timeout(&self, backend: Backend, reason: &str, outcome_unknown: bool) -> Error {
        let what = match backend {
            Backend::Storage => format!("{} operation timeout", self.storage_name),
            Backend::Embedding => "Embedding timeout".to_string(),
        };
        let error = Error::new(Code::Timeout, format!("{what}: {reason}"));
        if outcome_unknown { error.with_unknown_outcome() } else { error }
    }

    /// A call whose guest did not come to its end.
    fn call_error(&self, operation: &'static str, error: CallError) -> Error {
        let mapped = match error.ended {
            Ended::Trapped(trap) => {
                Error::new(Code::GuestTrapped, format!("the logic trapped: {trap}"))
            }
            Ended::OutOfFuel { limit } => limit_error(Code::GuestOutOfFuel, "fuel", limit, None),
            Ended::OutOfMemory { limit, allowed, used } => {
                limit_error(Code::GuestOutOfMemory, limit, allowed, Some(used))
            }
            Ended::Limit { limit, allowed, used } => {
                limit_error(Code::GuestLimit, limit, allowed, used)
            }
            Ended::Deadline { in_guest: true, .. } => {
                let what = if operation == "search" { "Search" } else { "Call" };
                let message = format!("{what} timeout: the logic was still computing");
                Error::new(Code::Timeout, message).blaming(Blame::Guest)
            }
            Ended::Deadline { backend, .. } => {
                let waited_for = match backend {
                    "embedding" => Backend::Embedding,
                    _ => Backend::Storage,
                };
                let reason = "the call's deadline passed while waiting";
                self.timeout(waited_for, reason, false)
            }
            Ended::Overloaded { limit, allowed } => Error::overloaded(limit, allowed),
            Ended::Host(reason) => Error::internal(reason),
        };
        let mapped = mapped.from_guest(error.generation);
        if error.outcome_unknown { mapped.with_unknown_outcome() } else { mapped }
    }
}

/// A draft's vector, id and fields beside its text and metadata.
const DRAFT_OVERHEAD_BYTES: usize = 4 * 1024;

fn check_bytes(limit: &str, allowed: usize, used: usize) -> Result<(), Error> {
    if used <= allowed {
        return Ok(());
    }
    Err(Error::too_large(limit, allowed as u64, used as u64))
}

fn draft_bytes(draft: &Draft) -> usize {
    draft.text.len() + draft.metadata.len()
}

fn not_found(id: &str) -> Error {
    Error::new(Code::NotFound, format!("there is no fact with the id {id:?}"))
}

fn guest_broke(limit: &'static str, allowed: usize, used: usize) -> Error {
    limit_error(Code::GuestLimit, limit, allowed as u64, Some(used as u64))
}

fn limit_error(code: Code, limit: &str, allowed: u64, used: Option<u64>) -> Error {
    // What was refused was never used, and fuel that ran out was used up.
    let used = used.unwrap_or(allowed);
    Error::new(code, format!("the logic reached its limit {limit} of {allowed}")).with_details(
        json!({ "limit": limit, "allowed": allowed, "used": used, "component": "logic" }),
    )
}
