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

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use kenning_storage::{FactId, Hash, RegistryRevision, TenantId};
use kenning_trace::{Kind, OpenSpan, TraceContext};
use tokio::time::timeout_at;
use wasmtime::component::ResourceTableError;
use wasmtime::{PoolConcurrencyLimitError, Store, Trap, UpdateDeadline};

use crate::component::engine::Engines;
use crate::component::linked::Pre;
use crate::embedders::GivenVectors;
use crate::fuel::FuelMeter;
use crate::guest::{Failing, Guest};
use crate::health::{Begun, Counted};
use crate::hook_stats::HookCall;
use crate::outcome::{CallError, DeadlinePassed, GuestError, GuestLimit, GuestRun, Waiting};
use crate::recorded_call::RecordedCall;
use crate::recording::{CallEnd, Input, Player, Recorder, Recording, Stopped, Witness};
use crate::request_context::RequestContext;
use crate::schedule::time_slice::Slice;
use crate::services::Services;
use crate::state::State;
use crate::tenant_index::TenantIndex;
use crate::trace::{CallTracer, Ran, stack};
use crate::trap::{self, Frame};

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
    /// Bytes of text and metadata that it is given.
    pub bytes: usize,
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
    /// The index that its searches use; `None` for the one that is held when they begin.
    pub(crate) index: Option<Arc<TenantIndex>>,
    /// Who asks, and for what.
    pub(crate) request: RequestContext,
    /// Whether writes are captured and dropped.
    pub(crate) dry_run: bool,
    pub(crate) slice: Slice,
    pub(crate) tracer: Arc<CallTracer>,
    /// Where in the request's trace its guests run.
    pub(crate) trace: Option<TraceContext>,
    /// The recording that answers the guest; `None` unless its call is replayed.
    pub(crate) replay: Option<Arc<Replay>>,
}

/// A recorded call that is replayed.
pub(crate) struct Replay {
    pub(crate) recording: Arc<Recording>,
    /// Whether the guest has the recorded bytes.
    pub(crate) is_same: bool,
    /// What was seen, once the guest has ended.
    pub(crate) seen: Mutex<Seen>,
}

/// What a replay did.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// The fuel that the guest used itself.
    pub(crate) guest_fuel: u64,
    /// One line for each call of an import.
    pub(crate) trace: Vec<String>,
    /// Why it ended early.
    pub(crate) stopped: Option<Stopped>,
    /// Where it stood when it failed.
    pub(crate) frames: Vec<Frame>,
}

impl Replay {
    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The fuel to give the guest, of `usual`. Where fuel or time ended the recorded call, the
    /// guest is stopped where it was then.
    fn fuel(&self, usual: u64) -> u64 {
        let Recording { ended, fuel_used, fuel_limit, guest_fuel, .. } = &*self.recording;
        let was_stopped = matches!(ended, CallEnd::Deadline { .. }) || fuel_used >= fuel_limit;
        match self.is_same && was_stopped && !self.recording.ends_in_import() {
            true => *guest_fuel,
            false => usual,
        }
    }
}

/// Runs `run` in a fresh instance of `guest`, and reports how it went.
pub(crate) async fn run_guest<P: Pre, R>(
    context: &CallContext,
    guest: &Arc<Guest>,
    pre: &P,
    invocation: Invocation,
    input: Option<Arc<dyn Input>>,
    run: impl GuestCall<P::Bindings, R>,
) -> GuestRun<R> {
    let begun = Instant::now();
    context.tracer.begin(guest, invocation.operation);
    let given = context.replay.as_ref().map_or(invocation.fuel, |one| one.fuel(invocation.fuel));
    let mut store = new_store(context, guest, given, witness(context, guest, input.is_some()));
    let span = begin_span(context, guest, invocation);
    store.data_mut().trace = span.as_ref().map(OpenSpan::context).or_else(|| context.trace.clone());
    let outcome = timeout_at(context.deadline.into(), async {
        let bindings = pre.instantiate(&mut store).await?;
        run(&bindings, &mut store).await
    })
    .await;
    let (mut stacked, mut frames) = (Vec::new(), Vec::new());
    let result = match outcome {
        Ok(Ok(result)) => Ok(result),
        Ok(Err(error)) => {
            store.data().log.finish();
            stacked = stack(&error, &store.data().log.last_lines());
            if context.replay.is_some() {
                frames = trap::frames(&error);
            }
            Err(classify(&error, &store, invocation.fuel))
        }
        Err(_) => Err(deadline(store.data().waiting)),
    };
    let left = store.get_fuel().unwrap_or_default();
    store.data_mut().fuel.note_left(left);
    let fuel_used = store.data().fuel.used();
    let guest_fuel = given.saturating_sub(left);
    let recorded = match std::mem::take(&mut store.data_mut().witness) {
        Witness::Nobody => None,
        Witness::Recorder(recorder) => input.map(|input| RecordedCall {
            noted: recorder.of(input, store.data().http.take_noted()),
            guest: guest.clone(),
            operation: invocation.operation,
            fuel_limit: invocation.fuel,
            fuel_used,
            guest_fuel,
        }),
        Witness::Player(player) => {
            if let Some(replay) = &context.replay {
                let Player { mut trace, stopped, .. } = *player;
                trace.extend(store.data_mut().http.take_trace());
                *replay.seen() = Seen { guest_fuel, trace, stopped, frames };
            }
            None
        }
    };
    let ran = ran(guest, invocation, &store, begun.elapsed(), fuel_used);
    // A guest that was stopped in an import does not end it.
    store.data_mut().import = None;
    end_span(span, &ran, result.as_ref().err());
    report(&ran, invocation, &store, result.as_ref().err(), &stacked);
    let recorded = keep_failed(context, recorded, result.as_ref().err(), &stacked);
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
    GuestRun { result, outcome_unknown, revision, validity, fuel_used, recorded }
}

/// Who sees what the guest sees. Nothing is recorded of what no caller asked for.
fn witness(context: &CallContext, guest: &Guest, has_input: bool) -> Witness {
    if let Some(replay) = &context.replay {
        return Witness::Player(Box::new(Player::new(replay.recording.clone(), replay.is_same)));
    }
    let is_recorded = has_input
        && guest.is_recorded
        && !context.dry_run
        && context.request.id.is_some()
        && context.services.recordings.is_enabled();
    match is_recorded {
        true => Witness::Recorder(Box::new(Recorder::new())),
        false => Witness::Nobody,
    }
}

/// Keeps what was recorded of a guest that failed; gives back what was recorded of another.
fn keep_failed(
    context: &CallContext,
    recorded: Option<RecordedCall>,
    error: Option<&CallError>,
    stack: &[String],
) -> Option<RecordedCall> {
    let ended = match error {
        None => return recorded,
        // The host's own failures are not the author's to look into.
        Some(CallError::Host(_) | CallError::Overloaded { .. }) => return None,
        Some(error @ CallError::Deadline { .. }) => CallEnd::Deadline { error: error.to_string() },
        Some(error) => CallEnd::Failed { error: error.to_string() },
    };
    let CallContext { services, tenant, request, .. } = context;
    recorded?.keep(services, tenant, request, ended, stack.to_vec());
    None
}

/// A store with its limits set, which also bound what runs during instantiation.
fn new_store(context: &CallContext, guest: &Guest, fuel: u64, witness: Witness) -> Store<State> {
    let services = context.services.clone();
    let (bytes, handles) = (services.limits.host_call_bytes, services.limits.guest_handles);
    let (tenant, slice, dry_run) = (context.tenant.clone(), context.slice.clone(), context.dry_run);
    let mut state = State::new(services, tenant, context.deadline, guest, dry_run, witness, slice);
    state.fuel = FuelMeter::new(fuel);
    state.registry = context.registry;
    state.expected = context.expected.clone();
    state.given = context.given.clone();
    state.index = context.index.clone();
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
    if error.is::<Stopped>() {
        return CallError::Host(error.root_cause().to_string());
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
    // The guest waits for an answer over HTTP in WASI, which does not count it.
    let in_host = state.host_time + state.http.waited();
    Ran {
        guest: guest.clone(),
        operation: invocation.operation,
        fuel_limit: invocation.fuel,
        fuel_used,
        in_guest: elapsed.saturating_sub(in_host),
        in_host,
        host_calls: state.host_calls,
        memory_bytes: state.memory.used(),
    }
}

/// The span of a guest's part; `None` if the request is not recorded.
fn begin_span(context: &CallContext, guest: &Guest, invocation: Invocation) -> Option<OpenSpan> {
    let trace = context.trace.as_ref().filter(|trace| trace.is_sampled())?;
    let name = format!("{} {}", guest.component.name(), invocation.operation);
    let mut span = trace.begin(name, Kind::Internal)?;
    span.set("kenning.component", guest.component.name().to_string());
    span.set("kenning.generation", guest.reference.number);
    span.set("kenning.operation", invocation.operation);
    Some(span)
}

fn end_span(span: Option<OpenSpan>, ran: &Ran, error: Option<&CallError>) {
    let Some(mut span) = span else { return };
    span.set("kenning.fuel_used", ran.fuel_used);
    span.set("kenning.host_calls", u64::from(ran.host_calls));
    span.set("kenning.memory_bytes", ran.memory_bytes as u64);
    if let Some(error) = error {
        span.fail(error.kind());
    }
}

/// One log line and a few metrics for each guest; never the text of a fact or query. A replay
/// counts nowhere: the operator's proof says nothing about callers.
fn report(
    ran: &Ran,
    invocation: Invocation,
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
    let input = invocation.input;
    let counted = Counted { tenant, operation, input, took, fuel, failed };
    let begun = guest.health.count(&counted);
    if begun != Begun::default() {
        let (tenant, guest) = (tenant.clone(), guest.clone());
        // Nobody subscribes in benchmarks.
        let _ = state.services.failing.send(Failing { tenant, guest, begun });
    }
    if let Some(stats) = &guest.stats {
        let (memory, bytes) = (ran.memory_bytes, invocation.bytes);
        let error = error.map(CallError::kind);
        stats.count(&HookCall { hook: operation, error, fuel, bytes, memory, took });
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
