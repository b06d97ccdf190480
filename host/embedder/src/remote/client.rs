//! One request to a far embedder, and what can become of it.
//!
//! What is said of a failure names no host, no key and no text: it may reach a caller.
//! What only an operator should see goes to the log.

use std::error::Error;
use std::fmt;
use std::time::{Duration, Instant, SystemTime};

use http::HeaderMap;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Response, StatusCode, Url};
use serde_json::Value;
use tokio::time::timeout_at;

/// Opening a connection; a host that takes longer is not there.
const CONNECT: Duration = Duration::from_secs(2);

/// One request. Longer than any of a caller's own bounds; it is for background work.
const REQUEST: Duration = Duration::from_secs(30);

/// A request that had less time says nothing about the far side when it runs out:
/// its caller was in a hurry.
const TELLING: Duration = Duration::from_millis(500);

/// What OpenAI adds to `Retry-After`, more exact.
const RETRY_AFTER_MS: &str = "retry-after-ms";

/// The key for a far embedder. It is never shown.
#[derive(Clone)]
pub struct Key(HeaderValue);

impl Key {
    /// `None` if no header can hold it.
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

/// A request that brought no answer to read.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nothing came in time; `telling` if it had enough.
    Timeout { telling: bool },
    /// It could not be reached, or it broke off.
    Broken(&'static str),
    /// It answered that it cannot, and maybe when it can.
    Status { status: StatusCode, wait: Option<Duration> },
    /// It answered, but not with vectors.
    Unreadable(&'static str),
}

impl Failure {
    /// Whether the far side gave no sign of life.
    pub(super) fn is_silence(&self) -> bool {
        match self {
            Self::Timeout { telling } => *telling,
            Self::Broken(_) => true,
            // What stands before it says that it is not there.
            Self::Status { status, wait } => wait.is_none() && matches!(status.as_u16(), 502..=504),
            Self::Unreadable(_) => false,
        }
    }

    /// Whether the same request may succeed in a moment.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Timeout { .. } | Self::Unreadable(_) => false,
            Self::Broken(_) => true,
            Self::Status { status, .. } => {
                status.is_server_error() || matches!(status.as_u16(), 408 | 409 | 425 | 429)
            }
        }
    }

    /// Whether it does not take what it was sent.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Self::Status { status, .. } if matches!(status.as_u16(), 400 | 413 | 422))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout { .. } => f.write_str("it did not answer in time"),
            Self::Broken(reason) | Self::Unreadable(reason) => f.write_str(reason),
            Self::Status { status, .. } => {
                write!(f, "it answered {status}{}", advice(*status))
            }
        }
    }
}

fn advice(status: StatusCode) -> &'static str {
    match status.as_u16() {
        300..=399 => "; give the address that it points to",
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
            // A redirect would take texts, and the key, to where no operator sent them.
            .redirect(Policy::none())
            .build()?;
        Ok(Self { http, url, key })
    }

    /// Sends `body` and reads an answer of at most `most_bytes`.
    pub(super) async fn post(
        &self,
        body: &Value,
        most_bytes: usize,
        until: Instant,
    ) -> Result<Vec<u8>, Failure> {
        let begun = Instant::now();
        let answered = self.exchange(body, most_bytes);
        match timeout_at(until.min(begun + REQUEST).into(), answered).await {
            Ok(answer) => answer,
            Err(_) => Err(Failure::Timeout { telling: begun.elapsed() >= TELLING }),
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
        let response = request.send().await.map_err(|error| broken(&error))?;
        let status = response.status();
        if status.is_success() {
            return read(response, most_bytes).await;
        }
        Err(Failure::Status { status, wait: wait(response.headers()) })
    }
}

async fn read(mut response: Response, most_bytes: usize) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| broken(&error))? {
        if bytes.len() + chunk.len() > most_bytes {
            return Err(Failure::Unreadable("its answer is larger than its vectors could be"));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn broken(error: &reqwest::Error) -> Failure {
    let mut cause: &dyn Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    tracing::debug!(%cause, "the embedder was not reached, or broke off");
    Failure::Broken(match error {
        error if error.is_timeout() => "no connection to it could be made in time",
        error if error.is_connect() => "it cannot be reached",
        _ => "the connection to it broke off",
    })
}

/// How long the far side asks to be left alone.
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
    fn a_key_is_never_shown() {
        let key = Key::new("correct-horse").unwrap();
        assert!(!format!("{key:?}").contains("horse"));
        assert!(Key::new("two\nlines").is_none());
    }
}
