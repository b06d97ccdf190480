//! Spans of time in requests, such as `"7d"`.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Visitor};

/// Most digits of a span, so that no sum overflows.
const DIGITS: usize = 9;

/// The longest span in seconds, about thirty million years.
const LONGEST: f64 = 1e15;

/// A span of time above zero: a whole number with a unit, or a number of seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Span(f64);

impl Span {
    /// The span in seconds.
    pub(super) fn seconds(self) -> f64 {
        self.0
    }

    fn of(seconds: f64) -> Option<Self> {
        (seconds > 0.0 && seconds <= LONGEST).then_some(Self(seconds))
    }

    fn parse(text: &str) -> Option<Self> {
        let unit = match text.bytes().last()? {
            b's' => 1.0,
            b'm' => 60.0,
            b'h' => 3_600.0,
            b'd' => 86_400.0,
            b'w' => 7.0 * 86_400.0,
            _ => return None,
        };
        let digits = &text[..text.len() - 1];
        let is_number = digits.len() <= DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
        let number: u32 = digits.parse().ok().filter(|_| is_number)?;
        Self::of(f64::from(number) * unit)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(SpanVisitor)
    }
}

struct SpanVisitor;

impl SpanVisitor {
    fn check<E: serde::de::Error>(&self, span: Option<Span>) -> Result<Span, E> {
        span.ok_or_else(|| E::custom(format!("it is not {}", Expected)))
    }
}

/// What a span is, for messages.
struct Expected;

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a span of time: a whole number above 0 with s, m, h, d or w, such as \"7d\", or a \
             number of seconds above 0",
        )
    }
}

impl Visitor<'_> for SpanVisitor {
    type Value = Span;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{Expected}")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Span, E> {
        self.check(Span::parse(text))
    }

    fn visit_f64<E: serde::de::Error>(self, seconds: f64) -> Result<Span, E> {
        self.check(Span::of(seconds))
    }

    fn visit_i64<E: serde::de::Error>(self, seconds: i64) -> Result<Span, E> {
        self.check(Span::of(seconds as f64))
    }

    fn visit_u64<E: serde::de::Error>(self, seconds: u64) -> Result<Span, E> {
        self.check(Span::of(seconds as f64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_a_number_with_a_unit_or_seconds() {
        for (text, seconds) in [
            ("\"7d\"", 604_800.0),
            ("\"90s\"", 90.0),
            ("\"15m\"", 900.0),
            ("\"12h\"", 43_200.0),
            ("\"2w\"", 1_209_600.0),
            ("3600", 3_600.0),
            ("0.5", 0.5),
        ] {
            assert_eq!(serde_json::from_str::<Span>(text).unwrap(), Span(seconds), "{text}");
        }
    }

    #[test]
    fn what_is_no_span_is_refused_with_what_one_is() {
        for text in [
            "\"\"",
            "\"7\"",
            "\"d\"",
            "\"0d\"",
            "\"+7d\"",
            "\"7 d\"",
            "\"7D\"",
            "\"-7d\"",
            "\"7ü\"",
            "\"1234567890d\"",
            "0",
            "-1",
            "1e16",
            "true",
            "null",
            "[7]",
        ] {
            let error = serde_json::from_str::<Span>(text).unwrap_err();
            assert!(error.to_string().contains("such as \"7d\""), "{text}: {error}");
        }
    }
}
