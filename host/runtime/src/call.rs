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
use kenning_storage::TenantId;
use tokio::time::timeout_at;
use wasmtime::component::ResourceTableError;
use wasmtime::{Engine, PoolConcurrencyLimitError, Store, Trap, UpdateDeadline};

use crate::component::linked::Pre;
use crate::dry_run::CapturedWrites;
use crate::guest::{Guest, Quarantined};
use crate::outcome::{CallError, GuestError, GuestLimit, GuestRun};
use crate::schedule::time_slice::Slice;
use crate::services::Services;
use crate::state::{State, Waiting};

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
pub struct Invocation {
    /// The export, for logs and metrics.
    pub operation: &'static str,
    pub fuel: u64,
}

/// CallContext call it is, and what its guests share.
pub(crate) struct CallContext {
    pub(crate) engine: Engine,
    pub(crate) services: Arc<Services>,
    pub(crate) tenant: TenantId,
    pub(crate) deadline: Instant,
    /// What the guests write is captured and dropped.
    pub(crate) dry_run: bool,
    pub(crate) slice: Slice,
}

/// Runs `run` in a fresh instance of `guest`.
pub(crate) async fn run_guest<P: Pre, R>(
    context: &CallContext,
    guest: &Arc<Guest>,
    pre: &P,
    invocation: Invocation,
    run: impl GuestCall<P::Bindings, R>,
) -> GuestRun<R> {
    let begun = Instant::now();
    let mut store = new_store(context, guest, invocation.fuel);
    let outcome = timeout_at(context.deadline.into(), async {
        let bindings = pre.instantiate(&mut store).await?;
        run(&bindings, &mut store).await
    })
    .await;
    let result = match outcome {
        Ok(Ok(result)) => Ok(result),
        Ok(Err(error)) => Err(classify(&error, &store, invocation.fuel)),
        Err(_) => Err(deadline(store.data().waiting)),
    };
    let left = store.get_fuel().unwrap_or_default();
    store.data_mut().fuel.left = left;
    let fuel_used = invocation.fuel.saturating_sub(left);
    report(guest, invocation.operation, &store, begun.elapsed(), fuel_used, result.as_ref().err());
    let state = store.data();
    if !state.unindexed.is_empty() {
        // Its pending mark is there; the indexer need not find it by chance.
        state.services.indexes.mark_late(&state.tenant);
    }
    let outcome_unknown =
        store.data().outcome_unknown || cut_after_writing(result.is_err(), store.data());
    let effects = store.data_mut().effects();
    let result = match result {
        Ok(value) => Ok((value, effects)),
        Err(cause) => Err(GuestError { cause, guest: guest.clone() }),
    };
    GuestRun { result, outcome_unknown, fuel_used }
}

/// A store with its limits armed, also for what runs while instantiating.
fn new_store(context: &CallContext, guest: &Guest, fuel: u64) -> Store<State> {
    let services = context.services.clone();
    let (bytes, handles) = (services.limits.host_call_bytes, services.limits.guest_handles);
    let mut state = State::new(services, context.tenant.clone(), context.deadline, guest);
    match context.dry_run {
        true => state.captured = Some(CapturedWrites::default()),
        // A dry run is the operator's doing.
        false => state.fuel.charge(&state.services.tenants, &state.tenant, fuel),
    }
    let mut store = Store::new(&context.engine, state);
    store.limiter(|state| &mut state.memory);
    store.set_hostcall_fuel(bytes);
    store.set_max_component_handles(handles);
    store.set_fuel(fuel).expect("the engine counts fuel");
    store.set_epoch_deadline(1);
    let slice = context.slice.clone();
    store.epoch_deadline_callback(move |mut store| {
        let left = store.get_fuel()?;
        store.data_mut().fuel.left = left;
        if Instant::now() >= store.data().deadline {
            return Err(DeadlinePassed.into());
        }
        Ok(UpdateDeadline::YieldCustom(1, slice.next()))
    });
    store
}

/// The guest was computing when its deadline passed.
#[derive(Debug, thiserror::Error)]
#[error("the deadline passed")]
struct DeadlinePassed;

fn classify(error: &wasmtime::Error, store: &Store<State>, fuel: u64) -> CallError {
    let state = store.data();
    if error.is::<DeadlinePassed>() {
        return deadline(Waiting::Nothing);
    }
    if error.is::<PoolConcurrencyLimitError>() {
        return CallError::Overloaded { limit: "guests", allowed: state.services.limits.guests };
    }
    if let Some(broken) = error.downcast_ref::<GuestLimit>() {
        let used = Some(broken.used);
        return CallError::Limit { limit: broken.limit, allowed: broken.allowed, used };
    }
    let limits = &state.services.limits;
    match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => CallError::OutOfFuel { limit: fuel },
        Some(Trap::StackOverflow) => broken("guest_stack_bytes", limits.guest_stack_bytes),
        _ if is_full(error) => broken("guest_handles", limits.guest_handles),
        // wasmtime keeps this error's type to itself.
        _ if error.root_cause().to_string().contains("fuel allocated for hostcalls") => {
            broken("host_call_bytes", limits.host_call_bytes)
        }
        trap => match state.memory.refused {
            // A guest that is refused memory traps, or cannot even begin.
            Some(GuestLimit { limit, allowed, used }) => {
                CallError::OutOfMemory { limit, allowed, used }
            }
            None => CallError::Trapped(
                trap.map_or_else(|| error.root_cause().to_string(), Trap::to_string),
            ),
        },
    }
}

/// Whether the guest opened more handles than it may, its own or the host's.
fn is_full(error: &wasmtime::Error) -> bool {
    matches!(error.downcast_ref(), Some(ResourceTableError::Full))
}

fn broken(limit: &'static str, allowed: usize) -> CallError {
    CallError::Limit { limit, allowed: allowed as u64, used: None }
}

fn deadline(waiting: Waiting) -> CallError {
    let in_guest = matches!(waiting, Waiting::Nothing | Waiting::Index);
    CallError::Deadline { in_guest, waiting }
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
    error: Option<&CallError>,
) {
    let state = store.data();
    state.log.finish();
    let in_guest = elapsed.saturating_sub(state.host_time);
    if state.captured.is_none() {
        let rests =
            guest.health.count(in_guest, fuel_used, error.is_some_and(CallError::is_guests));
        if let Some(times) = rests {
            let (tenant, guest) = (state.tenant.clone(), guest.clone());
            // Nobody may be listening, as in a bench.
            let _ = state.services.quarantined.send(Quarantined { tenant, guest, times });
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
        ?error,
        "guest call"
    );
    metrics::histogram!("kenning_guest_seconds", "operation" => operation)
        .record(in_guest.as_secs_f64());
    metrics::histogram!("kenning_import_seconds", "operation" => operation)
        .record(state.host_time.as_secs_f64());
    metrics::counter!("kenning_guest_fuel_total", "operation" => operation).increment(fuel_used);
}
