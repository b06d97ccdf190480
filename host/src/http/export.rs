//! `GET /v1/export`: every fact of the tenant, or those that match a filter, as JSON Lines, newest
//! first, read a page at a time.
//!
//! Each page reserves memory from the budget of all bodies until the caller has read it. A failure
//! in the middle breaks the connection, so that nobody mistakes a partial export for a complete
//! one. How many facts a guest spoilt is known at the end only, so a last line says it.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream;
use http::header;
use kenning_index::Filter;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::answer::{Refusal, name_guests};
use super::auth::Who;
use super::facts::FactAnswer;
use super::matching::{self, Parameters};
use crate::http::App;
use crate::kb::Selection;
use kenning_core::error::Error;
use kenning_core::provenance::ServedBy;
use kenning_runtime::Verb;

/// Facts in one piece of the stream.
const PAGE: u32 = 500;

/// One page of the stream, and where the next begins.
struct Piece {
    lines: Bytes,
    next: Option<Position>,
    served: ServedBy,
}

/// A place between two pages.
struct Position {
    cursor: String,
    /// Facts withheld from the pages before it.
    withheld: u64,
}

/// The last line of an export, if facts were withheld from it. An import skips it.
#[derive(Serialize, ToSchema)]
pub(super) struct WithheldLine {
    /// Facts that are left out because a guest returned them spoilt.
    #[schema(minimum = 1)]
    withheld: u64,
}

/// A line of an export.
#[derive(ToSchema)]
#[schema(as = ExportLine)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes the lines that are written one by one")]
enum ExportLine {
    Fact(FactAnswer),
    Withheld(WithheldLine),
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[into_params(parameter_in = Query)]
pub(super) struct ExportParameters {
    /// Only facts that match: a `Filter`, as JSON. It reads what the export shows.
    #[param(nullable = false, example = r#"{"topic":"network"}"#)]
    filter: Option<String>,
}

/// Every fact, streamed as JSON Lines
///
/// One `Fact` a line, newest first. A complete export ends with the last, empty chunk of the
/// transfer; one that fails after its first byte breaks the connection instead. If facts are left
/// out because a guest returned them spoilt, the last line is `{"withheld": N}`; an import skips
/// it.
#[utoipa::path(
    get,
    path = "/v1/export",
    operation_id = "exportFacts",
    tag = "bulk",
    params(ExportParameters),
    responses(
        (
            status = 200,
            description = "One fact a line.",
            body = ExportLine,
            content_type = "application/x-ndjson",
        ),
    ),
)]
pub(super) async fn export(
    State(app): State<Arc<App>>,
    who: Who,
    Parameters(parameters): Parameters<ExportParameters>,
) -> Result<Response, Refusal> {
    let filter = parameters.filter.as_deref().map(matching::filter).transpose()?;
    // The first page is read before the status is sent, so that a failure has one.
    let first = piece(&app, &who, filter.clone(), None).await?;
    let served = first.served.clone();
    let first = Some(Ok(first));
    let pieces = stream::try_unfold(first, move |next: Option<Result<Piece, Position>>| {
        let (app, who, filter) = (app.clone(), who.clone(), filter.clone());
        async move {
            let current = match next {
                None => return Ok::<_, Error>(None),
                Some(Ok(first)) => first,
                Some(Err(position)) => piece(&app, &who, filter, Some(position)).await?,
            };
            Ok(Some((current.lines, current.next.map(Err))))
        }
    });
    let content_type = [(header::CONTENT_TYPE, "application/x-ndjson")];
    let mut response = (content_type, Body::from_stream(pieces)).into_response();
    name_guests(&mut response, &served);
    Ok(response)
}

async fn piece(
    app: &App,
    who: &Who,
    filter: Option<Arc<Filter>>,
    from: Option<Position>,
) -> Result<Piece, Error> {
    let (cursor, before) = from.map(|from| (from.cursor, from.withheld)).unzip();
    let limit = PAGE.min(app.limits.page_facts as u32);
    let caller = who.within(app.limits.call).asking_to(Verb::Export);
    let answered = match filter {
        None => app.kb.list(&caller, None, limit, cursor).await?,
        Some(filter) => {
            let selection = Selection { containing: None, filter };
            app.kb.list_matching(&caller, selection, limit, cursor).await?
        }
    };
    let mut lines = Vec::new();
    for fact in answered.value.facts {
        let fact = FactAnswer::try_from(fact);
        let fact = fact.map_err(|error| error.from_guests(answered.served_by.clone()))?;
        serde_json::to_writer(&mut lines, &fact).map_err(Error::internal)?;
        lines.push(b'\n');
    }
    let withheld = before.unwrap_or(0) + answered.withheld;
    let next = answered.value.cursor.map(|cursor| Position { cursor, withheld });
    if next.is_none() && withheld > 0 {
        serde_json::to_writer(&mut lines, &WithheldLine { withheld }).map_err(Error::internal)?;
        lines.push(b'\n');
    }
    let reservation = app.bodies.reserve_until(lines.len(), caller.deadline).await?;
    let served = answered.served_by;
    Ok(Piece { lines: reservation.attach(lines.into()), next, served })
}
