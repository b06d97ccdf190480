//! Whole numbers in JSON, which has one type of number: `10` and `10.0` are the same.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Unexpected, Visitor};

/// A whole number from -2^63 to 2^63 - 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Whole(pub(crate) i64);

impl Whole {
    /// The number, unless it is negative.
    pub(super) fn count(self) -> Option<u64> {
        u64::try_from(self.0).ok()
    }
}

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(WholeVisitor).map(Self)
    }
}

struct WholeVisitor;

impl Visitor<'_> for WholeVisitor {
    type Value = i64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a whole number of at most {}", i64::MAX)
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<i64, E> {
        Ok(number)
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<i64, E> {
        i64::try_from(number).map_err(|_| E::invalid_value(Unexpected::Unsigned(number), &self))
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<i64, E> {
        // -2^63 is a float exactly, and so is 2^63, the first that is too large.
        let fits = number.fract() == 0.0 && (-2_f64.powi(63)..2_f64.powi(63)).contains(&number);
        fits.then_some(number as i64)
            .ok_or_else(|| E::invalid_value(Unexpected::Float(number), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_number_may_be_written_with_a_fraction_of_zero() {
        for (text, number) in [
            ("10", 10),
            ("10.0", 10),
            ("1e3", 1_000),
            ("-0.0", 0),
            ("-7", -7),
            ("9223372036854775807", i64::MAX),
        ] {
            assert_eq!(serde_json::from_str::<Whole>(text).unwrap(), Whole(number), "{text}");
        }
    }

    #[test]
    fn a_fraction_a_text_and_a_number_that_is_too_large_are_refused() {
        for text in ["10.5", "9223372036854775808", "1e300", "\"10\"", "true", "null", "[1]"] {
            assert!(serde_json::from_str::<Whole>(text).is_err(), "{text}");
        }
        assert_eq!((Whole(-1).count(), Whole(7).count()), (None, Some(7)));
    }
}
