//! The values that each limit may have, whatever the others are.
//!
//! A limit that is not named here has the range of its unit, so that a new one is bounded too.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;

/// Ten years: longer is a mistake in the unit, and later than some clocks can represent.
const LONGEST_MS: u64 = 10 * 366 * 24 * 60 * 60 * 1_000;

/// Limits for which zero has a meaning: nothing waits, is kept or is allowed.
pub(crate) const MAY_BE_ZERO: [&str; 24] = [
    "compile_before_ready_ms",
    "compile_reuse_bytes",
    "component_upload_bytes_per_second",
    "embedding_cache_bytes",
    "embedding_ms",
    "extensions",
    "follow_ms",
    "fuel_per_unit",
    "guest_wait_ms",
    "guests_waiting",
    "http_requests",
    "import_retry_ms",
    "index_wait_ms",
    "index_warm_bytes",
    "log_lines",
    "proof_errors_percent",
    "proof_overlap_percent",
    "proof_requests",
    "recordings",
    "shutdown_drain_ms",
    "store_embedding_ms",
    "watch_calls",
    "watch_errors_percent",
    "watch_ms",
];

/// Refuses values that cannot be meant.
///
/// # Errors
/// Names the limit, the values it may have, and the one it has.
pub(crate) fn check(limits: &Map<String, Value>) -> Result<(), String> {
    for (name, value) in limits {
        let range = range(name);
        let Some(number) = value.as_u64() else { continue };
        if !range.contains(&number) {
            let (from, to) = range.into_inner();
            return Err(format!("{name} must be {from} to {to}, and is {number}"));
        }
    }
    Ok(())
}

fn range(name: &str) -> RangeInclusive<u64> {
    match name {
        // What the engine can reserve for a guest, and the pool for all of them.
        "guest_memory_bytes" | "extension_memory_bytes" => 1..=4 * GIB,
        "guest_stack_bytes" => 16 * KIB..=256 * MIB,
        "guest_table_elements" => 1..=100_000_000,
        "guest_memories" => 1..=100,
        "guest_tables" | "guest_core_instances" => 1..=1_000,
        "guests" | "guests_per_tenant" => 1..=10_000,
        // A fact's vectors are kept in memory, and written in one operation.
        "fact_windows" => 1..=4_096,
        "embedding_window_bytes" => 256..=32 * KIB,
        // Of one core.
        "proof_processor_percent" => 1..=100,
        // `{}` is the smallest metadata.
        "fact_metadata_bytes" => 2..=GIB,
        _ => least(name)..=most(name),
    }
}

fn least(name: &str) -> u64 {
    u64::from(!MAY_BE_ZERO.contains(&name))
}

fn most(name: &str) -> u64 {
    match name.rsplit('_').next() {
        Some("ms") => LONGEST_MS,
        Some("bytes") => 1024 * GIB,
        Some("percent") => 1_000_000,
        _ if name.contains("fuel") => u64::MAX,
        _ => 1_000_000_000,
    }
}
