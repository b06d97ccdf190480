//! What surrounds every request: its id, its line in the log, its numbers, and an
//! answer even if its handler panics.

use std::any::Any;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue};
use tracing::Instrument;
use uuid::Uuid;

use super::answer::{Failed, Refusal};
use super::body::discard;
use super::client::Client;
use crate::http::App;
use crate::journal::FailedRequest;
use crate::server::{Peer, Rejection};
use kenning_core::error::{Code, Error};

pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REQUEST_ID_BYTES: usize = 128;

/// Gives the request an id, or keeps the caller's, and reports it when it is done.
pub(super) async fn observe(
    State(app): State<Arc<App>>,
    mut request: Request,
    next: Next,
) -> Response {
    let begun = Instant::now();
    let id = request_id(&request);
    request.extensions_mut().insert(RequestId(id.clone()));
    let peer = request.extensions().get::<Peer>().copied();
    let client = Client::of(peer, request.headers(), &app.proxies);
    let from = client.address;
    request.extensions_mut().insert(client);
    let method = request.method().clone();
    // The route, not the path: a path holds ids and would be a metric label each.
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str);
    let route = route.to_string();
    // At the level of errors, so that their lines name the request whatever the filter.
    let span = tracing::error_span!("request", id = %id.to_str().unwrap_or_default());
    let mut response = next.run(request).instrument(span.clone()).await;
    let (elapsed, status) = (begun.elapsed(), response.status().as_u16());
    span.in_scope(|| {
        let duration_us = elapsed.as_micros() as u64;
        let from = from.map_or("unix".into(), |address| address.to_string());
        tracing::debug!(%method, route, status, duration_us, from, "answered");
    });
    if let Some(Failed(error)) = response.extensions().get() {
        let (id, method) = (id.to_str().unwrap_or_default(), method.as_str());
        let failed = FailedRequest { id, method, route: &route, took: elapsed, error };
        app.failures.add(&failed);
    }
    metrics::histogram!("kenning_http_seconds", "route" => route.clone())
        .record(elapsed.as_secs_f64());
    let status = status.to_string();
    metrics::counter!("kenning_http_requests_total", "route" => route, "status" => status)
        .increment(1);
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// The id of a request, for whoever handles it.
#[derive(Clone)]
pub(super) struct RequestId(pub(super) HeaderValue);

fn request_id(request: &Request) -> HeaderValue {
    let given = request.headers().get(REQUEST_ID);
    let usable =
        given.filter(|id| (1..=REQUEST_ID_BYTES).contains(&id.len()) && id.to_str().is_ok());
    usable.cloned().unwrap_or_else(|| {
        let id = Uuid::new_v4().to_string();
        HeaderValue::from_str(&id).unwrap_or_else(|_| HeaderValue::from_static("none"))
    })
}

/// A handler that panicked: the log has the reason, the caller an answer.
pub(super) fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let reason = panic.downcast_ref::<String>().map(String::as_str);
    let reason = reason.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
    Refusal(Error::internal(reason)).into_response()
}

/// No such route.
pub(super) async fn no_route(request: Request) -> Response {
    let message = format!("there is no route {}; see /openapi.json", request.uri().path());
    Refusal(Error::new(Code::NotFound, message)).into_response()
}

/// The route is there, the method is not.
pub(super) async fn no_method(request: Request) -> Response {
    let (method, path) = (request.method(), request.uri().path());
    let message = format!("{path} does not take {method}; see /openapi.json");
    Refusal(Error::new(Code::MethodNotAllowed, message)).into_response()
}

/// There is no place for the connection that this came on. Its body is read first: a
/// caller who sends all before it listens would not hear the answer.
pub(super) async fn no_place(State(app): State<Arc<App>>, request: Request) -> Response {
    let reason = request.extensions().get::<Rejection>().copied();
    discard(request.into_body(), app.limits.body_bytes).await;
    let all = Rejection { limit: "connections", allowed: app.limits.connections };
    let Rejection { limit, allowed } = reason.unwrap_or(all);
    Refusal(Error::overloaded(limit, allowed)).into_response()
}
