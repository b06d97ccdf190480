//! `GET /v1/admin/requests/{id}`: what is known of a failed request.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::Admin;
use super::parameters::Parameters;
use crate::http::App;
use crate::http::answer::Reply;
use crate::http::openapi::{NotFound, parameter_names};
use crate::journal::FailureRecord;
use kenning_core::error::{Code, Error};

/// How many failures a list has if the request does not say.
const LIMIT: usize = 100;

/// The most that it may ask for.
const MOST: usize = 1_000;

/// Which failures.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "`Parameters` reads them by their names")]
struct ListParameters {
    /// How many at most.
    #[param(nullable = false, minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
}

/// Failed requests.
#[derive(Serialize, ToSchema)]
#[schema(as = FailedRequests)]
struct FailureList {
    /// Newest first.
    #[schema(max_items = 1000, value_type = Vec<FailedRequest>)]
    requests: Vec<FailureRecord>,
}

/// The request.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes the path")]
pub(super) struct RequestInPath {
    /// The `x-request-id` of its answer.
    #[param(min_length = 1, max_length = 128)]
    id: String,
}

/// What is known of a failed request. Never the text of a fact or query.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes `journal::FailureRecord`")]
struct FailedRequest {
    request_id: String,
    /// Of the trace that the request was part of, if it was part of one.
    #[schema(nullable = false)]
    trace_id: Option<String>,
    #[schema(format = DateTime)]
    time: String,
    /// The host that answered it.
    host: String,
    method: String,
    route: String,
    status: u16,
    code: String,
    blame: String,
    /// What the answer said, unless it quotes a guest, a backend or the request.
    #[schema(required)]
    message: Option<String>,
    /// From the head of the request to its answer.
    took_ms: f64,
    /// The limit, what it allows and what was used; the guest and its generation.
    #[schema(value_type = Object)]
    details: String,
    /// The generations that the call used.
    #[schema(required)]
    served_by: Option<Generations>,
    /// What the call did; `null` if it ended before any guest was called.
    #[schema(required)]
    call: Option<FailedCall>,
}

/// The generations that a call used.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes `journal::FailureRecord`")]
struct Generations {
    /// Of the logic.
    generation: u64,
    /// Of the logic.
    digest: String,
    /// `name=generation` of each extension.
    #[schema(required)]
    extensions: Option<String>,
}

/// What a failed call did.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes `runtime::CallTracer`")]
struct FailedCall {
    tenant: String,
    /// How long the call was allowed to take.
    allowed_ms: u64,
    /// How long it waited until guests could run. Missing if it never came to that.
    #[schema(nullable = false)]
    admitted_after_ms: Option<f64>,
    /// The guests that ran, in their order; of very many the last ones.
    guests: Vec<GuestRun>,
    /// Guests that ran before those.
    #[schema(nullable = false)]
    earlier_guests: Option<u64>,
    /// The guest that was still running when the call was given up.
    #[schema(nullable = false)]
    running: Option<RunningGuest>,
}

/// One guest's part of a failed call.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes `runtime::CallTracer`")]
struct GuestRun {
    /// `logic`, or the extension's name.
    component: String,
    generation: u64,
    digest: String,
    /// The function that was called.
    operation: String,
    fuel_limit: u64,
    fuel_used: u64,
    /// Time in the guest.
    guest_ms: f64,
    /// Time in the functions that it imports.
    host_ms: f64,
    host_calls: u32,
    memory_bytes: u64,
    /// How it failed.
    #[schema(nullable = false)]
    failed: Option<String>,
    /// Where it failed, innermost first: `FILE:LINE`, as far as the guest says so, and functions.
    #[schema(nullable = false)]
    stack: Option<Vec<String>>,
}

/// A guest that did not end.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes `runtime::CallTracer`")]
struct RunningGuest {
    component: String,
    generation: u64,
    operation: String,
    for_ms: f64,
}

/// The requests that failed lately, newest first
///
/// Those that failed through no fault of the caller, on every host.
#[utoipa::path(
    get,
    path = "/v1/admin/requests",
    operation_id = "listFailedRequests",
    tag = "operations",
    params(ListParameters),
    responses((status = 200, description = "What is known of them.", body = FailureList)),
)]
pub(in crate::http) async fn list(
    State(app): State<Arc<App>>,
    _: Admin,
    parameters: Query<Vec<(String, String)>>,
) -> Reply {
    let parameters = Parameters::new(parameters.0, &parameter_names::<ListParameters>())?;
    let limit = parameters.number("limit")?.unwrap_or(LIMIT);
    if !(1..=MOST).contains(&limit) {
        return Err(Error::invalid("/limit", format!("limit is 1 to {MOST}")).into());
    }
    Ok(Json(FailureList { requests: app.failures.list(limit).await }).into_response())
}

/// What is known of a failed request
///
/// Of requests that failed through no fault of the caller. The last 1,000 of each host are kept for
/// 24 hours, and every host on the same storage knows them after about a second.
#[utoipa::path(
    get,
    path = "/v1/admin/requests/{id}",
    operation_id = "getFailedRequest",
    tag = "operations",
    params(RequestInPath),
    responses(
        (status = 200, description = "What is known of it.", body = FailedRequest),
        (status = 404, response = NotFound),
    ),
)]
pub(in crate::http) async fn get(
    State(app): State<Arc<App>>,
    _: Admin,
    Path(id): Path<String>,
) -> Reply {
    let found = app.failures.find(&id).await.map_err(|error| app.kb.storage_error(&error))?;
    let found = found.ok_or_else(|| {
        Error::new(
            Code::NotFound,
            "nothing is known of this request: the last 1,000 failures of each host are kept, for \
             24 hours, except those that the caller caused",
        )
    })?;
    Ok(Json(found).into_response())
}
