//! The limits that the process inherited, named where they are why it cannot start.

use anyhow::Error;
use rustix::process::{Resource, getrlimit};

/// "Too many open files" and "Cannot allocate memory", as every layer ends its message.
const CAUSES: [(&str, Resource, &str, &str); 2] = [
    ("os error 24", Resource::Nofile, "open files", "ulimit -n, LimitNOFILE="),
    ("os error 12", Resource::As, "bytes of address space", "ulimit -v, LimitAS="),
];

/// Adds the inherited limit that explains the error, if one does.
pub(super) fn explain(error: Error) -> Error {
    let said = format!("{error:#}");
    let limit = CAUSES.iter().filter(|(cause, ..)| said.contains(cause)).find_map(|cause| {
        let maximum = getrlimit(cause.1).maximum?;
        Some(format!("this process may have {maximum} {}: raise that limit ({})", cause.2, cause.3))
    });
    match limit {
        Some(limit) => error.context(limit),
        None => error,
    }
}
