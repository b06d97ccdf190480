//! The knowledge base. Every verb (store, get, list, update, delete, search) is a method of
//! [`Kb`]; HTTP and the indexer call nothing else.
//!
//! A call reads from top to bottom: a verb checks quotas and limits, `run` takes a snapshot of
//! the active generations and one session on the guests' workers, and the method of the same
//! name in `pipeline` runs the tenant's hooks and the logic in that session.
//!
//! | file | holds |
//! |---|---|
//! | `caller` | who calls, what for, and what a call returns |
//! | `guests` | which guests a call uses, and loading them |
//! | `pipeline` | the steps of a call: hooks, logic, validation |
//! | `hooks` | the tenant's extensions, in order, and what happens when a hook fails |
//! | `validate` | compares the logic's results with the request |
//! | `errors` | what callers are told when a guest fails |
//! | `recorder` | recent requests; `replay` runs them again for a candidate |
//! | `tenant_deletion` | deletes a tenant with all its data |

mod caller;
mod errors;
mod guests;
mod hooks;
mod pipeline;
mod recorder;
mod replay;
mod tenant_deletion;
mod validate;

use std::sync::Arc;

use futures::future::BoxFuture;
use kenning_storage::Backend;

use crate::registry::{Registry, Snapshot};
use kenning_core::error::Error;
use kenning_core::provenance::ServedBy;
use kenning_runtime::tenant_indexes::Progress;
use kenning_runtime::wit::{self, Answer, Change, Draft, Fact, FactPage, Query, Stored};
use kenning_runtime::{CallError, Runtime, Services};

use caller::Purpose;
pub use caller::{Caller, Response};
use errors::ErrorMapper;
pub use pipeline::{Pipeline, StoreOutcome};
pub use recorder::{Request, RequestRecorder};
pub use replay::Observed;

pub(crate) use tenant_deletion::POLL;

/// The knowledge base.
pub struct Kb {
    runtime: Runtime,
    registry: Arc<Registry>,
    services: Arc<Services>,
    recorder: RequestRecorder,
    /// The name of the storage in messages to users.
    storage_name: &'static str,
}

impl Kb {
    /// A knowledge base that runs the registry's guests on `runtime`.
    pub fn new(runtime: Runtime, registry: Arc<Registry>, services: Arc<Services>) -> Self {
        let storage_name = match services.storage.describe().backend {
            Backend::Redis => "Redis",
            Backend::Embedded => "Storage",
        };
        let recorder = RequestRecorder::new(services.limits.proof_requests > 0);
        Self { runtime, registry, services, recorder, storage_name }
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

    /// The name of the storage in messages to users.
    pub fn storage_name(&self) -> &'static str {
        self.storage_name
    }

    /// The server-wide guests that are active now.
    pub fn served_by(&self) -> ServedBy {
        self.registry.server_wide().served_by()
    }

    /// Stores the drafts that are valid; the others keep their errors. The outcomes are in the
    /// order of the drafts.
    ///
    /// # Errors
    /// When nothing was stored: a quota is used up, the deadline passed, a guest or a backend
    /// failed, or the only draft is invalid.
    pub async fn store(
        &self,
        caller: &Caller,
        drafts: Vec<Result<Draft, Error>>,
    ) -> Result<Response<Vec<Result<StoreOutcome, Error>>>, Error> {
        self.check_quota(caller, true)?;
        let drafts: Vec<_> = drafts
            .into_iter()
            .map(|draft| draft.and_then(|draft| self.check_draft(draft)))
            .collect();
        if let [Err(error)] = &drafts[..] {
            // No guest has to run for this.
            return Err(error.clone());
        }
        if let Some(Ok(draft)) = drafts.first() {
            self.record(caller, || Request::Store(draft.clone()));
        }
        self.run(caller, Purpose::Write, move |pipeline| Box::pin(pipeline.store(drafts))).await
    }

    /// The host's own limits for a draft; the logic adds its own rules.
    fn check_draft(&self, draft: Draft) -> Result<Draft, Error> {
        let limits = &self.services.limits;
        check_bytes("fact_text_bytes", limits.fact_text_bytes, draft.text.len())?;
        check_bytes("fact_metadata_bytes", limits.fact_metadata_bytes, draft.metadata.len())?;
        Ok(draft)
    }

    /// Reads one fact.
    ///
    /// # Errors
    /// `not_found` when there is no such fact or an extension hides it; see [`Self::store`].
    pub async fn get(&self, caller: &Caller, id: String) -> Result<Response<Fact>, Error> {
        self.check_quota(caller, false)?;
        self.record(caller, || Request::Get(id.clone()));
        self.run(caller, Purpose::Read, move |pipeline| Box::pin(pipeline.get(id))).await
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
        self.check_quota(caller, false)?;
        if cursor.is_none() {
            let containing = containing.clone();
            self.record(caller, || Request::List { containing, limit });
        }
        self.run(caller, Purpose::Read, move |pipeline| {
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
        change: Change,
    ) -> Result<Response<Stored>, Error> {
        self.check_quota(caller, true)?;
        let length = |part: &Option<String>| part.as_ref().map_or(0, String::len);
        let limits = &self.services.limits;
        check_bytes("fact_text_bytes", limits.fact_text_bytes, length(&change.text))?;
        check_bytes("fact_metadata_bytes", limits.fact_metadata_bytes, length(&change.metadata))?;
        self.run(caller, Purpose::Write, move |pipeline| Box::pin(pipeline.update(id, change)))
            .await
    }

    /// Deletes one fact.
    ///
    /// # Errors
    /// `not_found` when there is no such fact; see [`Self::store`].
    pub async fn delete(&self, caller: &Caller, id: String) -> Result<Response<()>, Error> {
        self.check_quota(caller, false)?;
        self.run(caller, Purpose::Write, move |pipeline| Box::pin(pipeline.delete(id))).await
    }

    /// Searches.
    ///
    /// # Errors
    /// When the filter is invalid; see [`Self::store`].
    pub async fn search(&self, caller: &Caller, query: Query) -> Result<Response<Answer>, Error> {
        self.check_quota(caller, true)?;
        self.record(caller, || Request::Search(query.clone()));
        let search =
            self.run(caller, Purpose::Search, move |pipeline| Box::pin(pipeline.search(query)));
        let mut response = search.await?;
        response.value.degraded.extend(self.unfinished_index());
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
        self.run_with(snapshot, caller, Purpose::Read, move |pipeline| {
            Box::pin(pipeline.entries(ids))
        })
        .await
    }

    fn record(&self, caller: &Caller, request: impl FnOnce() -> Request) {
        let most = self.services.tenants.recorded_requests(&caller.tenant);
        self.recorder.record(&caller.tenant, most, request);
    }

    fn unfinished_index(&self) -> Option<String> {
        match &*self.services.indexes.progress().borrow() {
            Progress::Ready => None,
            Progress::Building { facts } => {
                Some(format!("index: still being built, {facts} facts so far"))
            }
            Progress::Stalled { reason } => Some(format!("index: not built yet: {reason}")),
        }
    }

    /// Fails when one of the tenant's quotas is used up. The indexer's calls skip this check: the
    /// host makes them, not the tenant.
    fn check_quota(&self, caller: &Caller, embeds: bool) -> Result<(), Error> {
        self.services.tenants.check_quotas(&caller.tenant, embeds)
    }

    /// Runs `steps` for `caller` in one session, with one snapshot of the guests. The session
    /// ends early when the tenant is deleted.
    async fn run<T: Send + 'static>(
        &self,
        caller: &Caller,
        purpose: Purpose,
        steps: impl Steps<T>,
    ) -> Result<Response<T>, Error> {
        let snapshot = self.snapshot(caller).await?;
        let served_by = snapshot.served_by();
        match self.run_with(snapshot, caller, purpose, steps).await {
            Ok(value) => Ok(Response { value, served_by }),
            Err(error) => Err(error.from_guests(served_by)),
        }
    }

    /// The same with the given snapshot.
    async fn run_with<T: Send + 'static>(
        &self,
        snapshot: Snapshot,
        caller: &Caller,
        purpose: Purpose,
        steps: impl Steps<T>,
    ) -> Result<T, Error> {
        let errors = ErrorMapper { storage: self.storage_name, purpose };
        let running = self.services.tenants.begin(&caller.tenant, caller.permit.as_deref())?;
        let tenant = caller.tenant.clone();
        let on_worker = running.again();
        let session =
            self.runtime.run_session(tenant, caller.deadline, caller.priority, move |session| {
                let mut pipeline = Pipeline::new(session, snapshot, errors);
                async move {
                    // When the caller leaves, the worker stops a moment after the caller does.
                    let _running = on_worker;
                    let result = steps(&mut pipeline).await;
                    (pipeline.outcome_unknown(), result)
                }
            });
        let outcome = tokio::select! {
            outcome = session => outcome,
            () = running.ended() => return Err(kenning_tenants::tenant_deleted()),
        };
        let (outcome_unknown, result) = outcome.unwrap_or_else(|error| {
            // The session did not return, so nobody knows how far it got.
            let started = !matches!(error, CallError::Overloaded { .. });
            let unknown = started && purpose == Purpose::Write;
            let error = errors.call_error(&error);
            (unknown, Err(if unknown { error.with_unknown_outcome() } else { error }))
        });
        if outcome_unknown {
            // Facts may have been written without being indexed.
            self.services.indexes.mark_pending(&caller.tenant);
        }
        result
    }
}

/// The steps of one call in its session.
trait Steps<T>:
    for<'a> FnOnce(&'a mut Pipeline) -> BoxFuture<'a, Result<T, Error>> + Send + 'static
{
}

impl<T, F> Steps<T> for F where
    F: for<'a> FnOnce(&'a mut Pipeline) -> BoxFuture<'a, Result<T, Error>> + Send + 'static
{
}

fn check_bytes(limit: &str, allowed: usize, used: usize) -> Result<(), Error> {
    if used <= allowed {
        return Ok(());
    }
    Err(Error::too_large(limit, allowed as u64, used as u64))
}
