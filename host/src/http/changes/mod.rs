//! `GET /v1/changes`: a tenant's changes as server-sent events.

mod events;
mod following;

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use kenning_storage::Revision;
use serde::Deserialize;
use tokio::sync::mpsc;
use utoipa::IntoParams;

use super::answer::{REVISION, Refusal, UNBUFFERED};
use super::auth::{Who, read_revision};
use super::matching::Parameters;
use crate::http::App;
use kenning_core::error::Error;

use events::ChangeStream;
use following::Following;

/// Where a client says how far it is, when it connects again.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[into_params(parameter_in = Query)]
pub(super) struct ChangesParameters {
    /// The revision after which to begin, such as `x-kenning-revision` of a write. `Last-Event-ID`
    /// comes before it. Without either, the stream begins with what happens from now on.
    #[param(nullable = false, value_type = Option<u64>, minimum = 0, example = 4711)]
    after: Option<String>,
    /// `false` ends the stream once it has what there is.
    #[serde(default = "yes")]
    #[param(required = false, default = true)]
    follow: bool,
}

/// Where a client that connects again was.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes what `position` reads")]
struct LastEventId {
    /// The `id` of the last event that the client has seen. Clients send it by themselves when they
    /// connect again.
    #[param(rename = "Last-Event-ID", required = false, minimum = 0, example = 4711)]
    last_event_id: u64,
}

fn yes() -> bool {
    true
}

/// Follow a tenant's changes, as server-sent events
///
/// Each event is one change, in the order in which they happened: `stored`, `changed` or `deleted`,
/// with the fact's id and the change's revision as `ChangeEvent`, and never with its text or
/// metadata. Its `id` is the revision, from which a client goes on when it connects again; an `id`
/// without data says how far the stream has come without an event.
///
/// Changes are kept for a while (`stream_changes`, `stream_age_ms`). If some after the client's
/// position are no longer there, it gets an event `gap`, which says which, and then what is still
/// kept. After a gap, read all facts again. Without anything to say the stream has a comment now
/// and then. It ends when the server stops, the key is revoked or the tenant is deleted.
///
/// Where an extension has the hook `on-read`, changes of facts that it hides are left out, and so
/// are all deletions and changes of facts that are gone: the hook cannot be asked about those.
#[utoipa::path(
    get,
    path = "/v1/changes",
    operation_id = "followChanges",
    tag = "bulk",
    params(LastEventId, ChangesParameters),
    responses(
        (
            status = 200,
            description = "Events. `x-kenning-revision` is the tenant's revision when the stream \
                           began.",
            body = ChangeStream,
            content_type = "text/event-stream",
        ),
    ),
)]
pub(super) async fn changes(
    State(app): State<Arc<App>>,
    who: Who,
    headers: HeaderMap,
    Parameters(parameters): Parameters<ChangesParameters>,
) -> Result<Response, Refusal> {
    let asked = position(&headers, parameters.after.as_deref())?;
    let caller = who.within(app.limits.call);
    let last = app.kb.last_revision(who.tenant(), caller.deadline).await?;
    let begin = asked.unwrap_or(last);
    let running = app.kb.tenants().begin(who.tenant(), who.permit())?;
    let subscriber = app.feeds.subscribe(who.tenant(), begin, last)?;
    let until = who.timeout().map(|timeout| Instant::now() + timeout);
    let waits = parameters.follow;
    let mut following = Following { app, who, subscriber, running, waits, until, said: begin };
    // The first changes are read before the status is sent, so that a failure has one.
    let first = following.first().await?;
    let (send, pieces) = mpsc::channel(1);
    tokio::spawn(following.run(send));
    let head = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (REVISION, last.0.into()),
        UNBUFFERED,
    ];
    Ok((head, Body::from_stream(all(first, pieces))).into_response())
}

/// The position that the client says it has reached.
fn position(headers: &HeaderMap, after: Option<&str>) -> Result<Option<Revision>, Error> {
    let (pointer, text) = match headers.get(LAST_EVENT_ID) {
        Some(value) => ("/headers/last-event-id", value.to_str().unwrap_or_default()),
        None => match after {
            Some(after) => ("/after", after),
            None => return Ok(None),
        },
    };
    read_revision(text)
        .map(Some)
        .ok_or_else(|| Error::invalid(pointer, "it is a whole number, as the id of an event is"))
}

fn all(
    first: Bytes,
    pieces: mpsc::Receiver<Bytes>,
) -> impl stream::Stream<Item = Result<Bytes, Error>> {
    stream::unfold((Some(first), pieces), |(first, mut pieces)| async move {
        let piece = match first {
            Some(first) => first,
            None => pieces.recv().await?,
        };
        Some((Ok(piece), (None, pieces)))
    })
}
