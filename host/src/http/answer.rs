//! Answers and refusals on the wire.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;

use crate::kb;
use kenning_core::error::{Code, Error};
use kenning_core::provenance::ServedBy;

pub(super) const GENERATION: HeaderName = HeaderName::from_static("x-kenning-generation");
pub(super) const DIGEST: HeaderName = HeaderName::from_static("x-kenning-digest");
/// `name=generation` of each extension, in their order.
pub(super) const EXTENSIONS: HeaderName = HeaderName::from_static("x-kenning-extensions");

/// How to come back with a key (RFC 6750).
const CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer realm=\"kenning\"");

/// A handler's answer: what the guest said, and which guest it was.
pub(super) type Reply = Result<Response, Refusal>;

/// What the log holds of one error: a guest says how long its messages are.
const LOGGED_BYTES: usize = 4 * 1024;

/// An error on its way out.
pub(super) struct Refusal(pub(super) Error);

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

/// `value` as JSON, with the generation it came from.
pub(super) fn reply<T: Serialize>(status: StatusCode, answered: kb::Response<T>) -> Response {
    let mut response = (status, Json(answered.value)).into_response();
    name_guests(&mut response, &answered.served_by);
    response
}

/// Which guests answered: the logic, and the extensions whose hooks stand in its way.
pub(super) fn name_guests(response: &mut Response, served_by: &ServedBy) {
    let headers = response.headers_mut();
    headers.insert(GENERATION, served_by.logic.number.into());
    if let Ok(digest) = HeaderValue::from_str(&served_by.logic.digest) {
        headers.insert(DIGEST, digest);
    }
    if let Some(Ok(extensions)) = served_by.extensions.as_deref().map(HeaderValue::from_str) {
        headers.insert(EXTENSIONS, extensions);
    }
}

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
        response
    }
}

/// Once, here, where the failure is answered. What the caller did wrong is no news.
fn log(error: &Error) {
    let (code, source) = (error.code.as_str(), error.source.as_deref().map(cut));
    match error.code {
        Code::Internal => tracing::error!(code, source, "request failed"),
        _ if error.code.status() >= 500 => {
            tracing::warn!(code, message = cut(&error.message), "request failed");
        }
        _ => tracing::debug!(code, "request refused"),
    }
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(LOGGED_BYTES)]
}
