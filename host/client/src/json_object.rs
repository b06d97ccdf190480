//! JSON objects on the command line.

use std::ops::Deref;

use serde_json::value::{RawValue, Value};

use crate::Error;

/// A JSON object exactly as typed, so that no number loses precision.
#[derive(Clone, Debug)]
pub struct JsonObject(Box<RawValue>);

impl Deref for JsonObject {
    type Target = RawValue;

    fn deref(&self) -> &RawValue {
        &self.0
    }
}

impl JsonObject {
    /// The object that `value` is.
    ///
    /// # Errors
    /// [`Error::Usage`] if it is none.
    pub(crate) fn new(value: &Value) -> Result<Self, Error> {
        json_object(&value.to_string()).map_err(Error::Usage)
    }
}

/// Reads an object from the command line.
pub(crate) fn json_object(typed: &str) -> Result<JsonObject, String> {
    let raw: Box<RawValue> =
        serde_json::from_str(typed).map_err(|error| format!("not JSON: {error}"))?;
    if !raw.get().starts_with('{') {
        return Err("not a JSON object, such as {\"topic\":\"tea\"}".to_owned());
    }
    Ok(JsonObject(raw))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_kept_as_typed() {
        let typed = r#" {"n": 12345678901234567890123, "x": 1.10} "#;
        assert_eq!(json_object(typed).unwrap().get(), typed.trim());
    }

    #[test]
    fn a_value_that_is_not_an_object_is_rejected() {
        for (typed, expected) in [
            ("[1]", "not a JSON object"),
            ("{", "not JSON"),
            ("", "not JSON"),
            ("{} x", "not JSON"),
        ] {
            let error = json_object(typed).unwrap_err();
            assert!(error.starts_with(expected), "{typed}: {error}");
        }
    }
}
