//! What callers are told when a guest or the storage fails.

use std::time::Instant;

use kenning_storage::StorageError;
use serde_json::json;

use super::Kb;
use super::caller::Purpose;
use super::returned::Violation;
use crate::registry::Extension;
use kenning_core::error::{Blame, Code, Error};
use kenning_runtime::wit::{self, Backend, Draft};
use kenning_runtime::{
    CallEffects, CallError, Component, DeletionRefusal, Guest, GuestError, Waiting,
};

/// Turns failures of guests into errors for the caller.
#[derive(Clone, Copy, Debug)]
pub(super) struct ErrorMapper {
    /// The name of the storage in messages to users.
    pub(super) storage: &'static str,
    pub(super) purpose: Purpose,
}

impl Kb {
    /// A storage failure outside a guest call.
    pub fn storage_error(&self, error: &StorageError) -> Error {
        kenning_tenants::storage_error_named(self.storage_name, error)
    }
}

impl ErrorMapper {
    /// An error that the logic returned.
    pub(super) fn logic_error(
        self,
        error: wit::Error,
        outcome_unknown: bool,
        effects: &CallEffects,
    ) -> Error {
        if let Some(failure) = &effects.storage_failure
            && is_told_by(&error, failure)
        {
            let error = kenning_tenants::storage_error_named(self.storage, failure);
            return if outcome_unknown { error.with_unknown_outcome() } else { error };
        }
        match error {
            wit::Error::NotFound(id) if effects.unreadable.iter().any(|all| all.as_str() == id) => {
                damaged(&id)
            }
            wit::Error::Invalid(problem) => Error::invalid(&problem.pointer, problem.message),
            wit::Error::InvalidFilter(problem) => Error::new(Code::InvalidFilter, problem.message)
                .with_details(json!({ "pointer": problem.pointer })),
            wit::Error::NotFound(id) => not_found(&id),
            wit::Error::Conflict(id) => {
                Error::new(Code::Conflict, format!("the fact {id:?} exists with other content"))
            }
            wit::Error::TooLarge(wit::Exceeded { limit, allowed, used }) => {
                match limit.as_str() {
                    // Storage refused the write because the tenant's quota is used up.
                    "facts" => kenning_tenants::quota_exceeded("facts", allowed, used),
                    "bytes" => kenning_tenants::quota_exceeded("bytes", allowed, used),
                    limit => Error::too_large(limit, allowed, used),
                }
            }
            wit::Error::Unavailable(failure) => self.unavailable(failure),
            wit::Error::Timeout(failure) => {
                self.timeout(failure.backend, &failure.message, outcome_unknown)
            }
            wit::Error::ProfileMismatch(both) => Error::new(Code::DimensionMismatch, both),
            // The guest may have passed on a failure of the host.
            wit::Error::Other(reason) if effects.host_failed => Error::internal(reason),
            wit::Error::Other(reason) => Error::internal(reason).blaming(Blame::Guest),
        }
    }

    fn unavailable(self, failure: wit::Failure) -> Error {
        match failure.backend {
            Backend::Storage => {
                let message = format!("{} not available: {}", self.storage, failure.message);
                Error::new(Code::StorageUnavailable, message)
            }
            Backend::Embedding => {
                let message = format!("Embedding not available: {}", failure.message);
                Error::new(Code::EmbeddingUnavailable, message)
            }
        }
    }

    fn timeout(self, backend: Backend, reason: &str, outcome_unknown: bool) -> Error {
        let operation = match backend {
            Backend::Storage => format!("{} operation timeout", self.storage),
            Backend::Embedding => "Embedding timeout".to_string(),
        };
        let error = Error::new(Code::Timeout, format!("{operation}: {reason}"));
        if outcome_unknown { error.with_unknown_outcome() } else { error }
    }

    /// A guest call that failed.
    pub(super) fn guest_error(self, error: &GuestError, outcome_unknown: bool) -> Error {
        let mapped = self.cause(&error.cause, &error.guest);
        if outcome_unknown { mapped.with_unknown_outcome() } else { mapped }
    }

    /// A call that failed outside any one guest.
    pub(super) fn call_error(self, error: &CallError) -> Error {
        match error {
            CallError::Deadline { in_guest: true, .. } => {
                self.deadline_passed("the guests were still computing")
            }
            CallError::Overloaded { limit, allowed } => Error::overloaded(limit, *allowed),
            other => Error::internal(format!("{other:?}")),
        }
    }

    fn cause(self, cause: &CallError, guest: &Guest) -> Error {
        let component = &guest.component;
        match cause {
            CallError::Trapped(trap) => {
                Error::new(Code::GuestTrapped, format!("{component} trapped: {trap}"))
                    .with_details(guest_details(guest))
            }
            CallError::OutOfFuel { limit } => {
                limit_error(Code::GuestOutOfFuel, guest, "fuel", *limit, None)
            }
            CallError::OutOfMemory { limit, allowed, used } => {
                limit_error(Code::GuestOutOfMemory, guest, limit, *allowed, Some(*used))
            }
            CallError::Limit { limit, allowed, used } => {
                limit_error(Code::GuestLimit, guest, limit, *allowed, *used)
            }
            CallError::Deadline { in_guest: true, .. } => {
                self.deadline_passed(&format!("{component} was still computing"))
            }
            CallError::Deadline { waiting, .. } => {
                let waited_for = match waiting {
                    Waiting::Embedding => Backend::Embedding,
                    _ => Backend::Storage,
                };
                let reason = "the call's deadline passed while waiting";
                self.timeout(waited_for, reason, false)
            }
            other @ (CallError::Overloaded { .. } | CallError::Host(_)) => self.call_error(other),
        }
    }

    fn deadline_passed(self, reason: &str) -> Error {
        let operation = if self.purpose == Purpose::Search { "Search" } else { "Call" };
        Error::new(Code::Timeout, format!("{operation} timeout: {reason}")).blaming(Blame::Guest)
    }
}

/// Which guest failed, for an error's details.
fn guest_details(guest: &Guest) -> serde_json::Value {
    json!({ "component": guest.component.name(), "generation": guest.reference.number })
}

/// Adds the guest's generation to an error's details.
pub(super) fn with_generation(mut error: Error, guest: &Guest) -> Error {
    if let Some(details) = &mut error.details {
        details["generation"] = guest.reference.number.into();
    }
    error
}

/// Whether `error` is how the contract represents `failure`, which says more.
fn is_told_by(error: &wit::Error, failure: &StorageError) -> bool {
    match failure.told() {
        StorageError::Unavailable(_)
        | StorageError::Refused(_)
        | StorageError::Full(_)
        | StorageError::StaleRegistry => {
            matches!(error, wit::Error::Unavailable(failed) if failed.backend == Backend::Storage)
        }
        StorageError::Damaged { .. } => matches!(error, wit::Error::Other(_)),
        _ => false,
    }
}

/// The fact is there and cannot be served.
pub(super) fn damaged(id: &str) -> Error {
    let message = format!(
        "the fact {id:?} is damaged in storage and cannot be served; restore it from a backup, or \
         delete it; `kenning verify` lists all that is damaged"
    );
    Error::new(Code::Internal, message)
        .blaming(Blame::Backend)
        .with_details(json!({ "fact_id": id }))
}

/// Whether it is the error of a fact that is damaged.
pub(super) fn is_damaged(error: &Error) -> bool {
    error.code == Code::Internal && error.blame == Blame::Backend
}

/// The id is taken by a record that is no fact, so that it can be neither read nor changed.
pub(super) fn no_fact(id: &str) -> Error {
    let message = format!(
        "the id {id:?} is taken in storage by a record that is no fact, which another program \
         wrote there; use another id, or remove that record"
    );
    Error::new(Code::Conflict, message).with_details(json!({ "fact_id": id }))
}

/// The fact was changed by others as often as a call tries.
pub(super) fn contended(id: &str) -> Error {
    let message = format!(
        "the fact {id:?} was changed by other calls again and again while this one changed it; \
         repeat the call"
    );
    let mut error = Error::new(Code::Conflict, message).with_details(json!({ "fact_id": id }));
    error.retryable = true;
    error
}

/// Fails unless `drafts` is one draft for the fact with this id.
pub(super) fn check_is_same_fact(id: &str, drafts: &[Draft]) -> Result<(), Error> {
    match drafts {
        [draft] if draft.id.as_deref().is_none_or(|given| given == id) => Ok(()),
        _ => Err(Error::invalid(
            "/text",
            "an extension splits this fact or gives it another id, which an update cannot do; \
             delete the fact and store it again",
        )),
    }
}

pub(super) fn not_found(id: &str) -> Error {
    Error::new(Code::NotFound, format!("there is no fact with the id {id:?}"))
}

/// `guest` returned more than its limit.
pub(super) fn guest_exceeded(guest: &Guest, limit: &str, allowed: usize, used: usize) -> Error {
    limit_error(Code::GuestLimit, guest, limit, allowed as u64, Some(used as u64))
}

/// `guest` returned what the contract does not allow; the message is "GUEST gave `what`: `why`".
pub(super) fn contract_violated(guest: &Guest, what: &str, why: &str) -> Error {
    let mut details = guest_details(guest);
    details["violation"] = what.into();
    Error::new(Code::GuestInvalid, format!("{} gave {what}: {why}", guest.component))
        .with_details(details)
}

/// `guest` returned a value that breaks a rule.
pub(super) fn violation(guest: &Guest, violation: &Violation) -> Error {
    match violation {
        Violation::Limit { limit, allowed, used } => guest_exceeded(guest, limit, *allowed, *used),
        Violation::Invalid { what, why } => contract_violated(guest, what, why),
    }
}

fn limit_error(code: Code, guest: &Guest, limit: &str, allowed: u64, used: Option<u64>) -> Error {
    // Without a figure the guest used up exactly what it was allowed, such as fuel.
    let used = used.unwrap_or(allowed);
    let mut details = guest_details(guest);
    details["limit"] = limit.into();
    details["allowed"] = allowed.into();
    details["used"] = used.into();
    let message = format!("{} reached its limit {limit} of {allowed}", guest.component);
    Error::new(code, message).with_details(details)
}

/// Why `guest` must not be called now, if it is in quarantine.
pub(super) fn quarantine_error(guest: &Guest) -> Option<Error> {
    let left = guest.health.quarantined()?.saturating_duration_since(Instant::now());
    let message = format!(
        "{} failed repeatedly and is in quarantine for another {:.1} s",
        guest.component,
        left.as_secs_f64()
    );
    let mut error = Error::new(Code::GuestTrapped, message).with_details(guest_details(guest));
    error.retry_after = Some(left);
    Some(error)
}

/// An extension refused the call.
pub(super) fn rejected(component: &Component, message: String) -> Error {
    Error::new(Code::Rejected, message).with_details(json!({ "extension": component.name() }))
}

/// An extension refused to have a fact deleted.
pub(super) fn kept(extension: &Extension, refusal: DeletionRefusal) -> Error {
    let DeletionRefusal { message, code, pointer } = refusal;
    let mut details = json!({ "extension": extension.name() });
    for (name, value) in [("reason", code), ("pointer", pointer)] {
        if let Some(value) = value {
            details[name] = value.into();
        }
    }
    Error::new(Code::Rejected, message).with_details(details)
}
