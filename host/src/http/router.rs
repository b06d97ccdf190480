//! The table of routes. Each handler says its own method and path, beside it, where it also
//! describes the route for `/openapi.json`.

use std::sync::Arc;

use axum::extract::Extension;
use axum::routing::{get, post};
use axum::{Router, middleware};
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::health::Document;
use super::{
    admin, answer, batch_as_id, changes, console, cors, export, facts, gzip, head, health, import,
    matching, mcp, openapi, request, search, stats,
};
use crate::http::App;
use crate::mcp::Mcp;

/// Everything that the server answers.
pub fn router(app: Arc<App>, agents: Arc<Mcp>) -> Router {
    let (routes, document) = OpenApiRouter::with_openapi(openapi::head())
        .merge(openapi::for_tenants(tenant_routes()))
        .merge(openapi::for_admins(admin_routes(app.clone())))
        .merge(operations_routes())
        // Its messages are described by the protocol, and by its own lists of tools.
        .route("/mcp", post(mcp::answer).delete(mcp::close))
        // Files, not part of the API.
        .route("/", get(console::page))
        .route("/console/{file}", get(console::file))
        .split_for_parts();
    let routes = routes
        .fallback(request::no_route)
        .method_not_allowed_fallback(request::no_method)
        .layer(Extension(agents))
        .layer(Extension(Document::new(openapi::finish(document))))
        .layer(CatchPanicLayer::custom(request::panicked))
        .layer(middleware::from_fn_with_state(app.clone(), answer::count_answer))
        .layer(middleware::from_fn_with_state(app.clone(), gzip::compress))
        .layer(middleware::from_fn_with_state(app.clone(), head::check));
    let routes = match cors::layer(&app.origins.origins) {
        Some(layer) => routes.layer(layer),
        None => routes,
    };
    routes
        .layer(middleware::from_fn_with_state(app.clone(), head::admit))
        .layer(middleware::from_fn_with_state(app.clone(), request::observe))
        .with_state(app)
}

/// Routes that take a tenant's key.
fn tenant_routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(facts::store, facts::list, matching::delete))
        .routes(routes!(matching::count))
        .routes(routes!(
            facts::store_batch,
            batch_as_id::get,
            batch_as_id::update,
            batch_as_id::delete
        ))
        .routes(routes!(facts::get, facts::update, facts::delete))
        .routes(routes!(search::search))
        .routes(routes!(search::search_batch))
        .routes(routes!(export::export))
        .routes(routes!(changes::changes))
        .routes(routes!(import::import))
        .routes(routes!(import::import_progress))
        .routes(routes!(stats::stats))
}

/// Routes that take an admin key, or that of a tenant that manages its own extensions. Each act is
/// recorded, whatever the route.
fn admin_routes(app: Arc<App>) -> OpenApiRouter<Arc<App>> {
    use admin::{
        audit, backup, costs, dead_letters, digests, extensions, failures, keys, logic, preview,
        progress, replay, settings, tenant_import, tenants,
    };

    OpenApiRouter::new()
        .routes(routes!(tenants::list, tenants::create))
        .routes(routes!(tenants::get, tenants::change, tenants::delete))
        .routes(routes!(keys::rotate_key))
        .routes(routes!(keys::revoke_key))
        .routes(routes!(logic::list, logic::swap))
        .routes(routes!(logic::rollback))
        .routes(routes!(extensions::list))
        .routes(routes!(extensions::install, extensions::remove, settings::change))
        .routes(routes!(settings::configure))
        .routes(routes!(extensions::rollback))
        .routes(routes!(extensions::logs))
        .routes(routes!(dead_letters::list, dead_letters::drop))
        .routes(routes!(dead_letters::replay))
        .routes(routes!(costs::costs))
        .routes(routes!(digests::find))
        .routes(routes!(digests::revoke, digests::allow))
        .routes(routes!(backup::backup))
        .routes(routes!(tenant_import::import))
        .routes(routes!(audit::list))
        .routes(routes!(audit::list_of_tenant))
        .routes(routes!(failures::list))
        .routes(routes!(failures::get))
        .routes(routes!(replay::get, replay::drop))
        .routes(routes!(replay::component))
        .layer(middleware::from_fn_with_state(app.clone(), audit::record))
        .layer(middleware::from_fn_with_state(app, progress::tell))
        // Behind the layers: it changes nothing, although it is a POST.
        .routes(routes!(preview::search))
}

/// Routes that take no key.
fn operations_routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(health::healthz))
        .routes(routes!(health::livez))
        .routes(routes!(stats::readyz))
        .routes(routes!(health::metrics))
        .routes(routes!(health::openapi))
}

/// What is answered on a connection beyond the limit: whether the process is alive, and otherwise
/// that the server is overloaded.
pub fn without_place(app: Arc<App>) -> Router {
    Router::new()
        .route("/healthz", get(health::healthz))
        .route("/livez", get(health::livez))
        .route("/metrics", get(health::metrics))
        .fallback(request::no_place)
        .layer(middleware::from_fn_with_state(app.clone(), head::check))
        .layer(middleware::from_fn_with_state(app.clone(), head::admit))
        .layer(middleware::from_fn_with_state(app.clone(), request::observe))
        .with_state(app)
}
