//! `/v1/admin/tenants/{t}/extensions`: what a tenant brought.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use kenning_storage::TenantId;
use serde_json::{Value, json};

use super::logic::rolled_back;
use super::parameters::{Parameters, component};
use super::{Admin, generations};
use crate::http::App;
use crate::http::answer::Refusal;
use crate::swap::{ExtensionTarget, Rollback};
use kenning_core::error::{Code, Error};
use kenning_runtime::{Grant, Hook, OnFailure};

const PLACE: &[&str] = &["order", "grant", "on_failure"];

type Named = Path<(String, String)>;
type Pairs = Query<Vec<(String, String)>>;

fn tenant(name: &str) -> Result<TenantId, Error> {
    TenantId::parse(name).map_err(|error| Error::invalid("/tenant", error.to_string()))
}

/// `GET /v1/admin/tenants/{t}/extensions`
pub(in crate::http) async fn list(
    State(app): State<Arc<App>>,
    _admin: Admin,
    Path(name): Path<String>,
) -> Result<Response, Refusal> {
    let (kb, tenant) = (&app.kb, tenant(&name)?);
    let records = kb.registry().archive.extensions(&tenant).await;
    let records = records.map_err(|error| kb.storage_error(&error))?.value;
    let loaded = kb.registry().loaded(&tenant);
    let mut listed: Vec<(i32, Value)> = Vec::new();
    for (name, record) in &records.extensions {
        if record.guest.active.is_none() {
            continue;
        }
        let live = loaded.as_ref().and_then(|guests| guests.named(name));
        let mut one = generations(&record.guest, live.as_ref().map(|live| &*live.guest));
        one["name"] = json!(name);
        one["order"] = json!(record.order);
        if let Some(live) = live {
            let hooks = Hook::ALL.into_iter().filter(|hook| live.has(*hook));
            let hooks = hooks.map(|hook| (hook.name().to_string(), json!(live.on_failure(hook))));
            one["hooks"] = Value::Object(hooks.collect());
        }
        listed.push((record.order, one));
    }
    listed.sort_by_key(|(order, _)| *order);
    let listed: Vec<Value> = listed.into_iter().map(|(_, one)| one).collect();
    Ok(axum::Json(json!({ "extensions": listed })).into_response())
}

/// `PUT /v1/admin/tenants/{t}/extensions/{name}`: the body is the component.
pub(in crate::http) async fn install(
    State(app): State<Arc<App>>,
    admin: Admin,
    Path((tenant_name, name)): Named,
    parameters: Pairs,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    // First: a caller who sends all before it listens would otherwise meet a closed
    // connection rather than the answer.
    let upload = component(body, &app).await?;
    let parameters = Parameters::new(parameters.0, &[PLACE, Parameters::OF_A_SWAP].concat())?;
    let place = ExtensionTarget {
        tenant: tenant(&tenant_name)?,
        name,
        order: parameters.number("order")?,
        policy: policy(parameters.text("on_failure"))?,
        grants: grants(parameters.text("grant"))?,
    };
    let proposal = parameters.proposal(upload.bytes.clone(), &headers, &admin, &app)?;
    let report = app.swapper.promote_extension(place, proposal).await?;
    Ok(axum::Json(report.to_json()).into_response())
}

/// `[]`, an empty value, or no parameter: nothing.
fn grants(text: Option<&str>) -> Result<Vec<Grant>, Error> {
    let names = text.unwrap_or_default().split(',').map(str::trim).filter(|name| !name.is_empty());
    let parse = |name: &str| {
        Grant::ALL.into_iter().find(|grant| grant.name() == name).ok_or_else(|| {
            let all: Vec<_> = Grant::ALL.iter().map(|grant| grant.name()).collect();
            let message = format!("there is no grant {name:?}; there are {}", all.join(", "));
            Error::invalid("/grant", message)
        })
    };
    names.filter(|name| *name != "[]").map(parse).collect()
}

fn policy(text: Option<&str>) -> Result<Option<OnFailure>, Error> {
    match text {
        None => Ok(None),
        Some("close") => Ok(Some(OnFailure::Close)),
        Some("leave-out") => Ok(Some(OnFailure::LeaveOut)),
        Some(other) => Err(Error::invalid(
            "/on_failure",
            format!("on_failure is close or leave-out, not {other:?}"),
        )),
    }
}

/// `DELETE /v1/admin/tenants/{t}/extensions/{name}`
pub(in crate::http) async fn remove(
    State(app): State<Arc<App>>,
    _admin: Admin,
    Path((tenant_name, name)): Named,
) -> Result<Response, Refusal> {
    app.swapper.remove_extension(&tenant(&tenant_name)?, &name).await?;
    let message = format!("the extension {name} is removed");
    Ok(axum::Json(json!({ "status": "success", "message": message })).into_response())
}

/// `POST /v1/admin/tenants/{t}/extensions/{name}/rollback`
pub(in crate::http) async fn rollback(
    State(app): State<Arc<App>>,
    admin: Admin,
    Path((tenant_name, name)): Named,
    parameters: Pairs,
) -> Result<Response, Refusal> {
    let parameters = Parameters::new(parameters.0, &["generation"])?;
    let number = parameters.number("generation")?;
    let tenant = tenant(&tenant_name)?;
    let back = Rollback::requested(number, admin.name());
    let now = app.swapper.rollback_extension(&tenant, &name, back).await?;
    Ok(rolled_back(&now))
}

/// `GET /v1/admin/tenants/{t}/extensions/{name}/logs?after=N`: the last lines, oldest
/// first.
pub(in crate::http) async fn logs(
    State(app): State<Arc<App>>,
    _admin: Admin,
    Path((tenant_name, name)): Named,
    parameters: Pairs,
) -> Result<Response, Refusal> {
    let parameters = Parameters::new(parameters.0, &["after"])?;
    let after = parameters.number("after")?.unwrap_or(0);
    let tenant = tenant(&tenant_name)?;
    let live = app.swapper.live(&tenant).await?;
    let extension = live.extensions.iter().find(|extension| extension.name() == name);
    let lines = extension.and_then(|extension| extension.guest.lines.clone());
    let lines = lines
        .ok_or_else(|| Error::new(Code::NotFound, format!("there is no extension {name:?}")))?;
    Ok((StatusCode::OK, axum::Json(json!({ "lines": lines.after(after) }))).into_response())
}
