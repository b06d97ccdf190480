//! `GET /v1/export`: every fact of the tenant as JSON Lines, newest first, a page
//! at a time. Each page is counted with all other bodies until it has been taken. A
//! failure in the middle breaks the connection, so that a cut export cannot be taken for
//! a whole one.

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

/// One page on its way out, and where the next begins.
struct Piece {
    lines: Bytes,
    cursor: Option<String>,
    served_by: ServedBy,
}

/// `GET /v1/export`
pub(super) async fn export(State(app): State<Arc<App>>, who: Who) -> Result<Response, Refusal> {
    // The first page is read before the status is sent, so that a failure has one.
    let first = piece(&app, &who, None).await?;
    let served_by = first.served_by.clone();
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
    name_guests(&mut response, &served_by);
    Ok(response)
}

async fn piece(app: &App, who: &Who, cursor: Option<String>) -> Result<Piece, Error> {
    let limit = PAGE.min(app.limits.page_facts as u32);
    let caller = who.within(app.limits.call);
    let response = app.kb.list(&caller, None, limit, cursor).await?;
    let mut lines = Vec::new();
    for fact in response.value.facts {
        let fact = FactAnswer::try_from(fact);
        let fact = fact.map_err(|error| error.from_guests(response.served_by.clone()))?;
        serde_json::to_writer(&mut lines, &fact).map_err(Error::internal)?;
        lines.push(b'\n');
    }
    let held = app.bodies.wait(lines.len(), caller.deadline).await?;
    let (cursor, served_by) = (response.value.cursor, response.served_by);
    Ok(Piece { lines: held.within(lines.into()), cursor, served_by })
}
