//! `POST /v1/import`: takes JSON Lines, one fact a line, and answers when the body has been read.
//! `GET /v1/imports/{id}` says how far it is meanwhile.
//!
//! At any time an import holds one group of facts and the line that follows, both within the budget
//! of all bodies.
//!
//! | file | holds |
//! |---|---|
//! | `line` | what a line may be |
//! | `run` | reads the body, line by line |
//! | `group` | stores lines together, and tries again what may pass |
//! | `report` | the answer |
//! | `progress` | the imports that are under way, and how far they are |

mod group;
mod line;
mod progress;
mod report;
mod run;

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use tracing::Instrument;
use utoipa::IntoParams;
use uuid::Uuid;

use super::answer::{Refusal, name_guests};
use super::auth::Who;
use super::id::Id;
use super::matching::Parameters;
use super::openapi::{Conflict, JsonLines, NotFound, examples};
use crate::http::App;
use crate::kb::StoreMode;
use kenning_core::error::{Code, Error};
use line::ImportFact;
#[cfg(feature = "fuzzing")]
pub(super) use line::to_submission;
use progress::ImportProgress;
pub use progress::Imports;
use report::{ImportAnswer, ImportRefusal};
use run::Import;

/// Names an import, so that its caller can ask how far it is.
const IMPORT_ID: HeaderName = HeaderName::from_static("x-kenning-import-id");

/// The id of an import.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes what `given_id` reads")]
struct ImportId {
    /// A name of the caller's choice for this import, under which `GET /v1/imports/{id}` says how
    /// far it is: 1 to 128 ASCII letters, digits, `.`, `_` and `-`. Generated if left out.
    #[param(rename = "x-kenning-import-id", required = false, example = "nightly-2026-02-03")]
    id: String,
}

/// What an import does with every line.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[into_params(parameter_in = Query)]
pub(super) struct ImportParameters {
    /// The `mode` of each line that has none.
    #[param(nullable = false)]
    mode: Option<StoreMode>,
}

/// An import in the path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes what `import_progress` reads")]
struct ImportInPath {
    /// The id that the import was given in `x-kenning-import-id`.
    #[param(example = "nightly-2026-02-03")]
    id: String,
}

/// Store facts from JSON Lines
///
/// One `ImportFact` a line, of at most 1 MiB. The body may have any size and is read as it is
/// stored; the answer comes when it has been read. A bad line is refused and the rest goes on.
/// What was taken is stored whatever the status is.
///
/// Where storage is slow or away, the import waits and tries again, for 40 s at most. A quota that
/// is used up ends it, after storing what fits; so does a server that stops. Then `last_line` says
/// from where to continue. Lines that carry an id can be imported again: a fact that is there with
/// the same content does not change; with other content, `mode` says what happens.
#[utoipa::path(
    post,
    path = "/v1/import",
    operation_id = "importFacts",
    tag = "bulk",
    params(ImportId, ImportParameters),
    request_body(content(
        (
            ImportFact = "application/x-ndjson",
            examples(
                ("draft" = (value = json!({
                    "fact_id": "ada-tea",
                    "text": "Ada prefers tea.",
                    "metadata": { "topic": "people" },
                }))),
                ("exported" = (value = json!(examples::fact()))),
            ),
        ),
        (JsonLines = "application/octet-stream"),
    )),
    responses(
        (
            status = 200,
            description = "Every line was taken.",
            body = ImportAnswer,
            example = json!({
                "status": "success",
                "imported": 1204,
                "failed": 0,
                "first_refused_line": null,
                "last_line": 1204,
                "lines": 1204,
                "errors": [],
                "took_ms": 812,
            }),
        ),
        (status = 409, response = Conflict),
        (
            status = 422,
            description = "`rejected`: some lines were refused, or all; `errors` says why.",
            body = ImportRefusal,
            example = json!({
                "status": "error",
                "code": "rejected",
                "message": "1 of 1204 lines were refused; the first is line 17, and \"errors\" \
                            says why",
                "retryable": false,
                "blame": "caller",
                "imported": 1203,
                "failed": 1,
                "first_refused_line": 17,
                "last_line": 1204,
                "lines": 1204,
                "errors": [{
                    "status": "error",
                    "code": "invalid_request",
                    "message": "the JSON cannot be read: expected `,` or `}` at line 1 column 31",
                    "retryable": false,
                    "blame": "caller",
                    "details": { "pointer": "" },
                    "line": 17,
                }],
                "took_ms": 812,
            }),
        ),
        (
            status = 429,
            description = "`quota_exceeded`: a quota ended the import; what fits is stored.",
            body = ImportRefusal,
            example = json!({
                "status": "error",
                "code": "quota_exceeded",
                "message": "the import stopped after line 49: this tenant's facts are limited to \
                            49, and 49 are used",
                "retryable": true,
                "blame": "caller",
                "details": { "limit": "facts", "allowed": 49, "used": 49 },
                "imported": 49,
                "failed": 287,
                "first_refused_line": 50,
                "last_line": 49,
                "lines": 336,
                "errors": [{
                    "status": "error",
                    "code": "quota_exceeded",
                    "message": "this tenant's facts are limited to 49, and 49 are used",
                    "retryable": true,
                    "blame": "caller",
                    "details": { "limit": "facts", "allowed": 49, "used": 49 },
                    "line": 50,
                }],
                "took_ms": 120,
            }),
        ),
        (
            status = 503,
            description = "`overloaded`: the server is stopping. `storage_unavailable`: storage \
                           was away for too long.",
            body = ImportRefusal,
            example = json!({
                "status": "error",
                "code": "overloaded",
                "message": "the import stopped after line 1150: the server is stopping; import \
                            the lines after it again",
                "retryable": true,
                "blame": "host",
                "imported": 1150,
                "failed": 50,
                "first_refused_line": 1151,
                "last_line": 1150,
                "lines": 1200,
                "errors": [],
                "took_ms": 6410,
            }),
        ),
    ),
)]
pub(super) async fn import(
    State(app): State<Arc<App>>,
    who: Who,
    Parameters(parameters): Parameters<ImportParameters>,
    request: Request,
) -> Result<Response, Refusal> {
    let id = given_id(request.headers())?.unwrap_or_else(|| Uuid::new_v4().to_string());
    let served = app.kb.served_by_of(who.tenant());
    let tracked = app.imports.begin(who.tenant(), &id)?;
    let mode = parameters.mode.unwrap_or_default();
    let import = Import::new(app, who, tracked, mode).run(request.into_body());
    // In a task of its own: where the caller goes away, the whole lines that arrived are stored.
    let import = kenning_trace::within(kenning_trace::current(), import.in_current_span());
    let report = tokio::spawn(import).await.map_err(Error::internal)?;
    let mut response = report.into_response();
    name_guests(&mut response, &served);
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(IMPORT_ID, id);
    }
    Ok(response)
}

fn given_id(headers: &HeaderMap) -> Result<Option<String>, Error> {
    let Some(id) = headers.get(IMPORT_ID) else { return Ok(None) };
    match std::str::from_utf8(id.as_bytes()) {
        Ok(id) if progress::is_valid_id(id.as_bytes()) => Ok(Some(id.to_owned())),
        _ => Err(Error::invalid(
            "/headers/x-kenning-import-id",
            "x-kenning-import-id is 1 to 128 ASCII letters, digits, '.', '_' and '-'",
        )),
    }
}

/// How far an import is
///
/// Of imports under way on this host, and of the tenant's last 20 that ended here since it started.
#[utoipa::path(
    get,
    path = "/v1/imports/{id}",
    operation_id = "importProgress",
    tag = "bulk",
    params(ImportInPath),
    responses(
        (
            status = 200,
            description = "How far the import is.",
            body = ImportProgress,
            examples(
                ("running" = (value = json!({
                    "id": "nightly-2026-02-03",
                    "state": "running",
                    "imported": 1150,
                    "failed": 0,
                    "first_refused_line": null,
                    "lines": 1200,
                    "bytes": 214016,
                    "age_ms": 900,
                }))),
                ("ended" = (value = json!({
                    "id": "nightly-2026-02-03",
                    "state": "ended",
                    "imported": 1204,
                    "failed": 0,
                    "first_refused_line": null,
                    "lines": 1204,
                    "bytes": 214730,
                    "http_status": 200,
                    "age_ms": 60000,
                }))),
            ),
        ),
        (status = 404, response = NotFound),
    ),
)]
pub(super) async fn import_progress(
    State(app): State<Arc<App>>,
    who: Who,
    Id(id): Id,
) -> Result<Json<ImportProgress>, Refusal> {
    let checked = app.kb.check_caller(&who.within(app.limits.storage_operation)).await;
    // An import that waits for storage says so: the keys last known are good meanwhile.
    if let Err(error) = checked
        && error.code == Code::Unauthorized
    {
        return Err(error.into());
    }
    let progress = app.imports.get(who.tenant(), &id).ok_or_else(|| {
        let message = format!("this host knows no import with the id {id:?} of this tenant");
        Error::new(Code::NotFound, message)
    })?;
    Ok(Json(progress))
}
