//! What one condition asks of a field that is there.

use std::ops::Bound;
use std::sync::Arc;

use crate::metadata::{Scalar, Value};

/// A question about one value. The operators `ne`, `nin` and `exists: false` are negations of
/// these.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Test {
    Exists,
    /// Equal to one of these, which are sorted.
    OneOf(Vec<Scalar>),
    Compares(Comparison, Scalar),
    Between(Scalar, Scalar),
    Contains(Scalar),
    /// The text in lower case.
    ContainsCaseless(Box<str>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

/// The scalars that a test holds for.
#[derive(Debug)]
pub(crate) enum Scalars<'a> {
    Each(&'a [Scalar]),
    /// The lower end is not above the upper one.
    Range(Bound<Scalar>, Bound<Scalar>),
    /// Some of the texts.
    Texts,
    None,
}

impl Test {
    /// Where to look among sorted scalars.
    pub(crate) fn scalars(&self) -> Scalars<'_> {
        match self {
            Self::Exists => Scalars::Range(Bound::Unbounded, Bound::Unbounded),
            Self::OneOf(operands) => Scalars::Each(operands),
            Self::Compares(comparison, operand) => comparison.scalars(operand),
            Self::Between(low, high) if low > high => Scalars::None,
            Self::Between(low, high) => {
                Scalars::Range(Bound::Included(low.clone()), Bound::Included(high.clone()))
            }
            Self::Contains(Scalar::Text(_)) | Self::ContainsCaseless(_) => Scalars::Texts,
            Self::Contains(_) => Scalars::None,
        }
    }

    /// Where to look among the sorted elements of lists.
    pub(crate) fn elements(&self) -> Scalars<'_> {
        match self {
            Self::Compares(..) | Self::Between(..) => Scalars::None,
            Self::Contains(Scalar::Text(_)) => self.scalars(),
            Self::Contains(operand) => Scalars::Each(std::slice::from_ref(operand)),
            _ => self.scalars(),
        }
    }

    /// Whether it holds for a field with this value. A list passes when one of its elements
    /// does, where that makes sense.
    pub(crate) fn holds(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Exists, _) => true,
            (_, Value::Scalar(scalar)) => self.holds_for(scalar),
            (_, Value::Object(_)) | (Self::Compares(..) | Self::Between(..), _) => false,
            (_, Value::List(values)) => {
                values.iter().filter_map(Value::scalar).any(|scalar| self.holds_for_element(scalar))
            }
        }
    }

    /// Whether it holds for a field with this scalar.
    pub(crate) fn holds_for(&self, scalar: &Scalar) -> bool {
        match self {
            Self::Exists => true,
            Self::OneOf(operands) => operands.binary_search(scalar).is_ok(),
            Self::Compares(comparison, operand) => comparison.holds(scalar, operand),
            Self::Between(low, high) => {
                Comparison::GreaterOrEqual.holds(scalar, low)
                    && Comparison::LessOrEqual.holds(scalar, high)
            }
            Self::Contains(operand) => match (scalar, operand) {
                (Scalar::Text(text), Scalar::Text(part)) => text.contains(&**part),
                _ => false,
            },
            Self::ContainsCaseless(part) => {
                matches!(scalar, Scalar::Text(text) if contains_caseless(text, part))
            }
        }
    }

    /// Whether it holds for a field with a list that has this element.
    pub(crate) fn holds_for_element(&self, scalar: &Scalar) -> bool {
        match self {
            Self::Contains(operand) if operand == scalar => true,
            _ => self.holds_for(scalar),
        }
    }
}

pub(crate) fn first_text() -> Scalar {
    Scalar::Text(Arc::from(""))
}

impl Comparison {
    /// Those of the operand's kind on the right side of it.
    fn scalars<'a>(self, operand: &Scalar) -> Scalars<'a> {
        let (first, last) = match operand {
            Scalar::Text(_) => (Bound::Included(first_text()), Bound::Unbounded),
            _ => (Bound::Excluded(Scalar::Bool(true)), Bound::Excluded(first_text())),
        };
        let operand = operand.clone();
        match self {
            Self::Greater => Scalars::Range(Bound::Excluded(operand), last),
            Self::GreaterOrEqual => Scalars::Range(Bound::Included(operand), last),
            Self::Less => Scalars::Range(first, Bound::Excluded(operand)),
            Self::LessOrEqual => Scalars::Range(first, Bound::Included(operand)),
        }
    }

    fn holds(self, value: &Scalar, operand: &Scalar) -> bool {
        match (value, operand) {
            (Scalar::Number(_), Scalar::Number(_)) | (Scalar::Text(_), Scalar::Text(_)) => {}
            _ => return false,
        }
        let order = value.cmp(operand);
        match self {
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
        }
    }
}

fn contains_caseless(text: &str, part: &str) -> bool {
    lower_case(text).contains(part)
}

/// Character by character: `str::to_lowercase` gives a sigma at the end of a word another form,
/// so that a part of a word would not be found in it.
pub(crate) fn lower_case(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    text.chars().flat_map(char::to_lowercase).collect()
}
