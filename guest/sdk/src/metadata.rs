//! Metadata: a JSON object, kept as its original text.

use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

/// The metadata of a fact: a JSON object.
///
/// It is kept as text. Fields that are not changed keep their order and the exact spelling
/// of their values, including the digits of numbers.
///
/// ```
/// use kenning_extension::Metadata;
/// let mut metadata = Metadata::from_json(r#"{"n": 1.10, "tags": ["a"]}"#).unwrap();
/// metadata.set("topic", "tea");
/// assert_eq!(metadata.as_str(), r#"{"n":1.10,"tags":["a"],"topic":"tea"}"#);
/// assert_eq!(metadata.get_str("topic").as_deref(), Some("tea"));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Metadata(String);

impl Metadata {
    /// Creates metadata from JSON text, or returns `None` unless it is an object.
    pub fn from_json(text: impl Into<String>) -> Option<Self> {
        let text = text.into();
        serde_json::from_str::<Members>(&text).ok()?;
        Some(Self(text))
    }

    /// Metadata from the host, which has validated it.
    pub(crate) fn from_host(text: String) -> Self {
        Self(text)
    }

    /// The object as JSON text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Converts it to JSON text.
    pub fn into_string(self) -> String {
        self.0
    }

    /// The value of a field, if it exists.
    pub fn get(&self, field: &str) -> Option<Value> {
        let members = self.members();
        let (_, value) = members.0.iter().rev().find(|(name, _)| name == field)?;
        serde_json::from_str(value.get()).ok()
    }

    /// The value of a field, if it exists and is a string.
    pub fn get_str(&self, field: &str) -> Option<String> {
        match self.get(field) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    /// Sets a field, in its existing position or at the end.
    pub fn set(&mut self, field: &str, value: impl Into<Value>) {
        let Ok(value) = to_raw_value(&value.into()) else { return };
        let mut members = self.members();
        let position = members.0.iter().position(|(name, _)| name == field);
        members.0.retain(|(name, _)| name != field);
        let position = position.unwrap_or(members.0.len());
        members.0.insert(position, (field.to_string(), value));
        self.write(&members);
    }

    /// Removes a field.
    pub fn remove(&mut self, field: &str) {
        let mut members = self.members();
        members.0.retain(|(name, _)| name != field);
        self.write(&members);
    }

    /// Applies `change` to every string value at any depth, but not to field names. Returns
    /// whether anything changed.
    ///
    /// If a string changes inside a nested value, the numbers in that value are formatted
    /// again, as `f64` if they have a fraction or are very large.
    pub fn map_texts(&mut self, mut change: impl FnMut(&str) -> Option<String>) -> bool {
        let mut members = self.members();
        let mut changed = false;
        for (_, raw) in &mut members.0 {
            // A value without a quotation mark holds no string and is kept unchanged.
            if !raw.get().contains('"') {
                continue;
            }
            let Ok(mut value) = serde_json::from_str::<Value>(raw.get()) else { continue };
            if !map_texts(&mut value, &mut change) {
                continue;
            }
            if let Ok(written) = to_raw_value(&value) {
                *raw = written;
                changed = true;
            }
        }
        if changed {
            self.write(&members);
        }
        changed
    }

    fn members(&self) -> Members {
        serde_json::from_str(&self.0).unwrap_or_default()
    }

    fn write(&mut self, members: &Members) {
        if let Ok(text) = serde_json::to_string(members) {
            self.0 = text;
        }
    }
}

fn map_texts(value: &mut Value, change: &mut impl FnMut(&str) -> Option<String>) -> bool {
    match value {
        Value::String(text) => match change(text) {
            Some(new) => {
                *text = new;
                true
            }
            None => false,
        },
        Value::Array(values) => {
            values.iter_mut().fold(false, |changed, value| map_texts(value, change) | changed)
        }
        Value::Object(fields) => {
            fields.values_mut().fold(false, |changed, value| map_texts(value, change) | changed)
        }
        _ => false,
    }
}

impl Default for Metadata {
    fn default() -> Self {
        Self("{}".into())
    }
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An object's members in order, with the original text of each value.
#[derive(Default)]
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

impl Serialize for Members {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(text: &str) -> Metadata {
        Metadata::from_json(text).unwrap()
    }

    #[test]
    fn only_an_object_is_metadata() {
        for text in ["", "[]", "1", "null", "{", "{} x", "{\"a\":}"] {
            assert_eq!(Metadata::from_json(text), None, "{text}");
        }
    }

    #[test]
    fn unchanged_fields_keep_their_text_and_order() {
        let text = r#"{ "z" : 12345678901234567890123, "a":1.10 }"#;
        let mut kept = metadata(text);
        assert_eq!(kept.as_str(), text);
        kept.set("b", true);
        assert_eq!(kept.as_str(), r#"{"z":12345678901234567890123,"a":1.10,"b":true}"#);
        kept.set("z", "new");
        kept.remove("a");
        kept.remove("nothing");
        assert_eq!(kept.as_str(), r#"{"z":"new","b":true}"#);
    }

    #[test]
    fn a_field_is_read_by_its_name() {
        let metadata = metadata(r#"{"a":"x","b":[1],"a":"y"}"#);
        assert_eq!(metadata.get_str("a").as_deref(), Some("y"), "the last duplicate wins");
        assert_eq!(metadata.get("b"), Some(serde_json::json!([1])));
        assert_eq!((metadata.get_str("b"), metadata.get("c")), (None, None));
    }

    #[test]
    fn setting_a_duplicate_field_leaves_it_once() {
        let mut twice = metadata(r#"{"a":1,"b":2,"a":3}"#);
        twice.set("a", 4);
        assert_eq!(twice.as_str(), r#"{"a":4,"b":2}"#);
    }

    #[test]
    fn strings_change_at_any_depth_but_numbers_and_names_do_not() {
        let mut changed =
            metadata(r#"{"x":1.10,"b":"x","c":[{"x":["x","y"]},3],"e":12345678901234567890123}"#);
        let to_z = |text: &str| (text == "x").then(|| "z".to_string());
        assert!(changed.map_texts(to_z));
        let expected = r#"{"x":1.10,"b":"z","c":[{"x":["z","y"]},3],"e":12345678901234567890123}"#;
        assert_eq!(changed.as_str(), expected);
        assert!(!changed.map_texts(to_z));
    }
}
