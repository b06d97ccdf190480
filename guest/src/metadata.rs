//! Metadata: a JSON object as text, which belongs to the people who store facts.
//!
//! It is delivered byte for byte as it was stored. What the logic writes is checked by
//! parsing it whole; what it reads, perhaps from another program, is only looked over.

use serde::de::IgnoredAny;
use serde_json::Value;

use crate::{Error, Result, limits};

/// Refuses metadata that is too large or not an object.
///
/// Objects nested deeper than 128 are refused, as everything that reads them would.
pub fn check(text: &str) -> Result<()> {
    limits::FACT_METADATA_BYTES.check(text.len())?;
    match serde_json::from_str::<Value>(text) {
        Ok(Value::Object(_)) => Ok(()),
        Ok(_) => Err(Error::invalid("/metadata", "metadata must be a JSON object")),
        Err(error) => Err(Error::invalid("/metadata", format!("metadata is not JSON: {error}"))),
    }
}

/// Whether both say the same, whatever their spaces and order of keys.
pub fn same(one: &str, other: &str) -> bool {
    let value = |text| serde_json::from_str::<Value>(text).ok();
    one == other || value(one).is_some_and(|one| Some(one) == value(other))
}

/// An object, whatever a hash holds, so that one odd fact spoils no page and nothing is
/// lost silently: nothing or `null` is `{}`; another JSON value is `{"value": …}`; and
/// what is not JSON is the same with the text as a string.
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
