//! One message over HTTP, and what can go wrong.

use std::time::Duration;

use anyhow::Context;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Client, Response, StatusCode, redirect};
use serde_json::{Value, json};

use super::home::Home;
use super::message::Message;
use crate::mcp::{Options, Profile};

const SESSION: &str = "mcp-session-id";
const VERSION: &str = "mcp-protocol-version";
const TENANT: &str = "x-kenning-tenant";

/// The first version in which a request's head names its method.
const NAMED_IN_HEAD: &str = "2026-07-28";

const CONNECT: Duration = Duration::from_secs(5);

/// How long an answer may take; longer than the server's own deadlines.
const ANSWER: Duration = Duration::from_secs(60);

/// How long an import may take.
const IMPORT: Duration = Duration::from_secs(60 * 60);

/// The way to the server.
pub(super) struct Upstream {
    http: Client,
    base: String,
    url: String,
}

/// What a message is sent with.
#[derive(Clone, Debug, Default)]
pub(super) struct Sent {
    pub(super) session: Option<String>,
    pub(super) version: Option<String>,
}

/// What the server sent back.
pub(super) struct Answer {
    /// None to a notification.
    pub(super) messages: Vec<Bytes>,
    /// The session that was opened.
    pub(super) session: Option<String>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nothing was sent.
    NotSent(String),
    /// It was sent, and may have arrived.
    Lost(String),
    /// The server does not know the session.
    SessionGone,
    /// The server refused it: the status, and what it said.
    Refused(StatusCode, Value),
}

impl Upstream {
    pub(super) fn new(
        home: &Home,
        tenant: Option<&str>,
        key: Option<&str>,
        options: Options,
    ) -> anyhow::Result<Self> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(tenant) = tenant.filter(|tenant| !tenant.is_empty()) {
            let name = HeaderValue::from_str(tenant).context("--tenant is not a tenant's name")?;
            headers.insert(TENANT, name);
        }
        if let Some(key) = key.filter(|key| !key.is_empty()) {
            let value = HeaderValue::from_str(&format!("Bearer {key}"));
            let mut value = value.context("KENNING_KEY has characters that a key has not")?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let http = Client::builder()
            .user_agent(concat!("kenning-mcp/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .connect_timeout(CONNECT)
            .timeout(ANSWER)
            // A redirected POST would be sent again as a GET.
            .redirect(redirect::Policy::none());
        let http = home.reached_by(http)?.build().context("cannot make an HTTP client")?;
        let base = home.base().to_owned();
        let url = format!("{base}/mcp{}", query(options));
        Ok(Self { http, base, url })
    }

    /// Sends one message.
    pub(super) async fn send(&self, message: &Message, with: &Sent) -> Result<Answer, Failure> {
        let mut request = self.http.post(&self.url).body(message.to_bytes());
        let version = message.own_version().or(with.version.as_deref());
        if let Some(version) = version.filter(|_| message.method() != Some("initialize")) {
            request = request.header(VERSION, version);
            if version >= NAMED_IN_HEAD {
                request = request.header("mcp-method", message.method().unwrap_or_default());
                if let Some(name) = message.name() {
                    request = request.header("mcp-name", in_head(name));
                }
            }
        }
        let session = with.session.as_deref().filter(|_| message.own_version().is_none());
        if let Some(session) = session {
            request = request.header(SESSION, session);
        }
        let response = request.send().await.map_err(|error| failure(&error))?;
        if response.status() == StatusCode::NOT_FOUND && session.is_some() {
            return Err(Failure::SessionGone);
        }
        read(response).await
    }

    /// Imports lines of facts; gives the server's report, whatever its status is.
    pub(super) async fn import(&self, lines: String) -> Result<Value, Failure> {
        let request = self.http.post(format!("{}/v1/import", self.base)).timeout(IMPORT);
        let request = request.header(CONTENT_TYPE, "application/x-ndjson").body(lines);
        let response = request.send().await.map_err(|error| failure(&error))?;
        let status = response.status();
        let body = response.bytes().await.map_err(|error| failure(&error))?;
        let said = String::from_utf8_lossy(&body);
        Ok(serde_json::from_slice(&body)
            .unwrap_or_else(|_| json!({ "message": format!("{status}: {said}") })))
    }

    /// Closes a session, if the server is still there.
    pub(super) async fn close(&self, with: &Sent) {
        let Some(session) = &with.session else { return };
        let mut request = self.http.delete(&self.url).header(SESSION, session);
        if let Some(version) = &with.version {
            request = request.header(VERSION, version);
        }
        if let Err(error) = request.timeout(CONNECT).send().await {
            tracing::debug!(%error, "the session was not closed");
        }
    }
}

fn query(options: Options) -> String {
    let profile = match options.profile {
        Profile::Facts => "facts",
        Profile::Memory => "memory",
    };
    format!("?profile={profile}&read_only={}", options.read_only)
}

/// A name as the head may carry it.
fn in_head(name: &str) -> String {
    let is_plain = name.bytes().all(|byte| (0x21..=0x7e).contains(&byte));
    match is_plain && !name.starts_with("=?base64?") {
        true => name.to_owned(),
        false => format!("=?base64?{}?=", BASE64_STANDARD.encode(name)),
    }
}

async fn read(response: Response) -> Result<Answer, Failure> {
    let (status, headers) = (response.status(), response.headers().clone());
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let body = response.bytes().await.map_err(|error| failure(&error))?;
    let is_stream = text("content-type").is_some_and(|kind| kind.starts_with("text/event-stream"));
    if !status.is_success() {
        let said = String::from_utf8_lossy(&body);
        let said = serde_json::from_slice(&body).unwrap_or_else(|_| said.trim().into());
        return Err(Failure::Refused(status, said));
    }
    let messages = match is_stream {
        true => events(&body),
        false if body.trim_ascii().is_empty() => Vec::new(),
        false => vec![one_line(&body)],
    };
    Ok(Answer { messages, session: text(SESSION).map(str::to_owned) })
}

/// The messages of a stream of events.
fn events(stream: &[u8]) -> Vec<Bytes> {
    let lines = stream.split(|byte| *byte == b'\n');
    let data = lines.filter_map(|line| line.strip_prefix(b"data:"));
    let data = data.map(<[u8]>::trim_ascii).filter(|data| !data.is_empty());
    data.map(Bytes::copy_from_slice).collect()
}

/// A message without line ends, which JSON has only between its tokens.
fn one_line(body: &[u8]) -> Bytes {
    let line: Vec<u8> = body.iter().copied().filter(|byte| !b"\r\n".contains(byte)).collect();
    line.into()
}

fn failure(error: &reqwest::Error) -> Failure {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    match error.is_connect() {
        true => Failure::NotSent(cause.to_string()),
        false => Failure::Lost(cause.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_a_head_cannot_carry_is_encoded() {
        assert_eq!(in_head("store_fact"), "store_fact");
        assert_eq!(in_head("ü"), "=?base64?w7w=?=");
        assert_eq!(in_head("a b"), "=?base64?YSBi?=");
    }

    #[test]
    fn a_message_is_one_line() {
        assert_eq!(one_line(b"{\n\"a\": 1\r\n}\n"), "{\"a\": 1}");
        assert_eq!(events(b"data: {}\n\n:\n\ndata: {\"a\":1}\n\n"), ["{}", "{\"a\":1}"]);
    }
}
