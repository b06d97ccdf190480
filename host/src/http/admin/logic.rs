//! `/v1/admin/logic`: generations of the logic, server-wide or a tenant's own.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use kenning_storage::TenantId;
use serde_json::{Value, json};

use super::parameters::{Parameters, component};
use super::{Admin, generations};
use crate::http::App;
use crate::http::answer::Refusal;
use crate::registry::Owner;
use crate::swap::Rollback;
use kenning_core::error::Error;

const NAMES: &[&str] = &["tenant", "generation"];

fn owner(parameters: &Parameters) -> Result<Owner, Error> {
    match parameters.text("tenant") {
        None => Ok(Owner::Server),
        Some(tenant) => TenantId::parse(tenant)
            .map(Owner::Tenant)
            .map_err(|error| Error::invalid("/tenant", error.to_string())),
    }
}

/// `GET /v1/admin/logic`
pub(in crate::http) async fn list(
    State(app): State<Arc<App>>,
    _admin: Admin,
    parameters: Query<Vec<(String, String)>>,
) -> Result<Response, Refusal> {
    let parameters = Parameters::new(parameters.0, NAMES)?;
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
    let mut listed = generations(&record, live.as_ref().map(|live| &*live.guest));
    if owner == Owner::Server {
        let built_in = &kb.registry().built_in().guest.reference;
        listed["built_in"] = json!({ "generation": built_in.number, "digest": &*built_in.digest });
    }
    Ok(axum::Json(listed).into_response())
}

/// `POST /v1/admin/logic`: the body is the component.
pub(in crate::http) async fn swap(
    State(app): State<Arc<App>>,
    admin: Admin,
    parameters: Query<Vec<(String, String)>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    // First, so that whatever is wrong, the caller can be told.
    let upload = component(body, &app).await?;
    let parameters = Parameters::new(parameters.0, &[NAMES, Parameters::OF_A_SWAP].concat())?;
    let owner = owner(&parameters)?;
    let proposal = parameters.proposal(upload.bytes.clone(), &headers, &admin, &app)?;
    let report = app.swapper.promote_logic(owner, proposal).await?;
    Ok(axum::Json(report.to_json()).into_response())
}

/// `POST /v1/admin/logic/rollback`
pub(in crate::http) async fn rollback(
    State(app): State<Arc<App>>,
    admin: Admin,
    parameters: Query<Vec<(String, String)>>,
) -> Result<Response, Refusal> {
    let parameters = Parameters::new(parameters.0, NAMES)?;
    let owner = owner(&parameters)?;
    let number = parameters.number("generation")?;
    let back = Rollback::requested(number, admin.name());
    let now = app.swapper.rollback_logic(&owner, back).await?;
    Ok(rolled_back(&now))
}

/// What runs after a rollback.
pub(super) fn rolled_back(now: &kenning_core::provenance::GenerationRef) -> Response {
    let answer: Value = json!({
        "status": "success", "generation": now.number, "digest": &*now.digest,
    });
    (StatusCode::OK, axum::Json(answer)).into_response()
}
