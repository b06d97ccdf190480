//! What every request's head is checked for before its route sees it: whose server it means, which
//! page it comes from, and what its body is. A compressed body is decompressed for the route.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, EXPECT, HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderMap, HeaderName, Version};
use tokio::time::timeout;

use super::answer::Refusal;
use super::body::discard;
use super::client::Client;
use super::gzip::{decompressed, is_gzip};
use crate::http::App;
use crate::origin::Authority;
use kenning_core::error::{Code, Error};

/// The types of body that are read. A browser sends none of them to another origin without asking
/// that origin first, as it does send forms and plain text.
const MEDIA_TYPES: [&str; 5] = [
    "application/json",
    "application/merge-patch+json",
    "application/x-ndjson",
    "application/wasm",
    "application/octet-stream",
];

/// Headers that say who asks and how, each once.
const GIVEN_ONCE: [&str; 7] = [
    "authorization",
    "x-api-key",
    "x-kenning-tenant",
    "x-kenning-timeout-ms",
    "idempotency-key",
    "x-kenning-import-id",
    "last-event-id",
];

/// What `curl --data` says that it sends, whatever it sends.
const FORM: &str = "application/x-www-form-urlencoded";

/// How long the body of a refused request is read, so that its client hears the answer. Not longer,
/// because nobody has said yet who the client is.
const DISCARD: Duration = Duration::from_secs(1);

/// Refuses a request that is for another server, or comes from a foreign page.
pub(super) async fn admit(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    match check_place(&head, &app) {
        Ok(()) => next.run(Request::from_parts(head, body)).await,
        Err(error) => refuse(error, &head, body, &app).await,
    }
}

fn check_place(head: &Parts, app: &App) -> Result<(), Error> {
    let client = head.extensions.get::<Client>();
    let mut hosts = hosts(head)?;
    // Before the name that a proxy uses: the one that the caller used.
    if let Some(forwarded) = client.and_then(|client| client.host.clone()) {
        hosts.insert(0, forwarded);
    }
    app.origins.check(head, &hosts, client.map_or("http", |client| client.scheme))
}

/// Refuses a request whose head says that it cannot be served.
pub(super) async fn check(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    match check_head(&head, !body.is_end_stream(), &app) {
        Ok(()) => {
            let request = decompressed(Request::from_parts(head, body), &app.limits);
            next.run(request).await
        }
        Err(error) => refuse(error, &head, body, &app).await,
    }
}

async fn refuse(error: Error, head: &Parts, body: Body, app: &App) -> Response {
    // A client that waits for permission to send its body need not send it.
    if !head.headers.contains_key(EXPECT) {
        let _ = timeout(DISCARD, discard(body, app.limits.body_bytes)).await;
    }
    Refusal(error).into_response()
}

fn check_head(head: &Parts, has_body: bool, app: &App) -> Result<(), Error> {
    check_given_once(&head.headers)?;
    check_expectation(&head.headers)?;
    check_encoding(&head.headers)?;
    match has_body {
        true => check_media_type(&head.headers, app.origins.is_open),
        false => Ok(()),
    }
}

/// The hosts that the request names: `Host`, which is there once, and the target's, if it has one.
fn hosts(head: &Parts) -> Result<Vec<Authority>, Error> {
    let invalid = |message: &str| Error::invalid("/headers/host", message);
    let mut named = head.headers.get_all(HOST).iter();
    let (host, another) = (named.next(), named.next());
    if another.is_some() {
        return Err(invalid("the request has more than one Host header"));
    }
    let is_missing = match head.version {
        Version::HTTP_09 | Version::HTTP_10 => false,
        Version::HTTP_11 => host.is_none(),
        // HTTP/2 has the target's instead.
        _ => host.is_none() && head.uri.authority().is_none(),
    };
    if is_missing {
        return Err(invalid("the request has no Host header"));
    }
    let host = host.map(|host| host.to_str().unwrap_or_default());
    let named = host.into_iter().chain(head.uri.authority().map(|target| target.as_str()));
    let read = |text| Authority::parse(text).ok_or_else(|| invalid("the host is not HOST:PORT"));
    named.map(read).collect()
}

/// Of two keys or two tenants, a proxy may look at the one and this server at the other.
fn check_given_once(headers: &HeaderMap) -> Result<(), Error> {
    let twice = GIVEN_ONCE.iter().find(|name| headers.get_all(**name).iter().nth(1).is_some());
    match twice {
        None => Ok(()),
        Some(name) => Err(Error::invalid(
            &format!("/headers/{name}"),
            format!("the request has more than one {name} header; send it once"),
        )),
    }
}

fn check_expectation(headers: &HeaderMap) -> Result<(), Error> {
    let mut expected = headers.get_all(EXPECT).iter();
    match expected.all(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        true => Ok(()),
        false => Err(Error::invalid(
            "/headers/expect",
            "the only expectation that this server meets is 100-continue",
        )),
    }
}

/// A body in another encoding would be read as what it is not.
fn check_encoding(headers: &HeaderMap) -> Result<(), Error> {
    let is_all = |name: &HeaderName, plain: &str| {
        let mut codings = headers.get_all(name).iter();
        codings.all(|coding| coding.as_bytes().eq_ignore_ascii_case(plain.as_bytes()))
    };
    if !is_all(&CONTENT_ENCODING, "identity") && !is_gzip(headers) {
        let message = "content-encoding may only be gzip, once, or identity".to_string();
        return Err(unsupported(&CONTENT_ENCODING, message));
    }
    if !is_all(&TRANSFER_ENCODING, "chunked") {
        let message = "transfer-encoding may only be chunked".to_string();
        return Err(unsupported(&TRANSFER_ENCODING, message));
    }
    Ok(())
}

/// On a server without keys the type must be there, because browsers send a body without one, too.
/// With keys, it may also be what `curl --data` says.
fn check_media_type(headers: &HeaderMap, is_open: bool) -> Result<(), Error> {
    let mut given = headers.get_all(CONTENT_TYPE).iter();
    let first = given.next().map(|value| value.to_str().unwrap_or_default());
    let one = first.filter(|_| given.next().is_none());
    let known = match one.and_then(media_type) {
        Some(essence) => MEDIA_TYPES.contains(&&*essence) || (!is_open && essence == FORM),
        None => !is_open && first.is_none(),
    };
    if known {
        return Ok(());
    }
    let given = first.map_or("missing".to_owned(), |given| format!("{given:?}"));
    let types = MEDIA_TYPES.join(", ");
    let message = format!("the body's content-type is {given}; it must be one of {types}");
    Err(unsupported(&CONTENT_TYPE, message))
}

/// The type without its parameters, in lower case; `None` if it says that the text is not UTF-8.
fn media_type(value: &str) -> Option<String> {
    let mut parts = value.split(';').map(|part| part.trim().to_ascii_lowercase());
    let essence = parts.next()?;
    let charset = parts.find_map(|part| part.strip_prefix("charset=").map(str::to_owned));
    let charset = charset.unwrap_or_default();
    matches!(charset.trim_matches('"'), "" | "utf-8" | "utf8" | "us-ascii").then_some(essence)
}

fn unsupported(header: &HeaderName, message: String) -> Error {
    let pointer = format!("/headers/{header}");
    Error::new(Code::UnsupportedMediaType, message)
        .with_details(serde_json::json!({ "pointer": pointer }))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn head(version: Version, uri: &str, fields: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().version(version).uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn hosts_of(version: Version, uri: &str, fields: &[(&str, &str)]) -> Result<String, u16> {
        let hosts = hosts(&head(version, uri, fields)).map_err(|error| error.code.status())?;
        Ok(hosts.iter().map(|host| format!("{host} ")).collect())
    }

    #[test]
    fn a_request_has_one_host_that_can_be_read() {
        let of = |fields: &[(&str, &str)]| hosts_of(Version::HTTP_11, "/", fields);
        assert_eq!(of(&[("host", "localhost:1")]), Ok("localhost:1 ".into()));
        assert_eq!(of(&[]), Err(400));
        assert_eq!(of(&[("host", "")]), Err(400));
        assert_eq!(of(&[("host", "a b")]), Err(400));
        assert_eq!(of(&[("host", "localhost"), ("host", "localhost")]), Err(400));
        assert_eq!(hosts_of(Version::HTTP_10, "/", &[]), Ok(String::new()));
    }

    #[test]
    fn a_request_of_http_2_names_its_host_in_the_target() {
        let of = |uri: &str, fields: &[(&str, &str)]| hosts_of(Version::HTTP_2, uri, fields);
        assert_eq!(of("https://localhost:1/", &[]), Ok("localhost:1 ".into()));
        assert_eq!(of("/", &[]), Err(400));
        assert_eq!(of("/", &[("host", "localhost")]), Ok("localhost ".into()));
        let both = of("https://localhost:1/", &[("host", "attacker.example")]);
        assert_eq!(both, Ok("attacker.example localhost:1 ".into()));
    }

    #[test]
    fn the_host_in_an_absolute_target_counts_as_well_as_the_header() {
        let uri = "http://attacker.example/v1/export";
        let both = hosts_of(Version::HTTP_11, uri, &[("host", "localhost")]);
        assert_eq!(both, Ok("localhost attacker.example ".into()));
        assert_eq!(hosts_of(Version::HTTP_10, uri, &[]), Ok("attacker.example ".into()));
    }

    fn status(check: impl Fn(&HeaderMap) -> Result<(), Error>, fields: &[(&str, &str)]) -> u16 {
        let head = head(Version::HTTP_11, "/", fields);
        check(&head.headers).map_or_else(|error| error.code.status(), |()| 200)
    }

    #[test]
    fn a_body_without_keys_has_a_type_that_no_form_can_send() {
        let open = |fields: &[(&str, &str)]| status(|all| check_media_type(all, true), fields);
        for known in MEDIA_TYPES {
            assert_eq!(open(&[("content-type", known)]), 200, "{known}");
        }
        for known in ["Application/JSON; charset=UTF-8", "application/json;charset=\"utf-8\""] {
            assert_eq!(open(&[("content-type", known)]), 200, "{known}");
        }
        for other in [
            FORM,
            "text/plain",
            "text/plain; application/json",
            "multipart/form-data; boundary=x",
            "application/json, text/plain",
            "application/jsonp",
            "application/json; charset=utf-16",
            "",
        ] {
            assert_eq!(open(&[("content-type", other)]), 415, "{other}");
        }
        assert_eq!(open(&[]), 415);
        let json = ("content-type", "application/json");
        assert_eq!(open(&[json, ("content-type", "text/plain")]), 415);
    }

    #[test]
    fn a_body_with_keys_may_also_be_what_curl_says_of_it() {
        let keyed = |fields: &[(&str, &str)]| status(|all| check_media_type(all, false), fields);
        assert_eq!(keyed(&[]), 200);
        assert_eq!(keyed(&[("content-type", FORM)]), 200);
        assert_eq!(keyed(&[("content-type", "application/json")]), 200);
        assert_eq!(keyed(&[("content-type", "text/plain")]), 415);
        assert_eq!(keyed(&[("content-type", "multipart/form-data")]), 415);
    }

    #[test]
    fn a_header_that_says_who_asks_is_given_once() {
        let key = ("authorization", "Bearer a");
        assert_eq!(status(check_given_once, &[key, ("x-api-key", "a")]), 200);
        assert_eq!(status(check_given_once, &[key, key]), 400);
        for name in GIVEN_ONCE {
            assert_eq!(status(check_given_once, &[(name, "1")]), 200, "{name}");
            assert_eq!(status(check_given_once, &[(name, "1"), (name, "2")]), 400, "{name}");
        }
        assert_eq!(status(check_given_once, &[("accept", "a"), ("accept", "b")]), 200);
    }

    #[test]
    fn encodings_and_expectations_that_nobody_would_meet_are_refused() {
        for (name, value, expected) in [
            ("content-encoding", "identity", 200),
            ("content-encoding", "GZip", 200),
            ("content-encoding", "br", 415),
            ("content-encoding", "gzip, gzip", 415),
            ("content-encoding", "identity, gzip", 415),
            ("transfer-encoding", "Chunked", 200),
            ("transfer-encoding", "gzip, chunked", 415),
        ] {
            assert_eq!(status(check_encoding, &[(name, value)]), expected, "{name}: {value}");
        }
        assert_eq!(status(check_expectation, &[("expect", "100-Continue")]), 200);
        assert_eq!(status(check_expectation, &[("expect", "200-ok")]), 400);
    }
}
