//! Where in a trace something happens, and the spans that begin there.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::task::futures::TaskLocalFuture;

use crate::ids::{SpanId, TraceId};
use crate::parent::SAMPLED;
use crate::queue::Queue;
use crate::span::{EndedSpan, Kind, Value};

/// So many spans of a trace wait for its request to end. Long requests hand on what they have.
const PENDING: usize = 64;

tokio::task_local! {
    static CONTEXT: Option<TraceContext>;
}

/// A place in a trace: what begins there is below its span. Clones are the same place.
#[derive(Clone, Debug)]
pub struct TraceContext {
    trace: Arc<Trace>,
    /// [`SpanId::NONE`] at the beginning of a trace.
    span: SpanId,
}

#[derive(Debug)]
struct Trace {
    id: TraceId,
    state: Option<Arc<str>>,
    /// Those of the caller, or of a trace that begins here.
    flags: u8,
    /// `None` if no span of the trace is recorded here.
    recording: Option<Recording>,
}

/// The spans of a trace that have ended.
#[derive(Debug)]
struct Recording {
    queue: Queue,
    /// One instant on both clocks.
    begun: (Instant, SystemTime),
    ended: Mutex<PendingSpans>,
}

#[derive(Debug, Default)]
struct PendingSpans {
    /// Those that wait for the request's own.
    spans: Vec<EndedSpan>,
    /// The request's own has ended: none after it waits.
    is_over: bool,
}

impl Recording {
    fn add(&self, span: EndedSpan) {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.is_over |= span.kind == Kind::Server;
        ended.spans.push(span);
        if ended.is_over || ended.spans.len() >= PENDING {
            let spans = std::mem::take(&mut ended.spans);
            drop(ended);
            self.queue.push(spans);
        }
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        let ended = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner);
        if !ended.spans.is_empty() {
            self.queue.push(std::mem::take(&mut ended.spans));
        }
    }
}

impl TraceContext {
    /// The place below `span` in a trace, whose spans go to `queue` if they are recorded.
    pub(crate) fn new(
        id: TraceId,
        state: Option<Arc<str>>,
        span: SpanId,
        flags: u8,
        queue: Option<Queue>,
    ) -> Self {
        let recording = queue.map(|queue| {
            let begun = (Instant::now(), SystemTime::now());
            Recording { queue, begun, ended: Mutex::default() }
        });
        Self { trace: Arc::new(Trace { id, state, flags, recording }), span }
    }

    /// The id of the trace.
    pub fn trace_id(&self) -> TraceId {
        self.trace.id
    }

    /// What the caller's tracing system wants handed on.
    pub fn trace_state(&self) -> Option<&str> {
        self.trace.state.as_deref()
    }

    /// Whether spans are recorded here.
    pub fn is_sampled(&self) -> bool {
        self.trace.recording.is_some()
    }

    /// Whether anybody can look the trace up: it is recorded here, or a caller's.
    pub fn is_known(&self) -> bool {
        self.is_sampled() || self.span != SpanId::NONE
    }

    /// The header that makes a request to something else part of this trace.
    pub fn traceparent(&self) -> String {
        // A trace that begins here and is not sampled has no span of ours.
        let span = if self.span == SpanId::NONE { SpanId::random() } else { self.span };
        let sampled = if self.is_sampled() { SAMPLED } else { 0 };
        format!("00-{}-{span}-{:02x}", self.trace.id, self.trace.flags | sampled)
    }

    /// Begins a span here; `None` if the trace is not sampled.
    pub fn begin(&self, name: impl Into<Cow<'static, str>>, kind: Kind) -> Option<OpenSpan> {
        self.trace.recording.as_ref()?;
        Some(OpenSpan {
            trace: self.trace.clone(),
            id: SpanId::random(),
            parent: self.span,
            name: name.into(),
            kind,
            begun: Instant::now(),
            attributes: Vec::new(),
            failure: None,
            is_discarded: false,
        })
    }
}

/// A span that has begun. It ends when it is dropped.
#[derive(Debug)]
pub struct OpenSpan {
    trace: Arc<Trace>,
    id: SpanId,
    parent: SpanId,
    name: Cow<'static, str>,
    kind: Kind,
    begun: Instant,
    attributes: Vec<(&'static str, Value)>,
    failure: Option<Cow<'static, str>>,
    is_discarded: bool,
}

impl OpenSpan {
    /// The place below it.
    pub fn context(&self) -> TraceContext {
        TraceContext { trace: self.trace.clone(), span: self.id }
    }

    /// Notes something that is known of it.
    pub fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        self.attributes.push((name, value.into()));
    }

    /// Notes that it failed. `why` must quote nobody: no fact, no query, no backend.
    pub fn fail(&mut self, why: impl Into<Cow<'static, str>>) {
        self.failure = Some(why.into());
    }

    /// Records nothing of it: it turned out to be none.
    pub fn discard(mut self) {
        self.is_discarded = true;
    }
}

impl Drop for OpenSpan {
    fn drop(&mut self) {
        let Some(recording) = &self.trace.recording else { return };
        if self.is_discarded {
            return;
        }
        let (since, at) = recording.begun;
        recording.add(EndedSpan {
            trace: self.trace.id,
            state: self.trace.state.clone(),
            id: self.id,
            parent: self.parent,
            name: std::mem::take(&mut self.name),
            kind: self.kind,
            begun: at + self.begun.saturating_duration_since(since),
            // A span of no length is not shown by some.
            took: self.begun.elapsed().max(Duration::from_nanos(1)),
            attributes: std::mem::take(&mut self.attributes),
            failure: self.failure.take(),
        });
    }
}

/// Where in a trace the running task is; `None` outside of any.
pub fn current() -> Option<TraceContext> {
    CONTEXT.try_with(Clone::clone).ok().flatten()
}

/// Begins a span where the running task is; `None` if nothing is recorded there.
pub fn begin(name: impl Into<Cow<'static, str>>, kind: Kind) -> Option<OpenSpan> {
    CONTEXT
        .try_with(|context| context.as_ref().and_then(|context| context.begin(name, kind)))
        .ok()
        .flatten()
}

/// Does `work` at a place in a trace; with `None` outside of any.
pub fn within<F: Future>(
    context: Option<TraceContext>,
    work: F,
) -> TaskLocalFuture<Option<TraceContext>, F> {
    CONTEXT.scope(context, work)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tracer;

    #[tokio::test]
    async fn spans_are_below_the_one_that_was_open_where_they_began() {
        let queue = Queue::new(100);
        let context = Tracer::new(queue.clone(), 1.0).begin(None, None).unwrap();
        let server = context.begin("server", Kind::Server).unwrap();
        within(Some(server.context()), async {
            let mut inner = begin("inner", Kind::Internal).unwrap();
            inner.set("number", 3u64);
            inner.fail("timeout");
            within(Some(inner.context()), async { drop(begin("leaf", Kind::Client)) }).await;
        })
        .await;
        assert!(begin("outside", Kind::Client).is_none());
        assert!(queue.take(10).is_empty(), "they wait for their request");
        drop(server);
        let spans = queue.take(10);
        let names: Vec<&str> = spans.iter().map(|span| &*span.name).collect();
        assert_eq!(names, ["leaf", "inner", "server"]);
        assert_eq!((spans[0].parent, spans[1].parent), (spans[1].id, spans[2].id));
        assert_eq!(spans[2].parent, SpanId::NONE);
        assert_eq!(spans[1].failure.as_deref(), Some("timeout"));
        assert_eq!(spans[1].attributes, [("number", Value::Integer(3))]);
        assert!(spans.iter().all(|span| span.trace == context.trace_id()));
    }

    #[test]
    fn what_ends_after_its_request_is_handed_on_at_once() {
        let queue = Queue::new(100);
        let context = Tracer::new(queue.clone(), 1.0).begin(None, None).unwrap();
        let server = context.begin("server", Kind::Server).unwrap();
        let begin = || server.context().begin("late", Kind::Internal).unwrap();
        let (late, later) = (begin(), begin());
        drop(server);
        assert_eq!(queue.take(10).len(), 1);
        drop(late);
        assert_eq!(queue.take(10).len(), 1, "the trace goes on");
        drop(later);
        assert_eq!((queue.take(10).len(), context.is_sampled()), (1, true));
    }

    #[test]
    fn a_span_that_is_discarded_is_not_recorded() {
        let queue = Queue::new(100);
        let context = Tracer::new(queue.clone(), 1.0).begin(None, None).unwrap();
        context.begin("none", Kind::Client).unwrap().discard();
        drop(context.begin("server", Kind::Server));
        let names: Vec<_> = queue.take(10).into_iter().map(|span| span.name).collect();
        assert_eq!(names, ["server"]);
    }
}
