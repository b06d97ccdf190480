//! JSON numbers, compared by value.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

/// A JSON number. 64-bit integers are exact: 1 equals 1.0, and 9007199254740993 does not equal
/// 9007199254740992.0. All others are rounded to `f64`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Number {
    Whole(i64),
    /// Above `i64::MAX`.
    Large(u64),
    /// Always finite, as JSON numbers are.
    Float(f64),
}

impl Number {
    pub(crate) fn new(number: &serde_json::Number) -> Self {
        match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(whole), _, _) => Self::Whole(whole),
            (_, Some(large), _) => Self::Large(large),
            (_, _, Some(float)) if float.is_finite() => Self::Float(float),
            // Unreachable unless serde_json's `arbitrary_precision` is enabled.
            _ => Self::Float(f64::MAX),
        }
    }

    pub(crate) fn to_json(self) -> serde_json::Value {
        match self {
            Self::Whole(whole) => whole.into(),
            Self::Large(large) => large.into(),
            Self::Float(float) => float.into(),
        }
    }

    /// The integer as `Ok`, a float as `Err`.
    fn parts(self) -> Result<i128, f64> {
        match self {
            Self::Whole(whole) => Ok(whole.into()),
            Self::Large(large) => Ok(large.into()),
            Self::Float(float) => Err(float),
        }
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.parts(), other.parts()) {
            (Ok(left), Ok(right)) => left.cmp(&right),
            (Ok(left), Err(right)) => compare(left, right),
            (Err(left), Ok(right)) => compare(right, left).reverse(),
            // Not `total_cmp`, as -0.0 must equal 0.0.
            (Err(left), Err(right)) => left.partial_cmp(&right).unwrap_or(Ordering::Equal),
        }
    }
}

/// Compares an integer with a float. The float's integral part is exact in an `i128`, or so large
/// that the saturated conversion still compares correctly with every 64-bit integer.
fn compare(whole: i128, float: f64) -> Ordering {
    let fraction = || 0.0_f64.partial_cmp(&float.fract()).unwrap_or(Ordering::Equal);
    whole.cmp(&(float.trunc() as i128)).then_with(fraction)
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Number {}

impl Hash for Number {
    /// Equal numbers round to the same `f64`; adding zero turns -0.0 into 0.0.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let float = self.parts().map_or_else(|float| float, |whole| whole as f64);
        (float + 0.0).to_bits().hash(state);
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher, RandomState};

    use super::*;

    fn number(text: &str) -> Number {
        Number::new(&text.parse().unwrap())
    }

    #[test]
    fn numbers_compare_by_value() {
        let rising = [
            "-1e300",
            "-9223372036854775808",
            "-9223372036854775807",
            "-2.5",
            "-2",
            "-0.5",
            "0",
            "0.5",
            "1",
            "2.5",
            "9007199254740992",
            "9007199254740993",
            "9223372036854775807",
            "9223372036854775808",
            "18446744073709551615",
            "1.8446744073709552e19",
            "1e300",
        ];
        for (at, left) in rising.iter().enumerate() {
            for (other, right) in rising.iter().enumerate() {
                assert_eq!(number(left).cmp(&number(right)), at.cmp(&other), "{left} {right}");
            }
        }
    }

    #[test]
    fn equal_numbers_are_equal_however_they_are_written() {
        let hasher = RandomState::new();
        for (left, right) in [("1", "1.0"), ("0", "-0.0"), ("-0.0", "0.0"), ("100", "1e2")] {
            assert_eq!(number(left), number(right));
            assert_eq!(hasher.hash_one(number(left)), hasher.hash_one(number(right)));
        }
        assert_ne!(number("9007199254740993"), number("9007199254740992.0"));
    }
}
