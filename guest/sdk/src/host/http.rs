//! Requests over HTTP, which the host sends. Needs the crate's feature `http`, and the grant
//! `http:HOST` for each host.
//!
//! An answer comes whole, within the limits of the server; redirects are answers, and are not
//! followed. In a proof nothing is sent: requests fail, so go on without the answer as you would if
//! the other side were down.
//!
//! ```
//! use kenning_extension::http;
//! use kenning_extension::testing::Host;
//!
//! let answer = http::Response::new(200, "hi");
//! let host = Host::new().with_answer("https://api.example.com/v1", answer);
//! host.run(|| {
//!     let answer = http::post("https://api.example.com/v1", "{}").unwrap();
//!     assert_eq!((answer.status, answer.text()), (200, "hi".into()));
//!     assert!(http::get("https://elsewhere.example/").is_err());
//! });
//! assert_eq!(host.requests()[0].method, "POST");
//! ```

use std::borrow::Cow;
use std::fmt;

use super::provider;

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `HEAD`, `POST`, `PUT`, `PATCH`, `DELETE` or `OPTIONS`.
    pub method: String,
    /// Where it goes to: `https://host/path?query`, or `http:`.
    pub url: String,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Request {
    /// A request without headers and without a body.
    pub fn new(method: impl Into<String>, url: impl Into<String>) -> Self {
        Self { method: method.into(), url: url.into(), headers: Vec::new(), body: Vec::new() }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends it, and waits for the whole answer.
    ///
    /// # Errors
    /// If there is none. An answer that says that something is wrong is an answer.
    pub fn send(&self) -> Result<Response, Error> {
        provider::http_send(self)
    }
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status, such as 200.
    pub status: u16,
    /// Names, in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// An answer without headers, for tests.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into() }
    }

    /// Whether the status is one of success.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let named = self.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str())
    }

    /// The body as text, with U+FFFD for what is not UTF-8.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }
}

/// Why there is no answer. Code matches on the case; the text is for a log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The host does not send it: the host it goes to was not granted, its address is not for
    /// extensions, or it is no request. The extension's log says which.
    Refused(String),
    /// The request, the answer, or the number of requests is over a limit.
    TooLarge(String),
    /// There was no answer in time.
    Timeout(String),
    /// The other side cannot be reached, or the connection was lost.
    Unavailable(String),
    /// Anything else; in a proof, that nothing is sent.
    Other(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(text)
            | Self::TooLarge(text)
            | Self::Timeout(text)
            | Self::Unavailable(text)
            | Self::Other(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Error {}

/// Sends a `GET`.
///
/// # Errors
/// As [`Request::send`].
pub fn get(url: impl Into<String>) -> Result<Response, Error> {
    Request::new("GET", url).send()
}

/// Sends a `POST` of this body, as JSON. For another type of body make a [`Request`].
///
/// # Errors
/// As [`Request::send`].
pub fn post(url: impl Into<String>, body: impl Into<Vec<u8>>) -> Result<Response, Error> {
    Request::new("POST", url).header("content-type", "application/json").body(body).send()
}
