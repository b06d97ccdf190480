//! Filters over metadata, which restrict a search to matching facts.
//!
//! A filter is a JSON object. All of its members must hold.
//!
//! | member | holds when |
//! |---|---|
//! | `"topic": "x"` | the field equals the text, number, boolean or `null`; short for `eq` |
//! | `"age": {"gte": 3, "lt": 9}` | every operator holds for the field |
//! | `"AND": [..]` `"OR": [..]` | all, or any, of the filters hold |
//! | `"NOT": {..}` or `"NOT": [..]` | the filter does not hold, or none of them does |
//!
//! `and`, `or` and `not` may be written in lower case. A scalar is a text, a number, a boolean or
//! `null`. The operators are:
//!
//! | operator | operand | holds when |
//! |---|---|---|
//! | `eq` | a scalar | the field equals it |
//! | `in` | a list of scalars | the field equals one of them |
//! | `gt` `gte` `lt` `lte` | a number or a text | the field is greater than it, and so on |
//! | `between` | a list of two | the field is in the range, both ends included |
//! | `contains` | a scalar | the field is a text that contains this text |
//! | `icontains` | a text | the same, ignoring case as Unicode folds it: `STRASSE` is in `Straße` |
//! | `exists` | a boolean | the field is present, even if `null`; with `false`: is missing |
//! | `ne` `nin` | as `eq` and `in` | `eq` or `in` does not hold; so also if the field is missing |
//!
//! - A dot in a field's name reaches into objects, unless there is a field of exactly that name:
//!   `a.b` is the field `a.b` if there is one, and else the field `b` of the object `a`. If `a` is
//!   a list, `a.b` is the field `b` of each object in it, and one that satisfies the operator is
//!   enough.
//! - `eq`, `in`, `contains` and `icontains` hold for a list if they hold for one of its elements;
//!   `contains` also if one of them equals the operand, whatever its type.
//! - Values of different JSON types are never equal, and neither is greater. Numbers compare by
//!   value (1 equals 1.0, and 64-bit integers compare exactly).
//! - Two texts that are times, such as `2026-03-01T18:30:00+09:00`, compare as instants, to the
//!   nanosecond. A time without an offset is read as UTC, and a date alone as its first instant in
//!   UTC. All other texts compare by code point.
//! - A member that is given twice is an error, also within an object of operators.
//! - `{}` matches every fact.

mod evaluate;
mod json;
mod parse;

use crate::metadata::Metadata;
pub(crate) use evaluate::{Lookup, Predicate};

/// A parsed filter over metadata; the [module](self) describes the language.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    root: Node,
}

/// Why a filter is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} (at {pointer:?} in the filter)")]
pub struct FilterError {
    /// Location of the error, as a JSON pointer (RFC 6901) into the filter; empty for the whole
    /// filter. If the pointer would exceed
    /// [`FILTER_POINTER_BYTES`](crate::limits::FILTER_POINTER_BYTES), it names the innermost
    /// enclosing value that fits.
    pub pointer: String,
    /// What is wrong and how to fix it, for people.
    pub message: String,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
    Condition(Condition),
}

/// One operator on one field.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Condition {
    pub(crate) field: Box<str>,
    pub(crate) predicate: Predicate,
}

impl Filter {
    /// Parses a filter.
    ///
    /// # Errors
    /// Fails if the filter is not valid as the [module](self) describes, or exceeds a limit on
    /// nesting, conditions or values (see [`limits`](crate::limits)).
    pub fn parse(filter: &serde_json::Value) -> Result<Self, FilterError> {
        parse::filter(filter).map(|root| Self { root })
    }

    /// Parses a filter from JSON text.
    ///
    /// # Errors
    /// As [`Filter::parse`], and if `text` is not JSON or names a member twice.
    pub fn parse_text(text: &str) -> Result<Self, FilterError> {
        Self::parse(&json::parse(text)?)
    }

    /// The filter `{}`.
    pub fn every_fact() -> Self {
        Self { root: Node::All(Vec::new()) }
    }

    /// Whether it is `{}`, which has no condition.
    pub fn is_empty(&self) -> bool {
        self.root == Node::All(Vec::new())
    }

    /// Whether a fact with this metadata matches.
    pub fn matches(&self, metadata: &Metadata) -> bool {
        self.root.matches(metadata)
    }

    pub(crate) fn root(&self) -> &Node {
        &self.root
    }
}

impl Node {
    fn matches(&self, metadata: &Metadata) -> bool {
        match self {
            Self::All(nodes) => nodes.iter().all(|node| node.matches(metadata)),
            Self::Any(nodes) => nodes.iter().any(|node| node.matches(metadata)),
            Self::Not(node) => !node.matches(metadata),
            Self::Condition(Condition { field, predicate }) => {
                metadata.object().values(field).into_iter().any(|value| predicate.holds(value))
            }
        }
    }
}
