//! Sends requests to the server and classifies what can go wrong.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, redirect};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::address::{ServerAddress, advice};
use crate::text::{sanitize, truncate};
use crate::{ApiError, Connection, Error};

const TENANT: HeaderName = HeaderName::from_static("x-kenning-tenant");
const TIMEOUT_MS: HeaderName = HeaderName::from_static("x-kenning-timeout-ms");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The content type of a component.
pub(crate) const COMPONENT_TYPE: &str = "application/wasm";

/// Limit in bytes for the body of an error. Kenning's errors have a few hundred.
const MAX_ERROR_BODY: usize = 64 * 1024;

/// How long to wait for the server.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For a connection.
    pub connect: Duration,
    /// For a complete response, except streams. Longer than the server's own deadlines, so that the
    /// server can report what took too long; a longer `--timeout-ms` extends it.
    pub response: Duration,
    /// For the first sign of a swap. A server that tells no progress sends the report only, after
    /// it has waited for other swaps, compiled the component and proved it.
    pub swap: Duration,
    /// For the next bytes of a stream. The stream itself has no time limit.
    pub idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            response: Duration::from_secs(60),
            swap: Duration::from_secs(600),
            idle: Duration::from_secs(60),
        }
    }
}

impl Timeouts {
    fn extended_to(self, requested_ms: Option<u32>) -> Self {
        // The margin leaves time for the server's own error to arrive.
        let extended = |ms: u32| Duration::from_millis(ms.into()) + Duration::from_secs(5);
        let at_least = |own: Duration| requested_ms.map_or(own, |ms| extended(ms).max(own));
        Self { response: at_least(self.response), swap: at_least(self.swap), ..self }
    }
}

/// A server, with the HTTP client and the credentials to call it.
#[derive(Clone, Debug)]
pub struct Server {
    http: Client,
    address: ServerAddress,
    timeouts: Timeouts,
}

/// A complete successful response.
#[derive(Clone, Debug)]
pub struct JsonResponse {
    /// The body, unchanged.
    pub body: Bytes,
    address: String,
    status: StatusCode,
}

impl JsonResponse {
    /// Parses the body as JSON.
    ///
    /// # Errors
    /// [`Error::NotKenning`] if it is not the JSON of a `T`.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.body)
            .map_err(|_| not_kenning(&self.address, self.status, &self.body))
    }

    /// The hosts that do not follow what this response says was changed.
    pub fn behind(&self) -> Vec<String> {
        #[derive(Default, Deserialize)]
        struct Answer {
            #[serde(default)]
            behind: Vec<String>,
        }
        serde_json::from_slice::<Answer>(&self.body).unwrap_or_default().behind
    }
}

impl Server {
    /// Creates a client from the connection options. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Usage`] if an option is invalid.
    pub fn new(connection: &Connection, timeouts: Timeouts) -> Result<Self, Error> {
        let address = ServerAddress::parse(&connection.server, connection.ca.as_deref())?;
        let timeouts = timeouts.extended_to(connection.timeout_ms.map(Into::into));
        // An error means that one is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .user_agent(concat!("kenning/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers(connection)?)
            .connect_timeout(timeouts.connect)
            .tcp_user_timeout(timeouts.idle)
            // A redirected POST would be sent again as a GET.
            .redirect(redirect::Policy::none());
        let client = address.reached_by(client)?;
        let http = client.build().map_err(|error| Error::Usage(advised(root_cause(&error))))?;
        Ok(Self { http, address, timeouts })
    }

    /// How long this client waits.
    pub fn timeouts(&self) -> Timeouts {
        self.timeouts
    }

    /// The server's address without a trailing slash, for messages.
    pub fn address(&self) -> String {
        self.address.shown()
    }

    /// Creates a request to the path of `segments`, each percent-encoded.
    ///
    /// # Errors
    /// [`Error::Usage`] if a segment is empty, `.` or `..`: it would select another route.
    pub fn request(&self, method: Method, segments: &[&str]) -> Result<RequestBuilder, Error> {
        if let Some(bad) = segments.iter().find(|segment| matches!(**segment, "" | "." | "..")) {
            return Err(Error::Usage(format!("`{bad}` is not a valid id")));
        }
        let mut url = self.address.base().clone();
        url.path_segments_mut()
            .map_err(|()| Error::Usage(format!("{} cannot have a path", self.address())))?
            .pop_if_empty()
            .extend(segments);
        Ok(self.http.request(method, url))
    }

    /// Sends `request` and reads the complete response.
    ///
    /// # Errors
    /// [`Error::Api`] or [`Error::NotKenning`] for an error status; [`Error::Unreachable`],
    /// [`Error::BadResponse`] or [`Error::IdleTimeout`] if there is no complete response in time.
    pub async fn call(&self, request: RequestBuilder) -> Result<JsonResponse, Error> {
        let waited = self.timeouts.response;
        let complete = async { self.complete(self.open(request).await?).await };
        timeout(waited, complete).await.unwrap_or_else(|_| Err(self.idle_timeout(waited)))
    }

    /// Reads the rest of a successful response. Has no time limit.
    pub(crate) async fn complete(&self, response: Response) -> Result<JsonResponse, Error> {
        let status = response.status();
        let body = response.bytes().await.map_err(|error| self.failed(&error))?;
        Ok(self.json(status, body))
    }

    /// A successful response with this body.
    pub(crate) fn json(&self, status: StatusCode, body: Bytes) -> JsonResponse {
        JsonResponse { body, address: self.address(), status }
    }

    /// Sends `request` and returns the response before its body. Has no time limit.
    ///
    /// # Errors
    /// The same as [`Server::call`], except [`Error::IdleTimeout`].
    pub async fn open(&self, request: RequestBuilder) -> Result<Response, Error> {
        let response = self.send(request).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(self.api_error(response).await)
    }

    /// Sends `request` and returns the response before its body, whatever its status is.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Response, Error> {
        request.send().await.map_err(|error| self.failed(&error))
    }

    /// The next chunk of a streamed response; `None` after its complete end.
    ///
    /// # Errors
    /// [`Error::BadResponse`] if the stream breaks, [`Error::IdleTimeout`] if nothing comes.
    pub async fn chunk(&self, response: &mut Response) -> Result<Option<Bytes>, Error> {
        let waited = self.timeouts.idle;
        match timeout(waited, response.chunk()).await {
            Ok(read) => read.map_err(|error| self.failed(&error)),
            Err(_) => Err(self.idle_timeout(waited)),
        }
    }

    /// The error for a connection without data for `waited`.
    pub(crate) fn idle_timeout(&self, waited: Duration) -> Error {
        Error::IdleTimeout { address: self.address(), waited }
    }

    /// The error for a response that ended early or is malformed.
    pub(crate) fn bad_response(&self, cause: impl Into<String>) -> Error {
        Error::BadResponse { address: self.address(), cause: cause.into() }
    }

    /// Classifies an error of the HTTP client.
    pub(crate) fn failed(&self, error: &reqwest::Error) -> Error {
        let (address, cause) = (self.address(), root_cause(error));
        if error.is_connect() && error.is_timeout() {
            let cause = "connecting timed out".to_owned();
            return Error::Unreachable { address, cause };
        }
        if error.is_connect() {
            let cause = advised(cause);
            return Error::Unreachable { address, cause };
        }
        Error::BadResponse { address, cause }
    }

    /// Reads the error in a response with an error status.
    async fn api_error(&self, mut response: Response) -> Error {
        let (status, headers) = (response.status(), response.headers().clone());
        let mut body = BytesMut::new();
        while body.len() < MAX_ERROR_BODY {
            match self.chunk(&mut response).await {
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                // Part of an error is better than none.
                Ok(None) | Err(_) => break,
            }
        }
        self.error_in(status, &headers, body.freeze())
    }

    /// The error in a response with an error status.
    pub(crate) fn error_in(&self, status: StatusCode, headers: &HeaderMap, body: Bytes) -> Error {
        let header = |name| header_text(headers, name);
        let (retry_after, request_id) = (header(RETRY_AFTER), header(REQUEST_ID));
        let location = header(LOCATION);
        if let Ok(error) = serde_json::from_slice::<ApiError>(&body) {
            return Error::Api(Box::new(ApiError { retry_after, request_id, body, ..error }));
        }
        match location {
            Some(to) if status.is_redirection() => Error::NotKenning {
                address: self.address(),
                status,
                excerpt: format!("a redirect to {to}"),
            },
            _ => not_kenning(&self.address(), status, &body),
        }
    }
}

fn not_kenning(address: &str, status: StatusCode, body: &[u8]) -> Error {
    // Only the start is shown; lossy, because it may end inside a character.
    let start = String::from_utf8_lossy(&body[..body.len().min(1024)]);
    let excerpt = match sanitize(&start) {
        empty if empty.is_empty() => "an empty body".to_owned(),
        text => truncate(&text, 200).into_owned(),
    };
    Error::NotKenning { address: address.to_owned(), status, excerpt }
}

fn headers(connection: &Connection) -> Result<HeaderMap, Error> {
    let mut headers = HeaderMap::new();
    let tenant = connection.tenant.as_deref().filter(|tenant| !tenant.is_empty());
    if let Some(tenant) = tenant {
        let value = HeaderValue::from_str(tenant).map_err(|_| {
            Error::Usage(format!("`{}` is not a valid tenant name", sanitize(tenant)))
        })?;
        headers.insert(TENANT, value);
    }
    let key = connection.key.as_ref().map(|key| key.reveal()).filter(|key| !key.is_empty());
    if let Some(key) = key {
        let mut value = HeaderValue::from_str(&format!("Bearer {key}")).map_err(|_| {
            Error::Usage("the key contains characters that are not allowed in a header".to_owned())
        })?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    if let Some(ms) = connection.timeout_ms {
        headers.insert(TIMEOUT_MS, HeaderValue::from(ms.get()));
    }
    Ok(headers)
}

fn header_text(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(sanitize)
}

/// The cause, and what to do about it, if that can be said.
fn advised(cause: String) -> String {
    match advice(&cause) {
        Some(advice) => format!("{cause}\n{advice}"),
        None => cause,
    }
}

/// The innermost error: the outer ones only say that the request failed.
pub(crate) fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_deadline_extends_the_timeout_and_a_short_one_does_not_shorten_it() {
        let timeouts = Timeouts::default();
        assert_eq!(timeouts.extended_to(Some(100)).response, timeouts.response);
        assert_eq!(timeouts.extended_to(Some(120_000)).response, Duration::from_secs(125));
    }
}
