//! A collector of traces and metrics on loopback: takes what is sent by OTLP over HTTP, and reads
//! it by the messages of OpenTelemetry's own project.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::{Setup, until};

/// What it does with whoever sends something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Everything.
    All,
    /// Nothing: it answers with this status.
    Nothing(u16),
    /// What is sent elsewhere than to this path, for which it answers with 404.
    AllBut(&'static str),
    /// Nothing: it reads and never answers.
    Silently,
}

/// A span that it was sent, with ids as hexadecimal digits.
#[derive(Clone, Debug)]
pub struct SpanSeen {
    pub trace: String,
    pub id: String,
    /// Empty at the beginning of a trace.
    pub parent: String,
    pub state: String,
    pub name: String,
    pub attributes: BTreeMap<String, String>,
    /// When it began and ended, in nanoseconds since 1970.
    pub during: (u64, u64),
    /// Why it failed, if it did.
    pub failure: Option<String>,
}

#[derive(Default)]
struct Seen {
    spans: Vec<SpanSeen>,
    metrics: Vec<Metric>,
    resource: BTreeMap<String, String>,
    authorization: Option<String>,
    requests: usize,
}

struct Shared {
    takes: Mutex<Takes>,
    seen: Mutex<Seen>,
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn takes(&self) -> Takes {
        *self.takes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See the module. It is away when dropped.
pub struct Collector {
    address: SocketAddr,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

impl Collector {
    /// One that takes everything.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared { takes: Mutex::new(Takes::All), seen: Mutex::default() });
        let serving = tokio::spawn(serve(listener, shared.clone()));
        Ok(Self { address, shared, serving })
    }

    /// From now on.
    pub fn takes(&self, takes: Takes) {
        *self.shared.takes.lock().unwrap_or_else(PoisonError::into_inner) = takes;
    }

    /// `setup` with this collector.
    pub fn collects_for(&self, setup: Setup) -> Setup {
        let mut environment = setup.environment;
        environment.push(("KENNING_OTLP_ENDPOINT", format!("http://{}", self.address)));
        Setup { environment, ..setup }
    }

    /// The spans that it took so far.
    pub fn spans(&self) -> Vec<SpanSeen> {
        self.shared.seen().spans.clone()
    }

    /// The metrics that it took last.
    pub fn metrics(&self) -> Vec<Metric> {
        self.shared.seen().metrics.clone()
    }

    /// What the sender says of itself.
    pub fn resource(&self) -> BTreeMap<String, String> {
        self.shared.seen().resource.clone()
    }

    /// The header `Authorization` of the last request.
    pub fn authorization(&self) -> Option<String> {
        self.shared.seen().authorization.clone()
    }

    /// How many requests arrived, taken or not.
    pub fn requests(&self) -> usize {
        self.shared.seen().requests
    }

    /// Waits for the trace of a request, whose first span carries this request id.
    pub async fn trace_of(&self, request_id: &str) -> Result<Vec<SpanSeen>> {
        until(&format!("a trace of {request_id}"), async || {
            let spans = self.spans();
            let is_it = |span: &&SpanSeen| {
                span.attributes.get("kenning.request_id").is_some_and(|id| id == request_id)
            };
            let trace = spans.iter().find(is_it).map(|span| span.trace.clone());
            Ok(trace.map(|trace| spans.into_iter().filter(|span| span.trace == trace).collect()))
        })
        .await
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Ends, with all its connections, when aborted.
async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let shared = shared.clone();
        let service = service_fn(move |request| answer(request, shared.clone()));
        connections.spawn(async move {
            // Either side may break it off.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    shared: Arc<Shared>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let header = |name: &str| {
        let value = request.headers().get(name)?;
        value.to_str().ok().map(str::to_owned)
    };
    let (authorization, content) = (header("authorization"), header("content-type"));
    let body = request.into_body().collect().await.map(|body| body.to_bytes());
    shared.seen().requests += 1;
    match shared.takes() {
        Takes::Silently => std::future::pending().await,
        Takes::Nothing(status) => return Ok(status_only(status)),
        Takes::AllBut(refused) if path == refused => return Ok(status_only(404)),
        Takes::All | Takes::AllBut(_) => {}
    }
    let Ok(body) = body else { return Ok(status_only(400)) };
    if content.as_deref() != Some("application/x-protobuf") {
        return Ok(status_only(415));
    }
    shared.seen().authorization = authorization;
    let is_read = match path.as_str() {
        "/v1/traces" => ExportTraceServiceRequest::decode(body).map(|sent| take(&shared, sent)),
        "/v1/metrics" => {
            ExportMetricsServiceRequest::decode(body).map(|sent| take_metrics(&shared, sent))
        }
        _ => return Ok(status_only(404)),
    };
    Ok(status_only(if is_read.is_ok() { 200 } else { 400 }))
}

fn status_only(status: u16) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    response
}

fn take(shared: &Shared, sent: ExportTraceServiceRequest) {
    let mut seen = shared.seen();
    for of_resource in sent.resource_spans {
        seen.resource = texts(&of_resource.resource.unwrap_or_default().attributes);
        let spans = of_resource.scope_spans.into_iter().flat_map(|of_scope| of_scope.spans);
        seen.spans.extend(spans.map(span));
    }
}

fn take_metrics(shared: &Shared, sent: ExportMetricsServiceRequest) {
    let mut seen = shared.seen();
    for of_resource in sent.resource_metrics {
        seen.resource = texts(&of_resource.resource.unwrap_or_default().attributes);
        let of_scopes = of_resource.scope_metrics.into_iter();
        seen.metrics = of_scopes.flat_map(|of_scope| of_scope.metrics).collect();
    }
}

fn span(span: Span) -> SpanSeen {
    SpanSeen {
        trace: digits(&span.trace_id),
        id: digits(&span.span_id),
        parent: digits(&span.parent_span_id),
        state: span.trace_state,
        name: span.name,
        attributes: texts(&span.attributes),
        during: (span.start_time_unix_nano, span.end_time_unix_nano),
        // 2 is an error.
        failure: span.status.filter(|status| status.code == 2).map(|status| status.message),
    }
}

/// Attributes, whatever their types, as texts.
pub fn texts(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |attribute: &KeyValue| match attribute.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        Value::BoolValue(is) => Some(is.to_string()),
        Value::IntValue(number) => Some(number.to_string()),
        _ => None,
    };
    let pairs = attributes.iter().map(|one| (one.key.clone(), text(one).unwrap_or_default()));
    pairs.collect()
}

fn digits(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
