//! Metadata: a JSON object as text, whose content is up to the caller.
//!
//! It is returned byte for byte as it was stored. Metadata to be written is parsed in full.
//! Metadata that is read, possibly written by another program, is parsed in full only if its
//! syntax alone does not show that the index can parse it too.

use serde::de::IgnoredAny;
use serde_json::Value;

use crate::{Error, Result, limits};

/// The deepest nesting that the index parses.
const DEPTH: usize = 127;

/// A number with as many digits may be out of range.
const LONG_NUMBER: usize = 300;

/// The field under which filters find a fact's own time.
pub const OWN_TIME: &str = "$timestamp";

/// Checks that metadata is a JSON object within the size limit and nested at most 128 deep.
///
/// # Errors
/// [`Error::TooLarge`] or [`Error::Invalid`].
pub fn validate(text: &str) -> Result<()> {
    limits::FACT_METADATA_BYTES.check(text.len())?;
    match serde_json::from_str::<Value>(text) {
        Ok(Value::Object(_)) => Ok(()),
        Ok(_) => Err(Error::invalid("/metadata", "metadata must be a JSON object")),
        Err(error) => Err(Error::invalid("/metadata", format!("metadata is not JSON: {error}"))),
    }
}

/// Whether both are equal as JSON, regardless of white space and the order of keys.
pub fn same(one: &str, other: &str) -> bool {
    let value = |text| serde_json::from_str::<Value>(text).ok();
    one == other || value(one).is_some_and(|one| Some(one) == value(other))
}

/// Converts the metadata field of a hash to an object, so that one malformed fact does not
/// break a page and nothing is lost.
///
/// A missing field or `null` becomes `{}`, another JSON value becomes `{"value": …}`, and
/// text that is not JSON becomes `{"value": "…"}`.
pub fn from_hash(text: Option<String>) -> String {
    let Some(text) = text else { return "{}".into() };
    let trimmed = text.trim_ascii();
    if trimmed.is_empty() || trimmed == "null" {
        return "{}".into();
    }
    let is_json = is_json(&text);
    if is_json && trimmed.starts_with('{') {
        return text;
    }
    let value = if is_json { text } else { Value::String(text).to_string() };
    ["{\"value\":", &value, "}"].concat()
}

/// Whether `text` is JSON that the index can parse.
fn is_json(text: &str) -> bool {
    match is_plain(text) {
        true => serde_json::from_str::<IgnoredAny>(text).is_ok(),
        false => serde_json::from_str::<Value>(text).is_ok(),
    }
}

/// Whether checking the syntax of `text` is enough: it has no escaped code points, which may be
/// half of a pair, no exponents or long numbers, which may be out of range, and is not nested
/// deeply.
fn is_plain(text: &str) -> bool {
    let bytes = text.as_bytes();
    let pair = |test: fn(u8, u8) -> bool| bytes.windows(2).any(|two| test(two[0], two[1]));
    let opened = bytes.iter().filter(|byte| matches!(byte, b'{' | b'[')).count();
    let digits = bytes.split(|byte| !byte.is_ascii_digit()).map(<[u8]>::len).max();
    opened < DEPTH
        && digits.unwrap_or(0) < LONG_NUMBER
        && !pair(|one, two| one == b'\\' && two == b'u')
        && !pair(|one, two| one.is_ascii_digit() && matches!(two, b'e' | b'E'))
}

/// `metadata`, a JSON object, with the fact's own time as the member [`OWN_TIME`], for filters. It
/// hides a member of that name; a member `timestamp` is the caller's own and stays.
pub fn with_time(metadata: &str, timestamp: &str) -> String {
    let members = metadata.trim_ascii_end().strip_suffix('}');
    let Some(members) = members.filter(|_| !timestamp.is_empty()) else {
        return metadata.into();
    };
    let comma = if members.trim_ascii() == "{" { "" } else { "," };
    let time = Value::from(timestamp).to_string();
    [members, comma, "\"", OWN_TIME, "\":", &time, "}"].concat()
}
