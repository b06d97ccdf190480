//! Tells a caller who waits for a swap what it is doing.
//!
//! A swap takes from milliseconds to minutes, and its answer is the report at its end. Clients and
//! proxies take a connection on which nothing comes for dead. So a caller who accepts events gets
//! some until the answer is there, unless it comes at once.

use std::borrow::Cow;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::{Stream, stream};
use http::{HeaderMap, HeaderValue, header};
use kenning_trace::TraceContext;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior, interval, sleep};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::http::App;
use crate::http::answer::{Failed, UNBUFFERED};
use crate::http::request::RequestId;
use crate::journal::FailedRequest;
use crate::swap::{Step, Steps, SwapReport};

const EVENTS: &str = "text/event-stream";

/// How long a swap may take without an event, and how often there is one then.
const EVERY: Duration = Duration::from_secs(1);

/// The body as the description has it: OpenAPI 3.1 has no word for events.
pub(in crate::http) enum SwapEvents {}

impl PartialSchema for SwapEvents {
    fn schema() -> RefOr<Schema> {
        let description = "Server-sent events. The data of each `progress` is a `SwapProgress`, \
                           that of the last, `answer`, a `SwapAnswer`, as JSON.";
        ObjectBuilder::new().schema_type(Type::String).description(Some(description)).into()
    }
}

impl ToSchema for SwapEvents {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("SwapEvents")
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((SwapProgress::name().into(), SwapProgress::schema()));
        SwapProgress::schemas(schemas);
        schemas.push((SwapAnswer::name().into(), SwapAnswer::schema()));
        SwapAnswer::schemas(schemas);
    }
}

/// The data of an event before the last.
#[derive(Serialize, ToSchema)]
struct SwapProgress {
    step: Step,
    /// Since the component arrived.
    waited_ms: u64,
}

/// The data of the last event, `answer`.
#[derive(Serialize, ToSchema)]
struct SwapAnswer {
    /// The status of an answer without events.
    #[schema(minimum = 200, maximum = 599)]
    status: u16,
    /// Its body: a report, or an error.
    #[schema(value_type = SwapReport)]
    body: Value,
}

/// A handler's answer, later.
type Answer = Pin<Box<dyn Future<Output = Response> + Send>>;

/// Passes a request on, and answers with events if the caller accepts them and the swap takes long.
pub(in crate::http) async fn tell(
    State(app): State<Arc<App>>,
    mut request: Request,
    next: Next,
) -> Response {
    if !accepts_events(request.headers()) {
        return next.run(request).await;
    }
    let steps = Steps::default();
    let step = steps.watch();
    request.extensions_mut().insert(steps);
    let origin = Origin::new(&request, app);
    // The stream of events goes on outside of the request's task.
    let mut answer: Answer =
        Box::pin(kenning_trace::within(kenning_trace::current(), next.run(request)));
    // Only once the component is here: many proxies stop reading a body when its answer begins.
    let mut begun = step.clone();
    let late = async move {
        // An error means that there will be no step.
        if begun.wait_for(Option::is_some).await.is_err() {
            std::future::pending::<()>().await;
        }
        sleep(EVERY).await;
    };
    tokio::select! {
        biased;
        response = &mut answer => return response,
        () = late => {}
    }
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let since = Instant::now().checked_sub(EVERY).unwrap_or_else(Instant::now);
    let waiting = Waiting { answer, step, ticks, since, origin };
    let head = [
        (header::CONTENT_TYPE, HeaderValue::from_static(EVENTS)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        UNBUFFERED,
    ];
    (head, Body::from_stream(events(waiting))).into_response()
}

fn accepts_events(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut ranges = accepted.flat_map(|value| value.split(','));
    ranges.any(|range| range.split(';').next().is_some_and(|range| range.trim() == EVENTS))
}

/// A caller who is told.
struct Waiting {
    answer: Answer,
    step: watch::Receiver<Option<Step>>,
    ticks: Interval,
    since: Instant,
    origin: Origin,
}

fn events(waiting: Waiting) -> impl Stream<Item = Result<Bytes, axum::Error>> {
    stream::unfold(Some(waiting), |waiting| async {
        let mut waiting = waiting?;
        tokio::select! {
            biased;
            response = &mut waiting.answer => {
                let last = waiting.origin.last(response, waiting.since).await;
                Some((last, None))
            }
            _ = waiting.ticks.tick() => {
                let waited_ms = waiting.since.elapsed().as_millis() as u64;
                let step = (*waiting.step.borrow()).unwrap_or(Step::Loading);
                let event = event("progress", &SwapProgress { step, waited_ms });
                Some((event, Some(waiting)))
            }
        }
    })
}

/// The request, for the record of a failure.
struct Origin {
    app: Arc<App>,
    id: String,
    trace_id: Option<String>,
    method: String,
    route: String,
}

impl Origin {
    fn new(request: &Request, app: Arc<App>) -> Self {
        let extensions = request.extensions();
        let id = extensions.get().and_then(|RequestId(id)| id.to_str().ok());
        let route = extensions.get().map_or("none", MatchedPath::as_str);
        let method = request.method().to_string();
        let trace = kenning_trace::current().filter(TraceContext::is_known);
        let trace_id = trace.map(|trace| trace.trace_id().to_string());
        Self { app, id: id.unwrap_or_default().into(), trace_id, method, route: route.into() }
    }

    /// The event with the answer. A failure is put on record here: the stream's own status is 200.
    async fn last(&self, response: Response, since: Instant) -> Result<Bytes, axum::Error> {
        let (parts, body) = response.into_parts();
        if let Some(Failed(error)) = parts.extensions.get() {
            let (id, method, route) = (&*self.id, &*self.method, &*self.route);
            let (trace_id, took) = (self.trace_id.as_deref(), since.elapsed());
            self.app.failures.add(&FailedRequest { id, trace_id, method, route, took, error });
        }
        let body = axum::body::to_bytes(body, usize::MAX).await?;
        let body = serde_json::from_slice(&body).map_err(axum::Error::new)?;
        event("answer", &SwapAnswer { status: parts.status.as_u16(), body })
    }
}

fn event(name: &str, data: &impl Serialize) -> Result<Bytes, axum::Error> {
    let data = serde_json::to_string(data).map_err(axum::Error::new)?;
    Ok(format!("event: {name}\ndata: {data}\n\n").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_sent_to_those_who_name_them() {
        let accepts = |value: &'static str| {
            let value = HeaderValue::from_static(value);
            accepts_events(&HeaderMap::from_iter([(header::ACCEPT, value)]))
        };
        assert!(accepts("text/event-stream"));
        assert!(accepts("application/json, text/event-stream;q=0.5"));
        for other in ["*/*", "text/*", "application/json", ""] {
            assert!(!accepts(other), "{other}");
        }
        assert!(!accepts_events(&HeaderMap::new()));
    }
}
