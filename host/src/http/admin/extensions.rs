//! `/v1/admin/tenants/{t}/extensions`: a tenant's extensions.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use futures::future::OptionFuture;
use http::HeaderMap;
use kenning_storage::TenantId;
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::{IntoParams, ToSchema};

use super::Admin;
use super::generations::{GuestAnswer, RollbackAnswer, rolled_back};
use super::parameters::{Parameters, Path, SwapParameters};
use super::progress::SwapEvents;
use super::upload::component;
use crate::http::App;
use crate::http::answer::Refusal;
use crate::http::openapi::{
    self, Component, Conflict, ExtensionInPath, Incompatible, NotFound, Success, TenantInPath,
    TooLarge, parameter_names,
};
use crate::registry::{Extension, Owner};
use crate::swap::{ExtensionTarget, Step, Steps, SwapReport};
use kenning_core::error::Error;
use kenning_runtime::OnFailure;
use kenning_runtime::{Granted, Hook};

/// Where an extension goes, and what it may do.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "`Parameters` reads them by their names")]
struct PlaceParameters {
    /// Its position among the tenant's extensions: smaller is earlier. If it is left out, the
    /// position stays, or is 0 for a new extension.
    #[param(nullable = false)]
    order: Option<i32>,
    /// What it may import beyond `log` and `budget`: `storage`, `embedding`, `index`, `state`, and
    /// `http:HOST` for requests to that host, such as `http:api.example.com`, separated by commas.
    #[param(
        nullable = false,
        pattern = r"^(\[\]|((storage|embedding|index|state|http:.+)(,.+)*)?)$"
    )]
    grant: Option<String>,
    /// What a hook's failure does to the call: `close` fails it, `leave-out` goes on without the
    /// hook. By default `close`, and `leave-out` for `rerank`.
    #[param(inline, nullable = false, value_type = Option<openapi::OnFailure>)]
    on_failure: Option<OnFailure>,
    /// What the extension reads as its settings: a JSON object of at most 16,384 bytes. If it is
    /// left out, they stay, or are `{}` for a new extension.
    #[param(nullable = false)]
    settings: Option<String>,
}

/// Where to roll back to.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "`Parameters` reads them by their names")]
struct TargetParameter {
    /// Roll back to this one instead.
    #[param(nullable = false)]
    generation: Option<u64>,
}

/// What stays of a removed extension.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "`Parameters` reads them by their names")]
struct RemovalParameter {
    /// Keep what the extension kept (the grant `state`), for the next one of its name. Default:
    /// false, which deletes it.
    #[param(nullable = false)]
    keep_state: Option<bool>,
}

/// Which log lines.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "`Parameters` reads them by their names")]
struct AfterParameter {
    /// Only lines with a larger number.
    #[param(nullable = false)]
    after: Option<u64>,
    /// Also lines that were written while requests were replayed for a proof. Default: false.
    #[param(nullable = false)]
    replays: Option<bool>,
}

/// A tenant's extensions, in their order.
#[derive(Serialize, ToSchema)]
#[schema(as = Extensions)]
struct ExtensionList {
    extensions: Vec<ExtensionAnswer>,
}

/// One extension.
#[derive(Serialize, ToSchema)]
#[schema(as = Extension)]
struct ExtensionAnswer {
    #[serde(flatten)]
    guest: GuestAnswer,
    name: String,
    order: i32,
    /// Whether its hooks are skipped.
    paused: bool,
    /// Each hook it has, and what the hook's failure does. Only where this host has loaded it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<BTreeMap<String, openapi::OnFailure>>, nullable = false)]
    hooks: Option<Map<String, Value>>,
}

/// What was done.
#[derive(Serialize, ToSchema)]
struct Done {
    status: Success,
    message: String,
    /// The hosts that did not follow within `follow_ms`; left out if all did. Until they do, their
    /// calls are refused or wait.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    behind: Vec<String>,
}

/// The last lines that an extension logged.
#[derive(Serialize, ToSchema)]
struct LogLines {
    #[schema(value_type = Vec<LogLine>)]
    lines: Vec<kenning_runtime::LogLine>,
}

/// One line.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes `runtime::LogLine`")]
struct LogLine {
    /// Counts from 1.
    number: u64,
    #[schema(format = DateTime)]
    time: String,
    level: String,
    generation: u64,
    message: String,
    /// Whether it was written while a request was replayed for a proof.
    #[schema(nullable = false)]
    replay: Option<bool>,
}

pub(super) type Named = Path<(String, String)>;
type Pairs = Query<Vec<(String, String)>>;

pub(super) fn tenant(name: &str) -> Result<TenantId, Error> {
    TenantId::parse(name).map_err(|error| Error::invalid("/tenant", error.to_string()))
}

/// A tenant's extensions, in their order
#[utoipa::path(
    get,
    path = "/v1/admin/tenants/{t}/extensions",
    operation_id = "listExtensions",
    tag = "admin",
    params(TenantInPath),
    responses((status = 200, description = "The extensions.", body = ExtensionList)),
)]
pub(in crate::http) async fn list(
    State(app): State<Arc<App>>,
    _admin: Admin,
    Path(name): Path<String>,
) -> Result<Response, Refusal> {
    let tenant = tenant(&name)?;
    let (records, loaded) = app.kb.extension_records(&tenant).await?;
    let owner = Owner::Tenant(tenant);
    let active = records.extensions.iter().filter(|(_, record)| record.guest.active.is_some());
    let mut extensions: Vec<ExtensionAnswer> = active
        .map(|(name, record)| {
            let live = loaded.as_ref().and_then(|guests| guests.named(name));
            let problem = app.kb.registry().problem(&owner, name);
            let running = live.as_ref().map(|live| &*live.guest);
            ExtensionAnswer {
                guest: GuestAnswer::of(&record.guest, running, problem),
                name: name.clone(),
                order: record.order,
                paused: record.paused,
                hooks: live.map(|live| hooks(&live)),
            }
        })
        .collect();
    extensions.sort_by_key(|extension| extension.order);
    Ok(axum::Json(ExtensionList { extensions }).into_response())
}

fn hooks(extension: &Extension) -> Map<String, Value> {
    let hooks = Hook::ALL.into_iter().filter(|hook| extension.has(*hook));
    hooks.map(|hook| (hook.name().to_string(), json!(extension.on_failure(hook)))).collect()
}

/// Install an extension, or replace it with another version
///
/// The body is the component. A caller who accepts `text/event-stream` is told every second what
/// is being done, if it takes long.
#[utoipa::path(
    put,
    path = "/v1/admin/tenants/{t}/extensions/{name}",
    operation_id = "installExtension",
    tag = "admin",
    params(ExtensionInPath, PlaceParameters, SwapParameters),
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
pub(in crate::http) async fn install(
    State(app): State<Arc<App>>,
    admin: Admin,
    Path((tenant_name, name)): Named,
    parameters: Pairs,
    steps: Option<axum::Extension<Steps>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    // Reads the body first: a client that sends all of it before it listens gets every error.
    let bytes = component(body, Some(&tenant_name), &app).await?;
    admin.check_secrets(&name, &app)?;
    let names =
        [parameter_names::<PlaceParameters>(), parameter_names::<SwapParameters>()].concat();
    let parameters = Parameters::new(parameters.0, &names)?;
    let place = ExtensionTarget {
        tenant: tenant(&tenant_name)?,
        name,
        order: parameters.number("order")?,
        policy: policy(parameters.text("on_failure"))?,
        grants: granted(parameters.text("grant"), &admin, &app)?,
        values: parameters.text("settings").map(object).transpose()?,
    };
    let steps = steps.map(|axum::Extension(steps)| steps).unwrap_or_default();
    let proposal = parameters.proposal(bytes, &headers, &admin, &app, steps.clone())?;
    let tenant = place.tenant.clone();
    let report = app.swapper.promote_extension(place, proposal).await?;
    steps.begin(Step::Following);
    let behind = report.waits_for_hosts().then(|| app.kb.behind(std::slice::from_ref(&tenant)));
    let behind = OptionFuture::from(behind).await.unwrap_or_default();
    Ok(axum::Json(report.followed(behind).to_json()).into_response())
}

/// The grants that are named, if they are the caller's to give.
fn granted(text: Option<&str>, admin: &Admin, app: &App) -> Result<Vec<Granted>, Error> {
    let grants = grants(text)?;
    admin.check_grants(&grants, app)?;
    Ok(grants)
}

/// The grants that are named. `[]`, an empty value, or no parameter: none.
fn grants(text: Option<&str>) -> Result<Vec<Granted>, Error> {
    let names = text.unwrap_or_default().split(',').map(str::trim).filter(|name| !name.is_empty());
    Granted::list(names.filter(|name| *name != "[]"))
        .map_err(|wrong| Error::invalid("/grant", wrong.to_string()))
}

/// Settings in a parameter.
fn object(text: &str) -> Result<Map<String, Value>, Error> {
    serde_json::from_str(text).map_err(|error| {
        Error::invalid("/settings", format!("settings are a JSON object: {error}"))
    })
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

/// Remove an extension
#[utoipa::path(
    delete,
    path = "/v1/admin/tenants/{t}/extensions/{name}",
    operation_id = "removeExtension",
    tag = "admin",
    params(ExtensionInPath, RemovalParameter),
    responses(
        (status = 200, description = "It is removed.", body = Done),
        (status = 404, response = NotFound),
        (status = 409, response = Conflict),
    ),
)]
pub(in crate::http) async fn remove(
    State(app): State<Arc<App>>,
    _admin: Admin,
    Path((tenant_name, name)): Named,
    parameters: Pairs,
) -> Result<Response, Refusal> {
    let parameters = Parameters::new(parameters.0, &parameter_names::<RemovalParameter>())?;
    let keeps_state = parameters.flag("keep_state")?;
    let tenant = tenant(&tenant_name)?;
    app.swapper.remove_extension(&tenant, &name, keeps_state).await?;
    let behind = app.kb.behind(&[tenant]).await;
    let message = format!("the extension {name} is removed");
    Ok(axum::Json(Done { status: Success::Success, message, behind }).into_response())
}

/// Roll back to an older generation
///
/// Without `generation`, to the newest one that is older than the live one and was not rolled back
/// from, with no grant that the live one does not have.
#[utoipa::path(
    post,
    path = "/v1/admin/tenants/{t}/extensions/{name}/rollback",
    operation_id = "rollbackExtension",
    tag = "admin",
    params(ExtensionInPath, TargetParameter),
    responses(
        (status = 200, description = "What answers now.", body = RollbackAnswer),
        (status = 404, response = NotFound),
        (status = 409, response = Conflict),
    ),
)]
pub(in crate::http) async fn rollback(
    State(app): State<Arc<App>>,
    admin: Admin,
    Path((tenant_name, name)): Named,
    parameters: Pairs,
) -> Result<Response, Refusal> {
    let parameters = Parameters::new(parameters.0, &parameter_names::<TargetParameter>())?;
    admin.check_secrets(&name, &app)?;
    let back = parameters.rollback(&admin)?.within(admin.may_grant(&app));
    let tenant = tenant(&tenant_name)?;
    let made = app.swapper.rollback_extension(&tenant, &name, back).await?;
    Ok(rolled_back(made, app.kb.behind(&[tenant]).await).into_response())
}

/// The last lines that an extension wrote, oldest first
#[utoipa::path(
    get,
    path = "/v1/admin/tenants/{t}/extensions/{name}/logs",
    operation_id = "extensionLogs",
    tag = "admin",
    params(ExtensionInPath, AfterParameter),
    responses(
        (status = 200, description = "Lines of this host, in memory only.", body = LogLines),
        (status = 404, response = NotFound),
    ),
)]
pub(in crate::http) async fn logs(
    State(app): State<Arc<App>>,
    _admin: Admin,
    Path((tenant_name, name)): Named,
    parameters: Pairs,
) -> Result<Response, Refusal> {
    let parameters = Parameters::new(parameters.0, &parameter_names::<AfterParameter>())?;
    let after = parameters.number("after")?.unwrap_or(0);
    let replays = parameters.flag("replays")?;
    let tenant = tenant(&tenant_name)?;
    app.swapper.live(&tenant).await?;
    let lines = app.kb.extension_log(&tenant, &name)?;
    Ok(axum::Json(LogLines { lines: lines.after(after, replays) }).into_response())
}
