//! `GET /v1/export`: every fact of the tenant as JSON Lines, newest first, read a page at a time.
//! Each page reserves memory from the budget of all bodies until the caller has read it. A failure
//! in the middle breaks the connection, so that nobody mistakes a partial export for a complete
//! one.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream;
use http::header;

use super::answer::{Refusal, name_guests};
use super::auth::Who;
use super::facts::FactAnswer;
use crate::http::App;
use kenning_core::error::Error;
use kenning_core::provenance::ServedBy;

/// Facts in one piece of the stream.
const PAGE: u32 = 500;

/// One page of the stream, and the cursor of the next.
struct Piece {
    lines: Bytes,
    cursor: Option<String>,
    served: ServedBy,
}

/// Every fact, streamed as JSON Lines
///
/// One `Fact` a line, newest first. A complete export ends with the last, empty chunk of the
/// transfer; one that fails after its first byte breaks the connection instead.
#[utoipa::path(
    get,
    path = "/v1/export",
    operation_id = "exportFacts",
    tag = "bulk",
    responses(
        (
            status = 200,
            description = "One fact a line.",
            body = FactAnswer,
            content_type = "application/x-ndjson",
        ),
    ),
)]
pub(super) async fn export(State(app): State<Arc<App>>, who: Who) -> Result<Response, Refusal> {
    // The first page is read before the status is sent, so that a failure has one.
    let first = piece(&app, &who, None).await?;
    let served = first.served.clone();
    let pieces = stream::try_unfold(Some(Ok(first)), move |next: Option<Result<Piece, String>>| {
        let (app, who) = (app.clone(), who.clone());
        async move {
            let current = match next {
                None => return Ok::<_, Error>(None),
                Some(Ok(first)) => first,
                Some(Err(cursor)) => piece(&app, &who, Some(cursor)).await?,
            };
            Ok(Some((current.lines, current.cursor.map(Err))))
        }
    });
    let content_type = [(header::CONTENT_TYPE, "application/x-ndjson")];
    let mut response = (content_type, Body::from_stream(pieces)).into_response();
    name_guests(&mut response, &served);
    Ok(response)
}

async fn piece(app: &App, who: &Who, cursor: Option<String>) -> Result<Piece, Error> {
    let limit = PAGE.min(app.limits.page_facts as u32);
    let caller = who.within(app.limits.call);
    let answered = app.kb.list(&caller, None, limit, cursor).await?;
    let mut lines = Vec::new();
    for fact in answered.value.facts {
        let fact = FactAnswer::try_from(fact);
        let fact = fact.map_err(|error| error.from_guests(answered.served_by.clone()))?;
        serde_json::to_writer(&mut lines, &fact).map_err(Error::internal)?;
        lines.push(b'\n');
    }
    let reservation = app.bodies.reserve_until(lines.len(), caller.deadline).await?;
    let (cursor, served) = (answered.value.cursor, answered.served_by);
    Ok(Piece { lines: reservation.attach(lines.into()), cursor, served })
}
