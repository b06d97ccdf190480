//! The table of routes.

use std::sync::Arc;

use axum::routing::{get, post, put};
use axum::{Router, middleware};
use tower_http::catch_panic::CatchPanicLayer;

use super::{admin, body_budget, export, facts, health, import, request, search, stats};
use crate::http::App;

/// All that the server answers.
pub fn router(app: Arc<App>) -> Router {
    Router::new()
        // Facts.
        .route("/v1/facts", post(facts::store).get(facts::list))
        .route("/v1/facts/batch", post(facts::store_batch))
        .route("/v1/facts/{id}", get(facts::get).patch(facts::update).delete(facts::delete))
        // Search.
        .route("/v1/search", post(search::search))
        // In and out, in bulk.
        .route("/v1/export", get(export::export))
        .route("/v1/import", post(import::import))
        // Tenants.
        .route("/v1/admin/tenants", get(admin::tenants::list).post(admin::tenants::create))
        .route(
            "/v1/admin/tenants/{t}",
            get(admin::tenants::get).patch(admin::tenants::change).delete(admin::tenants::delete),
        )
        .route("/v1/admin/tenants/{t}/rotate-key", post(admin::tenants::rotate_key))
        .route("/v1/admin/tenants/{t}/revoke-key", post(admin::tenants::revoke_key))
        // Guests.
        .route("/v1/admin/logic", get(admin::logic::list).post(admin::logic::swap))
        .route("/v1/admin/logic/rollback", post(admin::logic::rollback))
        .route("/v1/admin/tenants/{t}/extensions", get(admin::extensions::list))
        .route(
            "/v1/admin/tenants/{t}/extensions/{name}",
            put(admin::extensions::install).delete(admin::extensions::remove),
        )
        .route(
            "/v1/admin/tenants/{t}/extensions/{name}/rollback",
            post(admin::extensions::rollback),
        )
        .route("/v1/admin/tenants/{t}/extensions/{name}/logs", get(admin::extensions::logs))
        // Operations.
        .route("/v1/stats", get(stats::stats))
        .route("/healthz", get(health::livez))
        .route("/livez", get(health::livez))
        .route("/readyz", get(stats::readyz))
        .route("/metrics", get(health::metrics))
        .route("/openapi.json", get(health::openapi))
        .fallback(request::no_route)
        .method_not_allowed_fallback(request::no_method)
        .layer(CatchPanicLayer::custom(request::panicked))
        .layer(middleware::from_fn_with_state(app.clone(), body_budget::count_answer))
        .layer(middleware::from_fn(request::observe))
        .with_state(app)
}

/// What is answered on a connection for which there is no place: whether the process is
/// well, and otherwise that it is busy.
pub fn without_place(app: Arc<App>) -> Router {
    Router::new()
        .route("/healthz", get(health::livez))
        .route("/livez", get(health::livez))
        .route("/metrics", get(health::metrics))
        .fallback(request::no_place)
        .layer(middleware::from_fn(request::observe))
        .with_state(app)
}
