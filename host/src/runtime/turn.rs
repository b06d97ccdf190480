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

use super::call::{Deeds, Ended, GuestCall, GuestError, Task, Whose, run_guest};
use super::clock::EpochClock;
use super::generation::Pre;
use super::guest::Guest;
use super::pace::{Turns, workers};
use super::places::Places;
use super::state::{Services, Waiting};

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
    places: Places,
    turns: Turns,
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
        let (places, turns) = (Places::new(&services.limits), Turns::new());
        Ok(Self { engine, workers: GuestWorkers(Some(workers)), clock, places, turns, services })
    }

    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Does `work` on the guests' workers for `tenant`, until `deadline`. A caller that
    /// goes away takes the work with it.
    ///
    /// An error means that the work did not come to its end, and nobody can say how far
    /// it came.
    pub async fn turn<T, F>(
        &self,
        tenant: TenantId,
        deadline: Instant,
        kind: Kind,
        work: impl FnOnce(Turn) -> F + Send + 'static,
    ) -> Result<T, Ended>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let place = self.places.take(&tenant, deadline, kind != Kind::Served).await?;
        let (engine, services) = (self.engine.clone(), self.services.clone());
        let (pace, rehearsed) = (self.turns.pace(tenant.clone()), kind == Kind::Rehearsed);
        let pacing = pace.clone();
        let whose = Whose { engine, services, tenant, deadline, rehearsed, pace };
        let ticking = self.clock.tick();
        let turn = Turn { whose, outcome_unknown: false, fuel_used: 0 };
        let working = self.workers.handle().spawn(async move {
            let _held = (place, ticking);
            pacing.run(work(turn)).await
        });
        match timeout_at((deadline + GRACE).into(), AbortOnDropHandle::new(working)).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(panicked)) => Err(Ended::Host(panicked.to_string())),
            Err(_) => Err(Ended::Deadline { in_guest: true, waiting: Waiting::Nothing }),
        }
    }
}

/// Who waits for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A caller, who is told at once when there is no room.
    Served,
    /// Nobody: it can wait until there is.
    Background,
    /// Nobody, and what it writes is captured and dropped.
    Rehearsed,
}

/// One call on the guests' workers.
pub struct Turn {
    whose: Whose,
    /// A write of some guest timed out, or a guest was cut after it wrote.
    outcome_unknown: bool,
    fuel_used: u64,
}

impl Turn {
    pub fn services(&self) -> &Services {
        &self.whose.services
    }

    pub fn tenant(&self) -> &TenantId {
        &self.whose.tenant
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
        task: Task,
        run: impl GuestCall<P::Bindings, R>,
    ) -> Result<(R, Deeds), GuestError> {
        let part = run_guest(&self.whose, guest, pre, task, run).await;
        self.outcome_unknown |= part.outcome_unknown;
        self.fuel_used += part.fuel_used;
        part.result
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
