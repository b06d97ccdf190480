//! `/v1/admin/logic`: generations of the logic, server-wide or a tenant's own.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use futures::future::OptionFuture;
use http::HeaderMap;
use kenning_storage::TenantId;
use utoipa::IntoParams;

use super::Admin;
use super::extensions::tenant;
use super::generations::{BuiltIn, GuestAnswer, RollbackAnswer, rolled_back};
use super::parameters::{Parameters, SwapParameters};
use super::progress::SwapEvents;
use super::upload::component;
use crate::http::App;
use crate::http::answer::Refusal;
use crate::http::openapi::{
    Component, Conflict, Incompatible, NotFound, TenantName, TooLarge, parameter_names,
};
use crate::registry::{Owner, THE_LOGIC};
use crate::swap::{Step, Steps, SwapReport};
use kenning_core::error::Error;

/// Whose logic.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "`Parameters` reads them by their names")]
struct OwnerParameter {
    /// A tenant's own logic, instead of the server's, which all tenants without their own use.
    #[param(nullable = false, value_type = Option<TenantName>)]
    tenant: Option<String>,
}

/// Where to roll back to.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "`Parameters` reads them by their names")]
struct TargetParameter {
    /// Roll back to this one instead; 1 is the logic that comes with the server, and for a tenant
    /// the server's.
    #[param(nullable = false)]
    generation: Option<u64>,
}

fn owner(parameters: &Parameters) -> Result<Owner, Error> {
    match parameters.text("tenant") {
        None => Ok(Owner::Server),
        Some(name) => tenant(name).map(Owner::Tenant),
    }
}

/// The tenant whose logic it is, if it is one tenant's.
fn tenants(owner: &Owner) -> Vec<TenantId> {
    match owner {
        Owner::Server => Vec::new(),
        Owner::Tenant(tenant) => vec![tenant.clone()],
    }
}

/// Generations of the logic, which one is active, and what happened to them
#[utoipa::path(
    get,
    path = "/v1/admin/logic",
    operation_id = "listLogic",
    tag = "admin",
    params(OwnerParameter),
    responses((status = 200, description = "Oldest first.", body = GuestAnswer)),
)]
pub(in crate::http) async fn list(
    State(app): State<Arc<App>>,
    _admin: Admin,
    parameters: Query<Vec<(String, String)>>,
) -> Result<Response, Refusal> {
    let parameters = Parameters::new(parameters.0, &parameter_names::<OwnerParameter>())?;
    let owner = owner(&parameters)?;
    let kb = &app.kb;
    let (record, live) = kb.logic_record(&owner).await?;
    let problem = kb.registry().problem(&owner, THE_LOGIC);
    let mut listed = GuestAnswer::of(&record, live.as_ref().map(|live| &*live.guest), problem);
    if owner == Owner::Server {
        listed.built_in = Some(BuiltIn::from(&kb.built_in()));
    }
    Ok(axum::Json(listed).into_response())
}

/// Check, stage, prove and promote a logic
///
/// The body is the component. The live generation goes on serving, whatever happens to the
/// candidate. A candidate that fails the proof is refused with `incompatible_component`, and the
/// report is in `details`. A caller who accepts `text/event-stream` is told every second what is
/// being done, if it takes long.
#[utoipa::path(
    post,
    path = "/v1/admin/logic",
    operation_id = "swapLogic",
    tag = "admin",
    params(OwnerParameter, SwapParameters),
    request_body(content(
        (Component = "application/wasm"),
        (Component = "application/octet-stream"),
    )),
    responses(
        (
            status = 200,
            description = "The report.",
            content((SwapReport = "application/json"), (SwapEvents = "text/event-stream")),
        ),
        (status = 409, response = Conflict),
        (status = 413, response = TooLarge),
        (status = 422, response = Incompatible),
    ),
)]
pub(in crate::http) async fn swap(
    State(app): State<Arc<App>>,
    admin: Admin,
    parameters: Query<Vec<(String, String)>>,
    steps: Option<axum::Extension<Steps>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    // Reads the body first: a client that sends all of it before it listens gets every error.
    let tenant = parameters.iter().find(|(name, _)| name == "tenant");
    let bytes = component(body, tenant.map(|(_, tenant)| tenant.as_str()), &app).await?;
    let names = [parameter_names::<OwnerParameter>(), parameter_names::<SwapParameters>()].concat();
    let parameters = Parameters::new(parameters.0, &names)?;
    let owner = owner(&parameters)?;
    let steps = steps.map(|axum::Extension(steps)| steps).unwrap_or_default();
    let proposal = parameters.proposal(bytes, &headers, &admin, &app, steps.clone())?;
    let whose = tenants(&owner);
    let report = app.swapper.promote_logic(owner, proposal).await?;
    steps.begin(Step::Following);
    let behind = report.waits_for_hosts().then(|| app.kb.behind(&whose));
    let behind = OptionFuture::from(behind).await.unwrap_or_default();
    Ok(axum::Json(report.followed(behind).to_json()).into_response())
}

/// Roll back to an older generation
///
/// Without `generation`, to the newest one that is older than the live one and was not rolled back
/// from.
#[utoipa::path(
    post,
    path = "/v1/admin/logic/rollback",
    operation_id = "rollbackLogic",
    tag = "admin",
    params(OwnerParameter, TargetParameter),
    responses(
        (status = 200, description = "What answers now.", body = RollbackAnswer),
        (status = 404, response = NotFound),
        (status = 409, response = Conflict),
    ),
)]
pub(in crate::http) async fn rollback(
    State(app): State<Arc<App>>,
    admin: Admin,
    parameters: Query<Vec<(String, String)>>,
) -> Result<Response, Refusal> {
    let names =
        [parameter_names::<OwnerParameter>(), parameter_names::<TargetParameter>()].concat();
    let parameters = Parameters::new(parameters.0, &names)?;
    let owner = owner(&parameters)?;
    let made = app.swapper.rollback_logic(&owner, parameters.rollback(&admin)?).await?;
    Ok(rolled_back(made, app.kb.behind(&tenants(&owner)).await).into_response())
}
