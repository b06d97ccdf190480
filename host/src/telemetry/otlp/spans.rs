//! Spans as OTLP has them.

use std::time::{SystemTime, UNIX_EPOCH};

use kenning_trace::{EndedSpan, Kind, Value};

use super::messages::{
    Any, InstrumentationScope, KeyValue, Resource, ResourceSpans, ScopeSpans, Span, Status,
    TraceRequest,
};

const FAILED: i32 = 2;

/// One request with these spans.
pub(super) fn request(
    resource: Resource,
    scope: InstrumentationScope,
    spans: Vec<EndedSpan>,
) -> TraceRequest {
    let spans = spans.into_iter().map(span).collect();
    let scope_spans = vec![ScopeSpans { scope: Some(scope), spans }];
    TraceRequest { resource_spans: vec![ResourceSpans { resource: Some(resource), scope_spans }] }
}

fn span(span: EndedSpan) -> Span {
    let begun = nanoseconds(span.begun);
    let attributes = span.attributes.into_iter().map(|(name, value)| {
        KeyValue::of(
            name,
            match value {
                Value::Text(text) => Any::Text(text.into_owned()),
                Value::Integer(number) => Any::Integer(number),
            },
        )
    });
    Span {
        trace_id: span.trace.bytes().to_vec(),
        span_id: span.id.bytes().to_vec(),
        trace_state: span.state.as_deref().unwrap_or_default().to_owned(),
        parent_span_id: span.parent.bytes().to_vec(),
        name: span.name.into_owned(),
        kind: match span.kind {
            Kind::Internal => 1,
            Kind::Server => 2,
            Kind::Client => 3,
        },
        start_time_unix_nano: begun,
        end_time_unix_nano: begun + span.took.as_nanos() as u64,
        attributes: attributes.collect(),
        status: span.failure.map(|why| Status { message: why.into_owned(), code: FAILED }),
    }
}

/// Nanoseconds since 1970.
pub(super) fn nanoseconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64
}
