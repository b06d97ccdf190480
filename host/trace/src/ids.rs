//! The ids of traces and spans.

use std::fmt;

/// The id of a trace, never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId([u8; 16]);

/// The id of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanId([u8; 8]);

impl TraceId {
    /// A new one.
    pub fn random() -> Self {
        Self(fastrand::u128(1..).to_be_bytes())
    }

    /// The id that 32 lower-case hexadecimal digits stand for; `None` for zero.
    pub fn parse(digits: &str) -> Option<Self> {
        bytes(digits).filter(|id| *id != [0; 16]).map(Self)
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl SpanId {
    /// That of no span.
    pub const NONE: Self = Self([0; 8]);

    /// A new one.
    pub fn random() -> Self {
        Self(fastrand::u64(1..).to_be_bytes())
    }

    /// The id that 16 lower-case hexadecimal digits stand for; `None` for zero.
    pub fn parse(digits: &str) -> Option<Self> {
        bytes(digits).map(Self).filter(|id| *id != Self::NONE)
    }

    /// Its bytes; none for [`SpanId::NONE`].
    pub fn bytes(&self) -> &[u8] {
        if *self == Self::NONE { &[] } else { &self.0 }
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

/// The bytes that lower-case hexadecimal digits stand for, two each.
pub(crate) fn bytes<const N: usize>(digits: &str) -> Option<[u8; N]> {
    let digits = digits.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

fn digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}
