//! `/v1/admin/tenants`: tenants, their keys, and what each may use.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Path, State};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, SecondsFormat, Utc};
use http::StatusCode;
use http::request::Parts;
use kenning_storage::TenantId;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::Admin;
use super::tenant_settings::{Limits, NewTenant, TenantEmbedder, count, counts, language};
use crate::http::App;
use crate::http::answer::{Refusal, Reply};
use crate::http::body::Json;
use crate::http::openapi::{
    self, Conflict, NotFound, QuotaUsage, Success, TenantInPath, TenantName, TooLarge, examples,
};
use crate::http::whole::Whole;
use kenning_core::error::Error;
use kenning_tenants::{Attributes, KeyRecord, Listed, NewKey, Quotas, Record};

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

/// All tenants.
#[derive(Serialize, ToSchema)]
#[schema(examples(json!({ "tenants": [{
    "name": "acme",
    "created": "2026-02-03T08:15:00.000Z",
    "keys": 1,
    "limits": examples::quotas(),
    "language": "en",
}] })))]
struct TenantList {
    tenants: Vec<TenantSummary>,
}

/// A tenant in the list of all.
#[derive(Serialize, ToSchema)]
struct TenantSummary {
    #[schema(value_type = TenantName)]
    name: String,
    /// `null` for a tenant that has facts and was never created.
    #[schema(required, format = DateTime)]
    created: Option<String>,
    /// How many of its keys are valid.
    keys: usize,
    #[schema(value_type = openapi::Quotas)]
    limits: Quotas,
    /// The language of its texts.
    #[schema(value_type = openapi::Language)]
    language: &'static str,
}

/// A tenant.
#[derive(Serialize, ToSchema)]
#[schema(as = Tenant)]
struct TenantAnswer {
    #[schema(value_type = TenantName)]
    name: String,
    /// `null` for a tenant that has facts and was never created.
    #[schema(required, format = DateTime)]
    created: Option<String>,
    /// The valid keys.
    keys: Vec<TenantKey>,
    #[schema(value_type = openapi::Quotas)]
    limits: Quotas,
    /// The language of its texts.
    #[schema(value_type = openapi::Language)]
    language: &'static str,
    embedder: TenantEmbedder,
    /// How many numbers a given vector has.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 1, maximum = 4096)]
    dimensions: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<QuotaUsage>, nullable = false)]
    usage: Option<Value>,
    /// After a key was revoked: the hosts that did not follow within `follow_ms`; left out if all
    /// did. Until they do, their calls are refused or wait.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    behind: Vec<String>,
}

/// A key without its secret.
#[derive(Serialize, ToSchema)]
struct TenantKey {
    /// The part of the key between its first two underscores.
    key_id: String,
    #[schema(required, format = DateTime)]
    created: Option<String>,
    /// `null`: never.
    #[schema(required, format = DateTime)]
    expires: Option<String>,
    /// What extensions are told of whoever holds the key; left out if nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<BTreeMap<String, Value>>, nullable = false)]
    attributes: Option<Box<RawValue>>,
}

/// A tenant that was just created, with its key.
#[derive(Serialize, ToSchema)]
#[schema(examples(json!(examples::tenant_with_key())))]
struct TenantWithKey {
    #[serde(flatten)]
    tenant: TenantAnswer,
    key_id: String,
    /// The key, shown this once.
    key: String,
}

/// A further key of a tenant.
#[derive(Serialize, ToSchema)]
#[schema(as = NewKey, examples(json!({
    "name": "acme",
    "key_id": "5be1c0a2d9f4",
    "key": "kng_5be1c0a2d9f4_6d1f2e…",
})))]
struct NewKeyAnswer {
    #[schema(value_type = TenantName)]
    name: String,
    key_id: String,
    /// The key, shown this once.
    key: String,
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
    Ok(answer(StatusCode::OK, TenantAnswer { usage, ..TenantAnswer::of(&name, listed.record()) }))
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
}

/// Change a tenant's limits and its language
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
    let record = app.kb.change_tenant(&name, limits, language).await?;
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

/// How to rotate a key.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(examples(json!({ "grace_seconds": 86400, "attributes": { "team": "research" } })))]
pub(in crate::http) struct Rotation {
    /// How long the tenant's other keys stay valid; without it, until they are revoked.
    #[schema(value_type = Option<i64>, minimum = 0)]
    grace_seconds: Option<Whole>,
    /// What extensions are told of whoever holds the new key, at most a kilobyte.
    #[serde(default)]
    #[schema(value_type = Option<BTreeMap<String, Value>>)]
    attributes: Option<Map<String, Value>>,
}

/// Give a tenant a further key
///
/// The new key is valid at once and shown this once. Its `attributes` tell extensions who its
/// holder is; to change them, give a new key and revoke this one. The others stay valid until they
/// are revoked or, with `grace_seconds`, for that long. On a server with keys it takes the admin
/// key.
#[utoipa::path(
    post,
    path = "/v1/admin/tenants/{t}/rotate-key",
    operation_id = "rotateKey",
    tag = "tenants",
    params(TenantInPath),
    request_body = Rotation,
    responses(
        (status = 201, description = "The key.", body = NewKeyAnswer),
        (status = 404, response = NotFound),
        (status = 409, response = Conflict),
        (status = 413, response = TooLarge),
    ),
)]
pub(in crate::http) async fn rotate_key(
    State(app): State<Arc<App>>,
    _: Admin,
    Name(name): Name,
    Json(rotation, _held): Json<Rotation>,
) -> Reply {
    let grace = rotation.grace_seconds.map(|whole| count(whole, "/grace_seconds")).transpose()?;
    let attributes = Attributes::new(&rotation.attributes.unwrap_or_default())?;
    let key = app.kb.tenants().rotate_key(&name, grace, attributes).await?;
    let (name, NewKey { id, text }) = (name.as_str().to_string(), key);
    Ok(answer(StatusCode::CREATED, NewKeyAnswer { name, key_id: id, key: text }))
}

/// The key to revoke.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(examples(json!({ "key_id": "5be1c0a2d9f4" })))]
pub(in crate::http) struct Revocation {
    #[schema(required, nullable = false, value_type = String)]
    key_id: Option<String>,
}

/// End a key at once
///
/// At once, also on other hosts on the same storage. On a server with keys it takes the admin key.
#[utoipa::path(
    post,
    path = "/v1/admin/tenants/{t}/revoke-key",
    operation_id = "revokeKey",
    tag = "tenants",
    params(TenantInPath),
    request_body = Revocation,
    responses(
        (
            status = 200,
            description = "The tenant, with the keys that are left.",
            body = TenantAnswer,
            example = json!(examples::tenant()),
        ),
        (status = 404, response = NotFound),
        (status = 409, response = Conflict),
        (status = 413, response = TooLarge),
    ),
)]
pub(in crate::http) async fn revoke_key(
    State(app): State<Arc<App>>,
    _: Admin,
    Name(name): Name,
    Json(revocation, _held): Json<Revocation>,
) -> Reply {
    let id = revocation.key_id.ok_or_else(|| Error::invalid("/key_id", "key_id is required"))?;
    let record = app.kb.tenants().revoke_key(&name, &id).await?;
    let behind = app.kb.behind(std::slice::from_ref(&name)).await;
    Ok(answer(StatusCode::OK, TenantAnswer { behind, ..TenantAnswer::of(&name, Some(&record)) }))
}

fn answer(status: StatusCode, value: impl Serialize) -> Response {
    (status, axum::Json(value)).into_response()
}

impl TenantSummary {
    fn of(listed: &Listed) -> Self {
        let record = listed.record();
        let valid = |record: &Record| record.keys.iter().filter(|key| key.is_valid()).count();
        Self {
            name: listed.name.as_str().to_string(),
            created: record.and_then(|record| time(record.created)),
            keys: record.map_or(0, valid),
            limits: record.map(|record| record.quotas.clone()).unwrap_or_default(),
            language: language_of(record),
        }
    }
}

impl TenantAnswer {
    fn of(name: &TenantId, record: Option<&Record>) -> Self {
        let keys = record.into_iter().flat_map(|record| &record.keys);
        let dimensions = record.and_then(|record| record.given_dimensions);
        Self {
            name: name.as_str().to_string(),
            created: record.and_then(|record| time(record.created)),
            keys: keys.filter(|key| key.is_valid()).map(TenantKey::from).collect(),
            limits: record.map(|record| record.quotas.clone()).unwrap_or_default(),
            language: language_of(record),
            embedder: match dimensions {
                Some(_) => TenantEmbedder::Given,
                None => TenantEmbedder::Server,
            },
            dimensions,
            usage: None,
            behind: Vec::new(),
        }
    }
}

impl From<&KeyRecord> for TenantKey {
    fn from(key: &KeyRecord) -> Self {
        Self {
            key_id: key.id.clone(),
            created: time(key.created),
            expires: key.expires.and_then(time),
            attributes: key.attributes.as_ref().and_then(raw),
        }
    }
}

fn language_of(record: Option<&Record>) -> &'static str {
    record.map(|record| record.language).unwrap_or_default().code()
}

/// Attributes as the JSON object that they are.
fn raw(attributes: &Attributes) -> Option<Box<RawValue>> {
    RawValue::from_string(attributes.text().to_string()).ok()
}

/// Milliseconds since 1970 as ISO 8601.
fn time(moment: u64) -> Option<String> {
    let moment = DateTime::<Utc>::from_timestamp_millis(i64::try_from(moment).ok()?)?;
    Some(moment.to_rfc3339_opts(SecondsFormat::Millis, true))
}
