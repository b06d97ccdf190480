//! Evaluates a condition on a field's value.

use std::ops::Bound;
use std::sync::Arc;

use crate::metadata::{Scalar, Value};

/// A predicate on the value of a field that exists. The operators `ne`, `nin` and `exists: false`
/// are negations of these.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Predicate {
    Exists,
    /// Equal to one of these scalars, which are sorted.
    OneOf(Vec<Scalar>),
    Compares(Comparison, Scalar),
    Between(Scalar, Scalar),
    Contains(Scalar),
    /// The operand, in lower case.
    ContainsIgnoringCase(Box<str>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

/// Which of a field's sorted scalars can satisfy a predicate.
#[derive(Debug)]
pub(crate) enum Lookup<'a> {
    /// All of these.
    Each(&'a [Scalar]),
    /// All in this range, whose lower end is not above its upper end.
    Range(Bound<Scalar>, Bound<Scalar>),
    /// Some texts: each must be tested.
    Texts,
    None,
}

impl Predicate {
    /// The lookup among scalar values of a field.
    pub(crate) fn value_lookup(&self) -> Lookup<'_> {
        match self {
            Self::Exists => Lookup::Range(Bound::Unbounded, Bound::Unbounded),
            Self::OneOf(operands) => Lookup::Each(operands),
            Self::Compares(comparison, operand) => comparison.lookup(operand),
            Self::Between(low, high) if low > high => Lookup::None,
            Self::Between(low, high) => {
                Lookup::Range(Bound::Included(low.clone()), Bound::Included(high.clone()))
            }
            Self::Contains(Scalar::Text(_)) | Self::ContainsIgnoringCase(_) => Lookup::Texts,
            Self::Contains(_) => Lookup::None,
        }
    }

    /// The lookup among elements of lists.
    pub(crate) fn element_lookup(&self) -> Lookup<'_> {
        match self {
            Self::Compares(..) | Self::Between(..) => Lookup::None,
            Self::Contains(Scalar::Text(_)) => self.value_lookup(),
            Self::Contains(operand) => Lookup::Each(std::slice::from_ref(operand)),
            _ => self.value_lookup(),
        }
    }

    /// Whether a field with this value satisfies the predicate. A list satisfies an equality or
    /// `contains` predicate if one of its elements does.
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

    /// Whether a field with this scalar value satisfies the predicate.
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
            Self::ContainsIgnoringCase(part) => {
                matches!(scalar, Scalar::Text(text) if contains_ignoring_case(text, part))
            }
        }
    }

    /// Whether a list with this element satisfies the predicate.
    pub(crate) fn holds_for_element(&self, scalar: &Scalar) -> bool {
        match self {
            Self::Contains(operand) if operand == scalar => true,
            _ => self.holds_for(scalar),
        }
    }
}

/// The least text in the order of [`Scalar`].
pub(crate) fn first_text() -> Scalar {
    Scalar::Text(Arc::from(""))
}

impl Comparison {
    /// The scalars of the operand's type that compare to it as `self` says.
    fn lookup<'a>(self, operand: &Scalar) -> Lookup<'a> {
        let (first, last) = match operand {
            Scalar::Text(_) => (Bound::Included(first_text()), Bound::Unbounded),
            _ => (Bound::Excluded(Scalar::Bool(true)), Bound::Excluded(first_text())),
        };
        let operand = operand.clone();
        match self {
            Self::Greater => Lookup::Range(Bound::Excluded(operand), last),
            Self::GreaterOrEqual => Lookup::Range(Bound::Included(operand), last),
            Self::Less => Lookup::Range(first, Bound::Excluded(operand)),
            Self::LessOrEqual => Lookup::Range(first, Bound::Included(operand)),
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

fn contains_ignoring_case(text: &str, part: &str) -> bool {
    lower_case(text).contains(part)
}

/// Lower case character by character: `str::to_lowercase` maps a sigma at the end of a word to
/// another character than elsewhere, so a substring could be missed.
pub(crate) fn lower_case(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    text.chars().flat_map(char::to_lowercase).collect()
}
