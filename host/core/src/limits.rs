//! Every number that the server enforces, with its unit, its reason and its default.
//!
//! An operator changes them under `[limits]` in `kenning.toml`, by the names here, or by variables
//! such as `KENNING_LIMITS_SEARCH_MS`. Durations are in milliseconds there, and their names end in
//! `_ms`. "Seed" marks the numbers that the service that Kenning grew out of had promised.
//! `docs/LIMITS.md` says what happens when a limit is exceeded.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{limit_ranges, milliseconds};

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
    /// How long a store, durable by then, waits for its embedding before it says `indexed: false`.
    #[serde(rename = "store_embedding_ms", with = "milliseconds")]
    pub store_embedding: Duration,
    /// Any whole call except a search.
    #[serde(rename = "call_ms", with = "milliseconds")]
    pub call: Duration,
    /// How long a TLS handshake, a request's head, and then its body, may take to arrive.
    #[serde(rename = "request_ms", with = "milliseconds")]
    pub request: Duration,
    /// How long a connection stays open between two requests. Longer than most clients keep the
    /// connections of their pools, 90 s at most: one that the server closes while a request is on
    /// its way fails that request.
    #[serde(rename = "idle_ms", with = "milliseconds")]
    pub idle: Duration,
    /// How long a caller may take to read a response, or one piece of an export, once the
    /// system's buffer is full.
    #[serde(rename = "answer_ms", with = "milliseconds")]
    pub answer: Duration,
    /// How long an import that cannot store anything keeps trying. Less than what proxies and
    /// clients usually wait for the next byte.
    #[serde(rename = "import_retry_ms", with = "milliseconds")]
    pub import_retry: Duration,
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
    /// Metadata fields whose values one search counts.
    pub search_facets: usize,
    /// Values of one such field in the answer.
    pub facet_values: usize,
    /// A search's options for extensions, as JSON text.
    pub extension_option_bytes: usize,
    /// Searches in one batch.
    pub batch_searches: usize,
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
    /// How much may come out of a compressed body for each byte of it, beyond `body_bytes`.
    pub gzip_ratio: u64,
    /// Answers that are compressed at once, each of which needs a quarter of a MiB.
    pub compressions: usize,
    /// Connections open at once.
    pub connections: usize,
    /// Requests of HTTP/2 under way at once, of all connections.
    pub streams: usize,
    /// Of `streams`, those of one connection.
    pub streams_per_connection: u32,
    /// Of `connections`, those of one peer on which no request's head has arrived yet. Behind a
    /// proxy all callers are one peer, but a proxy sends whole heads.
    pub heads_per_peer: usize,

    /// A guest's linear memories and tables, summed; a table element counts as eight bytes.
    pub guest_memory_bytes: usize,
    /// Elements of one table.
    pub guest_table_elements: usize,
    /// Linear memories of one component. The instance pool holds so many for each of `guests`.
    pub guest_memories: u32,
    /// Tables of one component, pooled as its memories are.
    pub guest_tables: u32,
    /// Core instances of one component, pooled as its memories are: the guest itself, the shims of
    /// the WASI adapter, and what a language's runtime adds.
    pub guest_core_instances: u32,
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
    /// Guests that run at once. The instance pool has room for so many of the largest components.
    /// That is address space: 48 GiB by default.
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
    /// Keys that one extension keeps in its state.
    pub state_keys: u64,
    /// Bytes of these keys and their values.
    pub state_bytes: u64,
    /// One such key.
    pub state_key_bytes: usize,
    /// One value in an extension's state.
    pub state_value_bytes: usize,
    /// Requests over HTTP that one call of an extension may send.
    pub http_requests: u32,
    /// The body of one such request.
    pub http_request_bytes: usize,
    /// The body of an answer, which the host holds.
    pub http_answer_bytes: usize,
    /// How long one request and its answer may take, within the rest of the call's time.
    #[serde(rename = "http_ms", with = "milliseconds")]
    pub http: Duration,
    /// Changes that one extension did not take and that are kept for it, to be told again.
    pub dead_letters: u64,
    /// Recent requests that are recorded, to be replayed on a candidate; 0 records none.
    pub proof_requests: usize,
    /// How long the replay may take.
    #[serde(rename = "proof_ms", with = "milliseconds")]
    pub proof: Duration,
    /// What the replays of all proofs may take of one core while guests serve callers.
    pub proof_processor_percent: u64,
    /// How many of the replayed requests may fail with the candidate only.
    pub proof_errors_percent: u64,
    /// How much of the order of hits the candidate must keep: the mean rank-biased overlap.
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

    /// A component's size. Those of JavaScript and Python contain a runtime of 12 to 18 MB.
    pub component_bytes: usize,
    /// How long a component may take to arrive.
    #[serde(rename = "component_upload_ms", with = "milliseconds")]
    pub component_upload: Duration,
    /// The least that must arrive of it in a second, measured over five of them.
    pub component_upload_bytes_per_second: usize,
    /// Components in memory at once: on their way to the server, or waiting to be compiled.
    pub component_uploads: usize,
    /// Of `component_uploads`, those of one tenant.
    pub component_uploads_per_tenant: usize,
    /// Components that are compiled at once, one of each tenant; a rollback may be one more.
    pub compiles: usize,
    /// How long a component waits to be compiled.
    #[serde(rename = "compile_wait_ms", with = "milliseconds")]
    pub compile_wait: Duration,
    /// How long a start reports that it is not ready while the guests on record are compiled; 0
    /// compiles each when it is first called.
    #[serde(rename = "compile_before_ready_ms", with = "milliseconds")]
    pub compile_before_ready: Duration,
    /// Machine code on disk. What was not used for longest is deleted first.
    pub compiled_cache_bytes: usize,
    /// Functions of compiled components on disk, for components that change little; 0 keeps none.
    pub compile_reuse_bytes: usize,
    /// Compiling one component, in a child process.
    #[serde(rename = "compile_ms", with = "milliseconds")]
    pub compile: Duration,
    /// Address space of that child process.
    pub compile_memory_bytes: usize,

    /// Administrative acts that are on record, of all hosts on the same storage.
    pub audit_records: usize,
    /// How long an administrative act stays on record.
    #[serde(rename = "audit_age_ms", with = "milliseconds")]
    pub audit_age: Duration,

    /// Recordings of what guests saw whose calls failed, in this host's memory; 0 keeps none.
    pub recordings: usize,
    /// Bytes of all of them together.
    pub recordings_bytes: usize,
    /// How long one is kept.
    #[serde(rename = "recordings_age_ms", with = "milliseconds")]
    pub recordings_age: Duration,
    /// Spans that wait for the collector of traces.
    pub trace_spans: usize,
    /// Tenants that `/metrics` names, if it names any.
    pub metrics_tenants: usize,

    /// Changes that are kept of each tenant, for callers and other hosts to follow. A host that has
    /// missed more reads the whole tenant again. About 100 bytes each.
    pub stream_changes: usize,
    /// How long a change is kept.
    #[serde(rename = "stream_age_ms", with = "milliseconds")]
    pub stream_age: Duration,
    /// Callers who follow changes at once, on connections of their own; half are left to others.
    pub subscribers: usize,
    /// Of `subscribers`, those of one tenant.
    pub subscribers_per_tenant: usize,
    /// How long a caller who follows changes hears nothing at most. Less than what proxies and
    /// clients usually wait for the next byte.
    #[serde(rename = "stream_keep_alive_ms", with = "milliseconds")]
    pub stream_keep_alive: Duration,
    /// How long this host's index may be behind other hosts' changes before searches and `/readyz`
    /// say so.
    #[serde(rename = "follow_lag_ms", with = "milliseconds")]
    pub follow_lag: Duration,
    /// How long an act of the operator waits until all living hosts have loaded what it changed; 0
    /// asks once. Longer than the three seconds for which a host that died counts as living.
    #[serde(rename = "follow_ms", with = "milliseconds")]
    pub follow: Duration,

    /// Sessions of agents that are open at once; a new one closes the one that is idle for longest.
    pub mcp_sessions: usize,
    /// Of `mcp_sessions`, those of one tenant.
    pub mcp_sessions_per_tenant: usize,
    /// How long such a session stays open without a message: an agent's working day.
    #[serde(rename = "mcp_session_idle_ms", with = "milliseconds")]
    pub mcp_session_idle: Duration,

    /// Memory of all tenants' indexes on this host. The least recently used one is dropped for one
    /// that needs room. 2.7 million facts of a sentence or two take as much.
    pub index_bytes: usize,
    /// Of `index_bytes`, those of one tenant. One that needs more is not searched on this host.
    pub index_tenant_bytes: usize,
    /// Of `index_bytes`, what a start fills before anybody asks; 0 loads each index at first use.
    pub index_warm_bytes: usize,
    /// How long an index stays in memory that nobody uses.
    #[serde(rename = "index_idle_ms", with = "milliseconds")]
    pub index_idle: Duration,
    /// How long a search waits for an index since its loading began, and at most a quarter of the
    /// search's time. After that it answers from what is loaded.
    #[serde(rename = "index_wait_ms", with = "milliseconds")]
    pub index_wait: Duration,

    /// Texts that wait for the embedder, in each of its three lanes; half may be of one tenant.
    pub embedding_queue: usize,
    /// Requests to a remote embedder at once. Of every eight, stores and background work together
    /// may have six, and background work alone three; one is reserved for tenants that have none.
    pub embedding_requests: usize,
    /// Memory of the embedding cache.
    pub embedding_cache_bytes: usize,
    /// Windows of one fact's text, each embedded on its own. With the default, 30,000 characters of
    /// Chinese are covered, a token each, and about 150,000 of English.
    pub fact_windows: usize,
    /// One window of a text for a remote embedder, whose tokens are not known: the default is about
    /// 512 tokens of English, which most models read. The local model's window is 256 tokens.
    pub embedding_window_bytes: usize,
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
            idle: Duration::from_secs(120),
            answer: Duration::from_secs(30),
            import_retry: Duration::from_secs(40),
            shutdown_drain: Duration::from_secs(15),

            fact_text_bytes: 256 * KIB,
            fact_metadata_bytes: 64 * KIB,
            batch_facts: 100,
            page_facts: 1_000,
            search_hits: 1_000,
            search_facets: 10,
            facet_values: 100,
            extension_option_bytes: 16 * KIB,
            batch_searches: 20,
            query_bytes: 64 * KIB,
            body_bytes: 16 * (256 + 64) * KIB,
            import_line_bytes: MIB,
            bodies_bytes: 128 * MIB,
            gzip_ratio: 100,
            compressions: 64,
            connections: 1_024,
            streams: 2_048,
            streams_per_connection: 100,
            heads_per_peer: 512,

            guest_memory_bytes: 64 * MIB,
            guest_table_elements: 20_000,
            guest_memories: 4,
            guest_tables: 16,
            guest_core_instances: 32,
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
            state_keys: 10_000,
            state_bytes: 16 * MIB as u64,
            state_key_bytes: 512,
            state_value_bytes: 64 * KIB,
            http_requests: 8,
            http_request_bytes: MIB,
            http_answer_bytes: MIB,
            http: Duration::from_secs(5),
            dead_letters: 1_000,
            proof_requests: 200,
            proof: Duration::from_secs(10),
            proof_processor_percent: 50,
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
            component_upload_bytes_per_second: 64 * KIB,
            component_uploads: 8,
            component_uploads_per_tenant: 2,
            compiles: 2,
            compile_wait: Duration::from_secs(120),
            compile_before_ready: Duration::from_secs(60),
            compiled_cache_bytes: 1024 * MIB,
            compile_reuse_bytes: 512 * MIB,
            compile: Duration::from_secs(60),
            compile_memory_bytes: 4 * 1024 * MIB,

            audit_records: 10_000,
            audit_age: Duration::from_secs(90 * 24 * 60 * 60),

            recordings: 500,
            recordings_bytes: 32 * MIB,
            recordings_age: Duration::from_secs(24 * 60 * 60),
            trace_spans: 16_384,
            metrics_tenants: 100,

            stream_changes: 20_000,
            stream_age: Duration::from_secs(60 * 60),
            subscribers: 512,
            subscribers_per_tenant: 64,
            stream_keep_alive: Duration::from_secs(15),
            follow_lag: Duration::from_secs(2),
            follow: Duration::from_secs(5),

            mcp_sessions: 1_024,
            mcp_sessions_per_tenant: 128,
            mcp_session_idle: Duration::from_secs(8 * 60 * 60),

            index_bytes: 8 * 1024 * MIB,
            index_tenant_bytes: 4 * 1024 * MIB,
            index_warm_bytes: 1024 * MIB,
            index_idle: Duration::from_secs(60 * 60),
            index_wait: Duration::from_secs(2),

            embedding_queue: 1_024,
            embedding_requests: 8,
            embedding_cache_bytes: 64 * MIB,
            fact_windows: 160,
            embedding_window_bytes: 2 * KIB,
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
        // First the values alone: the sums below rely on their bounds.
        if let Ok(serde_json::Value::Object(values)) = serde_json::to_value(self) {
            limit_ranges::check(&values).map_err(|rule| format!("[limits]: {rule}"))?;
        }
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

#[cfg(test)]
mod tests;
