//! The metadata of a fact, parsed into a form that filters can compare quickly.

use std::sync::Arc;

use crate::error::IndexError;
use crate::number::Number;

/// A JSON value that is neither a list nor an object. Ordered by type and then by value: numbers
/// numerically, texts by code point.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Scalar {
    Null,
    Bool(bool),
    Number(Number),
    Text(Arc<str>),
}

/// A JSON value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Scalar(Scalar),
    List(Box<[Value]>),
    Object(Object),
}

/// The members of a JSON object, sorted by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Object(Box<[(Box<str>, Value)]>);

/// The parsed metadata of one fact: a JSON object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata(Object);

impl Metadata {
    /// Parses metadata from JSON text.
    ///
    /// # Errors
    /// Fails with [`IndexError::Metadata`] if `text` is not JSON, is nested deeper than
    /// [`METADATA_DEPTH`](crate::limits::METADATA_DEPTH), or is not an object.
    pub fn parse(text: &str) -> Result<Self, IndexError> {
        match serde_json::from_str(text) {
            Ok(serde_json::Value::Object(members)) => Ok(Self(Object::new(members))),
            Ok(_) => Err(IndexError::Metadata("it is a JSON value of another type".to_owned())),
            Err(error) => Err(IndexError::Metadata(error.to_string())),
        }
    }

    pub(crate) fn object(&self) -> &Object {
        &self.0
    }
}

impl Scalar {
    /// `None` for a list or an object.
    pub(crate) fn new(value: &serde_json::Value) -> Option<Self> {
        Some(match value {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(value) => Self::Bool(*value),
            serde_json::Value::Number(number) => Self::Number(Number::new(number)),
            serde_json::Value::String(text) => Self::Text(text.as_str().into()),
            serde_json::Value::Array(_) | serde_json::Value::Object(_) => return None,
        })
    }
}

impl Value {
    fn new(value: serde_json::Value) -> Self {
        match value {
            serde_json::Value::Array(values) => {
                Self::List(values.into_iter().map(Self::new).collect())
            }
            serde_json::Value::Object(members) => Self::Object(Object::new(members)),
            scalar => Self::Scalar(Scalar::new(&scalar).unwrap_or(Scalar::Null)),
        }
    }

    /// `None` for a list or an object.
    pub(crate) fn scalar(&self) -> Option<&Scalar> {
        match self {
            Self::Scalar(scalar) => Some(scalar),
            Self::List(_) | Self::Object(_) => None,
        }
    }
}

impl Object {
    fn new(members: serde_json::Map<String, serde_json::Value>) -> Self {
        let member = |(name, value): (String, _)| (name.into_boxed_str(), Value::new(value));
        let mut members: Vec<_> = members.into_iter().map(member).collect();
        members.sort_unstable_by(|(left, _), (right, _)| left.cmp(right));
        Self(members.into_boxed_slice())
    }

    /// The value at `path`: the member of exactly that name or, failing that and if `path` has a
    /// dot, the value at the rest of `path` in the object named before the first dot.
    pub(crate) fn get(&self, path: &str) -> Option<&Value> {
        let mut object = self;
        let mut path = path;
        loop {
            if let Some(value) = object.member(path) {
                return Some(value);
            }
            let (head, rest) = path.split_once('.')?;
            let Some(Value::Object(inner)) = object.member(head) else {
                return None;
            };
            object = inner;
            path = rest;
        }
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (&**name, value))
    }

    fn member(&self, name: &str) -> Option<&Value> {
        let at = self.0.binary_search_by(|(other, _)| (**other).cmp(name)).ok()?;
        Some(&self.0[at].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(metadata: &str, path: &str) -> Option<Value> {
        Metadata::parse(metadata).unwrap().object().get(path).cloned()
    }

    fn whole(number: i64) -> Option<Value> {
        Some(Value::Scalar(Scalar::Number(Number::Whole(number))))
    }

    #[test]
    fn a_dotted_path_reaches_into_objects() {
        assert_eq!(get(r#"{"a":{"b":{"c":1}}}"#, "a.b.c"), whole(1));
        assert_eq!(get(r#"{"a":{"b":1}}"#, "a.c"), None);
        assert_eq!(get(r#"{"a":1}"#, "a.b"), None);
        assert_eq!(get(r#"{"a":[{"b":1}]}"#, "a.b"), None);
        assert_eq!(get(r#"{"a":{"":1}}"#, "a."), whole(1));
    }

    #[test]
    fn a_member_of_exactly_that_name_takes_precedence() {
        assert_eq!(get(r#"{"a.b":1,"a":{"b":2}}"#, "a.b"), whole(1));
        assert_eq!(get(r#"{"a":{"b.c":1,"b":{"c":2}}}"#, "a.b.c"), whole(1));
    }

    #[test]
    fn metadata_that_is_not_an_object_is_refused() {
        let deep = format!("{}{}", r#"{"a":"#.repeat(1_000), "}".repeat(1_000));
        for text in ["", "[]", "1", "null", "{", "{} {}", deep.as_str()] {
            assert!(matches!(Metadata::parse(text), Err(IndexError::Metadata(_))), "{text}");
        }
    }
}
