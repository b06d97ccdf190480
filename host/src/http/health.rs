//! Operations: is it alive, what does it count, what does it serve.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use http::header;
use serde_json::json;

use crate::http::App;

/// `GET /livez` and `GET /healthz`: the process serves.
pub(super) async fn livez() -> impl IntoResponse {
    Json(json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") }))
}

/// `GET /metrics`, in Prometheus's text format.
pub(super) async fn metrics(State(app): State<Arc<App>>) -> impl IntoResponse {
    metrics::gauge!("kenning_bodies_bytes").set(app.bodies.counted() as f64);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], app.metrics.render())
}

/// `GET /openapi.json`
pub(super) async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], include_str!("openapi.json"))
}
