//! A session: one call's time with guests, with one permit and one deadline. In it the call runs as
//! many guests as it needs, one after the other.
//!
//! A call begins on the worker that serves it. Most end there within a fraction of a millisecond:
//! handing a call over to another thread and back costs more than an instance does. One that has
//! computed for a tick goes on at the guests' workers, a tokio runtime of their own, so that it
//! does not delay the server's sockets and timers. Calls of a tenant whose guests usually compute
//! for so long begin there, as do all for which nobody waits.

use std::collections::HashMap;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use kenning_embedder::Vector;
use kenning_index::{Index, IndexError, Work};
use kenning_storage::{RegistryRevision, Revision, TenantId};
use kenning_trace::Kind;
use serde::Serialize;
use tokio::time::timeout_at;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

use crate::call::{CallContext, GuestCall, Invocation, Replay, run_guest};
use crate::component::engine::Engines;
use crate::component::linked::Pre;
use crate::guest::Guest;
use crate::imports::search::{self, Bounds};
use crate::outcome::{CallEffects, CallError, GuestError, Validity, Waiting};
use crate::recorded_call::RecordedCall;
use crate::recording::{CallEnd, Input};
use crate::request_context::RequestContext;
use crate::schedule::admission::{Admission, Priority};
use crate::schedule::epoch::EpochClock;
use crate::schedule::replay_share::{ReplayShare, ReplayTurns};
use crate::schedule::time_slice::{Slice, TimeSlicer, workers};
use crate::services::Services;
use crate::tenant_index::TenantIndex;
use crate::trace::{CallTracer, GuestCost};
use kenning_core::fair_semaphore::Permit;

/// How long after its deadline a session may end by itself. Then the caller is answered without
/// waiting for it any longer.
const GRACE: Duration = Duration::from_millis(100);

/// After how many polls a guest worker looks at its timers. With tokio's default of 61, eight
/// guests in a loop delayed a timer by 61 ms and more.
const EVENT_INTERVAL: u32 = 2;

/// Runs guests: admits calls, and gives each a [`Session`] on the guests' workers.
pub struct Runtime {
    engines: Arc<Engines>,
    workers: GuestWorkers,
    clock: EpochClock,
    admission: Admission,
    slicer: TimeSlicer,
    replays: ReplayShare,
    services: Arc<Services>,
}

impl Runtime {
    /// Starts the workers, one for each core, and the epoch clock.
    ///
    /// # Errors
    /// If the system refuses to start a thread.
    pub fn new(engines: Arc<Engines>, services: Arc<Services>) -> std::io::Result<Self> {
        let clock = EpochClock::start(&engines)?;
        engines.watch_swap_space()?;
        let workers = tokio::runtime::Builder::new_multi_thread()
            .thread_name("guest")
            .worker_threads(workers())
            .enable_all()
            .event_interval(EVENT_INTERVAL)
            .build()?;
        let (admission, slicer) = (Admission::new(&services.limits), TimeSlicer::new());
        let replays = ReplayShare::new(services.limits.proof_processor_percent);
        Ok(Self {
            engines,
            workers: GuestWorkers(Some(workers)),
            clock,
            admission,
            slicer,
            replays,
            services,
        })
    }

    /// A proof begins, whose replays share a part of the processor with those of other proofs.
    pub fn begin_replays(&self) -> ReplayTurns {
        self.replays.begin()
    }

    /// Pauses after a replay of a proof that computed for so long, if other guests run; not beyond
    /// `until`.
    pub async fn pause_replays(&self, turns: &ReplayTurns, computed: Duration, until: Instant) {
        turns.pause(computed, until, || self.clock.is_idle()).await;
    }

    /// Waits for admission, then does `work` for `tenant`, until `deadline`: here, and on the
    /// guests' workers as soon as it computes for long. Dropping the future cancels the work.
    ///
    /// # Errors
    /// [`CallError::Overloaded`] if the session was not admitted; the work did not begin.
    /// Otherwise the work was stopped, at an unknown point: [`CallError::Deadline`] or
    /// [`CallError::Host`].
    pub async fn run_session<T, F>(
        &self,
        tenant: TenantId,
        deadline: Instant,
        priority: Priority,
        work: impl FnOnce(Session) -> F + Send + 'static,
    ) -> Result<T, CallError>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let permit = self.admit(&tenant, deadline, priority).await?;
        self.run_admitted(permit, tenant, deadline, (priority, false), work).await
    }

    /// The same with background priority, and without lasting effects: writes are captured and
    /// dropped.
    ///
    /// # Errors
    /// As [`Runtime::run_session`].
    pub async fn dry_run<T, F>(
        &self,
        tenant: TenantId,
        deadline: Instant,
        work: impl FnOnce(Session) -> F + Send + 'static,
    ) -> Result<T, CallError>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let permit = self.admit(&tenant, deadline, Priority::Background).await?;
        let how = (Priority::Background, true);
        self.run_admitted(permit, tenant, deadline, how, work).await
    }

    /// Waits for a permit, as a span of the request's trace.
    async fn admit(
        &self,
        tenant: &TenantId,
        deadline: Instant,
        priority: Priority,
    ) -> Result<Permit, CallError> {
        let mut span = kenning_trace::begin("queue", Kind::Internal);
        let admitted = self.admission.admit(tenant, deadline, priority).await;
        if let (Some(span), Err(error)) = (&mut span, &admitted) {
            span.fail(error.kind());
        }
        admitted
    }

    async fn run_admitted<T, F>(
        &self,
        permit: Permit,
        tenant: TenantId,
        deadline: Instant,
        (priority, dry_run): (Priority, bool),
        work: impl FnOnce(Session) -> F + Send + 'static,
    ) -> Result<T, CallError>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let (engines, services) = (self.engines.clone(), self.services.clone());
        let slice = self.slicer.slice(tenant.clone());
        let tracer = Arc::new(CallTracer::new(tenant.clone(), deadline));
        let (registry, expected) = (None, None);
        let (given, request, index) = Default::default();
        let context = CallContext {
            engines,
            services,
            tenant,
            registry,
            expected,
            given,
            index,
            request,
            deadline,
            dry_run,
            slice: slice.clone(),
            tracer,
            trace: kenning_trace::current(),
            replay: None,
        };
        let ticking = self.clock.tick();
        let session = Session::new(context);
        let begins_here = priority == Priority::Interactive && !slice.usually_yields();
        let slicing = slice.clone();
        let working = async move {
            let _held = (permit, ticking);
            let value = slicing.run(work(session)).await;
            slicing.finish();
            value
        };
        // What a guest says and how it fails is logged under the request's id.
        let working = kenning_trace::within(kenning_trace::current(), working.in_current_span());
        let working: BoxFuture<'static, T> = Box::pin(working);
        let working = self.run_placed(working, slice, begins_here);
        match timeout_at((deadline + GRACE).into(), working).await {
            Ok(result) => result,
            Err(_) => Err(CallError::Deadline { in_guest: true, waiting: Waiting::Nothing }),
        }
    }

    /// Polls `working` here until it yields, if it may begin here, and then has the guests' workers
    /// poll it.
    async fn run_placed<T: Send + 'static>(
        &self,
        mut working: BoxFuture<'static, T>,
        slice: Slice,
        begins_here: bool,
    ) -> Result<T, CallError> {
        if begins_here {
            let here = poll_fn(|context| {
                // As a task of its own, it must not take down whoever waits for it.
                match catch_unwind(AssertUnwindSafe(|| working.as_mut().poll(context))) {
                    Ok(Poll::Ready(value)) => Poll::Ready(Some(Ok(value))),
                    Ok(Poll::Pending) if slice.yields() => Poll::Ready(None),
                    Ok(Poll::Pending) => Poll::Pending,
                    Err(_) => Poll::Ready(Some(Err(CallError::Host("a call panicked".into())))),
                }
            });
            if let Some(result) = here.await {
                return result;
            }
        }
        let working = AbortOnDropHandle::new(self.workers.handle().spawn(working));
        working.await.map_err(|panicked| CallError::Host(panicked.to_string()))
    }
}

/// One call's time with guests.
pub struct Session {
    pub(crate) context: CallContext,
    /// Whether a guest's write timed out, or a guest was stopped after it wrote.
    outcome_unknown: bool,
    /// The greatest revision that a guest was given for a write.
    revision: Option<Revision>,
    validity: Validity,
    fuel_used: u64,
    /// What the next guest is given.
    input: Option<Arc<dyn Input>>,
    /// What was noted of the last guest, if it succeeded.
    recorded: Option<RecordedCall>,
}

impl Session {
    fn new(context: CallContext) -> Self {
        let (outcome_unknown, revision, validity, fuel_used, input, recorded) = Default::default();
        Self { context, outcome_unknown, revision, validity, fuel_used, input, recorded }
    }

    /// When the session ends, finished or not.
    pub fn deadline(&self) -> Instant {
        self.context.deadline
    }

    /// What the imports of the guests are served by.
    pub fn services(&self) -> &Services {
        &self.context.services
    }

    /// The tenant of the call.
    pub fn tenant(&self) -> &TenantId {
        &self.context.tenant
    }

    /// Notes in `tracer` from now on what the guests of this session do.
    #[must_use]
    pub fn traced(mut self, tracer: Arc<CallTracer>) -> Self {
        tracer.admitted();
        self.context.tracer = tracer;
        self
    }

    /// From now on storage refuses this session if `registry` is not the tenant's registry in
    /// force.
    #[must_use]
    pub fn going_by(mut self, registry: Option<RegistryRevision>) -> Self {
        self.context.registry = registry;
        self
    }

    /// The same, for this request: what its guests may know of it.
    #[must_use]
    pub fn asked(mut self, request: RequestContext) -> Self {
        self.context.request = request;
        self
    }

    /// From now on these vectors stand for their texts, in a tenant whose callers give them.
    pub fn give(&mut self, vectors: HashMap<String, Vector>) {
        self.context.given = Arc::new(vectors);
    }

    /// From now on searches use `index`: the one that the call was admitted with, which may have
    /// been dropped meanwhile. What it has is what the tenant had then, or more.
    pub fn use_index(&mut self, index: Arc<TenantIndex>) {
        self.context.index = Some(index);
    }

    /// The index that searches use, as far as that is known before one begins.
    pub fn index(&self) -> Option<Arc<TenantIndex>> {
        let CallContext { services, tenant, index, .. } = &self.context;
        index.clone().or_else(|| services.indexes.existing(tenant))
    }

    /// Has the guest answered from a recording.
    #[must_use]
    pub(crate) fn replaying(mut self, replay: Arc<Replay>) -> Self {
        self.context.replay = Some(replay);
        self
    }

    /// The next guest is given `input`, for the recording of its call.
    pub(crate) fn give_guest<T: Serialize + Send + Sync + 'static>(&mut self, input: T) -> Arc<T> {
        let input = Arc::new(input);
        self.input = Some(input.clone());
        input
    }

    /// What the last guest returned is refused, for this reason; what was recorded of it is kept.
    pub fn refuse(&mut self, error: impl ToString) {
        let CallContext { services, tenant, request, .. } = &self.context;
        if let Some(recorded) = self.recorded.take() {
            if let Some(stats) = &recorded.guest.stats {
                stats.count_refused(recorded.operation);
            }
            let ended = CallEnd::Refused { error: error.to_string() };
            recorded.keep(services, tenant, request, ended, Vec::new());
        }
    }

    /// What storage said of the registry that this session goes by.
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// What the guests of this session did so far, as a JSON object.
    pub fn trace(&self) -> serde_json::Value {
        self.context.tracer.to_json()
    }

    /// What the last guest calls of this session used, one by one.
    pub fn costs(&self) -> Vec<GuestCost> {
        self.context.tracer.costs()
    }

    /// Whether this session replays a request: nothing that it does counts.
    pub fn is_dry_run(&self) -> bool {
        self.context.dry_run
    }

    /// Lets other calls compute. For work of the host in this session, after each millisecond.
    pub async fn next_slice(&self) {
        self.context.slice.next().await;
    }

    /// How long this session has computed so far, in guests and in the host.
    pub fn computed(&self) -> Duration {
        self.context.slice.computed_now()
    }

    /// Whether a guest may have written something that it did not report.
    pub fn outcome_unknown(&self) -> bool {
        self.outcome_unknown
    }

    /// The tenant's revision after the last write of this session, if it wrote.
    pub fn revision(&self) -> Option<Revision> {
        self.revision
    }

    /// The fuel that all guests of this session have used so far.
    pub fn fuel_used(&self) -> u64 {
        self.fuel_used
    }

    /// What `search` finds in the tenant's index; `None` if that is too large to be held. One that
    /// takes long leaves time slices to others; then it runs a second time, from its beginning.
    ///
    /// # Errors
    /// As `search`, and [`IndexError::Stopped`] at the session's deadline.
    pub async fn search_index<T: Send + 'static>(
        &self,
        search: impl Fn(&Index, &Work<'_>) -> Result<T, IndexError> + Send + Sync + 'static,
    ) -> Result<Option<T>, IndexError> {
        let CallContext { services, tenant, deadline, slice, index, .. } = &self.context;
        let index = match index {
            Some(index) => index.clone(),
            None => services.indexes.held().loaded(tenant, *deadline).await,
        };
        if index.refusal().is_some() {
            return Ok(None);
        }
        let bounds = Bounds { fuel: u64::MAX, deadline: *deadline, slice: slice.clone() };
        search::run::<T>(index, Arc::new(search), bounds).await.result.map(Some)
    }

    /// Calls one export of `guest`, in an instance of its own: `pre` makes the instance, `run`
    /// calls the export.
    ///
    /// # Errors
    /// If the guest failed, or the deadline passed.
    pub async fn run<P: Pre, R>(
        &mut self,
        guest: &Arc<Guest>,
        pre: &P,
        invocation: Invocation,
        run: impl GuestCall<P::Bindings, R>,
    ) -> Result<(R, CallEffects), GuestError> {
        let input = self.input.take();
        self.recorded = None;
        let ran = run_guest(&self.context, guest, pre, invocation, input, run).await;
        self.recorded = ran.recorded;
        self.outcome_unknown |= ran.outcome_unknown;
        self.revision = self.revision.max(ran.revision);
        self.validity = self.validity.max(ran.validity);
        self.fuel_used += ran.fuel_used;
        ran.result
    }
}

/// The guests' own tokio runtime. Dropping it does not wait for what still runs on it.
struct GuestWorkers(Option<tokio::runtime::Runtime>);

impl GuestWorkers {
    fn handle(&self) -> &tokio::runtime::Handle {
        self.0.as_ref().expect("taken only when dropped").handle()
    }
}

impl Drop for GuestWorkers {
    fn drop(&mut self) {
        if let Some(workers) = self.0.take() {
            workers.shutdown_background();
        }
    }
}
