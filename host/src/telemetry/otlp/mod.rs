//! Sends spans and metrics to a collector, by the OpenTelemetry protocol over HTTP.
//!
//! No request waits for it. What the collector does not take waits in the queue of spans, which is
//! bounded; what there is no room for is counted and dropped. The log says once that the collector
//! does not answer, and once that it does again.

mod messages;
mod metrics;
mod spans;

use std::time::{Duration, SystemTime};

use kenning_trace::{EndedSpan, Queue};
use prost::Message;
use reqwest::header::CONTENT_TYPE;
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode, Url};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use crate::config::Otlp;
use messages::{InstrumentationScope, KeyValue, Resource};
use metrics::Period;
use spans::nanoseconds;

/// How long a span waits for others before it is sent.
const WAIT: Duration = Duration::from_secs(1);

/// How long one request to the collector may take.
const REQUEST: Duration = Duration::from_secs(10);

/// The pauses after failures, which double from one to the other.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// How long the end of the process waits for what is not sent yet.
const FLUSH: Duration = Duration::from_secs(3);

/// Renders `/metrics`.
type Render = Box<dyn Fn() -> String + Send + Sync>;

/// The task that sends.
pub struct Exporter {
    task: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

impl Exporter {
    /// Starts to send the spans of `queue`, and the metrics that `render` gives, as `host`.
    ///
    /// # Errors
    /// When the system's TLS cannot be used.
    pub fn start(
        otlp: Otlp,
        host: &str,
        queue: Queue,
        render: impl Fn() -> String + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        let sender = Sender::new(&otlp, host)?;
        let next_metrics = otlp.metrics_every.map(|every| Instant::now() + every);
        let sending = Sending {
            sender,
            queue,
            render: Box::new(render),
            metrics_every: otlp.metrics_every,
            next_metrics,
            unsent: Vec::new(),
            failures: 0,
            has_warned_of_drops: false,
        };
        let (stop, stopped) = oneshot::channel();
        Ok(Self { task: tokio::spawn(sending.run(stopped)), stop })
    }

    /// Sends what is there, for a few seconds at most.
    pub async fn stop(mut self) {
        let _ = self.stop.send(());
        if timeout(FLUSH, &mut self.task).await.is_err() {
            self.task.abort();
            tracing::warn!("the collector does not answer: the last spans and metrics are lost");
        }
    }
}

/// What is sent, and how sending goes.
struct Sending {
    sender: Sender,
    queue: Queue,
    render: Render,
    metrics_every: Option<Duration>,
    next_metrics: Option<Instant>,
    /// Spans that the collector did not take yet.
    unsent: Vec<EndedSpan>,
    /// Failures since it last took something.
    failures: u32,
    has_warned_of_drops: bool,
}

impl Sending {
    async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        loop {
            let wait = Instant::now() + self.pause();
            // While the collector is away, a full batch hurries nobody.
            let is_well = self.failures == 0;
            tokio::select! {
                _ = &mut stopped => break,
                () = sleep_until(wait) => {}
                () = self.queue.batch(), if is_well => {}
            }
            tokio::select! {
                _ = &mut stopped => break,
                () = self.send_all() => {}
            }
        }
        self.next_metrics = self.next_metrics.map(|_| Instant::now());
        self.send_all().await;
    }

    /// How long to wait before the next attempt.
    fn pause(&self) -> Duration {
        let (first, longest) = PAUSES;
        match self.failures {
            0 => WAIT,
            failures => first.saturating_mul(1 << failures.min(10)).min(longest),
        }
    }

    /// Sends what there is, until the collector does not take it.
    async fn send_all(&mut self) {
        self.warn_of_drops();
        loop {
            if self.unsent.is_empty() {
                self.unsent = self.queue.take(self.queue.batch_spans());
            }
            if self.unsent.is_empty() {
                break;
            }
            let spans = self.unsent.clone();
            let count = spans.len() as u64;
            match self.sender.send_spans(spans).await {
                Ok(()) => self.succeeded(),
                Err(refused @ Failure::Refused(_)) => {
                    self.queue.count_dropped(count);
                    self.failed(&refused);
                }
                Err(failure) => return self.failed(&failure),
            }
            self.unsent.clear();
        }
        if self.next_metrics.is_some_and(|next| next <= Instant::now()) {
            self.next_metrics = self.metrics_every.map(|every| Instant::now() + every);
            let text = (self.render)();
            match self.sender.send_metrics(&text).await {
                Ok(()) => self.succeeded(),
                Err(failure) => self.failed(&failure),
            }
        }
    }

    fn succeeded(&mut self) {
        if self.failures > 0 {
            tracing::info!("the collector takes spans and metrics again");
        }
        self.failures = 0;
    }

    fn failed(&mut self, failure: &Failure) {
        ::metrics::counter!("kenning_otlp_failures_total").increment(1);
        if self.failures == 0 {
            tracing::warn!(%failure, "the collector does not take spans and metrics");
        }
        self.failures = self.failures.saturating_add(1);
    }

    fn warn_of_drops(&mut self) {
        if !self.has_warned_of_drops && self.queue.dropped() > 0 {
            self.has_warned_of_drops = true;
            tracing::warn!(
                "spans are dropped; kenning_trace_spans_dropped_total counts them. Sample less \
                 (--otlp-sample), or see whether the collector answers"
            );
        }
    }
}

/// Why the collector did not take something. No message names the address or a header.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// It may take the same later.
    #[error("{0}")]
    Later(String),
    /// It never will.
    #[error("the collector answered {0}")]
    Refused(StatusCode),
}

/// Sends single requests.
struct Sender {
    client: Client,
    traces: Url,
    metrics: Url,
    resource: Resource,
    begun: u64,
}

impl Sender {
    fn new(otlp: &Otlp, host: &str) -> anyhow::Result<Self> {
        kenning_model::install_tls_provider();
        let client = Client::builder()
            .default_headers(otlp.headers.clone())
            .timeout(REQUEST)
            // A redirect would send the headers to an address that nobody configured.
            .redirect(Policy::none())
            .build()?;
        let name = std::env::var("OTEL_SERVICE_NAME").ok().filter(|name| !name.is_empty());
        let attributes = vec![
            KeyValue::text("service.name", name.unwrap_or_else(|| "kenning".to_owned())),
            KeyValue::text("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::text("service.instance.id", host),
        ];
        Ok(Self {
            client,
            traces: below(&otlp.endpoint, "v1/traces"),
            metrics: below(&otlp.endpoint, "v1/metrics"),
            resource: Resource { attributes },
            begun: nanoseconds(SystemTime::now()),
        })
    }

    async fn send_spans(&self, spans: Vec<EndedSpan>) -> Result<(), Failure> {
        let request = spans::request(self.resource.clone(), scope(), spans);
        self.post(&self.traces, request.encode_to_vec()).await
    }

    async fn send_metrics(&self, text: &str) -> Result<(), Failure> {
        let period = Period { begun: self.begun, now: nanoseconds(SystemTime::now()) };
        let request = metrics::request(self.resource.clone(), scope(), text, period);
        self.post(&self.metrics, request.encode_to_vec()).await
    }

    async fn post(&self, url: &Url, body: Vec<u8>) -> Result<(), Failure> {
        let request = self.client.post(url.clone()).header(CONTENT_TYPE, "application/x-protobuf");
        let response = request.body(body).send().await;
        let response = response.map_err(|error| Failure::Later(reason(&error).to_owned()))?;
        match response.status() {
            status if status.is_success() => Ok(()),
            // Those that the protocol names.
            status if matches!(status.as_u16(), 429 | 502 | 503 | 504) => {
                Err(Failure::Later(format!("the collector answered {status}")))
            }
            status => Err(Failure::Refused(status)),
        }
    }
}

/// What went wrong, without the address.
fn reason(error: &reqwest::Error) -> &'static str {
    match error {
        error if error.is_timeout() => "the collector did not answer in time",
        error if error.is_connect() => "the collector cannot be reached",
        _ => "the connection to the collector was lost",
    }
}

fn scope() -> InstrumentationScope {
    let version = env!("CARGO_PKG_VERSION").to_owned();
    InstrumentationScope { name: "kenning".to_owned(), version }
}

/// An address below the collector's, whether that ends in a slash or not.
fn below(endpoint: &Url, path: &str) -> Url {
    let mut url = endpoint.clone();
    url.set_path(&format!("{}/{path}", endpoint.path().trim_end_matches('/')));
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_added_to_the_collectors_own() {
        for (endpoint, traces) in [
            ("http://h:4318", "http://h:4318/v1/traces"),
            ("http://h:4318/", "http://h:4318/v1/traces"),
            ("https://h/otlp/", "https://h/otlp/v1/traces"),
        ] {
            assert_eq!(below(&Url::parse(endpoint).unwrap(), "v1/traces").as_str(), traces);
        }
    }
}
