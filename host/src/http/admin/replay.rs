//! `/v1/admin/requests/{id}/replay`: what a guest saw whose call failed.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use kenning_storage::TenantId;
use serde::Serialize;
use utoipa::ToSchema;

use super::Admin;
use super::failures::RequestInPath;
use super::parameters::Path;
use crate::http::App;
use crate::http::answer::Refusal;
use crate::http::openapi::{Component, Digest, NotFound, Success, TenantName};
use crate::registry::Owner;
use kenning_core::error::{Code, Error};
use kenning_runtime::Recording;

/// What one guest saw in one call, for `kenning replay`. It quotes the caller and what is stored;
/// for each secret stands a placeholder.
#[derive(ToSchema)]
#[schema(as = Recording)]
#[expect(dead_code, reason = "describes `runtime::Recording`")]
struct RecordingAnswer {
    /// The version of Kenning that made it, and that can replay it.
    version: String,
    /// The architecture of the processor.
    architecture: String,
    request_id: String,
    #[schema(format = DateTime)]
    time: String,
    #[schema(value_type = TenantName)]
    tenant: String,
    /// `logic`, or the extension's name.
    component: String,
    is_logic: bool,
    generation: u64,
    #[schema(value_type = Digest)]
    digest: String,
    /// The function that was called.
    operation: String,
    fuel_limit: u64,
    fuel_used: u64,
    /// Of `fuel_used`, what the guest used itself.
    guest_fuel: u64,
    #[schema(value_type = RecordedEnd)]
    ended: String,
    /// Where it failed, innermost first.
    stack: Vec<String>,
    /// The digest of its settings; `null` if it had none.
    #[schema(required)]
    settings_digest: Option<String>,
    /// The names of the secrets that it read.
    secrets: Vec<String>,
    /// Whether all that the guest saw is here.
    is_complete: bool,
    /// The limits of the server.
    #[schema(value_type = Object)]
    limits: String,
    /// The arguments, encoded in Base64.
    input: String,
    /// The calls of imports, with their answers.
    calls: Vec<RecordedCall>,
    /// Readings of the clock in nanoseconds, each with how often it was read in a row.
    #[schema(value_type = Object)]
    wall_clock: String,
    /// The same of the other clock.
    #[schema(value_type = Object)]
    monotonic_clock: String,
    /// What its random numbers were made of, encoded in Base64.
    seed: String,
}

/// How a guest's part of a call ended.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes `runtime::CallEnd`")]
struct RecordedEnd {
    /// `failed`, `deadline`, `refused` or `succeeded`.
    how: String,
    /// Why, unless it succeeded.
    #[schema(nullable = false)]
    error: Option<String>,
}

/// One call of an import.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes `runtime::Recording`")]
struct RecordedCall {
    import: String,
    /// Encoded in Base64; `null` if the guest's part ended before it came.
    #[schema(required)]
    answer: Option<String>,
    /// The fuel that the host used for it.
    fuel: u64,
}

/// What was dropped.
#[derive(Serialize, ToSchema)]
struct RecordingsDropped {
    status: Success,
    /// How many recordings there were of this request.
    dropped: u64,
}

/// What a guest saw whose call failed in this request
///
/// For `kenning replay`. Recordings of the last calls that failed are in the memory of the host
/// that answered them. If several guests failed in one request, this is the last one.
#[utoipa::path(
    get,
    path = "/v1/admin/requests/{id}/replay",
    operation_id = "getRecording",
    tag = "operations",
    params(RequestInPath),
    responses(
        (status = 200, description = "What it saw.", body = RecordingAnswer),
        (status = 404, response = NotFound),
    ),
)]
pub(in crate::http) async fn get(
    State(app): State<Arc<App>>,
    _: Admin,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    Ok(Json(&*recording(&app, &id)?).into_response())
}

/// Forget what guests saw in this request
#[utoipa::path(
    delete,
    path = "/v1/admin/requests/{id}/replay",
    operation_id = "dropRecording",
    tag = "operations",
    params(RequestInPath),
    responses(
        (status = 200, description = "It is forgotten.", body = RecordingsDropped),
        (status = 404, response = NotFound),
    ),
)]
pub(in crate::http) async fn drop(
    State(app): State<Arc<App>>,
    _: Admin,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    recording(&app, &id)?;
    let dropped = app.kb.services().recordings.forget(&id) as u64;
    Ok(Json(RecordingsDropped { status: Success::Success, dropped }).into_response())
}

/// The component that failed in this request
///
/// Its bytes, for `kenning replay`, as long as a generation on record has them.
#[utoipa::path(
    get,
    path = "/v1/admin/requests/{id}/component",
    operation_id = "getRecordedComponent",
    tag = "operations",
    params(RequestInPath),
    responses(
        (
            status = 200,
            description = "The component.",
            content((Component = "application/wasm")),
        ),
        (status = 404, response = NotFound),
    ),
)]
pub(in crate::http) async fn component(
    State(app): State<Arc<App>>,
    _: Admin,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    let recording = recording(&app, &id)?;
    let mut owners: Vec<_> =
        TenantId::parse(&recording.tenant).ok().map(Owner::Tenant).into_iter().collect();
    if recording.is_logic {
        owners.push(Owner::Server);
    }
    for owner in owners {
        let found = app.kb.registry().archive.component(&owner, &recording.digest).await;
        if let Some(bytes) = found.map_err(|error| app.kb.storage_error(&error))? {
            return Ok(([(CONTENT_TYPE, "application/wasm")], bytes).into_response());
        }
    }
    let Recording { component, generation, digest, .. } = &*recording;
    let message = format!(
        "the component of this call, {component} generation {generation} ({digest}), is not in \
         storage any more: give `kenning replay` its file with --with"
    );
    Err(Error::new(Code::NotFound, message).into())
}

fn recording(app: &App, id: &str) -> Result<Arc<Recording>, Error> {
    let recordings = app.kb.services().recordings.of(id);
    recordings.into_iter().next().ok_or_else(|| {
        Error::new(
            Code::NotFound,
            "nothing is recorded of this request: the host that answered it keeps what guests saw \
             whose calls failed, within recordings, recordings_bytes and recordings_age_ms, and \
             not of the logic that it brings itself",
        )
    })
}
