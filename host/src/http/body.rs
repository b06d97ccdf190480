//! Reading a request's JSON body: bounded in size and time, with a JSON pointer to what is wrong.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_path_to_error::{Path, Segment};
use tokio::time::timeout;

use super::answer::Refusal;
use super::body_budget::{BodyBudget, Reservation};
use super::gzip::Undecodable;
use crate::http::App;
use kenning_core::error::{Code, Error};

/// How much of a body that is too large is read and dropped, as a multiple of the limit.
const DISCARDED: usize = 4;

/// Bounds on what an answer quotes of a body, in bytes: the pointer, and the reason.
const POINTER_BYTES: usize = 1024;
const REASON_BYTES: usize = 512;

/// A JSON body, with its share of the budget of all bodies.
pub(super) struct Json<T>(pub(super) T, pub(super) Reservation);

impl<T: DeserializeOwned> FromRequest<Arc<App>> for Json<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Refusal> {
        let (bytes, reservation) = read(request.into_body(), app).await?;
        Ok(Self(parse(&bytes)?, reservation))
    }
}

/// Why a body could not be read.
enum Missing {
    TooLarge,
    /// The budget of all bodies is used up, or it cannot be decompressed.
    Refused(Error),
    BrokenOff,
    Late,
}

/// Reads a body within the limits, with its share of the budget of all bodies.
pub(super) async fn read(mut body: Body, app: &App) -> Result<(Bytes, Reservation), Error> {
    let (allowed, bound) = (app.limits.body_bytes, app.limits.request);
    let collected = timeout(bound, collect(&mut body, allowed, &app.bodies)).await;
    let missing = match collected.unwrap_or(Err(Missing::Late)) {
        Ok(whole) => return Ok(whole),
        Err(missing) => missing,
    };
    if matches!(missing, Missing::TooLarge | Missing::Refused(_)) {
        let _ = timeout(bound, discard(body, DISCARDED * allowed)).await;
    }
    Err(match missing {
        Missing::TooLarge => Error::new(
            Code::TooLarge,
            format!("body_bytes is limited to {allowed}, and this body has more"),
        )
        .with_details(serde_json::json!({ "limit": "body_bytes", "allowed": allowed })),
        Missing::Refused(error) => error,
        Missing::BrokenOff => Error::invalid("", "the body ended early"),
        Missing::Late => {
            let seconds = bound.as_secs_f64();
            Error::invalid("", format!("the body did not arrive within {seconds} s"))
        }
    })
}

async fn collect(
    body: &mut Body,
    allowed: usize,
    budget: &BodyBudget,
) -> Result<(Bytes, Reservation), Missing> {
    let mut body = Limited::new(body, allowed);
    let (mut bytes, mut reservation) = (BytesMut::new(), Reservation::default());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| match Undecodable::in_error(&*error) {
            Some(reason) => Missing::Refused(reason.to_error()),
            None if error.is::<LengthLimitError>() => Missing::TooLarge,
            None => Missing::BrokenOff,
        })?;
        // Trailers are ignored.
        let Ok(data) = frame.into_data() else { continue };
        reservation.merge(budget.reserve(data.len()).map_err(Missing::Refused)?);
        bytes.extend_from_slice(&data);
    }
    Ok((bytes.freeze(), reservation))
}

/// Reads and drops up to `bytes` of the body. A client that sends its whole body before it reads
/// the answer would otherwise see a closed connection instead of the answer.
pub(super) async fn discard(mut body: Body, mut bytes: usize) {
    while let Some(Ok(frame)) = body.frame().await
        && bytes > 0
    {
        bytes = bytes.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
    }
}

/// Parses a JSON object; an error carries a JSON pointer to its place.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    let bytes = without_mark(bytes);
    if bytes.trim_ascii_start().starts_with(b"[") {
        // serde accepts a list as a struct's values in their order.
        return Err(Error::invalid("", "the JSON must be an object, not a list"));
    }
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let reason = shortened(error.inner().to_string());
        Error::invalid(&pointer(error.path()), format!("the JSON cannot be read: {reason}"))
    })?;
    json.end().map_err(|error| {
        Error::invalid("", format!("trailing data after the JSON value: {error}"))
    })?;
    Ok(value)
}

/// `text` without the byte order mark with which some programs begin UTF-8.
pub(super) fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

/// The JSON pointer (RFC 6901) of `path`, cut at the last segment that fits.
fn pointer(path: &Path) -> String {
    let mut pointer = String::new();
    for segment in path.iter().filter_map(segment) {
        if pointer.len() + segment.len() >= POINTER_BYTES {
            break;
        }
        pointer.push('/');
        pointer.push_str(&segment.replace('~', "~0").replace('/', "~1"));
    }
    pointer
}

/// Drops the middle of a long reason: serde quotes an unexpected value in full before it says
/// where it is.
fn shortened(reason: String) -> String {
    if reason.len() <= REASON_BYTES {
        return reason;
    }
    let begin = reason.floor_char_boundary(REASON_BYTES / 2);
    let end = reason.ceil_char_boundary(reason.len() - REASON_BYTES / 2);
    format!("{} … {}", &reason[..begin], &reason[end..])
}

fn segment(segment: &Segment) -> Option<String> {
    match segment {
        Segment::Seq { index } => Some(index.to_string()),
        Segment::Map { key } => Some(key.clone()),
        Segment::Enum { .. } | Segment::Unknown => None,
    }
}

/// Checks that metadata is a JSON object and returns its text, as the contract wants it.
pub(crate) fn metadata(given: Option<Box<RawValue>>) -> Result<Option<String>, Error> {
    let Some(raw) = given else { return Ok(None) };
    let text = String::from(Box::<str>::from(raw));
    let object: Result<serde_json::Map<_, _>, _> = serde_json::from_str(&text);
    match object {
        Ok(_) => Ok(Some(text)),
        Err(error) => {
            Err(Error::invalid("/metadata", format!("metadata must be a JSON object: {error}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Inner {
        #[expect(dead_code, reason = "only parsed")]
        number: u32,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        #[expect(dead_code, reason = "only parsed")]
        list: Vec<Inner>,
    }

    fn pointer_of(body: &str) -> String {
        let error = parse::<Outer>(body.as_bytes()).unwrap_err();
        error.details.unwrap()["pointer"].as_str().unwrap().to_string()
    }

    #[test]
    fn a_wrong_type_is_pointed_at() {
        assert_eq!(pointer_of(r#"{"list":[{"number":1},{"number":"x"}]}"#), "/list/1/number");
    }

    #[test]
    fn broken_json_is_an_error_of_the_whole_body() {
        assert_eq!(pointer_of(r#"{"list":[]} {"#), "");
    }

    #[test]
    fn a_list_is_no_object() {
        assert_eq!(pointer_of(r#" [[{"number":1}]]"#), "");
    }

    #[test]
    fn an_answer_quotes_little_of_a_body_and_says_where_it_is_wrong() {
        let long = "ä/".repeat(1_000_000);
        let unexpected = format!(r#"{{"list":"{long}"}}"#);
        let error = parse::<Outer>(unexpected.as_bytes()).unwrap_err();
        assert!(error.message.len() < 2 * REASON_BYTES, "{}", error.message.len());
        assert!(error.message.contains("invalid type"), "{}", error.message);
        assert!(error.message.contains("at line 1 column"), "{}", error.message);
        let unknown = format!(r#"{{"{long}":1}}"#);
        assert_eq!(pointer_of(&unknown), "");
    }

    #[test]
    fn metadata_that_is_no_object_is_refused() {
        for text in ["[]", "1", "\"a\"", "true"] {
            let raw = RawValue::from_string(text.into()).unwrap();
            assert!(metadata(Some(raw)).is_err(), "{text}");
        }
    }
}
