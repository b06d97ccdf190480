//! gzip, both ways.
//!
//! A body that arrives compressed is decompressed piece by piece, so that every bound of its route
//! counts the bytes that come out. What comes out is bounded by what went in as well: a few bytes
//! must not become an endless import.
//!
//! An answer is compressed for a caller who takes it so, unless it is small, compressed already, or
//! a stream of events. Where an answer comes in pieces, each is passed on when it is there. Each
//! compression needs memory; when as many run as may, further answers go out as they are.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_compression::Level;
use async_compression::tokio::bufread::{GzipDecoder, GzipEncoder};
use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt};
use http::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, VARY,
};
use http::{HeaderMap, HeaderValue};
use tokio::task::coop::consume_budget;
use tokio_util::io::{ReaderStream, StreamReader};

use crate::http::App;
use kenning_core::error::{Code, Error};
use kenning_core::limits::Limits;

const GZIP: HeaderValue = HeaderValue::from_static("gzip");

/// Answers below this size are hardly smaller compressed.
const SMALL: u64 = 1024;

/// How much is compressed or decompressed at once.
const PIECE: usize = 16 * 1024;

/// What types of answers are text; others are not compressed, or are so already.
const TEXT: [&str; 4] =
    ["application/json", "application/x-ndjson", "application/javascript", "image/svg+xml"];

const EVENTS: &str = "text/event-stream";

/// Any reason.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Why a compressed body cannot be read further.
#[derive(Debug)]
pub(super) enum Undecodable {
    /// It is not gzip, or damaged.
    Broken(io::Error),
    /// It ends in the middle.
    Cut,
    /// More would come out than may.
    TooDense(u64),
}

impl fmt::Display for Undecodable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(error) => write!(f, "the body is not valid gzip: {error}"),
            Self::Cut => f.write_str("the body's gzip ends in the middle"),
            Self::TooDense(ratio) => write!(
                f,
                "the body's gzip is suspiciously dense: gzip_ratio allows {ratio} bytes for each \
                 that is sent; send it uncompressed"
            ),
        }
    }
}

impl std::error::Error for Undecodable {}

impl Undecodable {
    /// What is answered.
    pub(super) fn to_error(&self) -> Error {
        match self {
            Self::TooDense(ratio) => Error::new(Code::TooLarge, self.to_string())
                .with_details(serde_json::json!({ "limit": "gzip_ratio", "allowed": ratio })),
            Self::Broken(_) | Self::Cut => Error::invalid("", self.to_string()),
        }
    }

    /// The one that `error` was caused by, if any.
    pub(super) fn in_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(found) = error.downcast_ref() {
                return Some(found);
            }
            next = error.source();
        }
        None
    }
}

/// The request with its body decompressed, if it is compressed.
pub(super) fn decompressed(request: Request, limits: &Limits) -> Request {
    let (mut head, body) = request.into_parts();
    if !is_gzip(&head.headers) {
        return Request::from_parts(head, body);
    }
    head.headers.remove(CONTENT_ENCODING);
    head.headers.remove(CONTENT_LENGTH);
    let body = Body::from_stream(gunzip(body, limits.gzip_ratio, limits.body_bytes as u64));
    Request::from_parts(head, body)
}

/// Whether the one encoding of a body is gzip.
pub(super) fn is_gzip(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(CONTENT_ENCODING).iter();
    let first = codings.next().map(HeaderValue::as_bytes);
    let is_gzip =
        |name: &[u8]| name.eq_ignore_ascii_case(b"gzip") || name.eq_ignore_ascii_case(b"x-gzip");
    first.is_some_and(is_gzip) && codings.next().is_none()
}

/// What is in a compressed body: up to `free` bytes, and beyond at most `ratio` for each that came.
fn gunzip(body: Body, ratio: u64, free: u64) -> impl Stream<Item = Result<Bytes, Failure>> {
    let arrived = Arc::new(AtomicU64::new(0));
    let count = arrived.clone();
    let compressed = body
        .into_data_stream()
        .inspect_ok(move |piece| _ = count.fetch_add(piece.len() as u64, Ordering::Relaxed))
        .map_err(io::Error::other);
    let mut decoder = GzipDecoder::new(StreamReader::new(compressed));
    decoder.multiple_members(true);
    let mut decoded = 0;
    ReaderStream::with_capacity(decoder, PIECE)
        .then(|piece| async move {
            // A loop over what is there already would keep its thread otherwise.
            consume_budget().await;
            piece
        })
        .map(move |piece| -> Result<Bytes, Failure> {
            let piece = piece.map_err(undecodable)?;
            decoded += piece.len() as u64;
            let allowed = arrived.load(Ordering::Relaxed).saturating_mul(ratio).max(free);
            match decoded > allowed {
                true => Err(Undecodable::TooDense(ratio).into()),
                false => Ok(piece),
            }
        })
}

fn undecodable(error: io::Error) -> Failure {
    match error.kind() {
        // What the connection reported.
        io::ErrorKind::Other if error.get_ref().is_some_and(|inner| inner.is::<axum::Error>()) => {
            Box::new(error)
        }
        io::ErrorKind::UnexpectedEof => Undecodable::Cut.into(),
        _ => Undecodable::Broken(error).into(),
    }
}

/// Compresses an answer, if that is of use and the caller takes it.
pub(super) async fn compress(
    State(app): State<Arc<App>>,
    request: Request,
    next: Next,
) -> Response {
    let is_wanted = accepts_gzip(request.headers());
    let mut response = next.run(request).await;
    if !is_worthwhile(&response) {
        return response;
    }
    response.headers_mut().append(VARY, HeaderValue::from_static("accept-encoding"));
    let permit = is_wanted.then(|| app.compressions.clone().try_acquire_owned().ok()).flatten();
    let Some(permit) = permit else { return response };
    let (mut head, body) = response.into_parts();
    head.headers.insert(CONTENT_ENCODING, GZIP);
    head.headers.remove(CONTENT_LENGTH);
    // Another representation than the one that the tag names.
    head.headers.remove(ETAG);
    let pieces = compressed(body).inspect(move |_| {
        // Held until the last piece is read.
        let _held = &permit;
    });
    Response::from_parts(head, Body::from_stream(pieces))
}

/// The body, compressed. What there is of it is passed on while the next piece is waited for.
fn compressed(body: Body) -> impl Stream<Item = io::Result<Bytes>> {
    let plain = StreamReader::new(body.into_data_stream().map_err(io::Error::other));
    ReaderStream::with_capacity(GzipEncoder::with_quality(plain, Level::Fastest), PIECE)
}

fn is_worthwhile(response: &Response) -> bool {
    let headers = response.headers();
    let is_whole = response.status().is_success() || response.status().is_client_error();
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    let is_text = TEXT.contains(&kind) || (kind.starts_with("text/") && kind != EVENTS);
    let is_small = response.body().size_hint().upper().is_some_and(|most| most < SMALL);
    let is_encoded = headers.contains_key(CONTENT_ENCODING) || headers.contains_key(CONTENT_RANGE);
    is_whole && is_text && !is_small && !is_encoded
}

/// Whether gzip is among what the caller takes (RFC 9110, section 12.5.3).
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let mut by_wildcard = false;
    for part in values.flat_map(|value| value.split(',')) {
        let mut part = part.split(';').map(str::trim);
        let name = part.next().unwrap_or_default();
        let quality = part.find_map(|one| one.strip_prefix("q=").or(one.strip_prefix("Q=")));
        let is_taken = quality.is_none_or(|text| text.parse::<f32>().is_ok_and(|q| q > 0.0));
        match name {
            "*" => by_wildcard = is_taken,
            _ if name.eq_ignore_ascii_case("gzip") => return is_taken,
            _ if name.eq_ignore_ascii_case("x-gzip") => return is_taken,
            _ => {}
        }
    }
    by_wildcard
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use http_body_util::BodyExt;
    use tokio::io::AsyncReadExt;

    use super::*;

    async fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut compressed = Vec::new();
        GzipEncoder::new(plain).read_to_end(&mut compressed).await.unwrap();
        compressed
    }

    async fn gunzipped(compressed: Vec<u8>, ratio: u64, free: u64) -> Result<Bytes, String> {
        let body = Body::from_stream(gunzip(Body::from(compressed), ratio, free));
        let whole = body.collect().await.map_err(|error| {
            Undecodable::in_error(&error).map_or("another error".into(), ToString::to_string)
        })?;
        Ok(whole.to_bytes())
    }

    #[tokio::test]
    async fn what_comes_out_is_what_went_in_of_one_member_or_of_several() {
        let text = "tea is hot, ".repeat(10_000);
        let mut compressed = gzip(text.as_bytes()).await;
        assert_eq!(gunzipped(compressed.clone(), 1_000, 0).await.unwrap(), text);
        compressed.extend(gzip(b"and so is coffee").await);
        let both = gunzipped(compressed, 1_000, 0).await.unwrap();
        assert!(both.ends_with(b"and so is coffee") && both.len() == text.len() + 16);
    }

    #[tokio::test]
    async fn what_is_broken_cut_or_too_dense_is_named() {
        let whole = gzip(&[b'a'; 1_000_000]).await;
        let said = |compressed: &[u8], ratio, free| gunzipped(compressed.to_vec(), ratio, free);
        assert!(said(b"{\"text\":1}", 9, 9).await.unwrap_err().contains("not valid gzip"));
        assert!(said(&whole[..whole.len() / 2], 9_999, 0).await.unwrap_err().contains("middle"));
        assert!(said(&whole, 100, 1_000).await.unwrap_err().contains("gzip_ratio allows 100"));
        assert_eq!(said(&whole, 100, 1_000_000).await.unwrap().len(), 1_000_000);
        let mut damaged = whole.clone();
        let end = damaged.len() - 6;
        damaged[end] ^= 1;
        assert!(said(&damaged, 9_999, 0).await.is_err(), "its checksum is wrong");
    }

    #[tokio::test]
    async fn a_piece_is_passed_on_while_the_next_is_waited_for() {
        let piece = "tea is hot, ".repeat(100);
        let sent = Bytes::from(piece.clone());
        let first = futures::stream::once(async { Ok::<_, io::Error>(sent) });
        let body = Body::from_stream(first.chain(futures::stream::pending()));
        let mut compressed = std::pin::pin!(compressed(body));
        let mut arrived = Vec::new();
        while let Some(Some(part)) = compressed.next().now_or_never() {
            arrived.extend(part.unwrap());
        }
        let mut decoder = GzipDecoder::new(&arrived[..]);
        let mut read = vec![0; piece.len()];
        decoder.read_exact(&mut read).await.unwrap();
        assert_eq!(read, piece.as_bytes());
    }

    #[test]
    fn gzip_is_answered_to_those_who_take_it() {
        for (accepted, expected) in [
            ("gzip", true),
            ("deflate, GZIP;q=0.5", true),
            ("*", true),
            ("br", false),
            ("gzip;q=0", false),
            ("gzip;q=0, *", false),
            ("identity;q=1, *;q=0", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(accepted));
            assert_eq!(accepts_gzip(&headers), expected, "{accepted}");
        }
        assert!(!accepts_gzip(&HeaderMap::new()));
    }

    #[test]
    fn small_encoded_and_event_answers_are_left_as_they_are() {
        let answer = |kind: &'static str, bytes: usize| {
            Response::builder()
                .header(CONTENT_TYPE, kind)
                .body(Body::from(vec![b'a'; bytes]))
                .unwrap()
        };
        assert!(is_worthwhile(&answer("application/json", 2_000)));
        assert!(is_worthwhile(&answer("text/plain; version=0.0.4", 2_000)));
        assert!(!is_worthwhile(&answer("application/json", 100)));
        assert!(!is_worthwhile(&answer("text/event-stream", 2_000)));
        assert!(!is_worthwhile(&answer("application/wasm", 2_000)));
        let mut encoded = answer("application/json", 2_000);
        encoded.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("br"));
        assert!(!is_worthwhile(&encoded));
    }
}
