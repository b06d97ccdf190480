//! What the caller is told of a guest's failure.

use std::time::Instant;

use serde_json::json;

use super::Purpose;
use kenning_core::error::{Blame, Code, Error};
use kenning_runtime::wit::{self, Backend};
use kenning_runtime::{CallError, Component, Guest, GuestError, Waiting};

/// How messages call what failed.
#[derive(Clone, Copy, Debug)]
pub(super) struct ErrorMapper {
    /// Users know the storage by its name.
    pub(super) storage: &'static str,
    pub(super) purpose: Purpose,
}

impl ErrorMapper {
    /// A failure that the logic reported.
    pub(super) fn error(
        self,
        error: wit::Error,
        outcome_unknown: bool,
        host_failed: bool,
    ) -> Error {
        match error {
            wit::Error::Invalid(problem) => Error::invalid(&problem.pointer, problem.message),
            wit::Error::InvalidFilter(problem) => Error::new(Code::InvalidFilter, problem.message)
                .with_details(json!({ "pointer": problem.pointer })),
            wit::Error::NotFound(id) => not_found(&id),
            wit::Error::Conflict(id) => {
                Error::new(Code::Conflict, format!("the fact {id:?} exists with other content"))
            }
            wit::Error::TooLarge(wit::Exceeded { limit, allowed, used }) => {
                match limit.as_str() {
                    // What storage refused because the tenant is full.
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
            // What the host failed at the guest may have passed on.
            wit::Error::Other(reason) if host_failed => Error::internal(reason),
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
        let what = match backend {
            Backend::Storage => format!("{} operation timeout", self.storage),
            Backend::Embedding => "Embedding timeout".to_string(),
        };
        let error = Error::new(Code::Timeout, format!("{what}: {reason}"));
        if outcome_unknown { error.with_unknown_outcome() } else { error }
    }

    /// A guest that did not come to its end.
    pub(super) fn guest_error(self, error: &GuestError, outcome_unknown: bool) -> Error {
        let mapped = self.of_guest(&error.cause, &error.guest);
        if outcome_unknown { mapped.with_unknown_outcome() } else { mapped }
    }

    /// A call of which no guest is to blame.
    pub(super) fn ended(self, ended: &CallError) -> Error {
        match ended {
            CallError::Deadline { in_guest: true, .. } => {
                self.late("the guests were still computing")
            }
            CallError::Overloaded { limit, allowed } => Error::overloaded(limit, *allowed),
            other => Error::internal(format!("{other:?}")),
        }
    }

    fn of_guest(self, ended: &CallError, guest: &Guest) -> Error {
        let component = &guest.component;
        match ended {
            CallError::Trapped(trap) => {
                Error::new(Code::GuestTrapped, format!("{component} trapped: {trap}"))
                    .with_details(named(guest))
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
                self.late(&format!("{component} was still computing"))
            }
            CallError::Deadline { waiting, .. } => {
                let waited_for = match waiting {
                    Waiting::Embedding => Backend::Embedding,
                    _ => Backend::Storage,
                };
                let reason = "the call's deadline passed while waiting";
                self.timeout(waited_for, reason, false)
            }
            other @ (CallError::Overloaded { .. } | CallError::Host(_)) => self.ended(other),
        }
    }

    fn late(self, why: &str) -> Error {
        let what = if self.purpose == Purpose::Search { "Search" } else { "Call" };
        Error::new(Code::Timeout, format!("{what} timeout: {why}")).blaming(Blame::Guest)
    }
}

/// Which guest it was, for an error's details.
fn named(guest: &Guest) -> serde_json::Value {
    json!({ "component": guest.component.name(), "generation": guest.reference.number })
}

/// Adds which generation it was.
pub(super) fn of_generation(mut error: Error, guest: &Guest) -> Error {
    if let Some(details) = &mut error.details {
        details["generation"] = guest.reference.number.into();
    }
    error
}

pub(super) fn not_found(id: &str) -> Error {
    Error::new(Code::NotFound, format!("there is no fact with the id {id:?}"))
}

/// `guest` answered with more than it may, or less than it must.
pub(super) fn guest_broke(guest: &Guest, limit: &str, allowed: usize, used: usize) -> Error {
    limit_error(Code::GuestLimit, guest, limit, allowed as u64, Some(used as u64))
}

/// `guest` answered what the contract does not allow; `what` completes the sentence.
pub(super) fn guest_lied(guest: &Guest, what: &str) -> Error {
    Error::new(Code::GuestLimit, format!("{} {what}", guest.component)).with_details(named(guest))
}

fn limit_error(code: Code, guest: &Guest, limit: &str, allowed: u64, used: Option<u64>) -> Error {
    // What was refused was never used, and fuel that ran out was used up.
    let used = used.unwrap_or(allowed);
    let mut details = named(guest);
    details["limit"] = limit.into();
    details["allowed"] = allowed.into();
    details["used"] = used.into();
    let message = format!("{} reached its limit {limit} of {allowed}", guest.component);
    Error::new(code, message).with_details(details)
}

/// Why `guest` is not asked now, if it is not.
pub(super) fn quarantine_error(guest: &Guest) -> Option<Error> {
    let left = guest.health.quarantined()?.saturating_duration_since(Instant::now());
    let message = format!(
        "{} failed again and again and is in quarantine for another {:.1} s",
        guest.component,
        left.as_secs_f64()
    );
    let mut error = Error::new(Code::GuestTrapped, message).with_details(named(guest));
    error.retry_after = Some(left);
    Some(error)
}

/// An extension does not let it through.
pub(super) fn rejected(component: &Component, message: String) -> Error {
    Error::new(Code::Rejected, message).with_details(json!({ "extension": component.name() }))
}
