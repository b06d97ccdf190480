//! Decides which requests are traced.

use std::sync::Arc;

use crate::context::TraceContext;
use crate::ids::{SpanId, TraceId};
use crate::parent::{RANDOM, TraceParent};
use crate::queue::Queue;

/// Begins the traces of requests.
#[derive(Debug, Default)]
pub struct Tracer {
    /// `None` where nothing is exported.
    queue: Option<Queue>,
    ratio: f64,
}

impl Tracer {
    /// One that records nothing.
    pub fn off() -> Self {
        Self::default()
    }

    /// One whose spans go to `queue`. Of the requests that are part of no trace yet, it samples
    /// this share, from 0 to 1; of others what their callers sample.
    pub fn new(queue: Queue, ratio: f64) -> Self {
        Self { queue: Some(queue), ratio }
    }

    /// The place where a request begins, which came with this parent; `None` if it is part of no
    /// trace and nothing is exported.
    pub fn begin(
        &self,
        parent: Option<TraceParent>,
        state: Option<Arc<str>>,
    ) -> Option<TraceContext> {
        let queue = self.queue.clone();
        match parent {
            Some(parent) => {
                let TraceParent { trace, span, flags } = parent;
                let queue = queue.filter(|_| parent.is_sampled());
                Some(TraceContext::new(trace, state, span, flags, queue))
            }
            None => {
                let queue = Some(queue?);
                let is_sampled = self.ratio >= 1.0 || fastrand::f64() < self.ratio;
                let queue = queue.filter(|_| is_sampled);
                Some(TraceContext::new(TraceId::random(), None, SpanId::NONE, RANDOM, queue))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7";

    fn parent(flags: &str) -> Option<TraceParent> {
        TraceParent::parse(&format!("{PARENT}-{flags}"))
    }

    #[test]
    fn a_caller_decides_for_its_own_trace() {
        let tracer = Tracer::new(Queue::new(10), 0.0);
        let own = tracer.begin(None, None).unwrap();
        assert!(!own.is_sampled() && !own.is_known() && own.traceparent().ends_with("-02"));
        let context = tracer.begin(parent("01"), Some("a=1".into())).unwrap();
        assert_eq!((context.is_sampled(), context.trace_state()), (true, Some("a=1")));
        let span = context.begin("one", Kind::Server).unwrap();
        let handed_on = span.context().traceparent();
        assert!(handed_on.starts_with(&PARENT[..36]) && handed_on.ends_with("-01"), "{handed_on}");
        assert_ne!(handed_on, format!("{PARENT}-01"), "the span is its own");
        let tracer = Tracer::new(Queue::new(10), 1.0);
        let context = tracer.begin(parent("00"), None).unwrap();
        assert!(context.begin("one", Kind::Server).is_none());
        assert!(context.is_known());
        assert_eq!(context.traceparent(), format!("{PARENT}-00"), "it is handed on as it came");
        let own = tracer.begin(None, None).unwrap();
        assert!(own.is_known() && own.traceparent().ends_with("-03"));
    }

    #[test]
    fn without_an_exporter_a_trace_is_only_handed_on() {
        assert!(Tracer::off().begin(None, None).is_none());
        let context = Tracer::off().begin(parent("01"), None).unwrap();
        assert!(context.begin("one", Kind::Server).is_none());
        assert_eq!(context.trace_id().to_string(), PARENT[3..35]);
        for (flags, handed_on) in
            [("00", "00"), ("01", "01"), ("02", "02"), ("03", "03"), ("fd", "01")]
        {
            let context = Tracer::off().begin(parent(flags), None).unwrap();
            assert!(context.is_known() && !context.is_sampled());
            assert_eq!(context.traceparent(), format!("{PARENT}-{handed_on}"), "{flags}");
        }
    }

    #[test]
    fn a_share_of_the_requests_is_sampled() {
        let tracer = Tracer::new(Queue::new(10), 0.5);
        let sampled = (0..1_000).filter(|_| tracer.begin(None, None).unwrap().is_sampled());
        assert!((350..650).contains(&sampled.count()));
    }
}
