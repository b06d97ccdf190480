//! Cross-origin requests: pages of listed origins may read the answers.
//!
//! Pages show no key by themselves, so credentials are not allowed, and `*` is never answered. What
//! is not listed is refused by `same_origin`, or gets an answer that its browser withholds from it.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, header};
use tower_http::cors::{AllowHeaders, AllowMethods, AllowOrigin, CorsLayer, ExposeHeaders};

use super::answer::{DIGEST, EXTENSIONS, GENERATION, LEFT_OUT, REVISION};
use super::request::REQUEST_ID;
use super::same_origin::is_listed;
use crate::origin::Origin;

/// How long a browser may remember what it was told.
const MAX_AGE: Duration = Duration::from_secs(2 * 60 * 60);

/// The headers of requests that pages may set.
const ALLOWED: [&str; 19] = [
    "accept",
    "authorization",
    "content-encoding",
    "content-type",
    "idempotency-key",
    "last-event-id",
    "mcp-method",
    "mcp-name",
    "mcp-protocol-version",
    "mcp-session-id",
    "x-api-key",
    "x-kenning-digest",
    "x-kenning-import-id",
    "x-kenning-min-revision",
    "x-kenning-tenant",
    "x-kenning-timeout-ms",
    "x-requested-with",
    "x-request-id",
    "traceparent",
];

/// Answers browsers for pages of `origins`; `None` if there are none.
pub(super) fn layer(origins: &[Origin]) -> Option<CorsLayer> {
    if origins.is_empty() {
        return None;
    }
    let origins: Arc<[Origin]> = origins.into();
    let is_listed =
        move |origin: &HeaderValue, _: &http::request::Parts| is_listed(origin, &origins);
    let exposed = [
        REQUEST_ID,
        REVISION,
        GENERATION,
        DIGEST,
        EXTENSIONS,
        LEFT_OUT,
        header::RETRY_AFTER,
        HeaderName::from_static("mcp-session-id"),
    ];
    let layer = CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(is_listed))
        .allow_methods(AllowMethods::list([
            Method::GET,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
        ]))
        .allow_headers(AllowHeaders::list(ALLOWED.map(HeaderName::from_static)))
        .expose_headers(ExposeHeaders::list(exposed))
        .max_age(MAX_AGE);
    Some(layer)
}
