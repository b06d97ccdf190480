//! What a guest may call. Each file implements one interface of `wit/host.wit` or
//! of a further package in `wit/`, for the tenant that the call belongs to.
//!
//! Every call to an import, except `log`, is counted, and its answer is noted if the call is
//! recorded; `answer!` does both, and in a replay answers from the recording. An import waits no
//! longer than its own limit and the rest of the guest call's time, and returns failures as values,
//! so that the guest can go on without the part that failed. Only an exceeded limit traps.

pub(crate) mod budget;
mod clocks;
mod context;
mod embedding;
mod index;
mod log;
mod retrieval;
pub(crate) mod search;
mod settings;
mod state;
mod storage;
mod system;

use std::fmt::Debug;
use std::time::{Duration, Instant};

use kenning_bindings::kenning::knowledge::types;
use kenning_storage::{FactId, StorageError};
use kenning_trace::{Kind, OpenSpan};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::context::TokioContext;
use wasmtime::Trap;

use crate::outcome::{GuestLimit, Validity, Waiting};
use crate::recording::Witness;
use crate::reserve::{reserve, reserve_to_read};
use crate::state::State;
use crate::wit::{Backend, Error, Exceeded, Failure, Problem};

/// The maximum of ids, writes, texts or entries in one call to an import, defined by the contract.
const ITEMS: usize = 100;

/// Answers a call of an import: `answer!(self, "INTERFACE.FUNCTION", (ARGUMENTS) => ANSWER)`.
/// Every import but `log` is such a call.
macro_rules! answer {
    ($state:expr, $import:literal, ($($argument:expr),*) => $answer:expr) => {{
        let recorded = $state.enter($import, &($(&$argument,)*))?;
        match recorded {
            Some(recorded) => Ok(recorded),
            None => {
                let answer = $answer;
                $state.note_answer(&answer);
                Ok(answer)
            }
        }
    }};
}
pub(crate) use answer;

impl types::Host for State {}

impl State {
    /// Counts one call to an import, and begins its span. Returns its recorded answer if the call
    /// is a replay.
    fn enter<T: DeserializeOwned + Debug>(
        &mut self,
        import: &'static str,
        arguments: &dyn Debug,
    ) -> wasmtime::Result<Option<T>> {
        self.host_calls += 1;
        let allowed = self.services.limits.host_calls;
        if self.host_calls > allowed {
            let (allowed, used) = (u64::from(allowed), u64::from(self.host_calls));
            return Err(GuestLimit { limit: "host_calls", allowed, used }.into());
        }
        self.import = self.trace.as_ref().and_then(|trace| trace.begin(import, Kind::Internal));
        match &mut self.witness {
            Witness::Nobody => Ok(None),
            Witness::Recorder(recorder) => {
                recorder.begin(import, self.fuel.in_host());
                Ok(None)
            }
            Witness::Player(player) => {
                let (answer, fuel) = player.answer(import, arguments)?;
                match self.fuel.spend(fuel) {
                    true => Ok(Some(answer)),
                    false => Err(Trap::OutOfFuel.into()),
                }
            }
        }
    }

    /// Ends the span of the last call of an import, and notes its answer, if the call is recorded.
    fn note_answer(&mut self, answer: &impl Serialize) {
        self.import = None;
        if let Witness::Recorder(recorder) = &mut self.witness {
            recorder.end(answer, self.fuel.in_host());
        }
    }

    /// The deadline of an import that may take `bound`.
    fn until(&self, bound: Duration) -> Instant {
        let now = Instant::now();
        let left = self.deadline.saturating_duration_since(now);
        now + bound.min(left - reserve(left))
    }

    /// The same for an import after which the guest still has to read from storage, whether the
    /// import succeeds or not.
    fn until_before_reading(&self, bound: Duration) -> Instant {
        let now = Instant::now();
        let left = self.deadline.saturating_duration_since(now);
        let reading = self.services.limits.storage_operation;
        now + bound.min(left - reserve_to_read(left, reading))
    }

    /// Waits for `work` in the context of the tokio runtime that owns sockets and timers.
    async fn wait<T>(&mut self, on: Waiting, work: impl Future<Output = T>) -> T {
        let begun = Instant::now();
        self.waiting = on;
        let here = self.import.as_ref().map(OpenSpan::context).or_else(|| self.trace.clone());
        let work = kenning_trace::within(here, work);
        let answer = TokioContext::new(work, self.services.io.clone()).await;
        self.waiting = Waiting::Nothing;
        let waited = begun.elapsed();
        if let (Some(on), None) = (on.name(), &self.captured) {
            metrics::histogram!("kenning_wait_seconds", "on" => on).record(waited.as_secs_f64());
        }
        self.host_time += waited;
        answer
    }

    /// What storage answered to a call that goes by the tenant's registry.
    fn answered<T>(&mut self, answer: Result<T, StorageError>) -> Result<T, Error> {
        let validity = match &answer {
            Ok(_) => Validity::InForce,
            Err(error) if *error.cause() == StorageError::StaleRegistry => Validity::Stale,
            Err(_) => Validity::Unknown,
        };
        self.validity = self.validity.max(validity);
        answer.map_err(|error| self.storage_error(error))
    }

    /// A storage error as the contract represents it. The error itself stays in the call's effects.
    fn storage_error(&mut self, error: StorageError) -> Error {
        self.outcome_unknown |= error.is_outcome_unknown();
        self.storage_failure = Some(error.clone());
        let failure = |message: String| Failure { backend: Backend::Storage, message };
        match error.told().clone() {
            StorageError::Unavailable(reason)
            | StorageError::Refused(reason)
            | StorageError::Full(reason) => Error::Unavailable(failure(reason)),
            StorageError::StaleRegistry => Error::Unavailable(failure(error.cause().to_string())),
            StorageError::Timeout { .. } => {
                let bound = self.services.limits.storage_operation.as_millis();
                let reason = format!("no response within {bound} ms or the call's deadline");
                Error::Timeout(failure(reason))
            }
            lost @ (StorageError::ReplyLost(_) | StorageError::Uncertain(_)) => {
                Error::Timeout(failure(lost.to_string()))
            }
            StorageError::TooLarge { limit, allowed, used } => too_large(limit, allowed, used),
            // A quota of the tenant; `kb` turns it into the caller's error.
            StorageError::QuotaExceeded { quota, allowed, used } => too_large(quota, allowed, used),
            StorageError::InvalidCursor => {
                Error::Invalid(Problem { pointer: "/cursor".into(), message: error.to_string() })
            }
            other => self.host_fault(other),
        }
    }

    /// A fault of the host as the contract represents it. A guest that returns it is not blamed.
    fn host_fault(&mut self, reason: impl ToString) -> Error {
        self.host_failed = true;
        Error::Other(reason.to_string())
    }
}

fn too_large(limit: impl Into<String>, allowed: u64, used: u64) -> Error {
    Error::TooLarge(Exceeded { limit: limit.into(), allowed, used })
}

/// Refuses lists that are longer than the contract allows.
fn check_items(used: usize) -> Result<(), Error> {
    if used <= ITEMS {
        return Ok(());
    }
    Err(too_large("batch_facts", ITEMS as u64, used as u64))
}

fn fact_id(id: &str) -> Result<FactId, Error> {
    FactId::parse(id).map_err(|invalid| {
        Error::Invalid(Problem { pointer: "/fact_id".into(), message: invalid.to_string() })
    })
}

fn fact_ids(ids: &[String]) -> Result<Vec<FactId>, Error> {
    check_items(ids.len())?;
    ids.iter().map(|id| fact_id(id)).collect()
}
