//! Every metric that the server has: its name, its kind and what it says.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

use Kind::{Counter, Gauge, Histogram};

const FAMILIES: &[(&str, Kind, &str)] = &[
    (
        "kenning_admission_seconds",
        Histogram,
        "Time that calls waited for a permit, of those that did.",
    ),
    ("kenning_bodies_bytes", Gauge, "Bytes of bodies that requests and responses hold."),
    ("kenning_build_info", Gauge, "1, with the version that runs."),
    ("kenning_changes_sent_total", Counter, "Changes sent to those who follow them."),
    ("kenning_connections_refused_total", Counter, "Connections refused for want of room."),
    ("kenning_dead_letters_total", Counter, "Changes that an extension did not take."),
    ("kenning_embedded_texts_total", Counter, "Texts embedded."),
    ("kenning_embedder_broken", Gauge, "1 while the remote embedder does not respond, else 0."),
    ("kenning_embedding_cache_hits_total", Counter, "Embeddings taken from the cache."),
    ("kenning_embedding_seconds", Histogram, "Time to embed one batch of texts."),
    ("kenning_errors_total", Counter, "Errors returned, by code."),
    ("kenning_extension_calls_total", Counter, "Calls of an extension's hook."),
    ("kenning_extension_errors_total", Counter, "Calls of an extension's hook that failed."),
    ("kenning_extension_fuel_total", Counter, "Fuel of an extension's hook."),
    ("kenning_extension_given_bytes_total", Counter, "Bytes that an extension's hook was given."),
    ("kenning_extension_p50_seconds", Gauge, "What half of a hook's calls do not exceed."),
    ("kenning_extension_p99_seconds", Gauge, "What 99 of a hundred calls do not exceed."),
    (
        "kenning_functions_compiled_total",
        Counter,
        "Functions that were compiled because no earlier compilation had them.",
    ),
    (
        "kenning_functions_reused_total",
        Counter,
        "Functions of components that were taken from an earlier compilation.",
    ),
    ("kenning_guest_fuel_total", Counter, "Fuel used by guests, by operation."),
    ("kenning_guest_seconds", Histogram, "Time of a guest call without its imports."),
    ("kenning_hook_failures_total", Counter, "Hooks that failed, by hook."),
    ("kenning_hooks_left_out_total", Counter, "Hooks that failed and were left out, by hook."),
    ("kenning_http_requests_total", Counter, "Requests answered, by method, route and status."),
    ("kenning_http_seconds", Histogram, "Time to answer a request, by method and route."),
    ("kenning_import_seconds", Histogram, "Time that a guest call spent in imports."),
    ("kenning_index_budget_bytes", Gauge, "Memory that the indexes of all tenants may take."),
    ("kenning_index_bytes", Gauge, "Memory that the indexes of all tenants take."),
    ("kenning_index_drops_total", Counter, "Indexes dropped: idle, or for others that need room."),
    ("kenning_index_facts", Gauge, "Facts in the indexes of all tenants."),
    ("kenning_index_load_seconds", Histogram, "Time from an index's first use until it is loaded."),
    ("kenning_index_loads_total", Counter, "Indexes loaded."),
    (
        "kenning_index_lag_changes",
        Gauge,
        "Changes of other hosts that are missing here for too long.",
    ),
    ("kenning_index_pending_facts", Gauge, "Facts in the indexes that have no vectors yet."),
    (
        "kenning_index_tenants_behind",
        Gauge,
        "Tenants whose index here is behind other hosts for too long.",
    ),
    ("kenning_index_vectors", Gauge, "Facts in the indexes of all tenants that have vectors."),
    ("kenning_indexes_loading", Gauge, "Indexes that are being loaded."),
    ("kenning_indexes_ready", Gauge, "Indexes that are loaded."),
    ("kenning_log_lines_lost_total", Counter, "Lines of the log that could not be written."),
    ("kenning_lost_facts_total", Counter, "Facts that storage no longer has."),
    ("kenning_otlp_failures_total", Counter, "Requests that the OTLP collector did not take."),
    ("kenning_promotion_seconds", Histogram, "Time to promote a generation."),
    ("kenning_quarantines_total", Counter, "Guests put into quarantine, by kind."),
    ("kenning_quota_exceeded_total", Counter, "Requests refused by a quota, by quota."),
    ("kenning_redis_connections", Gauge, "Connections to Redis, also those that are being made."),
    ("kenning_redis_connects_total", Counter, "Attempts to connect to Redis, by result."),
    ("kenning_redis_failures_total", Counter, "Round trips to Redis that failed, by kind."),
    ("kenning_redis_seconds", Histogram, "Time of a round trip to Redis, by effect."),
    ("kenning_rollbacks_total", Counter, "Generations rolled back automatically, by kind."),
    ("kenning_runtime_stall_seconds", Histogram, "How late a timer of the runtime fired."),
    (
        "kenning_stale_calls_total",
        Counter,
        "Calls that went by guests or keys no longer in force, and were repeated or refused.",
    ),
    ("kenning_subscribers", Gauge, "Callers who follow a tenant's changes."),
    ("kenning_tenant_requests_total", Counter, "Requests answered, by tenant and status."),
    ("kenning_tenant_seconds", Histogram, "Time to answer a request, by tenant."),
    (
        "kenning_tls_certificate_expires_seconds",
        Gauge,
        "When the certificate in use expires, in seconds since 1970.",
    ),
    ("kenning_tls_certificate_loads_total", Counter, "Changed certificates, by result."),
    ("kenning_tls_handshakes_failed_total", Counter, "Connections whose TLS handshake failed."),
    ("kenning_trace_spans_dropped_total", Counter, "Spans that the OTLP collector never got."),
    ("kenning_unreadable_records_total", Counter, "Records that could not be read."),
    ("kenning_wait_seconds", Histogram, "Time that a guest waited for one answer, by what of."),
    ("kenning_withheld_facts_total", Counter, "Facts withheld for what a guest made of them."),
    ("process_cpu_seconds_total", Counter, "Processor time of this process, in whole seconds."),
    ("process_max_fds", Gauge, "Files that this process may have open."),
    ("process_open_fds", Gauge, "Files that this process has open."),
    ("process_resident_memory_bytes", Gauge, "Memory of this process."),
    (
        "process_start_time_seconds",
        Gauge,
        "When this process began to serve, in seconds since 1970.",
    ),
    ("process_threads", Gauge, "Threads of this process."),
];

/// Gives every family its text.
pub(super) fn describe() {
    for &(name, kind, help) in FAMILIES {
        match (kind, unit(name)) {
            (Counter, _) => describe_counter!(name, help),
            (Gauge, Some(unit)) => describe_gauge!(name, unit, help),
            (Gauge, None) => describe_gauge!(name, help),
            (Histogram, Some(unit)) => describe_histogram!(name, unit, help),
            (Histogram, None) => describe_histogram!(name, help),
        }
    }
}

/// What a family says.
pub(super) fn help(name: &str) -> Option<&'static str> {
    FAMILIES.iter().find(|(known, _, _)| *known == name).map(|(_, _, help)| *help)
}

fn unit(name: &str) -> Option<Unit> {
    match name.rsplit('_').next() {
        Some("seconds") => Some(Unit::Seconds),
        Some("bytes") => Some(Unit::Bytes),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;

    fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => sources(&path, found),
                false if path.extension().is_some_and(|extension| extension == "rs") => {
                    found.push(path);
                }
                false => {}
            }
        }
    }

    /// What the macros of the host's code name, with their kinds.
    fn used() -> BTreeSet<(String, &'static str)> {
        let mut files = Vec::new();
        sources(Path::new(env!("CARGO_MANIFEST_DIR")), &mut files);
        let mut used = BTreeSet::new();
        for text in files.iter().map(|path| fs::read_to_string(path).unwrap()) {
            for kind in ["counter", "gauge", "histogram"] {
                for call in [format!("metrics::{kind}!("), format!("by_tenant.{kind}(")] {
                    for call in text.split(&call).skip(1) {
                        let name = call.trim_start().strip_prefix('"');
                        let name = name.and_then(|rest| rest.split('"').next());
                        used.extend(name.map(|name| (name.to_owned(), kind)));
                    }
                }
            }
        }
        used
    }

    #[test]
    fn every_metric_is_described_once_with_its_kind() {
        let kind = |kind| match kind {
            Counter => "counter",
            Gauge => "gauge",
            Histogram => "histogram",
        };
        let described: BTreeSet<(String, &str)> =
            FAMILIES.iter().map(|(name, of, _)| ((*name).to_owned(), kind(*of))).collect();
        assert_eq!(used(), described);
        assert_eq!(described.len(), FAMILIES.len());
    }
}
