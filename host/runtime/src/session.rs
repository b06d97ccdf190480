//! A call's turn on the guests' workers: one place, one hand-over, one deadline, and
//! within it as many guests as the call needs, one after the other.
//!
//! Guests have a runtime of their own, so that one that computes delays no socket and
//! no timer of the server's. Going there and back costs more than an instance does;
//! so a search with four extensions goes once.

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
use crate::schedule::admission::Admission;
use crate::schedule::epoch::EpochClock;
use crate::schedule::time_slice::{TimeSlicer, workers};
use crate::services::Services;

/// How much later than its deadline a call may be noticed to be over before the
/// caller is answered without it.
const GRACE: Duration = Duration::from_millis(100);

/// A guest worker looks at its timers after this many polls. The default of 61
/// let eight spinning guests delay a timer by 61 ms and more.
const EVENT_INTERVAL: u32 = 2;

/// Runs guests.
pub struct Runtime {
    engine: Engine,
    workers: GuestWorkers,
    clock: EpochClock,
    admission: Admission,
    slicer: TimeSlicer,
    services: Arc<Services>,
}

impl Runtime {
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

    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Does `work` on the guests' workers for `tenant`, until `deadline`. A caller that
    /// goes away takes the work with it.
    ///
    /// An error means that the work did not come to its end, and nobody can say how far
    /// it came.
    pub async fn run_session<T, F>(
        &self,
        tenant: TenantId,
        deadline: Instant,
        kind: SessionKind,
        work: impl FnOnce(Session) -> F + Send + 'static,
    ) -> Result<T, CallError>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let permit =
            self.admission.admit(&tenant, deadline, kind != SessionKind::Interactive).await?;
        let (engine, services) = (self.engine.clone(), self.services.clone());
        let (slice, dry_run) = (self.slicer.slice(tenant.clone()), kind == SessionKind::DryRun);
        let slicing = slice.clone();
        let context = CallContext { engine, services, tenant, deadline, dry_run, slice };
        let ticking = self.clock.tick();
        let session = Session { context, outcome_unknown: false, fuel_used: 0 };
        let working = self.workers.handle().spawn(async move {
            let _held = (permit, ticking);
            slicing.run(work(session)).await
        });
        match timeout_at((deadline + GRACE).into(), AbortOnDropHandle::new(working)).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(panicked)) => Err(CallError::Host(panicked.to_string())),
            Err(_) => Err(CallError::Deadline { in_guest: true, waiting: Waiting::Nothing }),
        }
    }
}

/// Who waits for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionKind {
    /// A caller, who is told at once when there is no room.
    Interactive,
    /// Nobody: it can wait until there is.
    Background,
    /// Nobody, and what it writes is captured and dropped.
    DryRun,
}

/// One call on the guests' workers.
pub struct Session {
    context: CallContext,
    /// A write of some guest timed out, or a guest was cut after it wrote.
    outcome_unknown: bool,
    fuel_used: u64,
}

impl Session {
    pub fn services(&self) -> &Services {
        &self.context.services
    }

    pub fn tenant(&self) -> &TenantId {
        &self.context.tenant
    }

    /// Whether something may have been written that nobody was told of.
    pub fn outcome_unknown(&self) -> bool {
        self.outcome_unknown
    }

    /// By all guests of this turn so far.
    pub fn fuel_used(&self) -> u64 {
        self.fuel_used
    }

    /// Runs one export of `guest`, in an instance of its own.
    pub async fn run<P: Pre, R>(
        &mut self,
        guest: &Arc<Guest>,
        pre: &P,
        invocation: Invocation,
        run: impl GuestCall<P::Bindings, R>,
    ) -> Result<(R, CallEffects), GuestError> {
        let done = run_guest(&self.context, guest, pre, invocation, run).await;
        self.outcome_unknown |= done.outcome_unknown;
        self.fuel_used += done.fuel_used;
        done.result
    }
}

/// The guests' own workers. Dropped, they end without waiting for what still runs on
/// them.
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
