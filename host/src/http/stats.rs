//! `GET /v1/stats`: how much there is, what made it, and what is left of limits.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::State;
use http::StatusCode;
use kenning_index::FactIndex;
use kenning_storage::{Layout, TenantId, Usage};
use serde_json::{Map, Value, json};

use super::answer::{Reply, reply};
use super::auth::Who;
use crate::http::App;
use crate::kb::Response;
use kenning_core::error::Error;
use kenning_core::limits::Limits;
use kenning_runtime::tenant_indexes::Progress;

/// `GET /v1/stats`
pub(super) async fn stats(State(app): State<Arc<App>>, who: Who) -> Reply {
    let services = app.kb.services();
    let caller = who.within(app.limits.storage_operation);
    let usage = services.storage.usage(&caller.tenant, caller.deadline).await;
    let usage = usage.map_err(|error| app.kb.storage_error(&error))?;
    let facts = usage.facts;
    let index = services.indexes.existing(&caller.tenant).unwrap_or_default().sizes();
    let served_by = app.kb.snapshot(&caller).await?.served_by();
    let (embedder, space) = (&services.embedder, services.embedder.space());
    let dimensions = space.map(|space| space.dimensions);
    let storage = services.storage.describe();
    let ready = *services.indexes.progress().borrow() == Progress::Ready;
    let value = json!({
        "tenant": caller.tenant.as_str(),
        "facts": facts,
        "indexed": index.vectors,
        "pending": facts.saturating_sub(index.vectors as u64),
        "model": embedder.model(),
        "dimensions": dimensions,
        "embedding": {
            "kind": embedder.kind(),
            "model": embedder.model(),
            "profile": space.map(|space| &space.profile),
            "dimensions": dimensions,
        },
        "storage": {
            "backend": storage.backend.as_str(),
            "address": storage.address,
            "layout": storage.layout.map(Layout::as_str),
        },
        "index": {
            "ready": ready,
            "facts": index.facts,
            "vectors": index.vectors,
            "bytes": index.bytes,
        },
        "limits": limits(&app.limits),
        "quotas": used_of_quotas(&app, &caller.tenant, usage),
        "generation": served_by.logic.number,
        "digest": &*served_by.logic.digest,
        "version": env!("CARGO_PKG_VERSION"),
    });
    Ok(reply(StatusCode::OK, Response { value, served_by }))
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
fn limits(limits: &Limits) -> Value {
    let Ok(Value::Object(values)) = serde_json::to_value(limits) else { return json!({}) };
    let described = values.into_iter().map(|(name, value)| {
        let unit = match name.rsplit('_').next() {
            Some("ms") => "milliseconds",
            Some("bytes") => "bytes",
            _ if name.starts_with("fuel") => "fuel",
            _ => "count",
        };
        (name, json!({ "value": value, "unit": unit }))
    });
    Value::Object(Map::from_iter(described))
}

/// `GET /readyz`: 503, with the reason, while storage does not answer or the index
/// is still being built.
pub(super) async fn readyz(State(app): State<Arc<App>>) -> Reply {
    let served_by = app.kb.served_by();
    match not_ready(&app).await {
        None => {
            let value = json!({ "status": "ready" });
            Ok(reply(StatusCode::OK, Response { value, served_by }))
        }
        Some(reason) => {
            let value = json!({ "status": "not_ready", "reason": reason });
            Ok(reply(StatusCode::SERVICE_UNAVAILABLE, Response { value, served_by }))
        }
    }
}

async fn not_ready(app: &App) -> Option<String> {
    let services = app.kb.services();
    let until = Instant::now() + app.limits.storage_operation;
    if let Err(error) = services.storage.ping(until).await {
        return Some(error.to_string());
    }
    if !app.kb.registry().is_ready() {
        return Some("it is not read yet which tenants have guests of their own".into());
    }
    if let Some(adoption) = services.storage.adoption()
        && adoption.borrow().scans == 0
    {
        return Some("other programs' facts are still being looked for".into());
    }
    match &*services.indexes.progress().borrow() {
        Progress::Ready => None,
        Progress::Building { facts } => {
            Some(format!("the index is being built: {facts} facts so far"))
        }
        Progress::Stalled { reason } => Some(format!("the index is not built yet: {reason}")),
    }
}
