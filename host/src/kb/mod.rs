//! The knowledge base. Every verb (store, get, list, update, delete, search) is a method of
//! [`Kb`]; HTTP and the indexer call nothing else.
//!
//! A call reads from top to bottom: a verb checks quotas and limits, `in_force` takes a snapshot of
//! the active generations and one session with its guests, and the method of the same
//! name in `pipeline` runs the tenant's hooks and the logic in that session.
//!
//! | file | holds |
//! |---|---|
//! | `caller` | who calls, what for, and what a call returns |
//! | `guests` | which guests a call uses, and loading them |
//! | `given` | the vectors that callers give, where a tenant's do |
//! | `filtered` | lists, counts and deletes the facts that a filter matches |
//! | `pipeline` | the steps of a call: hooks, logic, validation |
//! | `storing` | the steps of a store: insert, upsert and update |
//! | `changing` | the steps of a change, and of one made of what is stored |
//! | `merge` | merge patches of metadata |
//! | `search` | the steps of a search, and what the host does around the logic |
//! | `hooks` | the tenant's extensions, in order, and what happens when a hook fails |
//! | `in_force` | repeats a call whose guests or keys were changed meanwhile, and waits for hosts |
//! | `hook_log` | which extensions ran in a call, and which hooks were left out |
//! | `validate` | compares the logic's results with the request |
//! | `returned` | what a guest may return: the rules for every value |
//! | `errors` | what callers are told when a guest fails |
//! | `recorder` | recent requests; `replay` runs them again for a candidate |
//! | `telling` | tells extensions of changes, and asks them before deletions |
//! | `status` | what is known of tenants, guests and the server |
//! | `tenant_copy` | takes in a copy of a tenant |
//! | `tenant_deletion` | deletes a tenant with all its data |

mod caller;
mod changing;
mod consistency;
mod errors;
mod filtered;
mod given;
mod guests;
mod hook_log;
mod hooks;
mod in_force;
mod merge;
mod pipeline;
mod recorder;
mod replay;
mod returned;
mod search;
mod status;
mod storing;
mod telling;
mod tenant_copy;
mod tenant_deletion;
mod validate;

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::future::BoxFuture;
use kenning_index::FactIndex;
use kenning_storage::{Backend, Revision};

use crate::journal::Failures;
use crate::registry::{Registry, Snapshot};
use crate::telemetry::TenantSeries;
use kenning_core::error::Error;
use kenning_core::provenance::ServedBy;
use kenning_runtime::wit::{self, Draft, Fact, FactPage, Mode};
use kenning_runtime::{
    CallError, CallTracer, Progress, RequestContext, Runtime, Services, TenantIndex, Validity, Verb,
};

use caller::Purpose;
pub use caller::{Caller, Response};
pub use changing::{MetadataPatch, Patch};
use errors::ErrorMapper;
pub use filtered::{Deletion, Rest, Selection};
use hook_log::HookLog;
pub use pipeline::{Pipeline, StoreOutcome};
pub use recorder::{Recorded, Request, RequestRecorder};
pub use replay::Observed;
pub use search::{Found, FoundHit, Highlight, Options, Recency, Search};
pub use status::{Figures, IndexState};
pub use storing::{StoreMode, Submission};
pub use telling::{Told, ToldChange};
pub use tenant_copy::{TakenIn, documents_of};

pub(crate) use tenant_deletion::POLL;

/// The knowledge base.
pub struct Kb {
    runtime: Runtime,
    registry: Arc<Registry>,
    services: Arc<Services>,
    recorder: RequestRecorder,
    failures: Arc<Failures>,
    tenant_series: Option<Arc<TenantSeries>>,
    /// The name of the storage in messages to users.
    storage_name: &'static str,
}

impl Kb {
    /// A knowledge base that runs the registry's guests on `runtime`. What a deleted tenant left in
    /// `failures` and in the metrics is dropped with it.
    pub fn new(
        runtime: Runtime,
        registry: Arc<Registry>,
        services: Arc<Services>,
        failures: Arc<Failures>,
        tenant_series: Option<Arc<TenantSeries>>,
    ) -> Self {
        let storage_name = match services.storage.describe().backend {
            Backend::Redis => "Redis",
            Backend::Embedded => "Storage",
        };
        let recorder = RequestRecorder::new(services.limits.proof_requests > 0);
        Self { runtime, registry, services, recorder, failures, tenant_series, storage_name }
    }

    /// Storage, embedder, indexes, tenants and limits.
    pub fn services(&self) -> &Services {
        &self.services
    }

    /// Which generation of each guest is active.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// Recent requests, for the proof of a candidate.
    pub fn recorder(&self) -> &RequestRecorder {
        &self.recorder
    }

    /// What is known of failed requests.
    pub fn failures(&self) -> &Arc<Failures> {
        &self.failures
    }

    /// The metrics of each tenant's requests, where they are wanted.
    pub fn tenant_series(&self) -> Option<&Arc<TenantSeries>> {
        self.tenant_series.as_ref()
    }

    /// The name of the storage in messages to users.
    pub fn storage_name(&self) -> &'static str {
        self.storage_name
    }

    /// The server-wide guests that are active now.
    pub fn served_by(&self) -> ServedBy {
        self.registry.server_wide().served_by()
    }

    /// Stores the drafts that are valid; the others keep their errors. The outcomes are in the
    /// order of what is submitted.
    ///
    /// # Errors
    /// When nothing was stored: a quota is used up, the deadline passed, a guest or a backend
    /// failed, or the only draft is invalid.
    pub async fn store(
        &self,
        caller: &Caller,
        submitted: Vec<Result<Submission, Error>>,
    ) -> Result<Response<Vec<Result<StoreOutcome, Error>>>, Error> {
        self.check_quota(caller, true).await?;
        let submitted: Vec<_> = submitted
            .into_iter()
            .map(|one| one.and_then(|one| self.check_draft(&one.draft).map(|()| one)))
            .collect();
        if let [Err(error)] = &submitted[..] {
            // No guest has to run for this.
            return Err(error.clone());
        }
        if let Some(Ok(first)) = submitted.first() {
            self.record(caller, || Request::Store(first.clone()));
        }
        // Held until the answer, which says whether the facts are in it.
        let _index = self.services.indexes.held().open(&caller.tenant);
        let request = caller.request(Verb::Store);
        self.run(caller, Purpose::Write, request, move |pipeline| {
            Box::pin(pipeline.store(submitted))
        })
        .await
    }

    /// The host's own limits for a draft; the logic adds its own rules.
    fn check_draft(&self, draft: &Draft) -> Result<(), Error> {
        let limits = &self.services.limits;
        check_bytes("fact_text_bytes", limits.fact_text_bytes, draft.text.len())?;
        check_bytes("fact_metadata_bytes", limits.fact_metadata_bytes, draft.metadata.len())
    }

    /// Reads one fact.
    ///
    /// # Errors
    /// `not_found` when there is no such fact or an extension hides it; see [`Self::store`].
    pub async fn get(&self, caller: &Caller, id: String) -> Result<Response<Fact>, Error> {
        self.check_quota(caller, false).await?;
        self.wait_for_storage(caller).await?;
        self.record(caller, || Request::Get(id.clone()));
        let request = caller.request(Verb::Get);
        self.run(caller, Purpose::Read, request, move |pipeline| Box::pin(pipeline.get(id))).await
    }

    /// Which of `ids` the caller may know of: those of facts that exist and that the tenant's
    /// extensions show.
    ///
    /// # Errors
    /// See [`Self::store`].
    pub async fn visible(
        &self,
        caller: &Caller,
        ids: Vec<String>,
    ) -> Result<BTreeSet<String>, Error> {
        self.check_quota(caller, false).await?;
        let request = caller.request(Verb::Follow);
        let visible = self
            .run(caller, Purpose::Read, request, move |pipeline| Box::pin(pipeline.visible(ids)));
        Ok(visible.await?.value)
    }

    /// Returns one page of facts, newest first; `containing` keeps only those with that text.
    ///
    /// # Errors
    /// When the cursor is invalid; see [`Self::store`].
    pub async fn list(
        &self,
        caller: &Caller,
        containing: Option<String>,
        limit: u32,
        cursor: Option<String>,
    ) -> Result<Response<FactPage>, Error> {
        self.check_quota(caller, false).await?;
        self.wait_for_storage(caller).await?;
        if cursor.is_none() {
            let containing = containing.clone();
            self.record(caller, || Request::List { containing, limit });
        }
        let request = caller.request(Verb::List);
        self.run(caller, Purpose::Read, request, move |pipeline| {
            Box::pin(pipeline.list(containing, limit, cursor))
        })
        .await
    }

    /// Changes one fact.
    ///
    /// # Errors
    /// `not_found` when there is no such fact; see [`Self::store`].
    pub async fn update(
        &self,
        caller: &Caller,
        id: String,
        patch: Patch,
    ) -> Result<Response<StoreOutcome>, Error> {
        self.check_quota(caller, true).await?;
        let limits = &self.services.limits;
        let text = patch.text.as_ref().map_or(0, String::len);
        check_bytes("fact_text_bytes", limits.fact_text_bytes, text)?;
        let metadata = patch.metadata.as_ref().map_or(0, |metadata| metadata.as_str().len());
        check_bytes("fact_metadata_bytes", limits.fact_metadata_bytes, metadata)?;
        let _index = self.services.indexes.held().open(&caller.tenant);
        let request = caller.request(Verb::Update);
        self.run(caller, Purpose::Write, request, move |pipeline| {
            Box::pin(pipeline.update(id, patch))
        })
        .await
    }

    /// Deletes one fact.
    ///
    /// # Errors
    /// `not_found` when there is no such fact; see [`Self::store`].
    pub async fn delete(&self, caller: &Caller, id: String) -> Result<Response<()>, Error> {
        self.check_quota(caller, false).await?;
        let request = caller.request(Verb::Delete);
        self.run(caller, Purpose::Write, request, move |pipeline| Box::pin(pipeline.delete(id)))
            .await
    }

    /// Searches.
    ///
    /// # Errors
    /// When the filter or the cursor is invalid, or the tenant's index is too large to be held; see
    /// [`Self::store`].
    pub async fn search(&self, caller: &Caller, search: Search) -> Result<Response<Found>, Error> {
        self.check_quota(caller, true).await?;
        // Held to the end: an index that is used is not dropped for others. One that is dropped all
        // the same has what the caller asked to have seen.
        let index = self.index_for(caller).await?;
        let unfinished = unfinished(&index);
        self.record(caller, || Request::Search(search.clone()));
        let mode = search.query.mode;
        let request = search.asked(caller.request(Verb::Search));
        let admitted = index.clone();
        let search = self.run(caller, Purpose::Search, request, move |pipeline| {
            Box::pin(pipeline.search_in(admitted, search))
        });
        let mut response = search.await?;
        response.value.degraded.extend(unfinished);
        response.value.degraded.extend(self.services.indexes.applied().lag(&caller.tenant));
        if mode != Mode::Text {
            response.value.degraded.extend(without_vectors(&index));
        }
        Ok(response)
    }

    /// What to index of each fact, for the indexer. The result may be shorter than `ids` and
    /// has `None` for ids without a fact.
    ///
    /// # Errors
    /// See [`Self::store`]; quotas do not apply.
    pub async fn entries(
        &self,
        caller: &Caller,
        ids: Vec<String>,
    ) -> Result<Vec<Option<wit::Entry>>, Error> {
        let snapshot = self.logic_snapshot(caller).await?;
        let (hooks, request) = (HookLog::default(), RequestContext::default());
        let (entries, _) = self
            .run_with(snapshot, hooks, caller, Purpose::Read, request, move |pipeline| {
                Box::pin(pipeline.entries(ids))
            })
            .await;
        entries.map(|done| done.value)
    }

    fn record(&self, caller: &Caller, request: impl FnOnce() -> Request) {
        let most = self.services.tenants.recorded_requests(&caller.tenant);
        self.recorder.record(&caller.tenant, most, || Recorded {
            request: request(),
            caller: caller.identity(&self.services.tenants),
        });
    }

    /// Fails when one of the tenant's quotas is used up. The indexer's calls skip this check: the
    /// host makes them, not the tenant.
    async fn check_quota(&self, caller: &Caller, embeds: bool) -> Result<(), Error> {
        self.services.tenants.check_quotas(&caller.tenant, embeds, caller.deadline).await
    }

    /// Runs `steps` for `caller` in one session, with the given snapshot of the guests, and a log
    /// of what its hooks do. The session ends early when the tenant is deleted.
    async fn run_with<T: Send + 'static>(
        &self,
        snapshot: Snapshot,
        hooks: HookLog,
        caller: &Caller,
        purpose: Purpose,
        request: RequestContext,
        steps: impl Steps<T>,
    ) -> (Result<Done<T>, Error>, SessionEnd) {
        let errors = ErrorMapper { storage: self.storage_name, purpose };
        let running = match self.services.tenants.begin(&caller.tenant, caller.permit.as_deref()) {
            Ok(running) => running,
            Err(error) => return (Err(error), SessionEnd::default()),
        };
        let tenant = caller.tenant.clone();
        let on_worker = running.again();
        let tracer = Arc::new(CallTracer::new(tenant.clone(), caller.deadline));
        let traced = tracer.clone();
        let session =
            self.runtime.run_session(tenant, caller.deadline, caller.priority, move |session| {
                let session = session.traced(traced).going_by(snapshot.registry).asked(request);
                let mut pipeline = Pipeline::new(session, snapshot, errors).logging(hooks);
                async move {
                    // When the caller leaves, the worker stops a moment after the caller does.
                    let _running = on_worker;
                    let result = steps(&mut pipeline).await;
                    let (withheld, revision) = (pipeline.withheld(), pipeline.revision());
                    let done = result.map(|value| Done { value, withheld, revision });
                    (pipeline.ended(), done)
                }
            });
        // A streamed answer calls outside of its request's task.
        let trace = caller.trace.clone().or_else(kenning_trace::current);
        let session = kenning_trace::within(trace, session);
        let outcome = tokio::select! {
            outcome = session => outcome,
            () = running.ended() => {
                return (Err(kenning_tenants::tenant_deleted()), SessionEnd::default());
            }
        };
        let (ended, result) = outcome.unwrap_or_else(|error| {
            // The session did not return, so nobody knows how far it got.
            let started = !matches!(error, CallError::Overloaded { .. });
            let unknown = started && purpose == Purpose::Write;
            let error = errors.call_error(&error);
            let error = if unknown { error.with_unknown_outcome() } else { error };
            (SessionEnd { outcome_unknown: unknown, ..SessionEnd::default() }, Err(error))
        });
        if ended.outcome_unknown {
            // Facts may have been written without being indexed.
            self.services.indexes.mark_pending(&caller.tenant);
        }
        (result.map_err(|error| error.with_trace(tracer.to_json())), ended)
    }
}

/// What a call's session returned.
struct Done<T> {
    value: T,
    /// How many facts were withheld.
    withheld: u64,
    /// The revision of the last write, if it wrote.
    revision: Option<Revision>,
}

/// How a call's session ended, whatever its result.
#[derive(Clone, Copy, Debug, Default)]
struct SessionEnd {
    /// Whether the call wrote, as far as it knows.
    wrote: bool,
    /// Whether it may have written something that it does not know of.
    outcome_unknown: bool,
    /// What storage said of the registry that the call went by; `None` if that makes no
    /// difference.
    validity: Option<Validity>,
}

/// The steps of one call in its session. A clone of them does the same again.
trait Steps<T>:
    for<'a> FnOnce(&'a mut Pipeline) -> BoxFuture<'a, Result<T, Error>> + Clone + Send + 'static
{
}

impl<T, F> Steps<T> for F where
    F: for<'a> FnOnce(&'a mut Pipeline) -> BoxFuture<'a, Result<T, Error>> + Clone + Send + 'static
{
}

/// Why a search may miss facts, while the index is being loaded.
fn unfinished(index: &TenantIndex) -> Option<String> {
    match index.progress() {
        Progress::Ready | Progress::Refused(_) => None,
        Progress::Loading | Progress::Dropped => {
            let facts = index.sizes().facts;
            Some(format!("index: still being built, {facts} facts so far"))
        }
        Progress::Stalled { reason } => Some(format!("index: not built yet: {reason}")),
    }
}

/// How many of the tenant's facts vector search cannot find, if there are any.
fn without_vectors(index: &TenantIndex) -> Option<String> {
    let sizes = index.sizes();
    let without = sizes.facts.saturating_sub(sizes.vectors);
    (without > 0).then(|| format!("vector: {without} of {} facts have no vector yet", sizes.facts))
}

fn check_bytes(limit: &str, allowed: usize, used: usize) -> Result<(), Error> {
    if used <= allowed {
        return Ok(());
    }
    Err(Error::too_large(limit, allowed as u64, used as u64))
}
