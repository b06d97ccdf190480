//! What is noted of requests beside their answers: traces, the log of requests, figures by tenant.

use std::sync::{Arc, OnceLock};

use http::{Extensions, HeaderMap, Method};
use kenning_storage::TenantId;
use kenning_trace::{TraceContext, TraceParent, Tracer, trace_state};

use crate::telemetry::TenantSeries;

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";

/// Which of it is wanted.
pub struct Observing {
    pub(super) tracer: Tracer,
    pub(super) access_log: bool,
    pub(super) tenants: Option<Arc<TenantSeries>>,
}

impl Observing {
    /// Traces by `tracer`; logs requests, if `access_log`; and with `tenants` counts the requests
    /// of each there, and names them in spans.
    pub fn new(tracer: Tracer, access_log: bool, tenants: Option<Arc<TenantSeries>>) -> Self {
        Self { tracer, access_log, tenants }
    }

    /// Where who asks is to be noted, if anybody wants to know.
    pub(super) fn asker(&self) -> Option<Asker> {
        (self.access_log || self.tenants.is_some()).then(Asker::default)
    }

    /// The place in a trace where a request with these headers begins.
    pub(super) fn trace(&self, headers: &HeaderMap) -> Option<TraceContext> {
        let parent = only(headers, TRACEPARENT).and_then(TraceParent::parse);
        let state = parent.and_then(|_| {
            let lines = headers.get_all(TRACESTATE).iter();
            let lines: Option<Vec<&str>> = lines.map(|line| line.to_str().ok()).collect();
            trace_state(&lines?.join(","))
        });
        self.tracer.begin(parent, state)
    }
}

/// The value of a header that is there once.
fn only<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

/// Who asks: an extension of a request, filled where the key is checked.
#[derive(Clone, Debug, Default)]
pub(super) struct Asker(Arc<OnceLock<Noted>>);

#[derive(Debug)]
struct Noted {
    tenant: Option<String>,
    key_id: Option<String>,
}

impl Asker {
    /// Notes who asks, if anybody wants to know.
    pub(super) fn note(extensions: &Extensions, tenant: Option<&TenantId>, key_id: Option<&str>) {
        if let Some(Self(noted)) = extensions.get::<Self>() {
            let tenant = tenant.map(ToString::to_string);
            // Whoever is noted first stays.
            let _ = noted.set(Noted { tenant, key_id: key_id.map(str::to_owned) });
        }
    }

    pub(super) fn tenant(&self) -> Option<&str> {
        self.0.get()?.tenant.as_deref()
    }

    pub(super) fn key_id(&self) -> Option<&str> {
        self.0.get()?.key_id.as_deref()
    }
}

/// The label of a method. Callers may send methods of their own.
pub(super) fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn trace(headers: &[(&'static str, &'static str)]) -> Option<TraceContext> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        Observing::new(Tracer::off(), false, None).trace(&map)
    }

    #[test]
    fn a_callers_trace_is_read_with_its_state() {
        let parts = [(TRACEPARENT, PARENT), (TRACESTATE, "a=1"), (TRACESTATE, "b=2")];
        let trace = trace(&parts).unwrap();
        assert_eq!(trace.trace_id().to_string(), PARENT[3..35]);
        assert_eq!(trace.trace_state(), Some("a=1,b=2"));
    }

    #[test]
    fn two_parents_or_a_state_alone_are_none() {
        assert!(trace(&[(TRACEPARENT, PARENT), (TRACEPARENT, PARENT)]).is_none());
        assert!(trace(&[(TRACESTATE, "a=1")]).is_none());
        assert!(trace(&[]).is_none());
    }
}
