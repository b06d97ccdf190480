//! Metadata: a JSON object as text, whose content is up to the caller.
//!
//! It is returned byte for byte as it was stored. Metadata to be written is parsed in full.
//! Metadata that is read, possibly written by another program, is only checked for JSON
//! syntax.

use serde::de::IgnoredAny;
use serde_json::Value;

use crate::{Error, Result, limits};

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
    let is_json = serde_json::from_str::<IgnoredAny>(&text).is_ok();
    if is_json && trimmed.starts_with('{') {
        return text;
    }
    let value = if is_json { text } else { Value::String(text).to_string() };
    ["{\"value\":", &value, "}"].concat()
}
