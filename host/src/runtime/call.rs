//! The one door into a guest: a fresh instance in a fresh wasmtime store, three
//! clocks around it, and a name for however it ends.
//!
//! 1. *Fuel* bounds the guest's work, the same on every machine.
//! 2. *The epoch* makes a busy guest yield every millisecond and looks at the
//!    wall clock while it does.
//! 3. *A timer* around everything ends a call that waits, which neither of the
//!    other two can see; every import has its own, shorter one.
//!
//! The wasmtime store is dropped when the guest's part ends, however it ends, so no
//! state passes from one to the next and no failure outlives its call.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use kenning_storage::{FactId, TenantId};
use tokio::time::timeout_at;
use wasmtime::component::ResourceTableError;
use wasmtime::{Engine, PoolConcurrencyLimitError, Store, Trap, UpdateDeadline};

use super::generation::Pre;
use super::guest::{Guest, Rested};
use super::imports::GuestLimit;
use super::pace::Pace;
use super::rehearsal::Captured;
use super::state::{Services, State, Waiting};

/// Runs one export of a guest and gives its result.
pub trait GuestCall<B, R>:
    for<'a> FnOnce(&'a B, &'a mut Store<State>) -> BoxFuture<'a, wasmtime::Result<R>> + Send
{
}

impl<B, R, F> GuestCall<B, R> for F where
    F: for<'a> FnOnce(&'a B, &'a mut Store<State>) -> BoxFuture<'a, wasmtime::Result<R>> + Send
{
}

/// What one guest is asked to do.
#[derive(Clone, Copy, Debug)]
pub struct Task {
    /// The export, for logs and metrics.
    pub operation: &'static str,
    pub fuel: u64,
}

/// A guest that did not come to its end.
#[derive(Debug)]
pub struct GuestError {
    pub ended: Ended,
    pub guest: Arc<Guest>,
}

/// How a call ended that did not come to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
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
        waiting: Waiting,
    },
    /// No place to run became free in time.
    Overloaded {
        limit: &'static str,
        allowed: usize,
    },
    /// A fault of the host.
    Host(String),
}

impl Ended {
    /// Whether it is the guest's own doing.
    pub fn is_guests(&self) -> bool {
        match self {
            Self::Trapped(_)
            | Self::OutOfFuel { .. }
            | Self::OutOfMemory { .. }
            | Self::Limit { .. } => true,
            Self::Deadline { in_guest, .. } => *in_guest,
            Self::Overloaded { .. } | Self::Host(_) => false,
        }
    }
}

/// Whose call it is, and what its guests share.
pub(super) struct Whose {
    pub(super) engine: Engine,
    pub(super) services: Arc<Services>,
    pub(super) tenant: TenantId,
    pub(super) deadline: Instant,
    /// What the guests write is captured and dropped.
    pub(super) rehearsed: bool,
    pub(super) pace: Pace,
}

/// What a guest did that its answer is held against.
#[derive(Debug, Default)]
pub struct Deeds {
    /// The facts that storage gave it or that it wrote; there is nowhere else it could
    /// have them from.
    pub facts: Vec<FactId>,
    pub wrote: bool,
    /// The host answered one of its imports with a fault of its own.
    pub host_failed: bool,
}

/// One guest's part of a call.
pub(super) struct Part<R> {
    pub(super) result: Result<(R, Deeds), GuestError>,
    /// A write timed out in it, or it was cut after it wrote.
    pub(super) outcome_unknown: bool,
    pub(super) fuel_used: u64,
}

/// Runs `run` in a fresh instance of `guest`.
pub(super) async fn run_guest<P: Pre, R>(
    whose: &Whose,
    guest: &Arc<Guest>,
    pre: &P,
    task: Task,
    run: impl GuestCall<P::Bindings, R>,
) -> Part<R> {
    let begun = Instant::now();
    let mut store = new_store(whose, guest, task.fuel);
    let outcome = timeout_at(whose.deadline.into(), async {
        let bindings = pre.instantiate(&mut store).await?;
        run(&bindings, &mut store).await
    })
    .await;
    let result = match outcome {
        Ok(Ok(result)) => Ok(result),
        Ok(Err(error)) => Err(classify(&error, &store, task.fuel)),
        Err(_) => Err(deadline(store.data().waiting)),
    };
    let left = store.get_fuel().unwrap_or_default();
    store.data_mut().fuel.left = left;
    let fuel_used = task.fuel.saturating_sub(left);
    report(guest, task.operation, &store, begun.elapsed(), fuel_used, result.as_ref().err());
    let state = store.data();
    if !state.unindexed.is_empty() {
        // Its pending mark is there; the indexer need not find it by chance.
        state.services.indexing.mark_late(&state.tenant);
    }
    let outcome_unknown =
        store.data().outcome_unknown || cut_after_writing(result.is_err(), store.data());
    let deeds = store.data_mut().deeds();
    let result = match result {
        Ok(value) => Ok((value, deeds)),
        Err(ended) => Err(GuestError { ended, guest: guest.clone() }),
    };
    Part { result, outcome_unknown, fuel_used }
}

/// A store with its limits armed, also for what runs while instantiating.
fn new_store(whose: &Whose, guest: &Guest, fuel: u64) -> Store<State> {
    let services = whose.services.clone();
    let (bytes, handles) = (services.limits.host_call_bytes, services.limits.guest_handles);
    let mut state = State::new(services, whose.tenant.clone(), whose.deadline, guest);
    match whose.rehearsed {
        true => state.captured = Some(Captured::default()),
        // A rehearsal is the operator's doing.
        false => state.fuel.charge(&state.services.tenants, &state.tenant, fuel),
    }
    let mut store = Store::new(&whose.engine, state);
    store.limiter(|state| &mut state.memory);
    store.set_hostcall_fuel(bytes);
    store.set_max_component_handles(handles);
    store.set_fuel(fuel).expect("the engine counts fuel");
    store.set_epoch_deadline(1);
    let pace = whose.pace.clone();
    store.epoch_deadline_callback(move |mut store| {
        let left = store.get_fuel()?;
        store.data_mut().fuel.left = left;
        if Instant::now() >= store.data().deadline {
            return Err(DeadlinePassed.into());
        }
        Ok(UpdateDeadline::YieldCustom(1, pace.next()))
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
    Ended::Deadline { in_guest, waiting }
}

/// A guest that was cut left behind what it had written, and maybe what it was
/// writing.
fn cut_after_writing(was_cut: bool, state: &State) -> bool {
    was_cut && (state.waiting == Waiting::StorageWrite || !state.revisions.is_empty())
}

/// One line and a few numbers for each guest; never what a fact or a query says.
fn report(
    guest: &Arc<Guest>,
    operation: &'static str,
    store: &Store<State>,
    elapsed: Duration,
    fuel_used: u64,
    ended: Option<&Ended>,
) {
    let state = store.data();
    state.log.finish();
    let in_guest = elapsed.saturating_sub(state.host_time);
    if state.captured.is_none() {
        let rests = guest.meter.count(in_guest, fuel_used, ended.is_some_and(Ended::is_guests));
        if let Some(times) = rests {
            let (tenant, guest) = (state.tenant.clone(), guest.clone());
            // Nobody may be listening, as in a bench.
            let _ = state.services.rested.send(Rested { tenant, guest, times });
        }
    }
    tracing::debug!(
        tenant = %state.tenant,
        component = guest.component.name(),
        generation = guest.reference.number,
        operation,
        fuel_used,
        guest_us = in_guest.as_micros() as u64,
        host_us = state.host_time.as_micros() as u64,
        host_calls = state.host_calls,
        ?ended,
        "guest call"
    );
    metrics::histogram!("kenning_guest_seconds", "operation" => operation)
        .record(in_guest.as_secs_f64());
    metrics::histogram!("kenning_import_seconds", "operation" => operation)
        .record(state.host_time.as_secs_f64());
    metrics::counter!("kenning_guest_fuel_total", "operation" => operation).increment(fuel_used);
}
