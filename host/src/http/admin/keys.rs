//! A tenant's keys: further ones, and their end.

use std::sync::Arc;

use axum::extract::State;
use axum::response::IntoResponse;
use http::StatusCode;
use kenning_client::{BadExpiry, expiry};
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::Admin;
use super::tenant_answers::{NewKeyAnswer, TenantAnswer};
use super::tenant_settings::count;
use super::tenants::Name;
use crate::http::App;
use crate::http::answer::Reply;
use crate::http::body::Json;
use crate::http::openapi::{self, Conflict, NotFound, TenantInPath, TooLarge, examples};
use crate::http::whole::Whole;
use kenning_core::error::Error;
use kenning_tenants::{Attributes, KeyTerms, NewKey, Scope, Scopes, now};

/// How to rotate a key.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(examples(json!({
    "grace_seconds": 86400,
    "scopes": ["read"],
    "expires": "90d",
    "attributes": { "team": "research" },
})))]
pub(in crate::http) struct Rotation {
    /// How long the tenant's other keys stay valid; without it, until they are revoked.
    #[schema(value_type = Option<i64>, minimum = 0)]
    grace_seconds: Option<Whole>,
    /// What extensions are told of whoever holds the new key, at most a kilobyte.
    #[serde(default)]
    #[schema(value_type = Option<BTreeMap<String, Value>>)]
    attributes: Option<Map<String, Value>>,
    /// What the new key may be used for. Without it, `read` and `write`; `admin` manages the
    /// tenant's own extensions.
    #[serde(default)]
    #[schema(value_type = Option<Vec<openapi::Scope>>, min_items = 1)]
    scopes: Option<Vec<String>>,
    /// When the new key stops being valid: a time as in RFC 3339, or how long from now, such as
    /// `90d`, `12h` or `30m`. Without it, never.
    expires: Option<String>,
}

/// The scopes of these names.
fn scopes(names: Option<Vec<String>>) -> Result<Scopes, Error> {
    const POINTER: &str = "/scopes";
    let Some(names) = names else { return Ok(Scopes::default()) };
    if names.is_empty() {
        let message = "a key without any scope would be good for nothing; leave scopes out for a \
                       key that reads and writes";
        return Err(Error::invalid(POINTER, message));
    }
    let parse = |name: &String| {
        Scope::parse(name).ok_or_else(|| {
            let all = Scope::ALL.map(Scope::name).join(", ");
            Error::invalid(POINTER, format!("there is no scope {name:?}; there are {all}"))
        })
    };
    names.iter().map(parse).collect::<Result<Vec<_>, _>>().map(Scopes::only)
}

/// A time in milliseconds since 1970: of a date, or so long after now.
fn end_of_key(text: &str) -> Result<u64, Error> {
    expiry(text, now()).map_err(|bad| {
        let told = match bad {
            BadExpiry::Form => {
                "expires is a time such as 2027-01-31T00:00:00Z, or how long from now, such as \
                 90d, 12h or 30m"
            }
            BadExpiry::Past => "expires is in the past",
            BadExpiry::Late => "expires is after the year 9999; without it, a key never ends",
        };
        Error::invalid("/expires", told)
    })
}

/// Give a tenant a further key
///
/// The new key is valid at once and shown this once, with the scopes that it is given and until it
/// expires. Its `attributes` tell extensions who its
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
    let terms = KeyTerms {
        attributes: Attributes::new(&rotation.attributes.unwrap_or_default())?,
        scopes: scopes(rotation.scopes)?,
        expires: rotation.expires.as_deref().map(end_of_key).transpose()?,
    };
    let key = app.kb.tenants().rotate_key(&name, grace, terms).await?;
    let (name, NewKey { id, text }) = (name.as_str().to_string(), key);
    let answer = NewKeyAnswer { name, key_id: id, key: text };
    Ok((StatusCode::CREATED, axum::Json(answer)).into_response())
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
    let answer = TenantAnswer { behind, ..TenantAnswer::of(&name, Some(&record)) };
    Ok(axum::Json(answer).into_response())
}
