//! Evaluates a condition on a field's value.

use std::cmp::Ordering;
use std::ops::Bound;
use std::sync::Arc;

use crate::fold::fold_case;
use crate::metadata::{Scalar, Value};
use crate::time::{Instant, Time};

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
    /// The operand, case-folded.
    ContainsIgnoringCase(Box<str>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

/// A range of a field's sorted scalars that can satisfy a predicate.
#[derive(Debug)]
pub(crate) struct Lookup {
    pub(crate) from: Bound<Scalar>,
    pub(crate) to: Bound<Scalar>,
    /// Whether all of them satisfy it. Otherwise each must be tested.
    pub(crate) all: bool,
}

impl Predicate {
    /// The lookups among scalar values of a field.
    pub(crate) fn value_lookups(&self) -> Vec<Lookup> {
        match self {
            Self::Exists => vec![Lookup::all(Bound::Unbounded, Bound::Unbounded)],
            Self::OneOf(operands) => operands.iter().map(Lookup::equal).collect(),
            Self::Compares(comparison, operand) => comparison.lookups(operand),
            Self::Between(low, high) => between(low, high),
            Self::Contains(operand) if operand.text().is_some() => vec![Lookup::texts()],
            Self::ContainsIgnoringCase(_) => vec![Lookup::texts()],
            Self::Contains(_) => Vec::new(),
        }
    }

    /// The lookups among elements of lists.
    pub(crate) fn element_lookups(&self) -> Vec<Lookup> {
        match self {
            Self::Compares(..) | Self::Between(..) => Vec::new(),
            Self::Contains(operand) if operand.text().is_none() => vec![Lookup::equal(operand)],
            _ => self.value_lookups(),
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
            Self::OneOf(operands) => {
                operands.binary_search_by(|operand| by_value(operand, scalar)).is_ok()
            }
            Self::Compares(comparison, operand) => comparison.holds(scalar, operand),
            Self::Between(low, high) => {
                Comparison::GreaterOrEqual.holds(scalar, low)
                    && Comparison::LessOrEqual.holds(scalar, high)
            }
            Self::Contains(operand) => match (scalar.text(), operand.text()) {
                (Some(text), Some(part)) => text.contains(part),
                _ => false,
            },
            Self::ContainsIgnoringCase(part) => {
                scalar.text().is_some_and(|text| fold_case(text).contains(&**part))
            }
        }
    }

    /// Whether a list with this element satisfies the predicate.
    pub(crate) fn holds_for_element(&self, scalar: &Scalar) -> bool {
        match self {
            Self::Contains(operand) if by_value(operand, scalar).is_eq() => true,
            _ => self.holds_for(scalar),
        }
    }
}

/// The order of [`Scalar`], in which times of one instant are equal however they are written.
fn by_value(left: &Scalar, right: &Scalar) -> Ordering {
    match (left, right) {
        (Scalar::Time(left), Scalar::Time(right)) => left.instant.cmp(&right.instant),
        _ => left.cmp(right),
    }
}

/// Compares two numbers, two times by their instants, or two texts by code point; `None` for
/// values of different types.
fn compare(value: &Scalar, operand: &Scalar) -> Option<Ordering> {
    match (value, operand) {
        (Scalar::Number(value), Scalar::Number(operand)) => Some(value.cmp(operand)),
        (Scalar::Time(value), Scalar::Time(operand)) => Some(value.instant.cmp(&operand.instant)),
        _ => Some(value.text()?.cmp(operand.text()?)),
    }
}

impl Comparison {
    /// The scalars that compare to `operand` as `self` says.
    fn lookups(self, operand: &Scalar) -> Vec<Lookup> {
        match operand {
            Scalar::Time(time) => {
                let text = Scalar::Text(Arc::from(&*time.text));
                vec![self.among_texts(&text), self.among_times(operand)]
            }
            Scalar::Text(_) => vec![self.among_texts(operand), Lookup::times()],
            _ => {
                let first = Bound::Excluded(Scalar::Bool(true));
                vec![self.lookup(operand, first, Bound::Excluded(first_text()))]
            }
        }
    }

    fn among_texts(self, operand: &Scalar) -> Lookup {
        self.lookup(operand, Bound::Included(first_text()), Bound::Excluded(first_time()))
    }

    fn among_times(self, operand: &Scalar) -> Lookup {
        self.lookup(operand, Bound::Included(first_time()), Bound::Unbounded)
    }

    fn lookup(self, operand: &Scalar, first: Bound<Scalar>, last: Bound<Scalar>) -> Lookup {
        let Lookup { from, to, .. } = Lookup::equal(operand);
        match self {
            Self::Greater => Lookup::all(beyond(to), last),
            Self::GreaterOrEqual => Lookup::all(from, last),
            Self::Less => Lookup::all(first, beyond(from)),
            Self::LessOrEqual => Lookup::all(first, to),
        }
    }

    fn holds(self, value: &Scalar, operand: &Scalar) -> bool {
        compare(value, operand).is_some_and(|order| match self {
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
        })
    }
}

/// The bound on the other side of the same end.
fn beyond(end: Bound<Scalar>) -> Bound<Scalar> {
    match end {
        Bound::Included(scalar) => Bound::Excluded(scalar),
        Bound::Excluded(scalar) => Bound::Included(scalar),
        Bound::Unbounded => Bound::Unbounded,
    }
}

fn between(low: &Scalar, high: &Scalar) -> Vec<Lookup> {
    if low.text().is_some() {
        let from = Comparison::GreaterOrEqual.lookups(low);
        let to = Comparison::LessOrEqual.lookups(high);
        let both = from.into_iter().zip(to);
        return both.map(|(low, high)| low.narrowed_to(high)).collect();
    }
    vec![Lookup::all(Bound::Included(low.clone()), Bound::Included(high.clone()))]
}

impl Lookup {
    fn all(from: Bound<Scalar>, to: Bound<Scalar>) -> Self {
        Self { from, to, all: true }
    }

    /// The scalars equal to `operand`: itself, or the times of its instant.
    fn equal(operand: &Scalar) -> Self {
        match operand {
            Scalar::Time(time) => Self::all(
                Bound::Included(first_at(time.instant)),
                Bound::Excluded(first_at(time.instant.next())),
            ),
            _ => Self::all(Bound::Included(operand.clone()), Bound::Included(operand.clone())),
        }
    }

    /// All texts, to be tested.
    fn texts() -> Self {
        Self { from: Bound::Included(first_text()), to: Bound::Unbounded, all: false }
    }

    /// All texts that are times, to be tested.
    fn times() -> Self {
        Self { from: Bound::Included(first_time()), to: Bound::Unbounded, all: false }
    }

    /// From the start of `self` to the end of `other`.
    fn narrowed_to(self, other: Self) -> Self {
        Self { from: self.from, to: other.to, all: self.all && other.all }
    }

    /// Whether it holds nothing: its end is before its start.
    pub(crate) fn is_empty(&self) -> bool {
        match (&self.from, &self.to) {
            (Bound::Included(from), Bound::Included(to)) => from > to,
            (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
            (
                Bound::Included(from) | Bound::Excluded(from),
                Bound::Included(to) | Bound::Excluded(to),
            ) => from >= to,
        }
    }
}

/// The least text in the order of [`Scalar`].
fn first_text() -> Scalar {
    Scalar::Text(Arc::from(""))
}

/// Not above any time in the order of [`Scalar`].
fn first_time() -> Scalar {
    first_at(Instant::FIRST)
}

/// Not above any time of this instant in the order of [`Scalar`].
fn first_at(instant: Instant) -> Scalar {
    Scalar::Time(Arc::new(Time { instant, text: Box::default() }))
}
