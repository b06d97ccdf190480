//! The one door into a guest: a fresh instance in a fresh wasmtime store, three
//! clocks around it, and a name for however it ends.
//!
//! 1. *Fuel* bounds the guest's work, the same on every machine.
//! 2. *The epoch* makes a busy guest yield every millisecond and looks at the
//!    wall clock while it does.
//! 3. *A timer* around everything ends a call that waits, which neither of the
//!    other two can see; every import has its own, shorter one.
//!
//! The wasmtime store is dropped when the call ends, however it ends, so no state
//! passes from one call to the next and no failure outlives its call.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use kenning_bindings::Logic;
use kenning_storage::TenantId;
use tokio::time::timeout_at;
use tokio_util::task::AbortOnDropHandle;
use wasmtime::component::ResourceTableError;
use wasmtime::{Engine, PoolConcurrencyLimitError, Store, Trap, UpdateDeadline};

use super::clock::EpochClock;
use super::generation::{Generation, GenerationRef};
use super::imports::GuestLimit;
use super::places::Places;
use super::state::{Services, State, Waiting};
use super::wit;

/// How much later than its deadline a call may be noticed to be over before the
/// caller is answered without it.
const GRACE: Duration = Duration::from_millis(100);

/// A guest worker looks at its timers after this many polls. The default of 61
/// let eight spinning guests delay a timer by 61 ms and more.
const EVENT_INTERVAL: u32 = 2;

/// Runs one export of the logic and gives its result.
pub trait LogicCall<R>:
    for<'a> FnOnce(&'a Logic, &'a mut Store<State>) -> Running<'a, R> + Send + 'static
{
}

impl<R, F> LogicCall<R> for F where
    F: for<'a> FnOnce(&'a Logic, &'a mut Store<State>) -> BoxFuture<'a, GuestResult<R>>
        + Send
        + 'static
{
}

type Running<'a, R> = BoxFuture<'a, GuestResult<R>>;
type GuestResult<R> = wasmtime::Result<Result<R, wit::Error>>;

/// Whose call it is and what it may use.
pub struct Call {
    pub tenant: TenantId,
    pub deadline: Instant,
    pub fuel: u64,
    /// The export, for logs and metrics.
    pub operation: &'static str,
    /// It waits for a place until its deadline, behind calls that do not.
    pub patient: bool,
}

impl Call {
    fn may_write(&self) -> bool {
        matches!(self.operation, "store" | "update" | "delete")
    }
}

/// A call whose guest came to its end.
pub struct Finished<R> {
    pub result: Result<R, wit::Error>,
    pub generation: GenerationRef,
    /// A write timed out in it, so it may have happened.
    pub outcome_unknown: bool,
}

/// A call whose guest did not.
#[derive(Debug)]
pub struct CallError {
    pub ended: Ended,
    pub generation: GenerationRef,
    pub outcome_unknown: bool,
}

/// How a call ended that did not come to its end.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    Trapped(String),
    OutOfFuel {
        limit: u64,
    },
    OutOfMemory {
        limit: &'static str,
        allowed: u64,
        used: u64,
    },
    Limit {
        limit: &'static str,
        allowed: u64,
        used: Option<u64>,
    },
    /// The deadline passed, in the guest or in what it waited for.
    Deadline {
        in_guest: bool,
        backend: &'static str,
    },
    /// There is no place to run, or to wait for one.
    Overloaded {
        limit: &'static str,
        allowed: usize,
    },
    /// A fault of the host.
    Host(String),
}

/// Runs guests.
pub struct Runtime {
    engine: Engine,
    guests: GuestWorkers,
    clock: EpochClock,
    places: Places,
    services: Arc<Services>,
}

impl Runtime {
    pub fn new(engine: Engine, services: Arc<Services>) -> std::io::Result<Self> {
        let clock = EpochClock::start(&engine)?;
        let guests = tokio::runtime::Builder::new_multi_thread()
            .thread_name("guest")
            .enable_all()
            .event_interval(EVENT_INTERVAL)
            .build()?;
        let places = Places::new(&services.limits);
        Ok(Self { engine, guests: GuestWorkers(Some(guests)), clock, places, services })
    }

    /// Runs `run` against `generation`, on the guests' workers, in `call`'s bounds.
    /// A caller that goes away takes the guest with it.
    pub async fn call<R: Send + 'static>(
        &self,
        generation: Arc<Generation>,
        call: Call,
        run: impl LogicCall<R>,
    ) -> Result<Finished<R>, CallError> {
        let reference = generation.reference.clone();
        let failed =
            |ended| CallError { ended, generation: reference.clone(), outcome_unknown: false };
        let place = self.places.take(call.deadline, call.patient).await.map_err(failed)?;
        // Nobody can say how far a guest came that does not come back.
        let outcome_unknown = call.may_write();
        let lost = |ended| CallError { outcome_unknown, ..failed(ended) };
        let latest = call.deadline + GRACE;
        let (engine, services) = (self.engine.clone(), self.services.clone());
        let ticking = self.clock.tick();
        let guest = self.guests.handle().spawn(async move {
            let _held = (place, ticking);
            run_guest(&engine, services, &generation, call, run).await
        });
        match timeout_at(latest.into(), AbortOnDropHandle::new(guest)).await {
            Ok(Ok(ended)) => ended,
            Ok(Err(panicked)) => Err(lost(Ended::Host(panicked.to_string()))),
            Err(_) => Err(lost(Ended::Deadline { in_guest: true, backend: "guest" })),
        }
    }
}

/// Guests' own workers: a guest that computes delays no socket and no timer of the
/// server's. Dropped, they end without waiting for what still runs on them.
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

async fn run_guest<R>(
    engine: &Engine,
    services: Arc<Services>,
    generation: &Generation,
    call: Call,
    run: impl LogicCall<R>,
) -> Result<Finished<R>, CallError> {
    let begun = Instant::now();
    let reference = generation.reference.clone();
    let mut store = new_store(engine, services, &call, &reference);
    let outcome = timeout_at(call.deadline.into(), async {
        let logic = generation.logic.instantiate_async(&mut store).await?;
        run(&logic, &mut store).await
    })
    .await;
    let outcome = match outcome {
        Ok(Ok(result)) => Ok(result),
        Ok(Err(error)) => Err(classify(&error, &store, call.fuel)),
        Err(_) => Err(deadline(store.data().waiting)),
    };
    report(&call, &store, begun.elapsed(), outcome.as_ref().err());
    let state = store.data();
    if !state.unindexed.is_empty() {
        // Its pending mark is there; the indexer need not find it by chance.
        state.services.indexing.mark_late(&state.tenant);
    }
    let outcome_unknown = store.data().outcome_unknown || cut_after_writing(&outcome, &store);
    match outcome {
        Ok(result) => Ok(Finished { result, generation: reference, outcome_unknown }),
        Err(ended) => Err(CallError { ended, generation: reference, outcome_unknown }),
    }
}

/// A store with its limits armed, also for what runs while instantiating.
fn new_store(
    engine: &Engine,
    services: Arc<Services>,
    call: &Call,
    generation: &GenerationRef,
) -> Store<State> {
    let (bytes, handles) = (services.limits.host_call_bytes, services.limits.guest_handles);
    let state = State::new(services, call.tenant.clone(), call.deadline, generation);
    let mut store = Store::new(engine, state);
    store.limiter(|state| &mut state.memory);
    store.set_hostcall_fuel(bytes);
    store.set_max_component_handles(handles);
    store.set_fuel(call.fuel).expect("the engine counts fuel");
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|store| {
        if Instant::now() >= store.data().deadline {
            return Err(DeadlinePassed.into());
        }
        Ok(UpdateDeadline::Yield(1))
    });
    store
}

/// The guest was computing when its deadline passed.
#[derive(Debug, thiserror::Error)]
#[error("the deadline passed")]
struct DeadlinePassed;

fn classify(error: &wasmtime::Error, store: &Store<State>, fuel: u64) -> Ended {
    let state = store.data();
    if error.is::<DeadlinePassed>() {
        return deadline(Waiting::Nothing);
    }
    if error.is::<PoolConcurrencyLimitError>() {
        return Ended::Overloaded { limit: "guests", allowed: state.services.limits.guests };
    }
    if let Some(broken) = error.downcast_ref::<GuestLimit>() {
        let used = Some(broken.used);
        return Ended::Limit { limit: broken.limit, allowed: broken.allowed, used };
    }
    let limits = &state.services.limits;
    match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => Ended::OutOfFuel { limit: fuel },
        Some(Trap::StackOverflow) => broken("guest_stack_bytes", limits.guest_stack_bytes),
        _ if is_full(error) => broken("guest_handles", limits.guest_handles),
        // wasmtime keeps this error's type to itself.
        _ if error.root_cause().to_string().contains("fuel allocated for hostcalls") => {
            broken("host_call_bytes", limits.host_call_bytes)
        }
        trap => match state.memory.refused {
            // A guest that is refused memory traps, or cannot even begin.
            Some(GuestLimit { limit, allowed, used }) => {
                Ended::OutOfMemory { limit, allowed, used }
            }
            None => {
                Ended::Trapped(trap.map_or_else(|| error.root_cause().to_string(), Trap::to_string))
            }
        },
    }
}

/// Whether the guest opened more handles than it may, its own or the host's.
fn is_full(error: &wasmtime::Error) -> bool {
    matches!(error.downcast_ref(), Some(ResourceTableError::Full))
}

fn broken(limit: &'static str, allowed: usize) -> Ended {
    Ended::Limit { limit, allowed: allowed as u64, used: None }
}

fn deadline(waiting: Waiting) -> Ended {
    let in_guest = matches!(waiting, Waiting::Nothing | Waiting::Index);
    Ended::Deadline { in_guest, backend: waiting.as_str() }
}

/// A call that was cut left behind what it had written, and maybe what it was
/// writing.
fn cut_after_writing<R>(outcome: &Result<R, Ended>, store: &Store<State>) -> bool {
    let state = store.data();
    outcome.is_err() && (state.waiting == Waiting::StorageWrite || !state.revisions.is_empty())
}

/// One line and a few numbers for each call; never what a fact or a query says.
fn report(call: &Call, store: &Store<State>, elapsed: Duration, ended: Option<&Ended>) {
    let state = store.data();
    state.log.finish();
    let fuel_used = call.fuel - store.get_fuel().unwrap_or(call.fuel);
    let in_guest = elapsed.saturating_sub(state.host_time);
    tracing::debug!(
        tenant = %call.tenant,
        operation = call.operation,
        fuel_used,
        guest_us = in_guest.as_micros() as u64,
        host_us = state.host_time.as_micros() as u64,
        host_calls = state.host_calls,
        ?ended,
        "guest call"
    );
    metrics::histogram!("kenning_guest_seconds", "operation" => call.operation)
        .record(in_guest.as_secs_f64());
    metrics::histogram!("kenning_import_seconds", "operation" => call.operation)
        .record(state.host_time.as_secs_f64());
    metrics::counter!("kenning_guest_fuel_total", "operation" => call.operation)
        .increment(fuel_used);
}
