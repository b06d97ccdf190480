//! Reads a filter's JSON, in which no object may have a member twice: serde_json's own value would
//! keep the last one and drop the condition before it without a word.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::FilterError;
use super::parse::Pointer;

/// Parses `text`.
///
/// # Errors
/// Fails if it is not JSON, is nested deeper than 127, or has an object with a member twice.
pub(super) fn parse(text: &str) -> Result<Value, FilterError> {
    let repeated = RefCell::new(None);
    let mut json = serde_json::Deserializer::from_str(text);
    let value = Unique { at: &Pointer::Whole, repeated: &repeated }.deserialize(&mut json);
    value.and_then(|value| json.end().map(|()| value)).map_err(|error| {
        let not_json = || Pointer::Whole.error(format!("the filter is not JSON: {error}"));
        repeated.take().unwrap_or_else(not_json)
    })
}

/// Reads the value at `at`. A repeated member also goes to `repeated`, as serde's errors have no
/// pointer.
#[derive(Clone, Copy)]
struct Unique<'a> {
    at: &'a Pointer<'a>,
    repeated: &'a RefCell<Option<FilterError>>,
}

impl<'de> DeserializeSeed<'de> for Unique<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unique<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        loop {
            let at = self.at.element(values.len());
            match list.next_element_seed(Unique { at: &at, ..self })? {
                Some(value) => values.push(value),
                None => return Ok(Value::Array(values)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some(name) = object.next_key::<String>()? {
            let at = self.at.member(&name);
            if members.contains_key(&name) {
                let message =
                    "this member is given twice; give it once, or combine the two with AND";
                self.repeated.replace(Some(at.error(message)));
                return Err(A::Error::custom(message));
            }
            let value = object.next_value_seed(Unique { at: &at, ..self })?;
            members.insert(name, value);
        }
        Ok(Value::Object(members))
    }
}
