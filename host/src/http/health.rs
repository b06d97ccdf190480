//! Liveness, metrics, and the OpenAPI document.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use axum::response::IntoResponse;
use bytes::Bytes;
use http::header;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::App;

/// The process serves.
#[derive(Serialize, ToSchema)]
#[schema(examples(json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") })))]
struct Alive {
    status: AliveStatus,
    /// The server's version.
    version: &'static str,
}

/// Always `ok`.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum AliveStatus {
    Ok,
}

/// The process serves
#[utoipa::path(
    get,
    path = "/livez",
    operation_id = "live",
    tag = "operations",
    security(()),
    responses((status = 200, description = "The process serves.", body = Alive)),
)]
pub(super) async fn livez() -> impl IntoResponse {
    Json(Alive { status: AliveStatus::Ok, version: env!("CARGO_PKG_VERSION") })
}

/// The process serves; the same as /livez
#[utoipa::path(
    get,
    path = "/healthz",
    operation_id = "health",
    tag = "operations",
    security(()),
    responses((status = 200, description = "The process serves.", body = Alive)),
)]
pub(super) async fn healthz() -> impl IntoResponse {
    livez().await
}

/// Metrics in Prometheus' text format
///
/// No label names a tenant, unless the server was told to name extensions or tenants.
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "metrics",
    tag = "operations",
    security(()),
    responses((status = 200, description = "Metrics.", body = String, content_type = "text/plain")),
)]
pub(super) async fn metrics(State(app): State<Arc<App>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], app.render_metrics())
}

/// This document
#[utoipa::path(
    get,
    path = "/openapi.json",
    operation_id = "openapi",
    tag = "operations",
    security(()),
    responses((status = 200, description = "An OpenAPI 3.1 document.", body = Object)),
)]
pub(super) async fn openapi(Extension(document): Extension<Document>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], document.0)
}

/// The OpenAPI document as JSON.
#[derive(Clone)]
pub(super) struct Document(Bytes);

impl Document {
    pub(super) fn new(openapi: utoipa::openapi::OpenApi) -> Self {
        Self(openapi.to_json().unwrap_or_default().into())
    }
}
