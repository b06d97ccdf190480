//! What is known of a span once it has ended.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::ids::{SpanId, TraceId};

/// Whose part of a trace a span is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A step within this process.
    Internal,
    /// A request from outside.
    Server,
    /// A request to something else.
    Client,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A text, never that of a fact or a query.
    Text(Cow<'static, str>),
    /// A whole number.
    Integer(i64),
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Integer(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

/// A span that has ended.
#[derive(Clone, Debug)]
pub struct EndedSpan {
    /// The trace that it is part of.
    pub trace: TraceId,
    /// What the caller's tracing system wants handed on.
    pub state: Option<Arc<str>>,
    /// Its own id.
    pub id: SpanId,
    /// The span that it is below; [`SpanId::NONE`] if the trace begins with it.
    pub parent: SpanId,
    /// What was done.
    pub name: Cow<'static, str>,
    /// Whose part it is.
    pub kind: Kind,
    /// When it began.
    pub begun: SystemTime,
    /// How long it took.
    pub took: Duration,
    /// What else is known of it.
    pub attributes: Vec<(&'static str, Value)>,
    /// Why it failed, if it did.
    pub failure: Option<Cow<'static, str>>,
}
