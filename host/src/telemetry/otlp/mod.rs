//! Sends spans and metrics to a collector, by the OpenTelemetry protocol over HTTP.
//!
//! No request waits for it. What the collector does not take waits in the queue of spans, which is
//! bounded; what there is no room for is counted and dropped. Spans and metrics fail apart from
//! each other: of each, the log says once that the collector does not take them, and once that it
//! does again.

mod messages;
mod metrics;
mod spans;

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use kenning_trace::{EndedSpan, Queue};
use prost::Message;
use reqwest::header::CONTENT_TYPE;
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode, Url};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::config::Otlp;
use messages::{Answer, InstrumentationScope, KeyValue, Resource};
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

/// Most bytes of an answer that are read.
const ANSWER_BYTES: usize = 4 * 1024;

/// Renders `/metrics`.
type Render = Box<dyn Fn() -> String + Send + Sync>;

/// The task that sends.
pub struct Exporter {
    task: JoinHandle<()>,
    stop: DropGuard,
}

impl Exporter {
    /// Starts to send the spans of `queue`, and the metrics that `render` gives, as `host`. They
    /// were counted from `since`.
    ///
    /// # Errors
    /// When the system's TLS cannot be used.
    pub fn start(
        otlp: Otlp,
        host: &str,
        queue: Queue,
        since: SystemTime,
        render: impl Fn() -> String + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        let sender = Sender::new(&otlp, host, since)?;
        let next_metrics = otlp.metrics_every.map(|every| Instant::now() + every);
        let sending = Sending {
            sender,
            queue,
            render: Box::new(render),
            metrics_every: otlp.metrics_every,
            next_metrics,
            next_spans: Instant::now() + WAIT,
            unsent: None,
            spans: Signal::new("spans"),
            metrics: Signal::new("metrics"),
            has_warned_of_drops: false,
        };
        let stopped = CancellationToken::new();
        let task = tokio::spawn(sending.run(stopped.clone()));
        Ok(Self { task, stop: stopped.drop_guard() })
    }

    /// Sends what is there, for a few seconds at most.
    pub async fn stop(self) {
        drop(self.stop);
        // It ends by itself; an error means that it panicked, and then the log has that.
        let _ = self.task.await;
    }
}

/// What is sent, and how sending goes.
struct Sending {
    sender: Sender,
    queue: Queue,
    render: Render,
    metrics_every: Option<Duration>,
    next_metrics: Option<Instant>,
    next_spans: Instant,
    /// Spans that the collector did not take yet.
    unsent: Option<Batch>,
    spans: Signal,
    metrics: Signal,
    has_warned_of_drops: bool,
}

/// Spans as they are sent.
struct Batch {
    body: Bytes,
    spans: u64,
}

impl Sending {
    /// Sends until `stopped`, and then what is left, for [`FLUSH`] at most.
    async fn run(mut self, stopped: CancellationToken) {
        let over = async {
            stopped.cancelled().await;
            sleep(FLUSH).await;
        };
        let is_in_time = tokio::select! {
            () = self.send_until(&stopped) => true,
            () = over => false,
        };
        let unsent = self.unsent.as_ref().map_or(0, |batch| batch.spans);
        let lost = unsent + self.queue.take(usize::MAX).len() as u64;
        if lost > 0 {
            self.queue.count_dropped(lost);
        }
        if lost > 0 || !is_in_time {
            tracing::warn!(spans = lost, "the collector did not take the last spans or metrics");
        }
    }

    async fn send_until(&mut self, stopped: &CancellationToken) {
        loop {
            let next = self.next_metrics.map_or(self.next_spans, |at| at.min(self.next_spans));
            // While the collector takes no spans, a full batch hurries nobody.
            let is_well = self.spans.failures == 0;
            tokio::select! {
                () = stopped.cancelled() => break,
                () = sleep_until(next) => {}
                () = self.queue.batch(), if is_well => self.next_spans = Instant::now(),
            }
            self.send_due().await;
            if stopped.is_cancelled() {
                break;
            }
        }
        self.next_spans = Instant::now();
        self.next_metrics = self.next_metrics.map(|_| Instant::now());
        self.send_due().await;
    }

    /// Sends what it is time for.
    async fn send_due(&mut self) {
        self.warn_of_drops();
        if self.next_spans <= Instant::now() {
            self.send_spans().await;
            self.next_spans = Instant::now() + self.spans.pause();
        }
        if let Some(every) = self.metrics_every
            && self.next_metrics.is_some_and(|next| next <= Instant::now())
        {
            let text = (self.render)();
            let sent = self.sender.send_metrics(&text).await;
            let pause = match &sent {
                Err(Failure::Later(_)) => self.metrics.pause(),
                _ => Duration::ZERO,
            };
            self.metrics.note(sent);
            self.next_metrics = Some(Instant::now() + every.max(pause));
        }
    }

    /// Sends all spans, until the collector does not take some.
    async fn send_spans(&mut self) {
        loop {
            if self.unsent.is_none() {
                let spans = self.queue.take(Queue::BATCH);
                if spans.is_empty() {
                    break;
                }
                self.unsent = Some(self.sender.batch(spans));
            }
            let Some(batch) = &self.unsent else { break };
            let sent = self.sender.send_spans(batch).await;
            let dropped = match &sent {
                Ok(rejected) => *rejected,
                Err(Failure::Refused(_)) => batch.spans,
                Err(_) => 0,
            };
            if dropped > 0 {
                self.queue.count_dropped(dropped);
            }
            if !matches!(sent, Err(Failure::Later(_))) {
                self.unsent = None;
            }
            let is_taken = sent.is_ok();
            self.spans.note(sent);
            if !is_taken {
                break;
            }
        }
    }

    fn warn_of_drops(&mut self) {
        if !self.has_warned_of_drops && self.queue.dropped() > 0 {
            self.has_warned_of_drops = true;
            tracing::warn!(
                "spans are dropped; kenning_trace_spans_dropped_total counts them. Sample less \
                 (--otlp-sample), or see whether the collector takes what it is sent"
            );
        }
    }
}

/// How sending spans, or metrics, goes.
struct Signal {
    what: &'static str,
    /// Failures since the collector last took something.
    failures: u32,
}

impl Signal {
    fn new(what: &'static str) -> Self {
        Self { what, failures: 0 }
    }

    /// How long to wait before the next attempt.
    fn pause(&self) -> Duration {
        let (first, longest) = PAUSES;
        match self.failures {
            0 => WAIT,
            failures => first.saturating_mul(1 << (failures - 1).min(10)).min(longest),
        }
    }

    /// Notes how an attempt ended. The log says when they begin to fail, and when no longer.
    fn note<T>(&mut self, sent: Result<T, Failure>) {
        let what = self.what;
        match sent {
            Ok(_) => {
                if self.failures > 0 {
                    tracing::info!("the collector takes {what} again");
                }
                self.failures = 0;
            }
            Err(failure) => {
                ::metrics::counter!("kenning_otlp_failures_total").increment(1);
                if self.failures == 0 {
                    tracing::warn!(%failure, "the collector does not take {what}");
                }
                self.failures = self.failures.saturating_add(1);
            }
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
    /// It took the other points.
    #[error("the collector rejected {0} points")]
    Partly(u64),
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
    fn new(otlp: &Otlp, host: &str, since: SystemTime) -> anyhow::Result<Self> {
        kenning_model::install_tls_provider();
        let client = Client::builder()
            .default_headers(otlp.headers.clone())
            .timeout(REQUEST)
            // A redirect would send the headers to an address that nobody configured.
            .redirect(Policy::none())
            .build()?;
        let mut resource = otlp.resource.clone();
        for (name, value) in
            [("service.version", env!("CARGO_PKG_VERSION")), ("service.instance.id", host)]
        {
            resource.entry(name.to_owned()).or_insert_with(|| value.to_owned());
        }
        let attributes = resource.into_iter().map(|(name, value)| KeyValue::text(&name, value));
        let attributes = attributes.collect();
        Ok(Self {
            client,
            traces: below(&otlp.endpoint, "v1/traces"),
            metrics: below(&otlp.endpoint, "v1/metrics"),
            resource: Resource { attributes },
            begun: nanoseconds(since),
        })
    }

    fn batch(&self, spans: Vec<EndedSpan>) -> Batch {
        let count = spans.len() as u64;
        let request = spans::request(self.resource.clone(), scope(), spans);
        Batch { body: request.encode_to_vec().into(), spans: count }
    }

    /// Gives how many of them the collector rejected.
    async fn send_spans(&self, batch: &Batch) -> Result<u64, Failure> {
        let rejected = self.post(&self.traces, batch.body.clone()).await?;
        Ok(rejected.min(batch.spans))
    }

    async fn send_metrics(&self, text: &str) -> Result<(), Failure> {
        let period = Period { begun: self.begun, now: nanoseconds(SystemTime::now()) };
        let request = metrics::request(self.resource.clone(), scope(), text, period);
        match self.post(&self.metrics, request.encode_to_vec().into()).await? {
            0 => Ok(()),
            rejected => Err(Failure::Partly(rejected)),
        }
    }

    /// Gives how much of it the collector says that it rejected.
    async fn post(&self, url: &Url, body: Bytes) -> Result<u64, Failure> {
        let request = self.client.post(url.clone()).header(CONTENT_TYPE, "application/x-protobuf");
        let response = request.body(body).send().await;
        let response = response.map_err(|error| Failure::Later(reason(&error).to_owned()))?;
        match response.status() {
            status if status.is_success() => Ok(rejected(response).await),
            // Those that the protocol names.
            status if matches!(status.as_u16(), 429 | 502 | 503 | 504) => {
                Err(Failure::Later(format!("the collector answered {status}")))
            }
            status => Err(Failure::Refused(status)),
        }
    }
}

/// What an answer says of what was not taken. One that cannot be read says nothing: by its status
/// all was taken, and it must not be sent again.
async fn rejected(mut response: Response) -> u64 {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        if body.len() + chunk.len() > ANSWER_BYTES {
            return 0;
        }
        body.extend_from_slice(&chunk);
    }
    rejected_in(&body)
}

fn rejected_in(body: &[u8]) -> u64 {
    let answer = Answer::decode(body).unwrap_or_default();
    let rejected = answer.partial_success.map_or(0, |partial| partial.rejected);
    u64::try_from(rejected).unwrap_or(0)
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
    fn pauses_double_from_the_first_to_the_longest() {
        let mut signal = Signal::new("spans");
        assert_eq!(signal.pause(), WAIT);
        let pauses = [1, 2, 4, 8, 16, 30, 30].map(Duration::from_secs);
        for pause in pauses {
            signal.note::<()>(Err(Failure::Later("it is away".into())));
            assert_eq!(signal.pause(), pause);
        }
        signal.failures = u32::MAX;
        assert_eq!(signal.pause(), PAUSES.1);
        signal.note(Ok(()));
        assert_eq!(signal.failures, 0);
    }

    #[test]
    fn an_answer_says_how_much_was_rejected() {
        // `partial_success { rejected: 3, error_message: "no" }`.
        assert_eq!(rejected_in(b"\x0a\x06\x08\x03\x12\x02no"), 3);
        // -1, which nobody can mean.
        let negative = b"\x0a\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
        for nothing in [&b""[..], b"\x0a\x00", b"{}", b"{\"partialSuccess\":{}}", negative] {
            assert_eq!(rejected_in(nothing), 0, "{nothing:?}");
        }
    }

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
