//! The verbs. HTTP, the indexer and whatever face comes next all meet here; each
//! verb takes one snapshot of the active generations and one turn on the guests'
//! workers.
//!
//! | file | holds |
//! |---|---|
//! | `visit` | what a verb does in its turn: hooks, logic, checks |
//! | `hooks` | the tenant's extensions, one after the other, and what if one fails |
//! | `failures` | what the caller is told of a guest's failure |
//! | `samples` | recent requests; `replay` makes them again for a candidate |

mod failures;
mod hooks;
mod replay;
mod samples;
mod visit;

use std::sync::Arc;
use std::time::{Duration, Instant};

use kenning_storage::{Backend, StorageError, TenantId};
use tokio::time::timeout_at;

use crate::error::{Code, Error};
use crate::indexing::Progress;
use crate::registry::{LoadError, Owner, Registry, Snapshot};
use crate::runtime::wit::{self, Answer, Change, Draft, Fact, FactPage, Query, Stored};
use crate::runtime::{Ended, GenerationRef, Kind, Runtime, Services};
use crate::tenants::{self, Permit};

pub use replay::Observed;
pub use samples::{Request, Samples};
pub use visit::{Kept, Visit};

/// Who calls, and when the answer has to be there.
#[derive(Clone, Debug)]
pub struct Caller {
    pub tenant: TenantId,
    pub deadline: Instant,
    /// No person waits: under load, calls of others go first.
    pub patient: bool,
    /// Of a request from outside, for a tenant that was created.
    pub permit: Option<Arc<Permit>>,
}

impl Caller {
    /// A caller who waits for `time`.
    pub fn within(tenant: TenantId, time: Duration) -> Self {
        Self { tenant, deadline: Instant::now() + time, patient: false, permit: None }
    }

    /// The same for work in bulk and in the background.
    #[must_use]
    pub fn patient(self) -> Self {
        Self { patient: true, ..self }
    }
}

/// Which guests served a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    pub logic: GenerationRef,
    /// `name=generation` of each extension, in their order, with commas between.
    pub extensions: Option<Arc<str>>,
}

/// A value, and the guests that made it.
pub struct Answered<T> {
    pub value: T,
    pub served: Served,
}

/// The knowledge base.
pub struct Kb {
    runtime: Runtime,
    registry: Arc<Registry>,
    services: Arc<Services>,
    samples: Samples,
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
        let samples = Samples::new(services.limits.proof_requests > 0);
        Self { runtime, registry, services, samples, storage_name }
    }

    pub fn services(&self) -> &Services {
        &self.services
    }

    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    pub fn samples(&self) -> &Samples {
        &self.samples
    }

    /// What messages call the storage.
    pub fn storage_name(&self) -> &'static str {
        self.storage_name
    }

    /// The server-wide guests that answer now.
    pub fn served(&self) -> Served {
        self.registry.server_wide().served()
    }

    /// Stores those drafts that are whole; the others keep their errors. Each has an
    /// outcome of its own, in the order given.
    pub async fn store(
        &self,
        caller: &Caller,
        drafts: Vec<Result<Draft, Error>>,
    ) -> Result<Answered<Vec<Result<Kept, Error>>>, Error> {
        self.check(caller, true)?;
        let drafts: Vec<_> = drafts
            .into_iter()
            .map(|draft| draft.and_then(|draft| self.check_draft(draft)))
            .collect();
        if let [Err(error)] = &drafts[..] {
            // No guest is needed to say so.
            return Err(error.clone());
        }
        if let Some(Ok(draft)) = drafts.first() {
            self.sample(caller, || Request::Store(draft.clone()));
        }
        self.visit(caller, Purpose::Write, |mut visit| async {
            let stored = visit.store(drafts).await;
            (visit, stored)
        })
        .await
    }

    /// The host's own bounds on a draft; the logic has its rules on top.
    fn check_draft(&self, draft: Draft) -> Result<Draft, Error> {
        let limits = &self.services.limits;
        check_bytes("fact_text_bytes", limits.fact_text_bytes, draft.text.len())?;
        check_bytes("fact_metadata_bytes", limits.fact_metadata_bytes, draft.metadata.len())?;
        Ok(draft)
    }

    /// Reads one fact.
    pub async fn get(&self, caller: &Caller, id: String) -> Result<Answered<Fact>, Error> {
        self.check(caller, false)?;
        self.sample(caller, || Request::Get(id.clone()));
        self.visit(caller, Purpose::Read, |mut visit| async {
            let fact = visit.get(id).await;
            (visit, fact)
        })
        .await
    }

    /// Facts, newest first.
    pub async fn list(
        &self,
        caller: &Caller,
        containing: Option<String>,
        limit: u32,
        cursor: Option<String>,
    ) -> Result<Answered<FactPage>, Error> {
        self.check(caller, false)?;
        if cursor.is_none() {
            let containing = containing.clone();
            self.sample(caller, || Request::List { containing, limit });
        }
        self.visit(caller, Purpose::Read, move |mut visit| async move {
            let page = visit.list(containing, limit, cursor).await;
            (visit, page)
        })
        .await
    }

    /// Changes one fact.
    pub async fn update(
        &self,
        caller: &Caller,
        id: String,
        change: Change,
    ) -> Result<Answered<Stored>, Error> {
        self.check(caller, true)?;
        let length = |part: &Option<String>| part.as_ref().map_or(0, String::len);
        let limits = &self.services.limits;
        check_bytes("fact_text_bytes", limits.fact_text_bytes, length(&change.text))?;
        check_bytes("fact_metadata_bytes", limits.fact_metadata_bytes, length(&change.metadata))?;
        self.visit(caller, Purpose::Write, |mut visit| async {
            let stored = visit.update(id, change).await;
            (visit, stored)
        })
        .await
    }

    /// Deletes one fact.
    pub async fn delete(&self, caller: &Caller, id: String) -> Result<Answered<()>, Error> {
        self.check(caller, false)?;
        self.visit(caller, Purpose::Write, |mut visit| async {
            let deleted = visit.delete(id).await;
            (visit, deleted)
        })
        .await
    }

    /// Searches.
    pub async fn search(&self, caller: &Caller, query: Query) -> Result<Answered<Answer>, Error> {
        self.check(caller, true)?;
        self.sample(caller, || Request::Search(query.clone()));
        let searched = self.visit(caller, Purpose::Search, |mut visit| async {
            let answer = visit.search(query).await;
            (visit, answer)
        });
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
        self.visit_with(snapshot, caller, Purpose::Read, |mut visit| async {
            let entries = visit.entries(ids).await;
            (visit, entries)
        })
        .await
    }

    /// A snapshot for what needs no extension: a start builds the index of every tenant,
    /// and is not to load, or even compile, the extensions of all.
    async fn logic_of(&self, caller: &Caller) -> Result<Snapshot, Error> {
        let registry = &self.registry;
        self.learned(caller).await?;
        if registry.snapshot(&caller.tenant).is_none() {
            let record = registry.archive.logic(&Owner::Tenant(caller.tenant.clone())).await;
            let record = record.map_err(|error| self.storage_error(&error))?.value;
            if record.active().is_none() {
                return Ok(registry.server_wide());
            }
        }
        self.snapshot(caller).await
    }

    fn sample(&self, caller: &Caller, request: impl FnOnce() -> Request) {
        let most = self.services.tenants.kept_requests(&caller.tenant);
        self.samples.record(&caller.tenant, most, request);
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

    /// The guests of a call that begins now. A tenant's first call has them read.
    pub(crate) async fn snapshot(&self, caller: &Caller) -> Result<Snapshot, Error> {
        loop {
            if let Some(snapshot) = self.registry.snapshot(&caller.tenant) {
                return Ok(snapshot);
            }
            self.learned(caller).await?;
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
    async fn learned(&self, caller: &Caller) -> Result<(), Error> {
        if self.registry.is_known() {
            return Ok(());
        }
        let registry = self.registry.clone();
        self.reading(caller, async move { registry.learn().await.map(drop) }).await
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
    fn check(&self, caller: &Caller, embeds: bool) -> Result<(), Error> {
        self.services.tenants.check(&caller.tenant, embeds)
    }

    /// One turn for `caller`, with one snapshot of the guests.
    async fn visit<T, F>(
        &self,
        caller: &Caller,
        purpose: Purpose,
        work: impl FnOnce(Visit) -> F + Send + 'static,
    ) -> Result<Answered<T>, Error>
    where
        T: Send + 'static,
        F: Future<Output = (Visit, Result<T, Error>)> + Send + 'static,
    {
        let snapshot = self.snapshot(caller).await?;
        let served = snapshot.served();
        let result = self.visit_with(snapshot, caller, purpose, work).await;
        match result {
            Ok(value) => Ok(Answered { value, served }),
            Err(error) => Err(error.from_guests(served)),
        }
    }

    async fn visit_with<T, F>(
        &self,
        snapshot: Snapshot,
        caller: &Caller,
        purpose: Purpose,
        work: impl FnOnce(Visit) -> F + Send + 'static,
    ) -> Result<T, Error>
    where
        T: Send + 'static,
        F: Future<Output = (Visit, Result<T, Error>)> + Send + 'static,
    {
        let words = failures::Words { storage: self.storage_name, purpose };
        let running = self.services.tenants.begin(&caller.tenant, caller.permit.as_deref())?;
        let tenant = caller.tenant.clone();
        let kind = if caller.patient { Kind::Background } else { Kind::Served };
        let on_worker = running.again();
        let turn = self.runtime.turn(tenant, caller.deadline, kind, move |turn| {
            let visit = work(Visit::new(turn, snapshot, words));
            async move {
                // Whoever goes away stops waiting at once, and the worker a moment later.
                let _under_way = on_worker;
                visit.await
            }
        });
        let ended = tokio::select! {
            ended = turn => ended,
            () = running.ended() => return Err(tenants::deleted()),
        };
        let (outcome_unknown, result) = match ended {
            Ok((visit, result)) => (visit.outcome_unknown(), result),
            Err(ended) => {
                // Nobody can say how far a call came that does not come back.
                let began = !matches!(ended, Ended::Overloaded { .. });
                let unknown = began && purpose == Purpose::Write;
                let error = words.ended(&ended);
                (unknown, Err(if unknown { error.with_unknown_outcome() } else { error }))
            }
        };
        if outcome_unknown {
            // What may have been written was not indexed.
            self.services.indexing.mark_late(&caller.tenant);
        }
        result
    }
}

fn check_bytes(limit: &str, allowed: usize, used: usize) -> Result<(), Error> {
    if used <= allowed {
        return Ok(());
    }
    Err(Error::too_large(limit, allowed as u64, used as u64))
}
