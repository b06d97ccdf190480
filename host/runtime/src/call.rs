//! Calls a guest. No other file creates an instance.
//!
//! A call gets a fresh instance in a fresh wasmtime store. Three mechanisms bound it:
//!
//! 1. *Fuel* bounds the guest's work, equally on every machine.
//! 2. *The epoch* makes a busy guest yield every millisecond, and checks the deadline then.
//! 3. *A timer* around everything ends a call that waits, which the other two do not see. Every
//!    import has a shorter timer of its own.
//!
//! The wasmtime store is dropped when the guest's part ends, however it ends. So no state passes
//! from one call to the next, and a failure affects only its own call.

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
use crate::outcome::{CallError, GuestError, GuestLimit, GuestRun, Waiting};
use crate::schedule::time_slice::Slice;
use crate::services::Services;
use crate::state::State;

/// Calls one export of a guest, given its bindings of type `B`, and returns the result.
pub trait GuestCall<B, R>:
    for<'a> FnOnce(&'a B, &'a mut Store<State>) -> BoxFuture<'a, wasmtime::Result<R>> + Send
{
}

impl<B, R, F> GuestCall<B, R> for F where
    F: for<'a> FnOnce(&'a B, &'a mut Store<State>) -> BoxFuture<'a, wasmtime::Result<R>> + Send
{
}

/// Which export is called, and with how much fuel.
#[derive(Clone, Copy, Debug)]
pub struct Invocation {
    /// The export's name, for logs and metrics.
    pub operation: &'static str,
    /// The fuel it may use.
    pub fuel: u64,
}

/// What all guests of a call share.
pub(crate) struct CallContext {
    pub(crate) engine: Engine,
    pub(crate) services: Arc<Services>,
    pub(crate) tenant: TenantId,
    pub(crate) deadline: Instant,
    /// Whether writes are captured and dropped.
    pub(crate) dry_run: bool,
    pub(crate) slice: Slice,
}

/// Runs `run` in a fresh instance of `guest`, and reports how it went.
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
        // These facts have pending marks; this tells the indexer where to look for them.
        state.services.indexes.mark_pending(&state.tenant);
    }
    let outcome_unknown =
        store.data().outcome_unknown || stopped_after_writing(result.is_err(), store.data());
    let effects = store.data_mut().effects();
    let result = match result {
        Ok(value) => Ok((value, effects)),
        Err(cause) => Err(GuestError { cause, guest: guest.clone() }),
    };
    GuestRun { result, outcome_unknown, fuel_used }
}

/// A store with its limits set, which also bound what runs during instantiation.
fn new_store(context: &CallContext, guest: &Guest, fuel: u64) -> Store<State> {
    let services = context.services.clone();
    let (bytes, handles) = (services.limits.host_call_bytes, services.limits.guest_handles);
    let mut state = State::new(services, context.tenant.clone(), context.deadline, guest);
    match context.dry_run {
        true => state.captured = Some(CapturedWrites::default()),
        // The operator asked for a dry run, so the tenant is not charged.
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
    if let Some(exceeded) = error.downcast_ref::<GuestLimit>() {
        let used = Some(exceeded.used);
        return CallError::Limit { limit: exceeded.limit, allowed: exceeded.allowed, used };
    }
    let limits = &state.services.limits;
    match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => CallError::OutOfFuel { limit: fuel },
        Some(Trap::StackOverflow) => exceeded("guest_stack_bytes", limits.guest_stack_bytes),
        _ if is_table_full(error) => exceeded("guest_handles", limits.guest_handles),
        // The type of this error is private to wasmtime.
        _ if error.root_cause().to_string().contains("fuel allocated for hostcalls") => {
            exceeded("host_call_bytes", limits.host_call_bytes)
        }
        trap => match state.memory.refused {
            // A guest that is refused memory traps, or cannot be instantiated.
            Some(GuestLimit { limit, allowed, used }) => {
                CallError::OutOfMemory { limit, allowed, used }
            }
            None => CallError::Trapped(
                trap.map_or_else(|| error.root_cause().to_string(), Trap::to_string),
            ),
        },
    }
}

/// Whether the guest has too many open handles, whether its own or the host's.
fn is_table_full(error: &wasmtime::Error) -> bool {
    matches!(error.downcast_ref(), Some(ResourceTableError::Full))
}

fn exceeded(limit: &'static str, allowed: usize) -> CallError {
    CallError::Limit { limit, allowed: allowed as u64, used: None }
}

fn deadline(waiting: Waiting) -> CallError {
    let in_guest = matches!(waiting, Waiting::Nothing | Waiting::Index);
    CallError::Deadline { in_guest, waiting }
}

/// Whether a guest was stopped after it had written something, or while it was writing.
fn stopped_after_writing(was_stopped: bool, state: &State) -> bool {
    was_stopped && (state.waiting == Waiting::StorageWrite || !state.revisions.is_empty())
}

/// One log line and a few metrics for each guest; never the text of a fact or query.
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
        let failed = error.is_some_and(CallError::is_guests);
        if let Some(times) = guest.health.count(in_guest, fuel_used, failed) {
            let (tenant, guest) = (state.tenant.clone(), guest.clone());
            // Nobody subscribes in benchmarks.
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
