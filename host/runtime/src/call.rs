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
use kenning_storage::{FactId, Hash, RegistryRevision, TenantId};
use tokio::time::timeout_at;
use wasmtime::component::ResourceTableError;
use wasmtime::{PoolConcurrencyLimitError, Store, Trap, UpdateDeadline};

use crate::component::engine::Engines;
use crate::component::linked::Pre;
use crate::embedders::GivenVectors;
use crate::guest::{Failing, Guest};
use crate::health::{Begun, Counted};
use crate::outcome::{CallError, DeadlinePassed, GuestError, GuestLimit, GuestRun, Waiting};
use crate::request_context::RequestContext;
use crate::schedule::time_slice::Slice;
use crate::services::Services;
use crate::state::State;
use crate::trace::{CallTracer, Ran, stack};
use crate::trap;

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
    /// A hash of what it is given, to tell failures on one input from failures on many; `None`
    /// where that makes no difference.
    pub input: Option<u64>,
}

/// What all guests of a call share.
pub(crate) struct CallContext {
    pub(crate) engines: Arc<Engines>,
    pub(crate) services: Arc<Services>,
    pub(crate) tenant: TenantId,
    /// The tenant's registry that the call goes by; `None` if that makes no difference.
    pub(crate) registry: Option<RegistryRevision>,
    pub(crate) deadline: Instant,
    /// A fact whose fields must have these values when it is changed.
    pub(crate) expected: Option<(FactId, Hash)>,
    /// The vectors that the caller gave, by their texts.
    pub(crate) given: GivenVectors,
    /// Who asks, and for what.
    pub(crate) request: RequestContext,
    /// Whether writes are captured and dropped.
    pub(crate) dry_run: bool,
    pub(crate) slice: Slice,
    pub(crate) tracer: Arc<CallTracer>,
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
    context.tracer.begin(guest, invocation.operation);
    let mut store = new_store(context, guest, invocation.fuel);
    let outcome = timeout_at(context.deadline.into(), async {
        let bindings = pre.instantiate(&mut store).await?;
        run(&bindings, &mut store).await
    })
    .await;
    let mut stacked = Vec::new();
    let result = match outcome {
        Ok(Ok(result)) => Ok(result),
        Ok(Err(error)) => {
            store.data().log.finish();
            stacked = stack(&error, &store.data().log.last_lines());
            Err(classify(&error, &store, invocation.fuel))
        }
        Err(_) => Err(deadline(store.data().waiting)),
    };
    let left = store.get_fuel().unwrap_or_default();
    store.data_mut().fuel.note_left(left);
    let fuel_used = store.data().fuel.used();
    let ran = ran(guest, invocation, &store, begun.elapsed(), fuel_used);
    report(&ran, invocation.input, &store, result.as_ref().err(), &stacked);
    context.tracer.end(ran, result.as_ref().err(), stacked);
    let state = store.data();
    if !state.unindexed.is_empty() {
        // These facts have pending marks; this tells the indexer where to look for them.
        state.services.indexes.mark_pending(&state.tenant);
    }
    let outcome_unknown =
        store.data().outcome_unknown || stopped_after_writing(result.is_err(), store.data());
    let revision = store.data().revisions.values().max().copied();
    let effects = store.data_mut().effects();
    let result = match result {
        Ok(value) => Ok((value, effects)),
        Err(cause) => Err(GuestError { cause, guest: guest.clone() }),
    };
    let validity = store.data().validity;
    GuestRun { result, outcome_unknown, revision, validity, fuel_used }
}

/// A store with its limits set, which also bound what runs during instantiation.
fn new_store(context: &CallContext, guest: &Guest, fuel: u64) -> Store<State> {
    let services = context.services.clone();
    let (bytes, handles) = (services.limits.host_call_bytes, services.limits.guest_handles);
    let (tenant, slice, dry_run) = (context.tenant.clone(), context.slice.clone(), context.dry_run);
    let mut state = State::new(services, tenant, context.deadline, guest, dry_run, fuel, slice);
    state.registry = context.registry;
    state.expected = context.expected.clone();
    state.given = context.given.clone();
    state.request = context.request.clone();
    // The operator asked for a dry run, so the tenant is not charged.
    if !dry_run {
        state.fuel.charge(&state.services.tenants, &state.tenant);
    }
    let mut store = Store::new(context.engines.current(), state);
    store.limiter(|state| &mut state.memory);
    store.set_hostcall_fuel(bytes);
    store.set_max_component_handles(handles);
    store.set_fuel(fuel).expect("the engine counts fuel");
    store.set_epoch_deadline(1);
    let slice = context.slice.clone();
    store.epoch_deadline_callback(move |mut store| {
        let left = store.get_fuel()?;
        if !store.data_mut().fuel.note_left(left) {
            return Err(Trap::OutOfFuel.into());
        }
        if Instant::now() >= store.data().deadline {
            return Err(DeadlinePassed.into());
        }
        match slice.has_computed_a_tick() {
            true => Ok(UpdateDeadline::YieldCustom(1, slice.next())),
            false => Ok(UpdateDeadline::Continue(1)),
        }
    });
    store
}

fn classify(error: &wasmtime::Error, store: &Store<State>, fuel: u64) -> CallError {
    let state = store.data();
    if error.is::<DeadlinePassed>() {
        return deadline(Waiting::Nothing);
    }
    if error.is::<PoolConcurrencyLimitError>() {
        // The pool has room for every guest that holds a permit.
        return CallError::Host(format!("the instance pool is too small: {error:#}"));
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
        _ => match state.memory.refused {
            // A guest that is refused memory traps, or cannot be instantiated.
            Some(GuestLimit { limit, allowed, used }) => {
                CallError::OutOfMemory { limit, allowed, used }
            }
            None => CallError::Trapped(trap::describe(error)),
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

/// What a guest used.
fn ran(
    guest: &Arc<Guest>,
    invocation: Invocation,
    store: &Store<State>,
    elapsed: Duration,
    fuel_used: u64,
) -> Ran {
    let state = store.data();
    Ran {
        guest: guest.clone(),
        operation: invocation.operation,
        fuel_limit: invocation.fuel,
        fuel_used,
        in_guest: elapsed.saturating_sub(state.host_time),
        in_host: state.host_time,
        host_calls: state.host_calls,
        memory_bytes: state.memory.used(),
    }
}

/// One log line and a few metrics for each guest; never the text of a fact or query. A replay
/// counts nowhere: the operator's proof says nothing about callers.
fn report(
    ran: &Ran,
    input: Option<u64>,
    store: &Store<State>,
    error: Option<&CallError>,
    stack: &[String],
) {
    let state = store.data();
    state.log.finish();
    let replay = state.captured.is_some();
    let Ran { guest, operation, fuel_used, in_guest, in_host, .. } = ran;
    tracing::debug!(
        tenant = %state.tenant,
        component = guest.component.name(),
        generation = guest.reference.number,
        operation,
        fuel_used,
        guest_us = in_guest.as_micros() as u64,
        host_us = in_host.as_micros() as u64,
        host_calls = ran.host_calls,
        replay,
        ?error,
        "guest call"
    );
    if replay {
        return;
    }
    let failed = error.is_some_and(CallError::is_guests);
    if let Some(error) = error.filter(|_| failed) {
        log_failure(ran, state, error, stack);
    }
    let (tenant, operation, took, fuel) = (&state.tenant, *operation, *in_guest, *fuel_used);
    let counted = Counted { tenant, operation, input, took, fuel, failed };
    let begun = guest.health.count(&counted);
    if begun != Begun::default() {
        let (tenant, guest) = (tenant.clone(), guest.clone());
        // Nobody subscribes in benchmarks.
        let _ = state.services.failing.send(Failing { tenant, guest, begun });
    }
    metrics::histogram!("kenning_guest_seconds", "operation" => operation)
        .record(in_guest.as_secs_f64());
    metrics::histogram!("kenning_import_seconds", "operation" => operation)
        .record(in_host.as_secs_f64());
    metrics::counter!("kenning_guest_fuel_total", "operation" => operation).increment(*fuel_used);
}

/// Says on one line where a guest failed, under the request's id.
fn log_failure(ran: &Ran, state: &State, error: &CallError, stack: &[String]) {
    tracing::error!(
        tenant = %state.tenant,
        component = ran.guest.component.name(),
        generation = ran.guest.reference.number,
        operation = ran.operation,
        stack = stack.join("; "),
        "guest failed: {error}"
    );
}
