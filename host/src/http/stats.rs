//! `GET /v1/stats`, what a tenant has and may use, and `GET /readyz`.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::State;
use http::StatusCode;
use kenning_index::FactIndex;
use kenning_storage::{Description, Layout, TenantId, Usage};
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::answer::{Reply, reply};
use super::auth::Who;
use super::openapi::{Digest, QuotaUsage, TenantName};
use crate::http::App;
use crate::kb;
use kenning_core::error::Error;
use kenning_core::limits::Limits;
use kenning_runtime::Services;
use kenning_runtime::tenant_indexes::Progress;

/// Figures of a tenant and of the server.
#[derive(Serialize, ToSchema)]
#[schema(examples(json!({
    "tenant": "default",
    "facts": 1204,
    "indexed": 1200,
    "pending": 4,
    "model": "all-MiniLM-L6-v2",
    "dimensions": 384,
    "embedding": {
        "kind": "local",
        "model": "all-MiniLM-L6-v2",
        "profile": "all-MiniLM-L6-v2/int8/384/1",
        "dimensions": 384,
    },
    "storage": { "backend": "embedded", "address": "/var/lib/kenning", "layout": null },
    "index": { "ready": true, "facts": 1204, "vectors": 1200, "bytes": 2731008 },
    "limits": { "fact_text_bytes": { "value": 262144, "unit": "bytes" } },
    "quotas": { "facts": { "value": 1000000, "used": 1204, "unit": "facts" } },
    "generation": 3,
    "digest": "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "version": env!("CARGO_PKG_VERSION"),
})))]
struct Stats {
    #[schema(value_type = TenantName)]
    tenant: String,
    /// Facts stored.
    facts: u64,
    /// Facts that can be found by meaning.
    indexed: usize,
    /// Facts whose vector is still to be made.
    pending: u64,
    /// The same as `embedding.model`.
    model: String,
    /// The same as `embedding.dimensions`.
    #[schema(required, minimum = 1)]
    dimensions: Option<usize>,
    embedding: EmbeddingStats,
    storage: StorageStats,
    index: IndexStats,
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
    /// The embedder: `local`, `openai`, `ollama`, `tei`, or `hash`, which is for tests.
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
    /// Whether the index of all tenants is built.
    ready: bool,
    facts: usize,
    vectors: usize,
    /// Memory that the index takes.
    bytes: usize,
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
    let services = app.kb.services();
    let caller = who.within(app.limits.storage_operation);
    let usage = services.storage.usage(&caller.tenant, caller.deadline).await;
    let usage = usage.map_err(|error| app.kb.storage_error(&error))?;
    let index = services.indexes.existing(&caller.tenant).unwrap_or_default().sizes();
    let served_by = app.kb.snapshot(&caller).await?.served_by();
    let embedding = embedding(services);
    let stats = Stats {
        tenant: caller.tenant.as_str().to_string(),
        facts: usage.facts,
        indexed: index.vectors,
        pending: usage.facts.saturating_sub(index.vectors as u64),
        model: embedding.model.clone(),
        dimensions: embedding.dimensions,
        embedding,
        storage: storage(services),
        index: IndexStats {
            ready: *services.indexes.progress().borrow() == Progress::Ready,
            facts: index.facts,
            vectors: index.vectors,
            bytes: index.bytes,
        },
        limits: limits(&app.limits),
        quotas: used_of_quotas(&app, &caller.tenant, usage),
        generation: served_by.logic.number,
        digest: served_by.logic.digest.to_string(),
        version: env!("CARGO_PKG_VERSION"),
    };
    reply(StatusCode::OK, kb::Response { value: stats, served_by }, Ok)
}

fn embedding(services: &Services) -> EmbeddingStats {
    let (embedder, space) = (&services.embedder, services.embedder.space());
    EmbeddingStats {
        kind: embedder.kind().to_string(),
        model: embedder.model().to_string(),
        profile: space.map(|space| space.profile.to_string()),
        dimensions: space.map(|space| space.dimensions),
    }
}

fn storage(services: &Services) -> StorageStats {
    let Description { backend, layout, address } = services.storage.describe();
    StorageStats { backend: backend.as_str(), address, layout: layout.map(StorageLayout::from) }
}

/// Each quota of a tenant, with what is used of it.
pub(super) async fn quotas(app: &App, tenant: &TenantId) -> Result<Value, Error> {
    let until = Instant::now() + app.limits.storage_operation;
    let usage = app.kb.services().storage.usage(tenant, until).await;
    let usage = usage.map_err(|error| app.kb.storage_error(&error))?;
    Ok(used_of_quotas(app, tenant, usage))
}

fn used_of_quotas(app: &App, tenant: &TenantId, usage: Usage) -> Value {
    let known = app.kb.services().tenants.get(tenant);
    let counted = known.as_ref().map(|known| known.meter.used());
    let quotas = known.map(|known| known.record.quotas.clone()).unwrap_or_default();
    let extensions = app.kb.registry().loaded(tenant).map_or(0, |own| own.extensions.len());
    quotas.with_used(|name| match (name, &counted) {
        ("extensions", _) => extensions as u64,
        ("proof_requests", _) => app.kb.recorder().of(tenant).len() as u64,
        ("facts", _) => usage.facts,
        ("bytes", _) => usage.bytes,
        ("requests_per_second", Some(used)) => used.requests,
        ("concurrent_calls", Some(used)) => used.running,
        ("fuel_per_minute", Some(used)) => used.fuel,
        ("embedding_tokens_per_minute", Some(used)) => used.tokens,
        _ => 0,
    })
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
            description = "Storage does not answer, or the index is still being built.",
            body = Readiness,
            examples(
                ("storage" = (value = json!({
                    "status": "not_ready",
                    "reason": "Redis not available: connection refused",
                }))),
                ("index" = (value = json!({
                    "status": "not_ready",
                    "reason": "the index is being built: 1200 facts so far",
                }))),
            ),
        ),
    ),
)]
pub(super) async fn readyz(State(app): State<Arc<App>>) -> Reply {
    let served_by = app.kb.served_by();
    let reason = not_ready(&app).await;
    let (code, status) = match reason {
        None => (StatusCode::OK, ReadyStatus::Ready),
        Some(_) => (StatusCode::SERVICE_UNAVAILABLE, ReadyStatus::NotReady),
    };
    reply(code, kb::Response { value: Readiness { status, reason }, served_by }, Ok)
}

async fn not_ready(app: &App) -> Option<String> {
    let services = app.kb.services();
    let until = Instant::now() + app.limits.storage_operation;
    if let Err(error) = services.storage.ping(until).await {
        return Some(error.to_string());
    }
    if !app.kb.registry().is_ready() {
        return Some("the tenants' own guests are not loaded yet".into());
    }
    if let Some(adoption) = services.storage.adoption()
        && adoption.borrow().scans == 0
    {
        return Some("the first scan for other programs' facts is not complete".into());
    }
    match &*services.indexes.progress().borrow() {
        Progress::Ready => None,
        Progress::Building { facts } => {
            Some(format!("the index is being built: {facts} facts so far"))
        }
        Progress::Stalled { reason } => Some(format!("the index is not built yet: {reason}")),
    }
}
