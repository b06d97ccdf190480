//! One request to the server, its answer, and what can go wrong between the two.

use std::net::IpAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url, redirect};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::text::{clean, cut};
use crate::{Connection, Error, Refusal};

const TENANT: HeaderName = HeaderName::from_static("x-kenning-tenant");
const TIMEOUT_MS: HeaderName = HeaderName::from_static("x-kenning-timeout-ms");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// An error's body is read no further, in bytes. Kenning's are a few hundred.
const ERROR_BODY: usize = 64 * 1024;

/// How long to wait.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For a connection.
    pub connect: Duration,
    /// For one whole answer, streams excepted. Longer than any deadline of the server's, so that
    /// it is the server that says what took long; a longer `--timeout-ms` extends it.
    pub answer: Duration,
    /// For the next bytes of a stream, which as a whole may last for days.
    pub silence: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            answer: Duration::from_secs(60),
            silence: Duration::from_secs(60),
        }
    }
}

impl Patience {
    fn extended_to(self, asked: Option<u32>) -> Self {
        // The margin lets the server's own answer, that time is up, arrive.
        let asked = asked.map(|ms| Duration::from_millis(ms.into()) + Duration::from_secs(5));
        Self { answer: asked.map_or(self.answer, |asked| asked.max(self.answer)), ..self }
    }
}

/// A server and who is asking it.
#[derive(Clone, Debug)]
pub struct Server {
    http: Client,
    base: Url,
    patience: Patience,
}

/// A whole answer that says yes.
#[derive(Clone, Debug)]
pub struct Answer {
    /// As it came.
    pub body: Bytes,
    address: String,
    status: StatusCode,
}

impl Answer {
    /// Reads the body as `T`.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.body)
            .map_err(|_| foreign(&self.address, self.status, &self.body))
    }
}

impl Server {
    /// Checks the connection's options; nothing is sent yet.
    pub fn new(connection: &Connection, patience: Patience) -> Result<Self, Error> {
        let base = address(&connection.server)?;
        let patience = patience.extended_to(connection.timeout_ms.map(Into::into));
        // No https here, but reqwest builds no client without a TLS provider once another
        // crate of the binary asks for TLS. It is kept by whoever installs it first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut client = Client::builder()
            .user_agent(concat!("kenning/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers(connection)?)
            .connect_timeout(patience.connect)
            .tcp_user_timeout(patience.silence)
            // An answer from elsewhere is none: a redirected POST would arrive as a GET.
            .redirect(redirect::Policy::none());
        if is_loopback(&base) {
            // The proxy of HTTP_PROXY has another loopback than we.
            client = client.no_proxy();
        }
        let http = client.build().map_err(|error| Error::Usage(root_cause(&error)))?;
        Ok(Self { http, base, patience })
    }

    /// How long to wait for what.
    pub fn patience(&self) -> Patience {
        self.patience
    }

    /// The address, for messages.
    pub fn address(&self) -> String {
        self.base.as_str().trim_end_matches('/').to_owned()
    }

    /// A request to the path made of `segments`, each percent-encoded.
    ///
    /// `.`, `..` and nothing are refused: as parts of a path they would name another route.
    pub fn request(&self, method: Method, segments: &[&str]) -> Result<RequestBuilder, Error> {
        if let Some(bad) = segments.iter().find(|segment| matches!(**segment, "" | "." | "..")) {
            return Err(Error::Usage(format!("`{bad}` is no id")));
        }
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| Error::Usage(format!("{} has no path", self.base)))?
            .pop_if_empty()
            .extend(segments);
        Ok(self.http.request(method, url))
    }

    /// Sends `request` and reads the whole answer.
    pub async fn call(&self, request: RequestBuilder) -> Result<Answer, Error> {
        let whole = async {
            let response = self.open(request).await?;
            let status = response.status();
            let body = response.bytes().await.map_err(|error| self.failed(&error))?;
            Ok(Answer { body, address: self.address(), status })
        };
        let waited = self.patience.answer;
        timeout(waited, whole).await.unwrap_or_else(|_| Err(self.silent(waited)))
    }

    /// Sends `request` and leaves the answer's body to be read. There is no bound on the time.
    pub async fn open(&self, request: RequestBuilder) -> Result<Response, Error> {
        let response = request.send().await.map_err(|error| self.failed(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(self.refused(response).await)
    }

    /// The next piece of a streamed answer; `None` after its proper end.
    pub async fn chunk(&self, response: &mut Response) -> Result<Option<Bytes>, Error> {
        let waited = self.patience.silence;
        match timeout(waited, response.chunk()).await {
            Ok(read) => read.map_err(|error| self.failed(&error)),
            Err(_) => Err(self.silent(waited)),
        }
    }

    /// The connection carried nothing for `waited`.
    pub(crate) fn silent(&self, waited: Duration) -> Error {
        Error::Silent { address: self.address(), waited }
    }

    /// The answer ended too early, or makes no sense from here on.
    pub(crate) fn broken(&self, cause: impl Into<String>) -> Error {
        Error::Broken { address: self.address(), cause: cause.into() }
    }

    pub(crate) fn failed(&self, error: &reqwest::Error) -> Error {
        let (address, cause) = (self.address(), root_cause(error));
        if error.is_connect() && error.is_timeout() {
            let cause = "no connection in time".to_owned();
            return Error::Unreachable { address, cause };
        }
        if error.is_connect() {
            return Error::Unreachable { address, cause };
        }
        Error::Broken { address, cause }
    }

    async fn refused(&self, mut response: Response) -> Error {
        let status = response.status();
        let header = |name| header_text(response.headers(), name);
        let (retry_after, request_id) = (header(RETRY_AFTER), header(REQUEST_ID));
        let location = header(LOCATION);
        let mut body = BytesMut::new();
        while body.len() < ERROR_BODY {
            match self.chunk(&mut response).await {
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                // Half an explanation is better than none.
                Ok(None) | Err(_) => break,
            }
        }
        let body = body.freeze();
        if let Ok(refusal) = serde_json::from_slice::<Refusal>(&body) {
            return Error::Refused(Box::new(Refusal { retry_after, request_id, body, ..refusal }));
        }
        match location {
            Some(to) if status.is_redirection() => Error::Foreign {
                address: self.address(),
                status,
                excerpt: format!("a redirect to {to}"),
            },
            _ => foreign(&self.address(), status, &body),
        }
    }
}

fn foreign(address: &str, status: StatusCode, body: &[u8]) -> Error {
    // Only so much is shown, and what is cut in the middle of a character still reads.
    let start = String::from_utf8_lossy(&body[..body.len().min(1024)]);
    let excerpt = match clean(&start) {
        empty if empty.is_empty() => "an empty body".to_owned(),
        text => cut(&text, 200).into_owned(),
    };
    Error::Foreign { address: address.to_owned(), status, excerpt }
}

fn address(typed: &str) -> Result<Url, Error> {
    let refuse = |why: &str| Error::Usage(format!("the server's address `{typed}` {why}"));
    let url = Url::parse(typed)
        .ok()
        .filter(|url| url.has_host())
        .ok_or_else(|| refuse("is not a URL such as http://127.0.0.1:7171"))?;
    match url.scheme() {
        "http" => {}
        "https" => {
            return Err(refuse(
                "asks for TLS, which this command does not speak: use http:// on a network you \
                 trust, or a tunnel that ends TLS on this machine",
            ));
        }
        _ => return Err(refuse("does not begin with http://")),
    }
    if !url.username().is_empty() || url.password().is_some() {
        // Not repeated: it may hold a password.
        return Err(Error::Usage(
            "the server's address carries a user or password; who is asking is said by KENNING_KEY"
                .to_owned(),
        ));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(refuse("must not have a `?` or `#` part"));
    }
    Ok(url)
}

fn headers(connection: &Connection) -> Result<HeaderMap, Error> {
    let mut headers = HeaderMap::new();
    let tenant = connection.tenant.as_deref().filter(|tenant| !tenant.is_empty());
    if let Some(tenant) = tenant {
        let value = HeaderValue::from_str(tenant)
            .map_err(|_| Error::Usage(format!("`{}` is no tenant", clean(tenant))))?;
        headers.insert(TENANT, value);
    }
    let key = connection.key.as_ref().map(|key| key.reveal()).filter(|key| !key.is_empty());
    if let Some(key) = key {
        let mut value = HeaderValue::from_str(&format!("Bearer {key}")).map_err(|_| {
            Error::Usage("the key holds characters that no header can carry".to_owned())
        })?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    if let Some(ms) = connection.timeout_ms {
        headers.insert(TIMEOUT_MS, HeaderValue::from(ms.get()));
    }
    Ok(headers)
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn header_text(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(clean)
}

/// The innermost error: the outer ones say only that sending a request failed.
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

    fn refusal(typed: &str) -> String {
        address(typed).unwrap_err().to_string()
    }

    #[test]
    fn an_address_that_cannot_work_is_refused_with_its_reason() {
        assert!(refusal("https://kb.example").contains("TLS"));
        assert!(refusal("127.0.0.1:7171").contains("such as http://"));
        assert!(refusal("localhost:7171").contains("such as http://"));
        assert!(refusal("ftp://kb.example").contains("begin with http://"));
        assert!(refusal("http://kb.example/?x").contains("`?`"));
        assert!(refusal("").contains("such as http://"));
    }

    #[test]
    fn a_password_in_an_address_is_not_repeated() {
        let said = refusal("http://ada:hunter2@kb.example");
        assert!(said.contains("KENNING_KEY") && !said.contains("hunter2"), "{said}");
    }

    #[test]
    fn loopback_is_known_by_name_and_by_both_kinds_of_number() {
        for (url, loopback) in [
            ("http://localhost:1", true),
            ("http://127.3.2.1", true),
            ("http://[::1]:7171", true),
            ("http://10.0.0.1", false),
            ("http://localhost.example", false),
        ] {
            assert_eq!(is_loopback(&address(url).unwrap()), loopback, "{url}");
        }
    }

    #[test]
    fn a_long_deadline_extends_the_wait_and_a_short_one_does_not_shorten_it() {
        let patience = Patience::default();
        assert_eq!(patience.extended_to(Some(100)).answer, patience.answer);
        assert_eq!(patience.extended_to(Some(120_000)).answer, Duration::from_secs(125));
    }
}
