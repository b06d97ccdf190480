//! What surrounds every request: its id, its line in the log, its numbers, and an
//! answer even if its handler panics.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue};
use kenning_trace::{Kind, OpenSpan, TraceContext};
use tracing::Instrument;
use uuid::Uuid;

use super::access_log::{self, Line};
use super::answer::{Failed, Refusal};
use super::body::discard;
use super::client::Client;
use super::observed::{Asker, method_label};
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
    let method = method_label(request.method());
    // The route, not the path: a path holds ids and would be a metric label each.
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str);
    let route: Arc<str> = route.into();
    let asker = app.observing.asker();
    if let Some(asker) = &asker {
        request.extensions_mut().insert(asker.clone());
    }
    let trace = app.observing.trace(request.headers());
    let server = Server::begin(trace.as_ref(), method, &route, &id);
    // Of a trace that nobody can look up, nobody needs the id.
    let known = trace.as_ref().filter(|trace| trace.is_known());
    let trace_id = known.map(|trace| trace.trace_id().to_string());
    // At the level of errors, so that their lines name the request whatever the filter.
    let span = tracing::error_span!("request", id = %text(&id), trace_id = trace_id.as_deref());
    let line = asker.clone().filter(|_| app.observing.access_log).map(|asker| Line {
        begun,
        method,
        route: route.clone(),
        request_id: text(&id).to_owned(),
        trace_id: trace_id.clone(),
        peer: from,
        asker,
        received: Arc::default(),
        status: None,
        sent: 0,
    });
    if let Some(line) = &line {
        let received = line.received.clone();
        request = request.map(|body| access_log::received(body, received));
    }
    let here = server.as_ref().map(Server::context).or(trace);
    let answering = next.run(request).instrument(span.clone());
    let mut response = kenning_trace::within(here, answering).await;
    let (elapsed, status) = (begun.elapsed(), response.status().as_u16());
    span.in_scope(|| {
        let duration_us = elapsed.as_micros() as u64;
        let from = from.map_or("unix".into(), |address| address.to_string());
        tracing::debug!(method, route = &*route, status, duration_us, from, "answered");
    });
    let failed = response.extensions().get::<Failed>().map(|Failed(error)| &**error);
    if let Some(error) = failed {
        let (id, trace_id) = (text(&id), trace_id.as_deref());
        let failed = FailedRequest { id, trace_id, method, route: &route, took: elapsed, error };
        app.failures.add(&failed);
    }
    let tenant = asker.as_ref().and_then(Asker::tenant);
    let series = app.observing.tenants.as_deref();
    if let Some(server) = server {
        let code = failed.map_or("error", |error| error.code.as_str());
        server.answered(status, code, tenant.filter(|_| series.is_some()));
    }
    count(method, &route, status, elapsed);
    if let Some((series, tenant)) = series.zip(tenant)
        // A tenant that was known and is not any more was deleted meanwhile.
        && status != 401
    {
        series.count(tenant, status, elapsed);
    }
    if let Some(mut line) = line {
        line.status = Some(status);
        response = response.map(|body| access_log::sent(body, line));
    }
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// The span of a request. As in the log of requests, the status of one whose caller left before
/// there was an answer is [`GONE`](access_log::GONE).
struct Server {
    span: OpenSpan,
    status: u16,
}

impl Server {
    /// `None` if the request is not recorded.
    fn begin(
        trace: Option<&TraceContext>,
        method: &'static str,
        route: &str,
        id: &HeaderValue,
    ) -> Option<Self> {
        let trace = trace.filter(|trace| trace.is_sampled())?;
        let mut span = trace.begin(format!("{method} {route}"), Kind::Server)?;
        span.set("http.request.method", method);
        span.set("http.route", route.to_owned());
        span.set("kenning.request_id", text(id).to_owned());
        Some(Self { span, status: access_log::GONE })
    }

    fn context(&self) -> TraceContext {
        self.span.context()
    }

    /// Ends it. `code` is that of the error, if it is one.
    fn answered(mut self, status: u16, code: &'static str, tenant: Option<&str>) {
        self.status = status;
        if let Some(tenant) = tenant {
            self.span.set("kenning.tenant", tenant.to_owned());
        }
        if status >= 500 {
            self.span.fail(code);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.span.set("http.response.status_code", u64::from(self.status));
    }
}

/// Counts an answer.
fn count(method: &'static str, route: &Arc<str>, status: u16, took: Duration) {
    let (route, status) = (route.to_string(), status.to_string());
    metrics::histogram!("kenning_http_seconds", "method" => method, "route" => route.clone())
        .record(took.as_secs_f64());
    metrics::counter!(
        "kenning_http_requests_total", "method" => method, "route" => route, "status" => status
    )
    .increment(1);
}

fn text(id: &HeaderValue) -> &str {
    id.to_str().unwrap_or_default()
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

#[cfg(test)]
mod tests {
    use kenning_trace::{Queue, Tracer, Value};

    use super::*;

    #[test]
    fn the_span_of_a_caller_who_left_says_so() {
        let queue = Queue::new(10);
        let trace = Tracer::new(queue.clone(), 1.0).begin(None, None);
        let id = HeaderValue::from_static("one");
        let begin = || Server::begin(trace.as_ref(), "GET", "/", &id).unwrap();
        drop(begin());
        begin().answered(404, "not_found", None);
        begin().answered(503, "overloaded", Some("acme"));
        let spans = queue.take(10);
        let mut statuses = Vec::new();
        let mut tenants = Vec::new();
        for (name, value) in spans.iter().flat_map(|span| span.attributes.clone()) {
            match name {
                "http.response.status_code" => statuses.push(value),
                "kenning.tenant" => tenants.push(value),
                _ => {}
            }
        }
        assert_eq!(statuses, [499, 404, 503].map(Value::Integer));
        assert_eq!(tenants, [Value::from("acme")]);
        let failures: Vec<_> = spans.iter().map(|span| span.failure.as_deref()).collect();
        assert_eq!(failures, [None, None, Some("overloaded")]);
    }
}
