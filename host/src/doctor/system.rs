//! What the system allows this process, and what time it is.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::{Resource, getrlimit};

use super::Finding;
use crate::config::Config;

/// The first day of 2026: this version did not exist before.
const EARLIEST: Duration = Duration::from_secs(1_767_225_600);

/// Files that are open besides connections.
const OTHER_FILES: u64 = 64;

/// The address space that guests reserve by default, and what else there is.
const ADDRESS_SPACE: u64 = 64 << 30;

pub(super) fn clock(findings: &mut Vec<Finding>) {
    let now = SystemTime::now();
    let is_early = now.duration_since(UNIX_EPOCH).unwrap_or_default() < EARLIEST;
    if is_early {
        findings.push(Finding::problem(
            "clock",
            "this machine's clock is years behind",
            "set it: the order of facts, keys and certificates depend on it",
        ));
    }
}

pub(super) fn limits(config: &Config, findings: &mut Vec<Finding>) {
    const CHECK: &str = "limits";
    let maximum = |resource| getrlimit(resource).maximum;
    let connections = config.limits.connections as u64;
    let before = findings.len();
    if let Some(files) = maximum(Resource::Nofile).filter(|most| *most < connections + OTHER_FILES)
    {
        findings.push(Finding::warn(
            CHECK,
            format!("{files} files may be open, and {connections} connections are allowed"),
            "raise the limit (ulimit -n, LimitNOFILE), or lower connections under [limits]",
        ));
    }
    if let Some(bytes) = maximum(Resource::As).filter(|most| *most < ADDRESS_SPACE) {
        findings.push(Finding::problem(
            CHECK,
            format!("the address space is limited to {} MiB", bytes >> 20),
            "lift the limit (ulimit -v): guests reserve 48 GiB of addresses, not of memory",
        ));
    }
    if let Some(bytes) = maximum(Resource::Fsize) {
        findings.push(Finding::warn(
            CHECK,
            format!("a file may have {} MiB at most", bytes >> 20),
            "lift the limit (ulimit -f): at it, writes are refused as on a full disk",
        ));
    }
    if findings.len() == before {
        findings.push(Finding::ok(CHECK, "files and memory are not limited too much"));
    }
}
