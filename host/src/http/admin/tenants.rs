//! `/v1/admin/tenants`: tenants, their keys, and what each may use.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Path, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::request::Parts;
use kenning_storage::TenantId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Admin;
use super::tenant_answers::{TenantAnswer, TenantList, TenantSummary, TenantWithKey};
use super::tenant_settings::{Limits, NewTenant, counts, grants, language};
use crate::http::App;
use crate::http::answer::{Refusal, Reply};
use crate::http::body::Json;
use crate::http::openapi::{
    self, Conflict, NotFound, Success, TenantInPath, TenantName, TooLarge, examples,
};
use kenning_core::error::Error;
use kenning_tenants::NewKey;

/// The tenant in the path.
pub(in crate::http) struct Name(pub(in crate::http) TenantId);

impl FromRequestParts<Arc<App>> for Name {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Refusal> {
        let path = Path::<BTreeMap<String, String>>::from_request_parts(parts, app).await;
        let path = path.map_err(|error| Error::invalid("/tenant", error.body_text()))?.0;
        let name = path.get("t").map(String::as_str).unwrap_or_default();
        Ok(Self(parse(name, "/tenant")?))
    }
}

fn parse(name: &str, pointer: &str) -> Result<TenantId, Error> {
    TenantId::parse(name).map_err(|error| Error::invalid(pointer, error.to_string()))
}

/// List tenants
///
/// Every tenant that was created or has facts, by name. On a server with keys it takes the admin
/// key.
#[utoipa::path(
    get,
    path = "/v1/admin/tenants",
    operation_id = "listTenants",
    tag = "tenants",
    responses((status = 200, description = "The tenants.", body = TenantList)),
)]
pub(in crate::http) async fn list(State(app): State<Arc<App>>, _: Admin) -> Reply {
    let listed = app.kb.tenants().list().await?;
    let tenants = listed.iter().map(TenantSummary::of).collect();
    Ok(answer(StatusCode::OK, TenantList { tenants }))
}

/// Create a tenant
///
/// Gives the tenant's first key, which no later answer shows again. Facts that are there under this
/// name already are the tenant's. On a server with keys it takes the admin key.
#[utoipa::path(
    post,
    path = "/v1/admin/tenants",
    operation_id = "createTenant",
    tag = "tenants",
    request_body = NewTenant,
    responses(
        (status = 201, description = "Created.", body = TenantWithKey),
        (status = 409, response = Conflict),
        (status = 413, response = TooLarge),
    ),
)]
pub(in crate::http) async fn create(
    State(app): State<Arc<App>>,
    _: Admin,
    Json(new, _held): Json<NewTenant>,
) -> Reply {
    let name = new.name.as_deref().ok_or_else(|| Error::invalid("/name", "name is required"))?;
    let name = parse(name, "/name")?;
    let language = new.language.as_deref().map(language).transpose()?.unwrap_or_default();
    let (dimensions, limits) = (new.given_dimensions()?, counts(new.limits)?);
    let created = app.kb.tenants().create(&name, limits, language, dimensions).await?;
    let tenant = TenantAnswer::of(&name, Some(&created.record));
    let NewKey { id, text } = created.key;
    Ok(answer(StatusCode::CREATED, TenantWithKey { tenant, key_id: id, key: text }))
}

/// One tenant: its keys without their secrets, its limits, and what is used of them
///
/// The same usage that the tenant sees in `/v1/stats`. On a server with keys it takes the admin
/// key.
#[utoipa::path(
    get,
    path = "/v1/admin/tenants/{t}",
    operation_id = "getTenant",
    tag = "tenants",
    params(TenantInPath),
    responses(
        (
            status = 200,
            description = "The tenant.",
            body = TenantAnswer,
            example = json!(examples::tenant_in_use()),
        ),
        (status = 404, response = NotFound),
    ),
)]
pub(in crate::http) async fn get(State(app): State<Arc<App>>, _: Admin, Name(name): Name) -> Reply {
    let listed = app.kb.tenants().find(&name).await?;
    let usage = Some(app.kb.quotas(&name).await?);
    let uses = app.kb.tenants().last_uses(&name).await?;
    let tenant = TenantAnswer::of(&name, listed.record()).used(&uses);
    Ok(answer(StatusCode::OK, TenantAnswer { usage, ..tenant }))
}

/// What to change of a tenant.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(
    as = TenantChange,
    examples(json!({ "limits": { "facts": 200000, "extensions": null } })),
)]
pub(in crate::http) struct Change {
    #[serde(default)]
    #[schema(value_type = openapi::Quotas)]
    limits: Limits,
    /// The language of the tenant's texts, as an ISO 639 code; `none` for no language.
    #[schema(value_type = Option<openapi::Language>)]
    language: Option<String>,
    /// All that the tenant itself may grant its extensions. At first it may grant nothing.
    #[schema(value_type = Option<Vec<openapi::Grant>>)]
    grants: Option<Vec<String>>,
}

/// Change a tenant's limits, its language, and what it may grant
///
/// Changes what is named; `null` lifts a limit. After a change of the language the tenant's facts
/// are indexed again in the background, and found meanwhile. On a server with keys it takes the
/// admin key.
#[utoipa::path(
    patch,
    path = "/v1/admin/tenants/{t}",
    operation_id = "changeTenant",
    tag = "tenants",
    params(TenantInPath),
    request_body = Change,
    responses(
        (
            status = 200,
            description = "Changed.",
            body = TenantAnswer,
            example = json!(examples::tenant()),
        ),
        (status = 404, response = NotFound),
        (status = 409, response = Conflict),
        (status = 413, response = TooLarge),
    ),
)]
pub(in crate::http) async fn change(
    State(app): State<Arc<App>>,
    _: Admin,
    Name(name): Name,
    Json(change, _held): Json<Change>,
) -> Reply {
    let limits = counts(change.limits)?;
    let language = change.language.as_deref().map(language).transpose()?;
    let grants = change.grants.map(grants).transpose()?;
    let record = app.kb.change_tenant(&name, limits, language, grants).await?;
    Ok(answer(StatusCode::OK, TenantAnswer::of(&name, Some(&record))))
}

/// A tenant that was deleted.
#[derive(Serialize, ToSchema)]
#[schema(examples(json!({
    "status": "success",
    "message": "Tenant deleted successfully",
    "name": "acme",
})))]
struct TenantDeleted {
    status: Success,
    message: &'static str,
    #[schema(value_type = TenantName)]
    name: String,
    /// The hosts that did not follow within `follow_ms`; left out if all did. Until they do, their
    /// calls are refused or wait.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    behind: Vec<String>,
}

/// Delete a tenant with all that it has
///
/// Its keys are invalid at once, its calls in progress end, and its facts, vectors, index and
/// extensions are deleted. Safe to repeat: a deletion that failed on its way continues. Where hosts
/// share a storage, the name is free again once no other host can have a call in progress. On a
/// server with keys it takes the admin key.
#[utoipa::path(
    delete,
    path = "/v1/admin/tenants/{t}",
    operation_id = "deleteTenant",
    tag = "tenants",
    params(TenantInPath),
    responses(
        (status = 200, description = "Deleted.", body = TenantDeleted),
        (status = 404, response = NotFound),
        (status = 409, response = Conflict),
    ),
)]
pub(in crate::http) async fn delete(
    State(app): State<Arc<App>>,
    _: Admin,
    Name(name): Name,
) -> Reply {
    app.kb.delete_tenant(&name).await?;
    let behind = app.kb.behind(std::slice::from_ref(&name)).await;
    let message = "Tenant deleted successfully";
    let name = name.as_str().to_string();
    Ok(answer(StatusCode::OK, TenantDeleted { status: Success::Success, message, name, behind }))
}

fn answer(status: StatusCode, value: impl Serialize) -> Response {
    (status, axum::Json(value)).into_response()
}
