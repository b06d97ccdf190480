//! `GET /v1/stats`, what a tenant has and may use, and `GET /readyz`.

use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::State;
use http::StatusCode;
use kenning_embedder::Embedder;
use kenning_storage::{Description, Layout};
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::answer::{Reply, reply};
use super::auth::Who;
use super::openapi::{Digest, Language, QuotaUsage, TenantName};
use crate::http::App;
use crate::kb;
use crate::tls::Tls;
use kenning_core::limits::Limits;
use kenning_runtime::held_indexes::HeldFigures;

/// Figures of a tenant and of the server.
#[derive(Serialize, ToSchema)]
#[schema(examples(json!({
    "tenant": "default",
    "facts": 1204,
    "indexed": 1200,
    "pending": 4,
    "unreadable": 0,
    "lost": 0,
    "model": "all-MiniLM-L6-v2",
    "dimensions": 384,
    "embedding": {
        "kind": "local",
        "model": "all-MiniLM-L6-v2",
        "profile": "all-MiniLM-L6-v2/int8/384/1",
        "dimensions": 384,
    },
    "storage": { "backend": "embedded", "address": "/var/lib/kenning", "layout": null },
    "foreign_changes_seen_within_ms": null,
    "language": "en",
    "index": {
        "state": "ready",
        "ready": true,
        "facts": 1204,
        "vectors": 1200,
        "windows": 1310,
        "partly_embedded": 0,
        "outdated": 0,
        "bytes": 2951008,
    },
    "indexes": {
        "budget_bytes": 8_589_934_592_u64,
        "bytes": 71_303_168,
        "ready": 23,
        "loading": 1,
        "loads": 60,
        "drops": 36,
    },
    "limits": { "fact_text_bytes": { "value": 262144, "unit": "bytes" } },
    "quotas": { "facts": { "value": 1000000, "used": 1204, "unit": "facts" } },
    "generation": 3,
    "digest": "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "version": env!("CARGO_PKG_VERSION"),
})))]
struct Stats {
    #[schema(value_type = TenantName)]
    tenant: String,
    /// Facts stored, without those that cannot be read.
    facts: u64,
    /// Facts that can be found by meaning. While the index is not loaded and 20,000 facts or more
    /// are pending, at most so many.
    indexed: usize,
    /// Facts whose vector is still to be made. While the index is not loaded, no more than about
    /// 20,000 are counted.
    pending: u64,
    /// Records that are left out because they cannot be read: hashes that are no facts, and
    /// damaged ones. The log names them.
    unreadable: u64,
    /// Facts that storage has lost since the server started, as far as it has noticed: Redis
    /// evicted them, or another program deleted them.
    lost: u64,
    /// The same as `embedding.model`.
    model: String,
    /// The same as `embedding.dimensions`.
    #[schema(required, minimum = 1)]
    dimensions: Option<usize>,
    embedding: EmbeddingStats,
    storage: StorageStats,
    /// In the flat layout, the longest that a change by another program goes unnoticed, judged by
    /// the last scan of the database, in milliseconds. `null` before that, and in other layouts.
    #[schema(required)]
    foreign_changes_seen_within_ms: Option<u64>,
    /// The language of the tenant's texts: which words are stemmed, and which of a query are left
    /// out as stop words. An ISO 639 code, or `none`.
    #[schema(value_type = Language)]
    language: &'static str,
    index: IndexStats,
    indexes: IndexesStats,
    /// Every limit, by its name in `kenning.toml`.
    #[schema(value_type = BTreeMap<String, Limit>)]
    limits: Map<String, Value>,
    #[schema(value_type = QuotaUsage)]
    quotas: Value,
    /// The logic's generation.
    #[schema(minimum = 1)]
    generation: u64,
    #[schema(value_type = Digest)]
    digest: String,
    /// The server's version.
    version: &'static str,
}

/// What makes the vectors.
#[derive(Serialize, ToSchema)]
struct EmbeddingStats {
    /// The embedder: `local`, `openai`, `ollama`, `tei`, or `hash`, which is for tests; `given`
    /// where the tenant's callers give the vectors.
    kind: String,
    /// The embedder's model.
    model: String,
    /// The space of the vectors. Vectors of different profiles are never compared. `null` until a
    /// remote embedder has answered for the first time.
    #[schema(required)]
    profile: Option<String>,
    /// Numbers in a vector. `null` until a remote embedder has answered for the first time.
    #[schema(required, minimum = 1)]
    dimensions: Option<usize>,
}

/// Where facts are kept.
#[derive(Serialize, ToSchema)]
struct StorageStats {
    /// `embedded` or `redis`.
    backend: &'static str,
    /// A directory, or `host:port/db`. Without credentials.
    address: String,
    /// How keys are laid out in Redis; `null` on embedded storage.
    #[schema(required, value_type = Option<StorageLayout>)]
    layout: Option<StorageLayout>,
}

/// How keys are laid out in Redis.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum StorageLayout {
    Tenant,
    Flat,
}

impl From<Layout> for StorageLayout {
    fn from(layout: Layout) -> Self {
        match layout {
            Layout::Tenant => Self::Tenant,
            Layout::Flat => Self::Flat,
        }
    }
}

/// The tenant's index on this host.
#[derive(Serialize, ToSchema)]
struct IndexStats {
    /// How much of it is loaded. It is loaded at the tenant's first use.
    state: kb::IndexState,
    /// Whether it has all of the tenant's facts.
    ready: bool,
    facts: usize,
    /// Facts that have their vectors.
    vectors: usize,
    /// Vectors: one for each window of a fact's text.
    windows: usize,
    /// Facts whose text goes on behind the last window that they may have. What is there is found
    /// by its words only.
    partly_embedded: usize,
    /// Facts whose words are still to be read for the tenant's language, which was changed. They
    /// are found meanwhile.
    outdated: usize,
    /// Memory that the index takes.
    bytes: usize,
}

/// The indexes of all tenants on this host.
#[derive(Serialize, ToSchema)]
struct IndexesStats {
    /// Memory that they may take: `index_bytes`.
    budget_bytes: usize,
    /// Memory that they take.
    bytes: usize,
    /// Indexes that have all of their tenants' facts.
    ready: usize,
    /// Indexes that are being loaded.
    loading: usize,
    /// Indexes that were loaded since the server started.
    loads: u64,
    /// Indexes that were dropped since then, because nobody used them or others needed room.
    drops: u64,
}

impl From<HeldFigures> for IndexesStats {
    fn from(held: HeldFigures) -> Self {
        let HeldFigures { budget, bytes, ready, loading, loads, drops } = held;
        Self { budget_bytes: budget, bytes, ready, loading, loads, drops }
    }
}

/// A limit of the server.
#[derive(Serialize, ToSchema)]
struct Limit {
    #[schema(value_type = f64)]
    value: Value,
    /// `milliseconds`, `bytes`, `fuel` or `count`.
    unit: &'static str,
}

/// Counts, model, storage, and limits with what is used of them
#[utoipa::path(
    get,
    path = "/v1/stats",
    operation_id = "stats",
    tag = "operations",
    responses((status = 200, description = "Figures of the tenant and the server.", body = Stats)),
)]
pub(super) async fn stats(State(app): State<Arc<App>>, who: Who) -> Reply {
    let caller = who.within(app.limits.storage_operation);
    app.kb.check_caller(&caller).await?;
    let figures = app.kb.figures(&caller).await?;
    let served_by = app.kb.snapshot(&caller).await?.served_by();
    let embedding = EmbeddingStats::of(&*app.kb.embedder_of(&caller.tenant));
    let seen_within = app.kb.foreign_changes_seen_within();
    let stats = Stats {
        tenant: caller.tenant.as_str().to_string(),
        facts: figures.facts,
        indexed: figures.indexed,
        pending: figures.pending,
        unreadable: figures.unreadable,
        lost: figures.lost,
        model: embedding.model.clone(),
        dimensions: embedding.dimensions,
        embedding,
        storage: StorageStats::from(app.kb.storage()),
        foreign_changes_seen_within_ms: seen_within.map(|time| time.as_millis() as u64),
        language: figures.language.code(),
        index: IndexStats {
            state: figures.state,
            ready: figures.state == kb::IndexState::Ready,
            facts: figures.index.facts,
            vectors: figures.index.vectors,
            windows: figures.index.windows,
            partly_embedded: figures.partly_embedded,
            outdated: figures.outdated,
            bytes: figures.index.bytes,
        },
        indexes: figures.held.into(),
        limits: limits(&app.limits),
        quotas: figures.quotas,
        generation: served_by.logic.number,
        digest: served_by.logic.digest.to_string(),
        version: env!("CARGO_PKG_VERSION"),
    };
    reply(StatusCode::OK, kb::Response::whole(stats, served_by), Ok)
}

impl EmbeddingStats {
    fn of(embedder: &dyn Embedder) -> Self {
        let space = embedder.space();
        Self {
            kind: embedder.kind().to_string(),
            model: embedder.model().to_string(),
            profile: space.map(|space| space.profile.to_string()),
            dimensions: space.map(|space| space.dimensions),
        }
    }
}

impl From<Description> for StorageStats {
    fn from(Description { backend, layout, address }: Description) -> Self {
        Self { backend: backend.as_str(), address, layout: layout.map(StorageLayout::from) }
    }
}

/// Each limit by its name in `kenning.toml`, with the unit its name ends in.
fn limits(limits: &Limits) -> Map<String, Value> {
    let Ok(Value::Object(values)) = serde_json::to_value(limits) else { return Map::new() };
    let described = values.into_iter().map(|(name, value)| {
        let unit = match name.rsplit('_').next() {
            Some("ms") => "milliseconds",
            Some("bytes") => "bytes",
            _ if name.starts_with("fuel") => "fuel",
            _ => "count",
        };
        (name, json!(Limit { value, unit }))
    });
    described.collect()
}

/// Whether the server is ready.
#[derive(Serialize, ToSchema)]
struct Readiness {
    status: ReadyStatus,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reason: Option<String>,
    /// The certificate in use, where TLS is spoken.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    certificate: Option<CertificateState>,
}

/// Until when a certificate is valid.
#[derive(Serialize, ToSchema)]
struct CertificateState {
    /// In RFC 3339.
    expires: String,
    /// What is wrong: that it expires soon, or that its files have changed and cannot be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    warning: Option<String>,
}

impl CertificateState {
    fn of(tls: &Tls) -> Self {
        let validity = tls.validity();
        let aging = || Some(format!("it {}", validity.warning(SystemTime::now())?));
        Self { expires: validity.expires(), warning: tls.problem().or_else(aging) }
    }
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ReadyStatus {
    Ready,
    NotReady,
}

/// Whether requests should be sent here
#[utoipa::path(
    get,
    path = "/readyz",
    operation_id = "ready",
    tag = "operations",
    security(()),
    responses(
        (
            status = 200,
            description = "Ready.",
            body = Readiness,
            example = json!({ "status": "ready" }),
        ),
        (
            status = 503,
            description = "Storage does not answer or refuses writes, guests are being compiled, \
                           or this host's indexes are behind other hosts. Indexes are loaded when \
                           they are used, and `/readyz` does not wait for them.",
            body = Readiness,
            examples(
                ("storage" = (value = json!({
                    "status": "not_ready",
                    "reason": "Redis not available: connection refused",
                }))),
                ("index" = (value = json!({
                    "status": "not_ready",
                    "reason": "the indexes of 3 tenants are behind other hosts",
                }))),
                ("guests" = (value = json!({
                    "status": "not_ready",
                    "reason":
                        "the tenants' own guests are being compiled: 3 of 12 components so far",
                }))),
            ),
        ),
    ),
)]
pub(super) async fn readyz(State(app): State<Arc<App>>) -> Reply {
    let served_by = app.kb.served_by();
    let reason = app.kb.not_ready().await;
    let (code, status) = match reason {
        None => (StatusCode::OK, ReadyStatus::Ready),
        Some(_) => (StatusCode::SERVICE_UNAVAILABLE, ReadyStatus::NotReady),
    };
    let certificate = app.tls.as_deref().map(CertificateState::of);
    reply(code, kb::Response::whole(Readiness { status, reason, certificate }, served_by), Ok)
}
