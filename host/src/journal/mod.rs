//! Bounded records in storage, which every host on the same storage can read: the acts of the
//! operators, and the calls that failed.
//!
//! | file | holds |
//! |---|---|
//! | `chunks` | records in documents, many in one, bounded by count and age |
//! | `audit` | what operators did: an intent before each act, and its result after it |
//! | `failures` | what is known of calls that failed, written off the request's path |
//! | `told` | how far extensions were told of changes, and the changes that they did not take |
//!
//! A document `NAME/HOST/TIME` holds up to a hundred records of one host, oldest first. Each host
//! writes its own documents, so two hosts never wait for each other; whoever reads merges them by
//! time. The oldest documents are deleted when newer ones hold enough records, or when all of their
//! records are too old.

mod audit;
mod chunks;
mod failures;
mod told;

pub use audit::{Act, ActResult, Actor, Audit, AuditRecord, Begun};
pub use failures::{FailedRequest, FailureRecord, Failures};
pub use told::{DeadLetter, ToldChanges, is_of_told, space_name};

use std::fmt::Display;

use chrono::{SecondsFormat, Utc};

/// Most bytes of a host's name in the name of a document.
const HOST_BYTES: usize = 63;

/// The name of this process among the hosts on one storage: the machine's, and what tells it from
/// others there, such as its port.
pub fn host_name(suffix: impl Display) -> String {
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let usable = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    let machine: String = machine.trim().chars().take(HOST_BYTES).map(usable).collect();
    let machine = if machine.is_empty() { "host" } else { &machine };
    format!("{machine}-{suffix}")
}

/// The time now as RFC 3339 in UTC with milliseconds; texts sort as the times do.
fn now() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true)
}
