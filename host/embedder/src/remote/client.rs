//! Sends one request to a remote embedder and classifies its failure.
//!
//! The message of a failure contains no host, no key and no text, because it may reach a caller.
//! Details for the operator go to the log.

use std::error::Error;
use std::fmt;
use std::time::{Duration, Instant, SystemTime};

use http::HeaderMap;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Response, StatusCode, Url};
use serde_json::Value;
use tokio::time::timeout_at;

/// How long opening a connection may take; a host that needs longer is down.
const CONNECT: Duration = Duration::from_secs(2);

/// How long one request may take. Callers have shorter deadlines; this bounds background work.
const REQUEST: Duration = Duration::from_secs(30);

/// A time-out after less than this says nothing about the embedder: the caller's deadline was
/// too close.
const CONCLUSIVE: Duration = Duration::from_millis(500);

/// OpenAI's more exact addition to `Retry-After`.
const RETRY_AFTER_MS: &str = "retry-after-ms";

/// W3C Trace Context.
const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";

/// The API key for a remote embedder. It is never printed.
#[derive(Clone)]
pub struct Key(HeaderValue);

impl Key {
    /// `None` if `key` contains characters that an HTTP header cannot.
    pub fn new(key: &str) -> Option<Self> {
        let mut value = HeaderValue::from_str(&format!("Bearer {key}")).ok()?;
        value.set_sensitive(true);
        Some(Self(value))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

/// Why a request brought no vectors.
#[derive(Debug)]
pub(super) enum Failure {
    /// There was no response in time. `conclusive` if an embedder that is up would have
    /// responded.
    Timeout { conclusive: bool },
    /// The connection could not be opened, or was lost.
    Connection(&'static str),
    /// The response had an error status, and maybe said when to try again.
    Status { status: StatusCode, wait: Option<Duration> },
    /// The response was too large.
    TooLarge(&'static str),
}

impl Failure {
    /// Whether the embedder is down, as far as can be told.
    pub(super) fn is_unreachable(&self) -> bool {
        match self {
            Self::Timeout { conclusive } => *conclusive,
            Self::Connection(_) => true,
            // A proxy in front of it says that it is down.
            Self::Status { status, wait } => wait.is_none() && matches!(status.as_u16(), 502..=504),
            Self::TooLarge(_) => false,
        }
    }

    /// Whether the same request may succeed in a moment.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Timeout { .. } | Self::TooLarge(_) => false,
            Self::Connection(_) => true,
            Self::Status { status, .. } => {
                status.is_server_error() || matches!(status.as_u16(), 408 | 409 | 425 | 429)
            }
        }
    }

    /// Whether the embedder does not accept the texts.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Self::Status { status, .. } if matches!(status.as_u16(), 400 | 413 | 422))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout { .. } => f.write_str("the embedder did not respond in time"),
            Self::Connection(reason) | Self::TooLarge(reason) => f.write_str(reason),
            Self::Status { status, .. } => {
                write!(f, "the embedder responded with {status}{}", advice(*status))
            }
        }
    }
}

fn advice(status: StatusCode) -> &'static str {
    match status.as_u16() {
        300..=399 => "; configure the address that it redirects to",
        401 | 403 => "; check KENNING_EMBEDDING_KEY",
        404 => "; check the address and --embedding-model",
        _ => "",
    }
}

/// Where to send requests, and how.
pub(super) struct Client {
    http: reqwest::Client,
    url: Url,
    key: Option<Key>,
}

impl Client {
    pub(super) fn new(url: Url, key: Option<Key>) -> reqwest::Result<Self> {
        kenning_model::install_tls_provider();
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            // A redirect would send texts, and the key, to an address that nobody configured.
            .redirect(Policy::none())
            .build()?;
        Ok(Self { http, url, key })
    }

    /// Sends `body` and reads a response of at most `most_bytes`.
    pub(super) async fn post(
        &self,
        body: &Value,
        most_bytes: usize,
        until: Instant,
    ) -> Result<Vec<u8>, Failure> {
        let begun = Instant::now();
        let response = self.exchange(body, most_bytes);
        match timeout_at(until.min(begun + REQUEST).into(), response).await {
            Ok(response) => response,
            Err(_) => Err(Failure::Timeout { conclusive: begun.elapsed() >= CONCLUSIVE }),
        }
    }

    async fn exchange(&self, body: &Value, most_bytes: usize) -> Result<Vec<u8>, Failure> {
        let mut request = self
            .http
            .post(self.url.clone())
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .body(body.to_string());
        if let Some(Key(key)) = &self.key {
            request = request.header(AUTHORIZATION, key.clone());
        }
        // What it does for this request is part of the same trace.
        if let Some(context) = kenning_trace::current() {
            request = request.header(TRACEPARENT, context.traceparent());
            if let Some(state) = context.trace_state() {
                request = request.header(TRACESTATE, state);
            }
        }
        let response = request.send().await.map_err(|error| connection(&error))?;
        let status = response.status();
        if status.is_success() {
            return read(response, most_bytes).await;
        }
        Err(Failure::Status { status, wait: wait(response.headers()) })
    }
}

async fn read(mut response: Response, most_bytes: usize) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| connection(&error))? {
        if bytes.len() + chunk.len() > most_bytes {
            return Err(Failure::TooLarge(
                "the embedder's response is larger than its vectors can be",
            ));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn connection(error: &reqwest::Error) -> Failure {
    let mut cause: &dyn Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    tracing::debug!(%cause, "the connection to the embedder failed");
    Failure::Connection(match error {
        error if error.is_timeout() => "connecting to the embedder timed out",
        error if error.is_connect() => "the embedder cannot be reached",
        _ => "the connection to the embedder was lost",
    })
}

/// How long a pause the embedder asks for.
fn wait(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok();
    if let Some(milliseconds) = text(RETRY_AFTER_MS).and_then(|text| text.parse().ok()) {
        return Some(Duration::from_millis(milliseconds));
    }
    let text = text(RETRY_AFTER.as_str())?;
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(name: &'static str, value: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_str(value).unwrap());
        wait(&headers)
    }

    #[test]
    fn seconds_milliseconds_and_dates_are_understood() {
        assert_eq!(waits("retry-after", "3"), Some(Duration::from_secs(3)));
        assert_eq!(waits("retry-after-ms", "40"), Some(Duration::from_millis(40)));
        let past = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(waits("retry-after", past), Some(Duration::ZERO));
        let hour = SystemTime::now() + Duration::from_secs(3_600);
        let future = waits("retry-after", &httpdate::fmt_http_date(hour)).unwrap();
        assert!(future > Duration::from_secs(3_000), "{future:?}");
        for nonsense in ["", "soon", "-1"] {
            assert_eq!(waits("retry-after", nonsense), None, "{nonsense:?}");
        }
    }

    #[test]
    fn a_key_is_never_printed() {
        let key = Key::new("correct-horse").unwrap();
        assert!(!format!("{key:?}").contains("horse"));
        assert!(Key::new("two\nlines").is_none());
    }
}
