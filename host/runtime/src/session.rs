//! A session: one call's stay on the guests' workers, with one permit and one deadline. In it the
//! call runs as many guests as it needs, one after the other.
//!
//! Guests run on a tokio runtime of their own, so that a busy guest does not delay the server's
//! sockets and timers. Handing a call over to that runtime and back costs more than an instance
//! does, so a search with four extensions is handed over once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kenning_storage::TenantId;
use tokio::time::timeout_at;
use tokio_util::task::AbortOnDropHandle;
use wasmtime::Engine;

use crate::call::{CallContext, GuestCall, Invocation, run_guest};
use crate::component::linked::Pre;
use crate::guest::Guest;
use crate::outcome::{CallEffects, CallError, GuestError, Waiting};
use crate::schedule::admission::{Admission, Priority};
use crate::schedule::epoch::EpochClock;
use crate::schedule::fair_semaphore::Permit;
use crate::schedule::time_slice::{TimeSlicer, workers};
use crate::services::Services;

/// How long after its deadline a session may end by itself. Then the caller is answered without
/// waiting for it any longer.
const GRACE: Duration = Duration::from_millis(100);

/// After how many polls a guest worker looks at its timers. With tokio's default of 61, eight
/// guests in a loop delayed a timer by 61 ms and more.
const EVENT_INTERVAL: u32 = 2;

/// Runs guests: admits calls, and gives each a [`Session`] on the guests' workers.
pub struct Runtime {
    engine: Engine,
    workers: GuestWorkers,
    clock: EpochClock,
    admission: Admission,
    slicer: TimeSlicer,
    services: Arc<Services>,
}

impl Runtime {
    /// Starts the workers, one for each core, and the epoch clock.
    ///
    /// # Errors
    /// If the system refuses to start a thread.
    pub fn new(engine: Engine, services: Arc<Services>) -> std::io::Result<Self> {
        let clock = EpochClock::start(&engine)?;
        let workers = tokio::runtime::Builder::new_multi_thread()
            .thread_name("guest")
            .worker_threads(workers())
            .enable_all()
            .event_interval(EVENT_INTERVAL)
            .build()?;
        let (admission, slicer) = (Admission::new(&services.limits), TimeSlicer::new());
        Ok(Self {
            engine,
            workers: GuestWorkers(Some(workers)),
            clock,
            admission,
            slicer,
            services,
        })
    }

    /// The engine that guests must be compiled for.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Waits for admission, then does `work` on the guests' workers for `tenant`, until
    /// `deadline`. Dropping the future cancels the work.
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
        let permit = self.admission.admit(&tenant, deadline, priority).await?;
        self.run_admitted(permit, tenant, deadline, false, work).await
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
        let permit = self.admission.admit(&tenant, deadline, Priority::Background).await?;
        self.run_admitted(permit, tenant, deadline, true, work).await
    }

    async fn run_admitted<T, F>(
        &self,
        permit: Permit,
        tenant: TenantId,
        deadline: Instant,
        dry_run: bool,
        work: impl FnOnce(Session) -> F + Send + 'static,
    ) -> Result<T, CallError>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let (engine, services) = (self.engine.clone(), self.services.clone());
        let slice = self.slicer.slice(tenant.clone());
        let slicing = slice.clone();
        let context = CallContext { engine, services, tenant, deadline, dry_run, slice };
        let ticking = self.clock.tick();
        let session = Session { context, outcome_unknown: false, fuel_used: 0 };
        let working = self.workers.handle().spawn(async move {
            let _held = (permit, ticking);
            slicing.run(work(session)).await
        });
        match timeout_at((deadline + GRACE).into(), AbortOnDropHandle::new(working)).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(panicked)) => Err(CallError::Host(panicked.to_string())),
            Err(_) => Err(CallError::Deadline { in_guest: true, waiting: Waiting::Nothing }),
        }
    }
}

/// One call's stay on the guests' workers.
pub struct Session {
    context: CallContext,
    /// Whether a guest's write timed out, or a guest was stopped after it wrote.
    outcome_unknown: bool,
    fuel_used: u64,
}

impl Session {
    /// What the imports of the guests are served by.
    pub fn services(&self) -> &Services {
        &self.context.services
    }

    /// The tenant of the call.
    pub fn tenant(&self) -> &TenantId {
        &self.context.tenant
    }

    /// Whether a guest may have written something that it did not report.
    pub fn outcome_unknown(&self) -> bool {
        self.outcome_unknown
    }

    /// The fuel that all guests of this session have used so far.
    pub fn fuel_used(&self) -> u64 {
        self.fuel_used
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
        let ran = run_guest(&self.context, guest, pre, invocation, run).await;
        self.outcome_unknown |= ran.outcome_unknown;
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
