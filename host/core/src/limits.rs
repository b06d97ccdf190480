//! Every number that the server enforces, with its unit, its reason and its default.
//!
//! An operator changes them under `[limits]` in `kenning.toml`, by the names here. Durations
//! are in milliseconds there, and their names end in `_ms`. "Seed" marks the numbers that the
//! service that Kenning grew out of had promised. `docs/LIMITS.md` says what happens when a
//! limit is exceeded.

use std::time::Duration;

use serde::{Deserialize, Serialize};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// The tenant of requests that name none.
pub const DEFAULT_TENANT: &str = "default";

/// The limits of one server.
///
/// A field that ends in `_bytes` is in bytes, one that ends in `_percent` in percent; fuel is
/// counted by wasmtime, about one unit for each WebAssembly instruction.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// One storage operation (seed: 2 s).
    #[serde(rename = "storage_operation_ms", with = "milliseconds")]
    pub storage_operation: Duration,
    /// A whole search (seed: 10 s).
    #[serde(rename = "search_ms", with = "milliseconds")]
    pub search: Duration,
    /// One embedding that a query waits for (seed: 10 s).
    #[serde(rename = "embedding_ms", with = "milliseconds")]
    pub embedding: Duration,
    /// How long a store waits for its embedding before it responds with `indexed: false`. The
    /// fact is durable by then.
    #[serde(rename = "store_embedding_ms", with = "milliseconds")]
    pub store_embedding: Duration,
    /// Any whole call except a search.
    #[serde(rename = "call_ms", with = "milliseconds")]
    pub call: Duration,
    /// How long a request's head, and then its body, may take to arrive.
    #[serde(rename = "request_ms", with = "milliseconds")]
    pub request: Duration,
    /// How long a caller may take to read a response, or one piece of an export, once the
    /// system's buffer is full.
    #[serde(rename = "answer_ms", with = "milliseconds")]
    pub answer: Duration,
    /// How long a shutdown waits for calls in progress.
    #[serde(rename = "shutdown_drain_ms", with = "milliseconds")]
    pub shutdown_drain: Duration,

    /// One fact's text.
    pub fact_text_bytes: usize,
    /// One fact's metadata, as JSON text.
    pub fact_metadata_bytes: usize,
    /// Facts or ids in one batch (seed: 100).
    pub batch_facts: usize,
    /// Facts on one page.
    pub page_facts: usize,
    /// Hits of one search.
    pub search_hits: usize,
    /// One query's text.
    pub query_bytes: usize,
    /// One request's body: room for sixteen facts of the largest size. Imports are streamed and
    /// bounded by `import_line_bytes` instead.
    pub body_bytes: usize,
    /// One line of an import. The largest fact would need more only if most of its characters
    /// were escaped in JSON, which no exporter does.
    pub import_line_bytes: usize,
    /// Bodies of all connections together: requests until they are answered, responses until
    /// they are read. Room for twenty-five of the largest.
    pub bodies_bytes: usize,
    /// Connections open at once.
    pub connections: usize,

    /// A guest's linear memories and tables, summed; a table element counts as
    /// eight bytes.
    pub guest_memory_bytes: usize,
    /// Elements of one table.
    pub guest_table_elements: usize,
    /// A guest's call stack.
    pub guest_stack_bytes: usize,
    /// Open resource handles in one call.
    pub guest_handles: usize,
    /// What one import call, or one result, may pass to the host.
    pub host_call_bytes: usize,
    /// Calls to imported functions in one guest call.
    pub host_calls: u32,
    /// Fuel of one guest call, whatever its input. A tight loop uses about 7 fuel in a
    /// nanosecond, so the default is about 0.3 s.
    pub fuel_base: u64,
    /// Fuel added for each KiB of input, each fact and each hit asked for.
    pub fuel_per_unit: u64,
    /// The maximum fuel of one guest call.
    pub fuel_max: u64,
    /// Log lines of one guest call.
    pub log_lines: u32,
    /// Bytes of one log line.
    pub log_line_bytes: usize,
    /// The same as `guest_memory_bytes`, for an extension; the smaller of the two applies.
    pub extension_memory_bytes: usize,
    /// Fuel of one call to an extension's hook, whatever its input. The default is about 0.1 s.
    pub extension_fuel_base: u64,
    /// Guests that run at once. Each holds one slot of the instance pool, which is address space.
    pub guests: usize,
    /// Of `guests`, the most that one tenant may have: its calls may be slow, or loop.
    pub guests_per_tenant: usize,
    /// Calls that wait for admission; further ones are refused at once. The default is twice
    /// `guests`, so that no call waits for more than two rounds of calls.
    pub guests_waiting: usize,
    /// How long a call waits for admission before it fails as `overloaded`.
    #[serde(rename = "guest_wait_ms", with = "milliseconds")]
    pub guest_wait: Duration,

    /// Extensions of one tenant. Each hook of each extension costs a call one more instance.
    pub extensions: usize,
    /// Recent requests that are recorded, to be replayed on a candidate; 0 records none.
    pub proof_requests: usize,
    /// How long the replay may take.
    #[serde(rename = "proof_ms", with = "milliseconds")]
    pub proof: Duration,
    /// How many of the replayed requests may fail with the candidate only.
    pub proof_errors_percent: u64,
    /// How much of the order of hits the candidate must keep: the mean average overlap.
    pub proof_overlap_percent: u64,
    /// The candidate's maximum fuel, relative to the live generation's.
    pub proof_fuel_percent: u64,
    /// The candidate's maximum time in the guest, relative to the live generation's.
    pub proof_time_percent: u64,
    /// How long a promoted generation is watched.
    #[serde(rename = "watch_ms", with = "milliseconds")]
    pub watch: Duration,
    /// How many calls a promoted generation serves before it is compared with the one before.
    pub watch_calls: u64,
    /// How far its failure rate may exceed that of the generation before, in percentage points.
    pub watch_errors_percent: u64,
    /// The maximum mean time of its calls, relative to the generation before.
    pub watch_time_percent: u64,

    /// A component's size. JavaScript and Python components contain their language's runtime,
    /// 12 to 18 MB.
    pub component_bytes: usize,
    /// How long a component may take to arrive.
    #[serde(rename = "component_upload_ms", with = "milliseconds")]
    pub component_upload: Duration,
    /// Compiling one component, in a child process.
    #[serde(rename = "compile_ms", with = "milliseconds")]
    pub compile: Duration,
    /// Address space of that child process.
    pub compile_memory_bytes: usize,

    /// Texts that wait for the embedder, in each of its three lanes.
    pub embedding_queue: usize,
    /// Requests to a remote embedder at once. Of every eight, stores and background work together
    /// may have six, and background work alone three.
    pub embedding_requests: usize,
    /// Memory of the embedding cache.
    pub embedding_cache_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            storage_operation: Duration::from_secs(2),
            search: Duration::from_secs(10),
            embedding: Duration::from_secs(10),
            store_embedding: Duration::from_secs(1),
            call: Duration::from_secs(5),
            request: Duration::from_secs(10),
            answer: Duration::from_secs(30),
            shutdown_drain: Duration::from_secs(15),

            fact_text_bytes: 256 * KIB,
            fact_metadata_bytes: 64 * KIB,
            batch_facts: 100,
            page_facts: 1_000,
            search_hits: 1_000,
            query_bytes: 64 * KIB,
            body_bytes: 16 * (256 + 64) * KIB,
            import_line_bytes: MIB,
            bodies_bytes: 128 * MIB,
            connections: 1_024,

            guest_memory_bytes: 64 * MIB,
            guest_table_elements: 20_000,
            guest_stack_bytes: 512 * KIB,
            guest_handles: 256,
            host_call_bytes: 4 * MIB,
            host_calls: 1_000,
            fuel_base: 2_000_000_000,
            fuel_per_unit: 5_000_000,
            fuel_max: 20_000_000_000,
            extension_memory_bytes: 32 * MIB,
            extension_fuel_base: 500_000_000,
            log_lines: 100,
            log_line_bytes: KIB,
            guests: 128,
            guests_per_tenant: 64,
            guests_waiting: 256,
            guest_wait: Duration::from_secs(1),

            extensions: 16,
            proof_requests: 200,
            proof: Duration::from_secs(10),
            proof_errors_percent: 1,
            proof_overlap_percent: 70,
            proof_fuel_percent: 200,
            proof_time_percent: 500,
            watch: Duration::from_secs(60),
            watch_calls: 20,
            watch_errors_percent: 5,
            watch_time_percent: 500,

            component_bytes: 50 * MIB,
            component_upload: Duration::from_secs(60),
            compile: Duration::from_secs(60),
            compile_memory_bytes: 4 * 1024 * MIB,

            embedding_queue: 1_024,
            embedding_requests: 8,
            embedding_cache_bytes: 64 * MIB,
        }
    }
}

impl Limits {
    /// The fuel of a call to the logic with `bytes` of input that handles `items` facts or hits.
    pub fn fuel(&self, bytes: usize, items: usize) -> u64 {
        self.fuel_from(self.fuel_base, bytes, items)
    }

    /// The same for a call to one hook of an extension.
    pub fn extension_fuel(&self, bytes: usize, items: usize) -> u64 {
        self.fuel_from(self.extension_fuel_base, bytes, items)
    }

    fn fuel_from(&self, base: u64, bytes: usize, items: usize) -> u64 {
        let units = (bytes / KIB + items) as u64;
        base.saturating_add(units.saturating_mul(self.fuel_per_unit)).min(self.fuel_max)
    }

    /// Refuses numbers that cannot work together.
    ///
    /// # Errors
    /// Names the limit that breaks a rule, and the rule.
    pub fn validate(&self) -> Result<(), String> {
        let largest_fact = self.fact_text_bytes + self.fact_metadata_bytes;
        let rules = [
            (
                // Storing passes the text to the host twice and the vector once.
                2 * largest_fact + 64 * KIB <= self.host_call_bytes,
                "host_call_bytes must hold two of the largest facts and 64 KiB",
            ),
            (largest_fact <= self.body_bytes, "body_bytes must hold the largest fact"),
            (
                largest_fact <= self.import_line_bytes,
                "import_line_bytes must hold the largest fact",
            ),
            (
                4 * self.host_call_bytes <= self.guest_memory_bytes,
                "guest_memory_bytes must be at least four times host_call_bytes",
            ),
            (
                4 * self.host_call_bytes <= self.extension_memory_bytes,
                "extension_memory_bytes must be at least four times host_call_bytes",
            ),
            (self.body_bytes <= self.bodies_bytes, "bodies_bytes must hold the largest body"),
            (
                self.import_line_bytes <= self.bodies_bytes,
                "bodies_bytes must hold the largest line of an import",
            ),
            (self.connections > 0, "connections must be at least 1"),
            (self.guests > 0, "guests must be at least 1"),
            (self.embedding_queue > 0, "embedding_queue must be at least 1"),
            (self.embedding_requests > 0, "embedding_requests must be at least 1"),
            (self.guests_per_tenant > 0, "guests_per_tenant must be at least 1"),
            (
                (1..=100).contains(&self.batch_facts),
                "batch_facts must be 1 to 100, the contract's maximum",
            ),
            ((1..=1_000).contains(&self.page_facts), "page_facts must be 1 to 1000"),
            ((1..=1_000).contains(&self.search_hits), "search_hits must be 1 to 1000"),
            (self.fuel_base <= self.fuel_max, "fuel_base must not be above fuel_max"),
            (self.proof_errors_percent <= 100, "proof_errors_percent must be 0 to 100"),
            (self.proof_overlap_percent <= 100, "proof_overlap_percent must be 0 to 100"),
        ];
        match rules.iter().find(|(holds, _)| !holds) {
            Some((_, rule)) => Err(format!("[limits]: {rule}")),
            None => Ok(()),
        }
    }
}

mod milliseconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(value.as_millis() as u64)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_work_together() {
        assert_eq!(Limits::default().validate(), Ok(()));
    }

    #[test]
    fn limits_that_contradict_each_other_are_refused() {
        let limits = Limits { host_call_bytes: 300 * KIB, ..Limits::default() };
        assert!(limits.validate().unwrap_err().contains("host_call_bytes"));
    }

    #[test]
    fn a_percentage_above_one_hundred_is_refused() {
        let limits = Limits { proof_overlap_percent: 101, ..Limits::default() };
        assert!(limits.validate().unwrap_err().contains("proof_overlap_percent"));
        let limits = Limits { proof_errors_percent: 101, ..Limits::default() };
        assert!(limits.validate().unwrap_err().contains("proof_errors_percent"));
    }

    #[test]
    fn fuel_grows_with_the_input_up_to_its_cap() {
        let limits = Limits::default();
        assert!(limits.fuel(0, 0) < limits.fuel(10 * KIB, 0));
        assert!(limits.fuel(0, 0) < limits.fuel(0, 10));
        assert_eq!(limits.fuel(usize::MAX / 2, 1), limits.fuel_max);
    }

    #[test]
    fn the_documentation_names_every_limit_with_its_default() {
        let page = include_str!("../../../docs/LIMITS.md");
        let serde_json::Value::Object(limits) = serde_json::to_value(Limits::default()).unwrap()
        else {
            panic!("limits are an object");
        };
        for (name, default) in limits {
            let row = format!("| `{name}` | {default} |");
            assert!(page.contains(&row), "docs/LIMITS.md lacks {row}");
        }
    }
}
