//! `traceparent` and `tracestate`, as W3C Trace Context writes them.

use std::sync::Arc;

use crate::ids::{SpanId, TraceId, bytes};

/// The length of version 00.
const LENGTH: usize = 55;

/// The flag of a caller that records its part.
pub(crate) const SAMPLED: u8 = 1;

/// The flag of a trace whose id is random in at least its last seven bytes.
pub(crate) const RANDOM: u8 = 2;

/// Most bytes of a `tracestate` that is handed on, and most members: what the standard asks of
/// everybody.
const STATE_BYTES: usize = 512;
const STATE_MEMBERS: usize = 32;

/// Most bytes of a member's key, and of its value.
const STATE_PART: usize = 256;

/// What a caller says of the trace that its request is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace.
    pub trace: TraceId,
    /// The caller's span.
    pub span: SpanId,
    /// The flags that are known: sampled and random.
    pub(crate) flags: u8,
}

impl TraceParent {
    /// Parses a header's value; `None` if it is not one. A later version is read as far as it is
    /// like version 00.
    pub fn parse(value: &str) -> Option<Self> {
        if !value.is_ascii() || value.len() < LENGTH {
            return None;
        }
        let (known, rest) = value.split_at(LENGTH);
        let mut parts = known.split('-');
        let [version] = bytes::<1>(parts.next()?)?;
        let is_whole = match version {
            0 => rest.is_empty(),
            0xff => false,
            _ => rest.is_empty() || rest.starts_with('-'),
        };
        let trace = TraceId::parse(parts.next()?)?;
        let span = SpanId::parse(parts.next()?)?;
        let [flags] = bytes::<1>(parts.next()?)?;
        let parent = Self { trace, span, flags: flags & (SAMPLED | RANDOM) };
        (is_whole && parts.next().is_none()).then_some(parent)
    }

    /// Whether the caller records its part.
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }
}

/// A `tracestate` that can be handed on; `None` for one that is too long, or is none.
pub fn trace_state(value: &str) -> Option<Arc<str>> {
    let value = value.trim_matches([' ', '\t', ',']);
    let members = || value.split(',').map(|member| member.trim_matches([' ', '\t']));
    // Members may be empty.
    let members = || members().filter(|member| !member.is_empty());
    let is_usable = value.len() <= STATE_BYTES
        && (1..=STATE_MEMBERS).contains(&members().count())
        && members().all(is_member);
    is_usable.then(|| value.into())
}

/// `key=value`; no space is around it.
fn is_member(member: &str) -> bool {
    let Some((key, value)) = member.split_once('=') else { return false };
    let is_key = |at: usize, byte: u8| match byte {
        b'a'..=b'z' | b'0'..=b'9' => true,
        b'_' | b'-' | b'*' | b'/' | b'@' => at > 0,
        _ => false,
    };
    let is_value = |byte: u8| matches!(byte, b' '..=b'~') && byte != b',' && byte != b'=';
    let bounds = 1..=STATE_PART;
    bounds.contains(&key.len())
        && bounds.contains(&value.len())
        && key.bytes().enumerate().all(|(at, byte)| is_key(at, byte))
        && value.bytes().all(is_value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    fn sampled(value: &str) -> Option<bool> {
        TraceParent::parse(value).map(|parent| parent.is_sampled())
    }

    #[test]
    fn a_parent_has_a_trace_a_span_and_a_flag() {
        let parent = TraceParent::parse(&format!("00-{TRACE}-{SPAN}-01")).unwrap();
        assert_eq!(
            (parent.trace.to_string(), parent.span.to_string()),
            (TRACE.into(), SPAN.into())
        );
        assert!(parent.is_sampled());
        for (flags, is_sampled) in [("00", false), ("02", false), ("03", true), ("ff", true)] {
            assert_eq!(sampled(&format!("00-{TRACE}-{SPAN}-{flags}")), Some(is_sampled), "{flags}");
        }
    }

    #[test]
    fn later_versions_are_read_as_far_as_they_are_known() {
        assert_eq!(sampled(&format!("01-{TRACE}-{SPAN}-01")), Some(true));
        assert_eq!(sampled(&format!("cc-{TRACE}-{SPAN}-01-more-of-it")), Some(true));
        assert_eq!(sampled(&format!("cc-{TRACE}-{SPAN}-01more")), None);
    }

    #[test]
    fn what_is_no_parent_is_not_taken_for_one() {
        for value in [
            String::new(),
            "nonsense".into(),
            format!("00-{TRACE}-{SPAN}"),
            format!("00-{TRACE}-{SPAN}-1"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!("00-{TRACE}-{SPAN}-01 "),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("0-{TRACE}-{SPAN}-001"),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{}-{SPAN}-01", "0".repeat(32)),
            format!("00-{TRACE}-{}-01", "0".repeat(16)),
            format!("00-{TRACE}-{SPAN}-0G"),
            format!("00-{TRACE}-{SPAN}ä01"),
            format!("00_{TRACE}_{SPAN}_01"),
        ] {
            assert_eq!(TraceParent::parse(&value), None, "{value:?}");
        }
    }

    #[test]
    fn the_state_is_handed_on_as_it_is_within_its_bounds() {
        for whole in ["a=1", "a=1, b@c=2", "a=1,\t,b=2", "0/a*b_c-d=x y!~", "a= 1"] {
            assert_eq!(trace_state(whole).as_deref(), Some(whole), "{whole:?}");
        }
        assert_eq!(trace_state(" ,a=1 ,").as_deref(), Some("a=1"));
        let members = |count: usize| vec!["a=1"; count].join(",,");
        assert!(trace_state(&members(STATE_MEMBERS)).is_some(), "the empty ones do not count");
        assert_eq!(trace_state(&members(STATE_MEMBERS + 1)), None);
        let long = "x".repeat(STATE_PART);
        assert!(trace_state(&format!("a={long}")).is_some());
        assert!(trace_state(&format!("{long}=1")).is_some());
        let too_long = format!("a={long},b={long}");
        assert!(too_long.len() > STATE_BYTES);
        for wrong in [too_long, format!("a=x{long}"), format!("x{long}=1")] {
            assert_eq!(trace_state(&wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_no_state_is_not_handed_on() {
        for wrong in [
            "", " , ", "a", "a=", "=1", "a=1,b", "A=1", "a b=1", "a =1", "@a=1", "_a=1", "a=1=2",
            "a=\u{7f}", "a=1\t2", "a=ä", "ä=1",
        ] {
            assert_eq!(trace_state(wrong), None, "{wrong:?}");
        }
    }
}
