//! The metadata of a fact, parsed into a form that filters can compare quickly.

use std::sync::Arc;

use crate::error::IndexError;
use crate::number::Number;
use crate::time::{Instant, Time};

/// The field under which filters find a fact's own time.
const OWN_TIME: &str = "$timestamp";

/// A JSON value that is neither a list nor an object. Ordered by type and then by value: numbers
/// numerically, texts by code point, and those that are times, after all others, by instant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Scalar {
    Null,
    Bool(bool),
    Number(Number),
    Text(Arc<str>),
    Time(Arc<Time>),
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
        Ok(Self(Object::new(object(text)?)))
    }

    /// Parses a fact's metadata as filters see it: with the fact's own time, unless that is
    /// empty, as the member `$timestamp`, which hides a member of that name.
    ///
    /// # Errors
    /// As [`Metadata::parse`].
    pub fn of_fact(text: &str, timestamp: &str) -> Result<Self, IndexError> {
        let mut members = object(text)?;
        if !timestamp.is_empty() {
            members.insert(OWN_TIME.to_owned(), timestamp.into());
        }
        Ok(Self(Object::new(members)))
    }

    /// The latest time at `field`, which is resolved as for a filter, in seconds since 1970; `None`
    /// if there is no time. A list stands for each of its elements.
    pub fn latest_time(&self, field: &str) -> Option<f64> {
        let values = self.0.values(field);
        let instants = values.into_iter().flat_map(Value::scalars).filter_map(Scalar::instant);
        instants.max().map(Instant::seconds)
    }

    pub(crate) fn object(&self) -> &Object {
        &self.0
    }
}

fn object(text: &str) -> Result<serde_json::Map<String, serde_json::Value>, IndexError> {
    match serde_json::from_str(text) {
        Ok(serde_json::Value::Object(members)) => Ok(members),
        Ok(_) => Err(IndexError::Metadata("it is a JSON value of another type".to_owned())),
        Err(error) => Err(IndexError::Metadata(error.to_string())),
    }
}

impl Scalar {
    /// `None` for a list or an object.
    pub(crate) fn new(value: &serde_json::Value) -> Option<Self> {
        Some(match value {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(value) => Self::Bool(*value),
            serde_json::Value::Number(number) => Self::Number(Number::new(number)),
            serde_json::Value::String(text) => Self::of_text(text),
            serde_json::Value::Array(_) | serde_json::Value::Object(_) => return None,
        })
    }

    fn of_text(text: &str) -> Self {
        match Instant::parse(text) {
            Some(instant) => Self::Time(Arc::new(Time { instant, text: text.into() })),
            None => Self::Text(text.into()),
        }
    }

    /// The text, whether or not it is a time.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Time(time) => Some(&time.text),
            Self::Null | Self::Bool(_) | Self::Number(_) => None,
        }
    }

    fn instant(&self) -> Option<Instant> {
        match self {
            Self::Time(time) => Some(time.instant),
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::Text(_) => None,
        }
    }

    /// The value as JSON.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Null => serde_json::Value::Null,
            Self::Bool(value) => (*value).into(),
            Self::Number(number) => number.to_json(),
            Self::Text(text) => (&**text).into(),
            Self::Time(time) => (&*time.text).into(),
        }
    }

    /// Memory beyond the value itself, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let time = if matches!(self, Self::Time(_)) { size_of::<Time>() } else { 0 };
        self.text().map_or(0, str::len) + time
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

    /// The scalar itself, or the scalars among a list's elements.
    fn scalars(&self) -> impl Iterator<Item = &Scalar> {
        let many = match self {
            Self::List(values) => &values[..],
            Self::Scalar(_) | Self::Object(_) => &[],
        };
        self.scalar().into_iter().chain(many.iter().filter_map(Self::scalar))
    }

    /// The object itself, or the objects among a list's elements.
    pub(crate) fn objects(&self) -> impl Iterator<Item = &Object> {
        let (one, many) = match self {
            Self::Object(object) => (Some(object), &[][..]),
            Self::List(values) => (None, &values[..]),
            Self::Scalar(_) => (None, &[][..]),
        };
        let elements = many.iter().filter_map(|value| match value {
            Self::Object(object) => Some(object),
            Self::Scalar(_) | Self::List(_) => None,
        });
        one.into_iter().chain(elements)
    }
}

impl Object {
    fn new(members: serde_json::Map<String, serde_json::Value>) -> Self {
        let member = |(name, value): (String, _)| (name.into_boxed_str(), Value::new(value));
        let mut members: Vec<_> = members.into_iter().map(member).collect();
        members.sort_unstable_by(|(left, _), (right, _)| left.cmp(right));
        Self(members.into_boxed_slice())
    }

    /// The values at `path`: of the members of exactly that name or, failing that and if `path`
    /// has a dot, those at the rest of `path` in the objects named before the first dot. A list of
    /// objects stands for each of them, so there may be several.
    pub(crate) fn values(&self, path: &str) -> Vec<&Value> {
        let mut objects = vec![self];
        let mut path = path;
        loop {
            let values = members(&objects, path);
            let Some((head, rest)) = path.split_once('.').filter(|_| values.is_empty()) else {
                return values;
            };
            objects = members(&objects, head).into_iter().flat_map(Value::objects).collect();
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

/// The members of this name, of those objects that have one.
fn members<'a>(objects: &[&'a Object], name: &str) -> Vec<&'a Value> {
    objects.iter().filter_map(|object| object.member(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(metadata: &str, path: &str) -> Vec<Value> {
        let metadata = Metadata::parse(metadata).unwrap();
        metadata.object().values(path).into_iter().cloned().collect()
    }

    fn whole(number: i64) -> Vec<Value> {
        vec![Value::Scalar(Scalar::Number(Number::Whole(number)))]
    }

    #[test]
    fn a_dotted_path_reaches_into_objects() {
        assert_eq!(get(r#"{"a":{"b":{"c":1}}}"#, "a.b.c"), whole(1));
        assert_eq!(get(r#"{"a":{"b":1}}"#, "a.c"), []);
        assert_eq!(get(r#"{"a":1}"#, "a.b"), []);
        assert_eq!(get(r#"{"a":{"":1}}"#, "a."), whole(1));
    }

    #[test]
    fn a_dotted_path_reaches_into_the_objects_of_a_list() {
        let both = [whole(1), whole(2)].concat();
        assert_eq!(get(r#"{"a":[{"b":1},3,{"c":4},{"b":2}]}"#, "a.b"), both);
        assert_eq!(get(r#"{"a":[{"b":[{"c":1}]},{"b":{"c":2}}]}"#, "a.b.c"), both);
        assert_eq!(get(r#"{"a":[{"b.c":1},{"b":{"c":2}}]}"#, "a.b.c"), whole(1));
        assert_eq!(get(r#"{"a":[[{"b":1}]]}"#, "a.b"), []);
    }

    #[test]
    fn a_member_of_exactly_that_name_takes_precedence() {
        assert_eq!(get(r#"{"a.b":1,"a":{"b":2}}"#, "a.b"), whole(1));
        assert_eq!(get(r#"{"a":{"b.c":1,"b":{"c":2}}}"#, "a.b.c"), whole(1));
    }

    #[test]
    fn a_facts_own_time_hides_a_member_of_that_name() {
        let own = |metadata, time| {
            let metadata = Metadata::of_fact(metadata, time).unwrap();
            metadata.object().values("$timestamp").into_iter().cloned().collect::<Vec<_>>()
        };
        let text = |text: &str| vec![Value::Scalar(Scalar::of_text(text))];
        assert_eq!(own(r#"{"$timestamp":"forged","a":1}"#, "2026-11-29"), text("2026-11-29"));
        assert_eq!(own(r#"{"$timestamp":"kept"}"#, ""), text("kept"));
        assert_eq!(own("{}", ""), []);
    }

    #[test]
    fn the_latest_time_of_a_field_is_found_in_lists_and_objects() {
        let metadata = r#"{"at":"1970-01-02","all":["1970-01-01T00:00:01.5Z","x",7],
            "in":[{"at":"1970-01-01"},{"at":"1970-01-03"}],"no":"soon"}"#;
        let metadata = Metadata::parse(metadata).unwrap();
        assert_eq!(metadata.latest_time("at"), Some(86_400.0));
        assert_eq!(metadata.latest_time("all"), Some(1.5));
        assert_eq!(metadata.latest_time("in.at"), Some(172_800.0));
        assert_eq!((metadata.latest_time("no"), metadata.latest_time("missing")), (None, None));
    }

    #[test]
    fn metadata_that_is_not_an_object_is_refused() {
        let deep = format!("{}{}", r#"{"a":"#.repeat(1_000), "}".repeat(1_000));
        for text in ["", "[]", "1", "null", "{", "{} {}", deep.as_str()] {
            assert!(matches!(Metadata::parse(text), Err(IndexError::Metadata(_))), "{text}");
        }
    }
}
