//! `PATCH /v1/admin/tenants/{t}/extensions/{name}`: what an operator may change of an extension
//! without its component; and `PUT …/settings`: what the extension itself reads.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::future::OptionFuture;
use http::HeaderMap;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::Admin;
use super::extensions::{Named, tenant};
use super::parameters::{Parameters, Path, SwapParameters};
use crate::http::App;
use crate::http::answer::Refusal;
use crate::http::body::Json;
use crate::http::openapi::{
    self, Conflict, ExtensionInPath, Incompatible, NotFound, Success, TooLarge, parameter_names,
};
use crate::http::whole::Whole;
use crate::swap::{ExtensionState, Proposal, SettingsChange, Steps, SwapReport};
use kenning_runtime::{Granted, OnFailure};

/// What to change of an extension; what is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(examples(json!({ "order": 10, "grants": ["index"], "on_failure": "close" })))]
pub(in crate::http) struct ExtensionChange {
    /// Its position among the tenant's extensions: smaller is earlier.
    #[serde(default, deserialize_with = "order")]
    #[schema(nullable = false, minimum = -2147483648, maximum = 2147483647)]
    order: Option<i32>,
    /// All that it may import beyond `log` and `budget`.
    #[serde(default, deserialize_with = "granted")]
    #[schema(nullable = false, value_type = Option<Vec<openapi::Grant>>)]
    grants: Option<Vec<Granted>>,
    /// What a hook's failure does to the call; `null` for each hook's default.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<openapi::OnFailure>)]
    on_failure: Option<Option<OnFailure>>,
    /// Whether its hooks are skipped, as if it were not installed.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    paused: Option<bool>,
}

/// A member that is there, `null` or not.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(value: D) -> Result<Option<T>, D::Error> {
    T::deserialize(value).map(Some)
}

/// The names of grants.
fn granted<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Vec<Granted>>, D::Error> {
    let names = Vec::<String>::deserialize(value)?;
    let granted = Granted::list(names.iter().map(String::as_str));
    granted.map(Some).map_err(serde::de::Error::custom)
}

/// A whole number, which JSON may write as `10.0`.
fn order<'de, D: Deserializer<'de>>(value: D) -> Result<Option<i32>, D::Error> {
    let Whole(order) = Whole::deserialize(value)?;
    i32::try_from(order).map(Some).map_err(|_| {
        D::Error::custom(format!("order is {} to {}, not {order}", i32::MIN, i32::MAX))
    })
}

/// An extension's settings.
#[derive(Serialize, ToSchema)]
struct ExtensionStateAnswer {
    status: Success,
    name: String,
    /// The live generation, which stays the same.
    generation: u64,
    #[schema(value_type = Vec<openapi::Grant>)]
    grants: Vec<Granted>,
    order: i32,
    /// `null` leaves it to each hook.
    #[schema(required, value_type = Option<openapi::OnFailure>)]
    on_failure: Option<OnFailure>,
    paused: bool,
    /// The hosts that did not follow within `follow_ms`; left out if all did. Until they do, their
    /// calls are refused or wait.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    behind: Vec<String>,
}

/// Change an extension's order, grants or policy, or pause it
///
/// The component and its generation stay. A grant that the component needs cannot be taken away.
#[utoipa::path(
    patch,
    path = "/v1/admin/tenants/{t}/extensions/{name}",
    operation_id = "changeExtension",
    tag = "admin",
    params(ExtensionInPath),
    request_body = ExtensionChange,
    responses(
        (status = 200, description = "The settings now.", body = ExtensionStateAnswer),
        (status = 404, response = NotFound),
        (status = 409, response = Conflict),
        (status = 413, response = TooLarge),
        (status = 422, response = Incompatible),
    ),
)]
pub(in crate::http) async fn change(
    State(app): State<Arc<App>>,
    admin: Admin,
    Path((tenant_name, name)): Named,
    Json(change, _reservation): Json<ExtensionChange>,
) -> Result<Response, Refusal> {
    let ExtensionChange { order, grants, on_failure: policy, paused } = change;
    admin.check_grants(grants.as_deref().unwrap_or_default(), &app)?;
    let change = SettingsChange { order, policy, grants, paused };
    let tenant = tenant(&tenant_name)?;
    let state = app.swapper.change_extension(&tenant, &name, change, admin.name()).await?;
    let ExtensionState { generation, grants, settings, paused } = state;
    let answer = ExtensionStateAnswer {
        status: Success::Success,
        name,
        generation,
        grants,
        order: settings.order,
        on_failure: settings.policy,
        paused,
        behind: app.kb.behind(&[tenant]).await,
    };
    Ok(axum::Json(answer).into_response())
}

/// Set what an extension reads as its settings
///
/// The body is the whole object, which replaces what was set. It is checked by the component's own
/// schema, if it exports one, and makes a new generation of the same component, which is proven
/// like any other.
#[utoipa::path(
    put,
    path = "/v1/admin/tenants/{t}/extensions/{name}/settings",
    operation_id = "configureExtension",
    tag = "admin",
    params(ExtensionInPath, SwapParameters),
    request_body(content((BTreeMap<String, Value> = "application/json"))),
    responses(
        (status = 200, description = "The report.", body = SwapReport),
        (status = 404, response = NotFound),
        (status = 409, response = Conflict),
        (status = 413, response = TooLarge),
        (status = 422, response = Incompatible),
    ),
)]
pub(in crate::http) async fn configure(
    State(app): State<Arc<App>>,
    admin: Admin,
    Path((tenant_name, name)): Named,
    parameters: Query<Vec<(String, String)>>,
    headers: HeaderMap,
    Json(values, _reservation): Json<Map<String, Value>>,
) -> Result<Response, Refusal> {
    let parameters = Parameters::new(parameters.0, &parameter_names::<SwapParameters>())?;
    let tenant = tenant(&tenant_name)?;
    let steps = Steps::default();
    let proposal = parameters.proposal(Bytes::new(), &headers, &admin, &app, steps)?;
    let proposal = |bytes| Proposal { bytes, ..proposal };
    let report = app.swapper.configure_extension(&tenant, &name, values, proposal).await?;
    let behind = report.waits_for_hosts().then(|| app.kb.behind(std::slice::from_ref(&tenant)));
    let behind = OptionFuture::from(behind).await.unwrap_or_default();
    Ok(axum::Json(report.followed(behind).to_json()).into_response())
}
