//! The answer to an import: what was taken, what was refused, and why it ended early if it did.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream;
use http::{HeaderValue, StatusCode, header};
use kenning_storage::Revision;
use serde::Serialize;
use utoipa::ToSchema;

use super::progress::Counts;
use crate::http::answer::{REVISION, Refusal};
use crate::http::body_budget::{BodyBudget, Reservation};
use crate::http::openapi::{ErrorBody, Success};
use kenning_core::error::{Code, Error};

/// Refused lines that an answer names; more are only counted.
const REPORTED: usize = 1_000;

/// Answers up to this size are sent at once; the budget of all bodies counts larger ones while they
/// are sent.
const SMALL: usize = 64 * 1024;

/// What one refused line takes besides its message and details, in bytes.
const OVERHEAD: usize = 256;

/// A line that was not imported.
#[derive(Serialize, ToSchema)]
struct RefusedLine {
    #[serde(flatten)]
    error: ErrorBody,
    /// The number of the line in the request's body; the first is 1.
    #[schema(minimum = 1)]
    line: u64,
}

/// What an import took.
#[derive(Serialize, ToSchema)]
pub(super) struct ImportAnswer {
    status: Success,
    #[serde(flatten)]
    summary: ImportSummary,
}

/// The counts of an import.
#[derive(Serialize, ToSchema)]
struct ImportSummary {
    /// Lines whose facts are stored.
    imported: u64,
    /// Lines that were not taken.
    failed: u64,
    /// The first line that was not taken; `null` if there is none.
    #[schema(required, minimum = 1)]
    first_refused_line: Option<u64>,
    /// The last line that was taken or refused by itself. Where an import ended early, it can be
    /// continued from the line after this.
    last_line: u64,
    /// Lines that were read, blank ones too.
    lines: u64,
    /// The first 1,000 refused lines, in their order.
    #[schema(max_items = 1000)]
    errors: Vec<RefusedLine>,
    took_ms: u64,
}

/// An error, with what the import took all the same; without the counts where the request was
/// refused before its body was read.
#[derive(Serialize, ToSchema)]
pub(super) struct ImportRefusal {
    #[serde(flatten)]
    error: ErrorBody,
    /// Lines whose facts are stored.
    #[schema(nullable = false)]
    imported: Option<u64>,
    /// Lines that were not taken.
    #[schema(nullable = false)]
    failed: Option<u64>,
    /// The first line that was not taken; `null` if there is none.
    #[schema(minimum = 1)]
    first_refused_line: Option<u64>,
    /// The last line that was taken or refused by itself: the import can be continued from the line
    /// after this.
    #[schema(nullable = false)]
    last_line: Option<u64>,
    /// Lines that were read, blank ones too.
    #[schema(nullable = false)]
    lines: Option<u64>,
    /// The first 1,000 refused lines, in their order.
    #[schema(max_items = 1000, nullable = false)]
    errors: Option<Vec<RefusedLine>>,
    #[schema(nullable = false)]
    took_ms: Option<u64>,
}

#[derive(Serialize)]
struct Refused {
    #[serde(flatten)]
    error: ErrorBody,
    #[serde(flatten)]
    summary: ImportSummary,
}

/// The refused lines that the answer will name.
#[derive(Default)]
pub(super) struct RefusedLines {
    lines: Vec<RefusedLine>,
    reserved: Reservation,
}

impl RefusedLines {
    /// Notes a line, unless there are enough: the first lines count, and lines come in order but
    /// for those of one group. None is noted for which there is no memory.
    pub(super) fn push(&mut self, line: u64, error: &Error, group: usize, budget: &BodyBudget) {
        if self.lines.len() >= REPORTED + group {
            return;
        }
        let details = error.details.as_ref().map_or(0, |details| details.to_string().len());
        let bytes = OVERHEAD + error.message.len() + details;
        let Ok(reserved) = budget.reserve(bytes) else { return };
        self.reserved.merge(reserved);
        self.lines.push(RefusedLine { error: ErrorBody::from(error), line });
    }
}

/// An import that has ended.
pub(super) struct Report {
    pub(super) counts: Counts,
    pub(super) refused: RefusedLines,
    /// Why it ended before its body did.
    pub(super) error: Option<Error>,
    pub(super) took_ms: u64,
}

impl Report {
    /// The error to answer with, if a line was not taken.
    pub(super) fn error(&self) -> Option<Error> {
        let Counts { failed, lines, first_refused_line, .. } = &self.counts;
        if self.error.is_some() || *failed == 0 {
            return self.error.clone();
        }
        let first = first_refused_line.unwrap_or_default();
        let message = format!(
            "{failed} of {lines} lines were refused; the first is line {first}, and \"errors\" \
             says why"
        );
        Some(Error::new(Code::Rejected, message))
    }
}

impl IntoResponse for Report {
    fn into_response(mut self) -> Response {
        let refusal = self.error();
        let RefusedLines { lines: mut errors, reserved } = std::mem::take(&mut self.refused);
        errors.sort_by_key(|refused| refused.line);
        errors.truncate(REPORTED);
        let Counts { imported, failed, first_refused_line, last_line, lines, .. } = self.counts;
        let (took_ms, revision) = (self.took_ms, self.counts.revision);
        let summary = ImportSummary {
            imported,
            failed,
            first_refused_line,
            last_line,
            lines,
            errors,
            took_ms,
        };
        let mut response = match refusal {
            None => {
                let answer = ImportAnswer { status: Success::Success, summary };
                let json = HeaderValue::from_static("application/json");
                let head = (StatusCode::OK, [(header::CONTENT_TYPE, json)]).into_response();
                with_body(head, serde_json::to_vec(&answer), reserved)
            }
            Some(error) => {
                let answer = Refused { error: ErrorBody::from(&error), summary };
                with_body(Refusal(error).into_response(), serde_json::to_vec(&answer), reserved)
            }
        };
        if let Some(Revision(revision)) = revision {
            response.headers_mut().insert(REVISION, revision.into());
        }
        response
    }
}

fn with_body(head: Response, body: serde_json::Result<Vec<u8>>, reserved: Reservation) -> Response {
    let (parts, _) = head.into_parts();
    match body {
        Ok(body) if body.len() < SMALL => Response::from_parts(parts, Body::from(body)),
        // Its bytes are reserved already, so it must not be counted by its length.
        Ok(body) => {
            let bytes = reserved.attach(body.into());
            let body = Body::from_stream(stream::iter([Ok::<Bytes, Error>(bytes)]));
            Response::from_parts(parts, body)
        }
        Err(error) => Refusal(Error::internal(error)).into_response(),
    }
}
