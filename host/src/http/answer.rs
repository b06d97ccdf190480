//! Answers and errors as HTTP responses.

use std::sync::Arc;

use axum::Json;
use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use kenning_storage::Revision;
use serde::Serialize;

use crate::http::App;
use crate::kb;
use kenning_core::error::{Code, Error};
use kenning_core::provenance::ServedBy;

pub(super) const GENERATION: HeaderName = HeaderName::from_static("x-kenning-generation");
pub(super) const DIGEST: HeaderName = HeaderName::from_static("x-kenning-digest");
/// `name=generation` of each extension that ran, in their order.
pub(super) const EXTENSIONS: HeaderName = HeaderName::from_static("x-kenning-extensions");

/// `name=hook` of each hook that failed and was left out.
pub(super) const LEFT_OUT: HeaderName = HeaderName::from_static("x-kenning-left-out");

/// The tenant's revision after a write.
pub(super) const REVISION: HeaderName = HeaderName::from_static("x-kenning-revision");

/// What tells nginx to pass each event of a stream on as it comes.
pub(super) const UNBUFFERED: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));

/// How to authenticate (RFC 6750).
const CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer realm=\"kenning\"");

/// Answers up to this size are not counted: the socket's buffer holds them, and the answer
/// to a write is never larger.
const SMALL_ANSWER: u64 = 64 * 1024;

/// What a handler returns.
pub(super) type Reply = Result<Response, Refusal>;

/// How much of one error's message the log keeps: a guest's messages may be of any length.
const LOGGED_BYTES: usize = 4 * 1024;

/// An error as a response.
pub(crate) struct Refusal(pub(super) Error);

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

/// What `convert` makes of the guests' answer, as JSON. The response names those guests, also where
/// `convert` fails.
pub(super) fn reply<T, A: Serialize>(
    status: StatusCode,
    answered: kb::Response<T>,
    convert: impl FnOnce(T) -> Result<A, Error>,
) -> Reply {
    let kb::Response { value, served_by, revision, .. } = answered;
    let value = convert(value).map_err(|error| error.from_guests(served_by.clone()))?;
    let mut response = (status, Json(value)).into_response();
    name_guests(&mut response, &served_by);
    if let Some(Revision(revision)) = revision {
        response.headers_mut().insert(REVISION, revision.into());
    }
    Ok(response)
}

/// For members that are only there if there is something to count.
pub(super) fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Names the guests that answered in the headers: the logic, the extensions that ran, and the hooks
/// that were left out.
pub(super) fn name_guests(response: &mut Response, served_by: &ServedBy) {
    let headers = response.headers_mut();
    headers.insert(GENERATION, served_by.logic.number.into());
    if let Ok(digest) = HeaderValue::from_str(&served_by.logic.digest) {
        headers.insert(DIGEST, digest);
    }
    for (name, list) in [(EXTENSIONS, &served_by.extensions), (LEFT_OUT, &served_by.left_out)] {
        if let Some(Ok(list)) = list.as_deref().map(HeaderValue::from_str) {
            headers.insert(name, list);
        }
    }
}

/// The error in a response, for whoever keeps records of failures.
#[derive(Clone)]
pub(super) struct Failed(pub(super) Arc<Error>);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let error = self.0;
        log(&error);
        metrics::counter!("kenning_errors_total", "code" => error.code.as_str()).increment(1);
        let status = StatusCode::from_u16(error.code.status()).unwrap_or_default();
        let mut response = (status, Json(error.body())).into_response();
        if let Some(served_by) = &error.served_by {
            name_guests(&mut response, served_by);
        }
        if let Some(after) = error.retry_after {
            let seconds = after.as_secs_f64().ceil().max(1.0) as u64;
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        if error.code == Code::Unauthorized {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, CHALLENGE);
        }
        response.extensions_mut().insert(Failed(Arc::new(error)));
        response
    }
}

/// Logs each failure once, where it is answered; a caller's mistake only for debugging.
fn log(error: &Error) {
    let (code, source) = (error.code.as_str(), error.source.as_deref().map(cut));
    match error.code {
        Code::Internal => tracing::error!(code, source, "request failed"),
        _ if error.code.status() >= 500 => {
            tracing::warn!(code, reason = cut(&error.message), "request failed");
        }
        _ => tracing::debug!(code, "request refused"),
    }
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(LOGGED_BYTES)]
}

/// Reserves memory for an answer until its caller has read it, and refuses the request if there
/// is not enough. Streamed answers reserve for each of their pieces themselves.
pub(super) async fn count_answer(
    State(app): State<Arc<App>>,
    request: Request,
    next: Next,
) -> Response {
    let response = next.run(request).await;
    match response.body().size_hint().exact() {
        Some(SMALL_ANSWER..) => {
            counted(&app, response).await.unwrap_or_else(|error| Refusal(error).into_response())
        }
        _ => response,
    }
}

async fn counted(app: &App, response: Response) -> Result<Response, Error> {
    let (parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, usize::MAX).await.map_err(Error::internal)?;
    let bytes = app.bodies.reserve(bytes.len())?.attach(bytes);
    Ok(Response::from_parts(parts, Body::from(bytes)))
}
