//! `/v1/admin/tenants`: who may come in, with which keys, and what each may use.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Path, State};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, SecondsFormat, Utc};
use http::StatusCode;
use http::request::Parts;
use kenning_storage::TenantId;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Admin;
use crate::http::App;
use crate::http::answer::{Refusal, Reply};
use crate::http::body::Json;
use crate::http::stats::quotas;
use kenning_core::error::Error;
use kenning_tenants::{self, KeyRecord, Listed, NewKey, Record};

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

/// Limits by their names; `null` lifts one.
type Limits = BTreeMap<String, Option<u64>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub(in crate::http) struct NewTenant {
    name: Option<String>,
    #[serde(default)]
    limits: Limits,
}

/// `GET /v1/admin/tenants`
pub(in crate::http) async fn list(State(app): State<Arc<App>>, _: Admin) -> Reply {
    let listed = app.kb.services().tenants.list().await?;
    let tenants: Vec<Value> = listed.iter().map(summary).collect();
    Ok(answer(StatusCode::OK, json!({ "tenants": tenants })))
}

/// `POST /v1/admin/tenants`: the one answer that holds the key.
pub(in crate::http) async fn create(
    State(app): State<Arc<App>>,
    _: Admin,
    Json(new, _held): Json<NewTenant>,
) -> Reply {
    let name = new.name.ok_or_else(|| Error::invalid("/name", "name is required"))?;
    let name = parse(&name, "/name")?;
    let created = app.kb.services().tenants.create(&name, new.limits).await?;
    let mut value = described(&name, Some(&created.record));
    show_key(&mut value, &created.key);
    Ok(answer(StatusCode::CREATED, value))
}

/// `GET /v1/admin/tenants/{t}`
pub(in crate::http) async fn get(State(app): State<Arc<App>>, _: Admin, Name(name): Name) -> Reply {
    let listed = app.kb.services().tenants.find(&name).await?;
    let mut value = described(&name, listed.record());
    value["usage"] = quotas(&app, &name).await?;
    Ok(answer(StatusCode::OK, value))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub(in crate::http) struct Change {
    #[serde(default)]
    limits: Limits,
}

/// `PATCH /v1/admin/tenants/{t}`
pub(in crate::http) async fn change(
    State(app): State<Arc<App>>,
    _: Admin,
    Name(name): Name,
    Json(change, _held): Json<Change>,
) -> Reply {
    let record = app.kb.services().tenants.change_quotas(&name, change.limits).await?;
    if record.quotas.proof_requests == Some(0) {
        app.kb.recorder().forget(&name);
    }
    Ok(answer(StatusCode::OK, described(&name, Some(&record))))
}

/// `DELETE /v1/admin/tenants/{t}`
pub(in crate::http) async fn delete(
    State(app): State<Arc<App>>,
    _: Admin,
    Name(name): Name,
) -> Reply {
    app.kb.delete_tenant(&name).await?;
    let message = "Tenant deleted successfully";
    let value = json!({ "status": "success", "message": message, "name": name.as_str() });
    Ok(answer(StatusCode::OK, value))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub(in crate::http) struct Rotation {
    grace_seconds: Option<u64>,
}

/// `POST /v1/admin/tenants/{t}/rotate-key`
pub(in crate::http) async fn rotate_key(
    State(app): State<Arc<App>>,
    _: Admin,
    Name(name): Name,
    Json(rotation, _held): Json<Rotation>,
) -> Reply {
    let key = app.kb.services().tenants.rotate_key(&name, rotation.grace_seconds).await?;
    let mut value = json!({ "name": name.as_str() });
    show_key(&mut value, &key);
    Ok(answer(StatusCode::CREATED, value))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub(in crate::http) struct Revocation {
    key_id: Option<String>,
}

/// `POST /v1/admin/tenants/{t}/revoke-key`
pub(in crate::http) async fn revoke_key(
    State(app): State<Arc<App>>,
    _: Admin,
    Name(name): Name,
    Json(revocation, _held): Json<Revocation>,
) -> Reply {
    let id = revocation.key_id.ok_or_else(|| Error::invalid("/key_id", "key_id is required"))?;
    let record = app.kb.services().tenants.revoke_key(&name, &id).await?;
    Ok(answer(StatusCode::OK, described(&name, Some(&record))))
}

fn answer(status: StatusCode, value: Value) -> Response {
    (status, axum::Json(value)).into_response()
}

fn summary(listed: &Listed) -> Value {
    let record = listed.record();
    json!({
        "name": listed.name.as_str(),
        "created": record.map(|record| time(record.created)),
        "keys": record.map_or(0, |record| record.keys.iter().filter(|key| key.is_valid()).count()),
        "limits": record.map(|record| record.quotas.clone()).unwrap_or_default(),
    })
}

fn described(name: &TenantId, record: Option<&Record>) -> Value {
    let keys = record.into_iter().flat_map(|record| &record.keys);
    json!({
        "name": name.as_str(),
        "created": record.map(|record| time(record.created)),
        "keys": keys.filter(|key| key.is_valid()).map(key).collect::<Vec<_>>(),
        "limits": record.map(|record| record.quotas.clone()).unwrap_or_default(),
    })
}

fn key(key: &KeyRecord) -> Value {
    json!({
        "key_id": key.id,
        "created": time(key.created),
        "expires": key.expires.map(time),
    })
}

fn show_key(value: &mut Value, key: &NewKey) {
    value["key_id"] = key.id.as_str().into();
    value["key"] = key.text.as_str().into();
}

/// Milliseconds since 1970 as ISO 8601.
fn time(moment: u64) -> Option<String> {
    let moment = DateTime::<Utc>::from_timestamp_millis(i64::try_from(moment).ok()?)?;
    Some(moment.to_rfc3339_opts(SecondsFormat::Millis, true))
}
