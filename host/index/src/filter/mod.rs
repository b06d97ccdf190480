//! Filters over metadata: what a search leaves out.
//!
//! A filter is a JSON object. Its members must all hold.
//!
//! | member | holds when |
//! |---|---|
//! | `"topic": "x"` | the field equals the text, number, bool or `null`: short for `eq` |
//! | `"age": {"gte": 3, "lt": 9}` | every operator holds |
//! | `"AND": [..]` `"OR": [..]` | all, or any, of the filters hold |
//! | `"NOT": {..}` or `"NOT": [..]` | the filter does not hold, or none of them does |
//!
//! `and`, `or` and `not` are the same. Operators:
//!
//! | operator | operand | holds when |
//! |---|---|---|
//! | `eq` | a scalar | the field is equal to it |
//! | `in` | a list of scalars | the field is equal to one of them |
//! | `gt` `gte` `lt` `lte` | a number or a text | the field is greater than it, … |
//! | `between` | a list of two | the field is from the first to the second, both included |
//! | `contains` | a scalar | the field is a text with this text in it |
//! | `icontains` | a text | the same, and upper and lower case are one |
//! | `exists` | a bool | the field is there, also with `null`; or, with `false`, is not |
//! | `ne` `nin` | as `eq` and `in` | that does not hold, also when the field is missing |
//!
//! - A dot in a field's name reaches into objects, unless there is a field of exactly that name:
//!   `a.b` is the field `a.b`, or else `b` in the object `a`.
//! - `eq`, `in`, `contains` and `icontains` hold for a list when they hold for one of its
//!   elements; `contains` also when one of them equals the operand, whatever its type.
//! - Different JSON types are never equal, and neither is greater. Numbers compare by what they
//!   are worth (1 is 1.0; whole numbers of 64 bits exactly), texts by code point, so RFC 3339
//!   times with the same offset and the same precision compare as times.
//! - `{}` holds for every fact.

mod parse;
mod test;

use crate::metadata::Metadata;
pub(crate) use test::{Scalars, Test, first_text};

/// A filter over metadata; see the module.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    root: Node,
}

/// Why a filter is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} (at {pointer:?} in the filter)")]
pub struct FilterError {
    /// Where, as a JSON pointer (RFC 6901) into the filter; empty for the whole filter. Not
    /// longer than [`FILTER_POINTER_BYTES`](crate::limits::FILTER_POINTER_BYTES) allows: it names
    /// the place around, if need be.
    pub pointer: String,
    /// What is wrong and what to do, for a person.
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
    pub(crate) test: Test,
}

impl Filter {
    /// Reads a filter.
    ///
    /// # Errors
    /// When anything in it is not as the module says, or it is over the limits on depth,
    /// conditions or values.
    pub fn parse(filter: &serde_json::Value) -> Result<Self, FilterError> {
        parse::filter(filter).map(|root| Self { root })
    }

    /// Reads a filter from JSON text.
    ///
    /// # Errors
    /// As [`Filter::parse`], and when `text` is not JSON.
    pub fn parse_text(text: &str) -> Result<Self, FilterError> {
        let refused = |error: serde_json::Error| FilterError {
            pointer: String::new(),
            message: format!("the filter is not JSON: {error}"),
        };
        Self::parse(&serde_json::from_str(text).map_err(refused)?)
    }

    /// Whether a fact with this metadata passes.
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
            Self::Condition(Condition { field, test }) => {
                metadata.object().get(field).is_some_and(|value| test.holds(value))
            }
        }
    }
}
