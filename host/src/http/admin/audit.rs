//! Records every administrative act. `GET /v1/admin/audit` lists the records, and
//! `GET /v1/admin/tenants/{t}/audit` those about one tenant, also for the tenant itself.
//!
//! `record` surrounds all admin routes, so that a new one cannot be forgotten. It notes only what
//! is on the lists below: a member or parameter that nobody thought of is left out, because it may
//! be a secret.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Json;
use axum::body::{Body, HttpBody};
use axum::extract::{FromRequestParts, MatchedPath, Query, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::TryStreamExt;
use http::request::Parts;
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::time::timeout;
use utoipa::{IntoParams, ToSchema};

use super::Admin;
use super::extensions::tenant;
use super::parameters::{Parameters, Path};
use super::tenant_answers::time;
use super::tenant_in_path;
use crate::http::App;
use crate::http::answer::{Refusal, Reply};
use crate::http::body::discard;
use crate::http::client::Client;
use crate::http::openapi::{TenantInPath, parameter_names};
use crate::http::request::RequestId;
use crate::journal::{Act, ActResult, Actor, AuditRecord};
use kenning_core::error::Error;

/// Query parameters that are noted.
const PARAMETERS: [&str; 16] = [
    "tenant",
    "order",
    "grant",
    "on_failure",
    "paused",
    "generation",
    "dry_run",
    "force",
    "digest",
    "max_errors_percent",
    "min_overlap_percent",
    "max_fuel_percent",
    "max_time_percent",
    "filter",
    "reason",
    "name",
];

/// Members of a request's body that are noted.
const SENT: [&str; 15] = [
    "name",
    "tenant",
    "language",
    "limits",
    "quotas",
    "grace_seconds",
    "key_id",
    "order",
    "grant",
    "grants",
    "scopes",
    "expires",
    "on_failure",
    "paused",
    "digest",
];

/// Members of an answer that are noted.
const ANSWERED: [&str; 11] = [
    "name",
    "key_id",
    "generation",
    "from",
    "to",
    "digest",
    "previous",
    "promoted",
    "forced",
    "dry_run",
    "unchanged",
];

/// Most bytes of a body that is looked into.
const BODY_BYTES: usize = 64 * 1024;

/// Most bytes of one text that a caller sent.
const TEXT_BYTES: usize = 512;

/// Writes down who is about to do what, lets it be done, and adds how it ended. What cannot be
/// written down is not done.
pub(in crate::http) async fn record(
    State(app): State<Arc<App>>,
    request: Request,
    next: Next,
) -> Response {
    if request.method().is_safe() {
        return next.run(request).await;
    }
    let (mut parts, body) = request.into_parts();
    // Before anything is written: whoever has no key must not fill the storage.
    let admin = match Admin::from_request_parts(&mut parts, &app).await {
        Ok(admin) => admin,
        Err(refusal) => return refusal.into_response(),
    };
    let about = tenant_in_path(&mut parts, &app).await;
    let begun = app.audit.begin(act(&parts, &admin, about)).await;
    parts.extensions.insert(admin);
    let begun = match begun {
        Ok(begun) => begun,
        Err(error) => {
            let mut error = app.kb.storage_error(&error);
            error.message += "; nothing was done, because it could not be put on record";
            // A client that sends a component before it listens would not hear the answer.
            let most = app.limits.component_bytes;
            let _ = timeout(app.limits.component_upload, discard(body, most)).await;
            return Refusal(error).into_response();
        }
    };
    let sent = Sent::default();
    let request = Request::from_parts(parts, sent.copy(body));
    let (answered, response) = read(next.run(request).await).await;
    let code = answered.get("code").and_then(Value::as_str).map(str::to_string);
    let status = response.status().as_u16();
    let result = ActResult::new(status, code, sent.members(), pick(&answered, &ANSWERED));
    // In a task of its own: the act is done, whether or not the caller still listens.
    let ended = tokio::spawn(async move { app.audit.end(&begun, result).await }).await;
    if !matches!(ended, Ok(Ok(()))) {
        tracing::error!(?ended, "an administrative act is on record without its result");
    }
    response
}

fn act(parts: &Parts, admin: &Admin, about: Option<String>) -> Act {
    let text = |name: &str| Some(cut(parts.headers.get(name)?.to_str().ok()?));
    let client = parts.extensions.get::<Client>();
    let actor = Actor {
        who: cut(admin.name()),
        key_id: admin.key_id().map(str::to_string),
        from: client.and_then(|client| client.address).map(|address| address.to_string()),
        forwarded_for: text("x-forwarded-for"),
    };
    let id = parts.extensions.get::<RequestId>().and_then(|RequestId(id)| id.to_str().ok());
    let route = parts.extensions.get::<MatchedPath>().map_or("none", MatchedPath::as_str);
    let parameters = parameters(parts);
    let tenant = about.or_else(|| parameters.get("tenant").cloned()).map(|tenant| cut(&tenant));
    Act {
        actor,
        request_id: id.unwrap_or_default().to_string(),
        method: parts.method.to_string(),
        route: route.to_string(),
        path: cut(parts.uri.path()),
        parameters,
        tenant,
    }
}

fn parameters(parts: &Parts) -> BTreeMap<String, String> {
    let given = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri);
    let given = given.map(|Query(given)| given).unwrap_or_default();
    let known = given.into_iter().filter(|(name, _)| PARAMETERS.contains(&name.as_str()));
    known.map(|(name, value)| (name, cut(&value))).collect()
}

fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(TEXT_BYTES)].to_string()
}

/// A copy of the first bytes of a request's body, as the handler reads it.
#[derive(Clone, Default)]
struct Sent(Arc<Mutex<Vec<u8>>>);

impl Sent {
    fn copy(&self, body: Body) -> Body {
        let copy = self.clone();
        Body::from_stream(body.into_data_stream().inspect_ok(move |bytes| copy.add(bytes)))
    }

    fn add(&self, bytes: &Bytes) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left = BODY_BYTES.saturating_sub(kept.len());
        kept.extend_from_slice(&bytes[..bytes.len().min(left)]);
    }

    /// What may be noted of it; nothing of a component.
    fn members(&self) -> Map<String, Value> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let members = serde_json::from_slice(&kept).unwrap_or_default();
        pick(&members, &SENT)
    }
}

/// The members of an answer, and the answer itself. A stream or a large answer has none.
async fn read(response: Response) -> (Map<String, Value>, Response) {
    let size = response.body().size_hint().exact();
    if size.is_none_or(|size| size > BODY_BYTES as u64) {
        return (Map::new(), response);
    }
    let (parts, body) = response.into_parts();
    match axum::body::to_bytes(body, BODY_BYTES).await {
        Ok(bytes) => {
            let members = serde_json::from_slice(&bytes).unwrap_or_default();
            (members, Response::from_parts(parts, Body::from(bytes)))
        }
        Err(error) => (Map::new(), Refusal(Error::internal(error)).into_response()),
    }
}

/// The members that are named, if they are small: scalars, and objects or lists of them.
fn pick(members: &Map<String, Value>, names: &[&str]) -> Map<String, Value> {
    let named = members.iter().filter(|(name, value)| {
        names.contains(&name.as_str()) && value.to_string().len() <= TEXT_BYTES
    });
    named.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Which records.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "`Parameters` reads them by their names")]
struct ListParameters {
    /// How many at most.
    #[param(nullable = false, minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
    /// The `id` of a record: only older ones.
    #[param(nullable = false)]
    before: Option<String>,
}

/// Administrative acts.
#[derive(Serialize, ToSchema)]
#[schema(as = Audit)]
struct AuditList {
    /// Newest first.
    #[schema(max_items = 1000)]
    records: Vec<AuditRecord>,
}

/// How many records a list has if the request does not say.
const LIMIT: usize = 100;

/// The most that it may ask for.
const MOST: usize = 1_000;

/// What operators did, newest first
///
/// Every request to an admin route that may change something: who, when, what, from where, and how
/// it ended. `audit_records` and `audit_age_ms` bound how many are kept, and for how long.
#[utoipa::path(
    get,
    path = "/v1/admin/audit",
    operation_id = "listAudit",
    tag = "operations",
    params(ListParameters),
    responses((status = 200, description = "The acts.", body = AuditList)),
)]
pub(in crate::http) async fn list(
    State(app): State<Arc<App>>,
    _: Admin,
    parameters: Query<Vec<(String, String)>>,
) -> Reply {
    let records = listed(&app, parameters.0, |_| true).await?;
    Ok(Json(AuditList { records }).into_response())
}

/// What was done to a tenant, newest first
///
/// The acts that are about this tenant, since it was created; a tenant with the scope `admin` may
/// ask for its own. It is not told which admin key an operator used, and from where.
#[utoipa::path(
    get,
    path = "/v1/admin/tenants/{t}/audit",
    operation_id = "listTenantAudit",
    tag = "operations",
    params(TenantInPath, ListParameters),
    responses((status = 200, description = "The acts.", body = AuditList)),
)]
pub(in crate::http) async fn list_of_tenant(
    State(app): State<Arc<App>>,
    admin: Admin,
    Path(name): Path<String>,
    parameters: Query<Vec<(String, String)>>,
) -> Reply {
    let tenant = tenant(&name)?;
    let created = app.kb.tenants().get(&tenant).map(|found| found.record.created);
    let since = created.and_then(time).unwrap_or_default();
    let is_about = |record: &AuditRecord| record.is_about(tenant.as_str(), &since);
    let mut records = listed(&app, parameters.0, is_about).await?;
    if admin.is_tenant() {
        let shown = |record: AuditRecord| record.for_tenant(tenant.as_str());
        records = records.into_iter().map(shown).collect();
    }
    Ok(Json(AuditList { records }).into_response())
}

async fn listed(
    app: &App,
    parameters: Vec<(String, String)>,
    wanted: impl Fn(&AuditRecord) -> bool,
) -> Result<Vec<AuditRecord>, Error> {
    let parameters = Parameters::new(parameters, &parameter_names::<ListParameters>())?;
    let limit = parameters.number("limit")?.unwrap_or(LIMIT);
    if !(1..=MOST).contains(&limit) {
        return Err(Error::invalid("/limit", format!("limit is 1 to {MOST}")));
    }
    let records = app.audit.list(wanted, limit, parameters.text("before")).await;
    records.map_err(|error| app.kb.storage_error(&error))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_is_known_to_be_no_secret_is_noted() {
        let Value::Object(answer) = json!({
            "name": "acme", "key_id": "5be1", "key": "kng_5be1_secret", "text": "a fact",
        }) else {
            unreachable!("it is an object");
        };
        let noted = serde_json::to_string(&pick(&answer, &ANSWERED)).unwrap();
        assert_eq!(noted, "{\"name\":\"acme\",\"key_id\":\"5be1\"}");
    }

    #[tokio::test]
    async fn a_body_is_copied_up_to_a_bound_and_passed_on_whole() {
        let sent = Sent::default();
        let body = vec![b'x'; BODY_BYTES + 1];
        let passed_on = axum::body::to_bytes(sent.copy(Body::from(body.clone())), usize::MAX);
        assert_eq!(passed_on.await.unwrap(), body);
        assert_eq!(sent.0.lock().unwrap().len(), BODY_BYTES);
        assert!(sent.members().is_empty());
    }
}
