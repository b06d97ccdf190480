//! The verbs. HTTP, the indexer and whatever face comes next all meet here; each
//! verb takes one snapshot of the active generations and one turn on the guests'
//! workers.
//!
//! | file | holds |
//! |---|---|
//! | `pipeline` | what a verb does in its turn: hooks, logic, checks |
//! | `hooks` | the tenant's extensions, one after the other, and what if one fails |
//! | `errors` | what the caller is told of a guest's failure |
//! | `recorder` | recent requests; `replay` makes them again for a candidate |

mod errors;
mod hooks;
mod pipeline;
mod recorder;
mod replay;
mod tenant_deletion;
mod validate;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use kenning_storage::{Backend, StorageError, TenantId};
use tokio::time::timeout_at;

use crate::registry::{LoadError, Owner, Registry, Snapshot};
use kenning_core::error::{Code, Error};
use kenning_core::provenance::ServedBy;
use kenning_runtime::tenant_indexes::Progress;
use kenning_runtime::wit::{self, Answer, Change, Draft, Fact, FactPage, Query, Stored};
use kenning_runtime::{CallError, Priority, Runtime, Services};
use kenning_tenants::{self, Permit};

use errors::ErrorMapper;
pub use pipeline::{Pipeline, StoreOutcome};
pub use recorder::{Request, RequestRecorder};
pub use replay::Observed;

pub(crate) use tenant_deletion::POLL;

/// Who calls, and when the answer has to be there.
#[derive(Clone, Debug)]
pub struct Caller {
    pub tenant: TenantId,
    pub deadline: Instant,
    /// Background priority yields to interactive calls under load.
    pub priority: Priority,
    /// Of a request from outside, for a tenant that was created.
    pub permit: Option<Arc<Permit>>,
}

impl Caller {
    /// A caller who waits for `time`.
    pub fn within(tenant: TenantId, time: Duration) -> Self {
        let (deadline, priority) = (Instant::now() + time, Priority::Interactive);
        Self { tenant, deadline, priority, permit: None }
    }

    /// The same with background priority.
    #[must_use]
    pub fn in_background(self) -> Self {
        Self { priority: Priority::Background, ..self }
    }
}

/// A value, and the guests that made it.
pub struct Response<T> {
    pub value: T,
    pub served_by: ServedBy,
}

/// The knowledge base.
pub struct Kb {
    runtime: Runtime,
    registry: Arc<Registry>,
    services: Arc<Services>,
    recorder: RequestRecorder,
    /// How messages call the storage: users know it by its name.
    storage_name: &'static str,
}

/// What a call is for: what it is called, and whether it may write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Read,
    Search,
    Write,
}

impl Kb {
    pub fn new(runtime: Runtime, registry: Arc<Registry>, services: Arc<Services>) -> Self {
        let storage_name = match services.storage.describe().backend {
            Backend::Redis => "Redis",
            Backend::Embedded => "Storage",
        };
        let recorder = RequestRecorder::new(services.limits.proof_requests > 0);
        Self { runtime, registry, services, recorder, storage_name }
    }

    pub fn services(&self) -> &Services {
        &self.services
    }

    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    pub fn recorder(&self) -> &RequestRecorder {
        &self.recorder
    }

    /// What messages call the storage.
    pub fn storage_name(&self) -> &'static str {
        self.storage_name
    }

    /// The server-wide guests that answer now.
    pub fn served_by(&self) -> ServedBy {
        self.registry.server_wide().served_by()
    }

    /// Stores those drafts that are whole; the others keep their errors. Each has an
    /// outcome of its own, in the order given.
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
            // No guest is needed to say so.
            return Err(error.clone());
        }
        if let Some(Ok(draft)) = drafts.first() {
            self.record(caller, || Request::Store(draft.clone()));
        }
        self.run(caller, Purpose::Write, move |pipeline| Box::pin(pipeline.store(drafts))).await
    }

    /// The host's own bounds on a draft; the logic has its rules on top.
    fn check_draft(&self, draft: Draft) -> Result<Draft, Error> {
        let limits = &self.services.limits;
        check_bytes("fact_text_bytes", limits.fact_text_bytes, draft.text.len())?;
        check_bytes("fact_metadata_bytes", limits.fact_metadata_bytes, draft.metadata.len())?;
        Ok(draft)
    }

    /// Reads one fact.
    pub async fn get(&self, caller: &Caller, id: String) -> Result<Response<Fact>, Error> {
        self.check_quota(caller, false)?;
        self.record(caller, || Request::Get(id.clone()));
        self.run(caller, Purpose::Read, move |pipeline| Box::pin(pipeline.get(id))).await
    }

    /// Facts, newest first.
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
    pub async fn delete(&self, caller: &Caller, id: String) -> Result<Response<()>, Error> {
        self.check_quota(caller, false)?;
        self.run(caller, Purpose::Write, move |pipeline| Box::pin(pipeline.delete(id))).await
    }

    /// Searches.
    pub async fn search(&self, caller: &Caller, query: Query) -> Result<Response<Answer>, Error> {
        self.check_quota(caller, true)?;
        self.record(caller, || Request::Search(query.clone()));
        let searched =
            self.run(caller, Purpose::Search, move |pipeline| Box::pin(pipeline.search(query)));
        let mut answered = searched.await?;
        answered.value.degraded.extend(self.unfinished_index());
        Ok(answered)
    }

    /// What is to be indexed of facts, for the indexer.
    pub async fn entries(
        &self,
        caller: &Caller,
        ids: Vec<String>,
    ) -> Result<Vec<Option<wit::Entry>>, Error> {
        let snapshot = self.logic_of(caller).await?;
        self.run_with(snapshot, caller, Purpose::Read, move |pipeline| {
            Box::pin(pipeline.entries(ids))
        })
        .await
    }

    /// A snapshot for what needs no extension: a start builds the index of every tenant,
    /// and is not to load, or even compile, the extensions of all.
    async fn logic_of(&self, caller: &Caller) -> Result<Snapshot, Error> {
        let registry = &self.registry;
        self.registry_ready(caller).await?;
        if registry.snapshot(&caller.tenant).is_none() {
            let record = registry.archive.logic(&Owner::Tenant(caller.tenant.clone())).await;
            let record = record.map_err(|error| self.storage_error(&error))?.value;
            if record.active().is_none() {
                return Ok(registry.server_wide());
            }
        }
        self.snapshot(caller).await
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

    /// The guests of a call that begins now. A tenant's first call has them read.
    pub(crate) async fn snapshot(&self, caller: &Caller) -> Result<Snapshot, Error> {
        loop {
            if let Some(snapshot) = self.registry.snapshot(&caller.tenant) {
                return Ok(snapshot);
            }
            self.registry_ready(caller).await?;
            let (registry, tenant) = (self.registry.clone(), caller.tenant.clone());
            self.reading(caller, async move {
                match registry.snapshot(&tenant) {
                    None => registry.load_tenant(&tenant).await,
                    Some(_) => Ok(()),
                }
            })
            .await?;
        }
    }

    /// Once this is done it is known which tenants have guests of their own.
    async fn registry_ready(&self, caller: &Caller) -> Result<(), Error> {
        if self.registry.is_ready() {
            return Ok(());
        }
        let registry = self.registry.clone();
        self.reading(caller, async move { registry.load().await.map(drop) }).await
    }

    /// Waits for `work` no longer than the caller does. It is not this caller's alone: it
    /// goes on if the caller leaves.
    async fn reading(
        &self,
        caller: &Caller,
        work: impl Future<Output = Result<(), LoadError>> + Send + 'static,
    ) -> Result<(), Error> {
        match timeout_at(caller.deadline.into(), tokio::spawn(work)).await {
            Ok(Ok(read)) => read.map_err(|error| self.load_error(&error)),
            Ok(Err(panicked)) => Err(Error::internal(panicked)),
            Err(_) => Err(self.storage_error(&StorageError::Timeout { outcome_unknown: false })),
        }
    }

    pub(crate) fn load_error(&self, error: &LoadError) -> Error {
        match error {
            LoadError::Storage(error) => self.storage_error(error),
            other => {
                let message = format!("the guests of this tenant cannot be loaded: {other}");
                Error::new(Code::IncompatibleComponent, message)
            }
        }
    }

    /// A storage failure outside a guest call.
    pub fn storage_error(&self, error: &StorageError) -> Error {
        let name = self.storage_name;
        match error {
            StorageError::Unavailable(reason) => {
                Error::new(Code::StorageUnavailable, format!("{name} not available: {reason}"))
            }
            StorageError::Timeout { .. } => {
                Error::new(Code::Timeout, format!("{name} operation timeout"))
            }
            other => Error::internal(other),
        }
    }

    /// Whether the tenant may have guests work for it. What the host asks for itself, to
    /// keep an index, is not the tenant's doing.
    fn check_quota(&self, caller: &Caller, embeds: bool) -> Result<(), Error> {
        self.services.tenants.check_quotas(&caller.tenant, embeds)
    }

    /// Runs `work` for `caller` in one session, with one snapshot of the guests.
    async fn run<T: Send + 'static>(
        &self,
        caller: &Caller,
        purpose: Purpose,
        work: impl Steps<T>,
    ) -> Result<Response<T>, Error> {
        let snapshot = self.snapshot(caller).await?;
        let served_by = snapshot.served_by();
        match self.run_with(snapshot, caller, purpose, work).await {
            Ok(value) => Ok(Response { value, served_by }),
            Err(error) => Err(error.from_guests(served_by)),
        }
    }

    async fn run_with<T: Send + 'static>(
        &self,
        snapshot: Snapshot,
        caller: &Caller,
        purpose: Purpose,
        work: impl Steps<T>,
    ) -> Result<T, Error> {
        let errors = ErrorMapper { storage: self.storage_name, purpose };
        let running = self.services.tenants.begin(&caller.tenant, caller.permit.as_deref())?;
        let (tenant, priority) = (caller.tenant.clone(), caller.priority);
        let on_worker = running.again();
        let session = self.runtime.run_session(tenant, caller.deadline, priority, move |session| {
            let mut pipeline = Pipeline::new(session, snapshot, errors);
            async move {
                // A caller that leaves stops waiting at once, and the worker a moment later.
                let _running = on_worker;
                let result = work(&mut pipeline).await;
                (pipeline.outcome_unknown(), result)
            }
        });
        let ended = tokio::select! {
            ended = session => ended,
            () = running.ended() => return Err(kenning_tenants::tenant_deleted()),
        };
        let (outcome_unknown, result) = ended.unwrap_or_else(|error| {
            // Nobody can say how far a call got that does not come back.
            let began = !matches!(error, CallError::Overloaded { .. });
            let unknown = began && purpose == Purpose::Write;
            let error = errors.ended(&error);
            (unknown, Err(if unknown { error.with_unknown_outcome() } else { error }))
        });
        if outcome_unknown {
            // What may have been written was not indexed.
            self.services.indexes.mark_pending(&caller.tenant);
        }
        result
    }
}

/// The steps of one call, on the guests' workers.
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
