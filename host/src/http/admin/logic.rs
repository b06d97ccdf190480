//! `/v1/admin/logic`: generations of the logic, server-wide or a tenant's own.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use kenning_storage::TenantId;
use utoipa::IntoParams;

use super::Admin;
use super::generations::{BuiltIn, GuestAnswer, RolledBack, rolled_back};
use super::parameters::{Parameters, SwapParameters, component};
use crate::http::App;
use crate::http::answer::Refusal;
use crate::http::openapi::{
    Component, Conflict, Incompatible, NotFound, TooLarge, parameter_names,
};
use crate::registry::Owner;
use crate::swap::{Rollback, SwapReport};
use kenning_core::error::Error;

/// Whose logic.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "`Parameters` reads them by their names")]
struct OwnerParameter {
    /// A tenant's own logic, instead of the server's, which all tenants without their own use.
    #[param(nullable = false)]
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
        Some(tenant) => TenantId::parse(tenant)
            .map(Owner::Tenant)
            .map_err(|error| Error::invalid("/tenant", error.to_string())),
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
    let record = kb.registry().archive.logic(&owner).await;
    let record = record.map_err(|error| kb.storage_error(&error))?.value;
    let live = match &owner {
        Owner::Server => Some(kb.registry().server_wide().logic),
        Owner::Tenant(tenant) => {
            kb.registry().loaded(tenant).and_then(|guests| guests.logic.clone())
        }
    };
    let mut listed = GuestAnswer::of(&record, live.as_ref().map(|live| &*live.guest));
    if owner == Owner::Server {
        listed.built_in = Some(BuiltIn::from(&kb.registry().built_in().guest.reference));
    }
    Ok(axum::Json(listed).into_response())
}

/// Check, stage, prove and promote a logic
///
/// The body is the component. The live generation goes on serving, whatever happens to the
/// candidate. A candidate that fails the proof is refused with `incompatible_component`, and the
/// report is in `details`.
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
        (status = 200, description = "The report.", body = SwapReport),
        (status = 409, response = Conflict),
        (status = 413, response = TooLarge),
        (status = 422, response = Incompatible),
    ),
)]
pub(in crate::http) async fn swap(
    State(app): State<Arc<App>>,
    admin: Admin,
    parameters: Query<Vec<(String, String)>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    // Reads the body first: a client that sends all of it before it listens gets every error.
    let upload = component(body, &app).await?;
    let names = [parameter_names::<OwnerParameter>(), parameter_names::<SwapParameters>()].concat();
    let parameters = Parameters::new(parameters.0, &names)?;
    let owner = owner(&parameters)?;
    let proposal = parameters.proposal(upload.bytes.clone(), &headers, &admin, &app)?;
    let report = app.swapper.promote_logic(owner, proposal).await?;
    Ok(axum::Json(report.to_json()).into_response())
}

/// Roll back to the generation that was active before
#[utoipa::path(
    post,
    path = "/v1/admin/logic/rollback",
    operation_id = "rollbackLogic",
    tag = "admin",
    params(OwnerParameter, TargetParameter),
    responses(
        (status = 200, description = "What answers now.", body = RolledBack),
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
    let number = parameters.number("generation")?;
    let back = Rollback::requested(number, admin.name());
    let now = app.swapper.rollback_logic(&owner, back).await?;
    Ok(rolled_back(&now).into_response())
}
