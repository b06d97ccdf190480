//! Traces: which spans a request has, and who else knows of them.
//!
//! A [`Tracer`] decides at the head of a request whether it is sampled. A [`TraceContext`] says
//! where in a trace something happens; it goes with the request's task, so that storage and the
//! embedder find it with [`current`]. What takes time begins an [`OpenSpan`] there, which ends when
//! it is dropped. Ended spans wait in a bounded [`Queue`] for whoever exports them; nobody waits
//! for room in it.
//!
//! Without an exporter, and for requests that are not sampled, no span is made. A context then only
//! carries the caller's trace id on ([W3C Trace Context]).
//!
//! [W3C Trace Context]: https://www.w3.org/TR/trace-context/
//!
//! ```
//! use kenning_trace::{Kind, Queue, Tracer};
//!
//! let queue = Queue::new(100);
//! let tracer = Tracer::new(queue.clone(), 1.0);
//! let context = tracer.begin(None, None).expect("there is an exporter");
//! let span = context.begin("GET /v1/facts", Kind::Server).expect("all are sampled");
//! assert!(span.context().traceparent().ends_with("-03"));
//! drop(span);
//! assert_eq!(queue.take(10).len(), 1);
//! ```

#![deny(missing_docs)]

mod context;
mod ids;
mod parent;
mod queue;
mod span;
mod tracer;

pub use context::{OpenSpan, TraceContext, begin, current, within};
pub use ids::{SpanId, TraceId};
pub use parent::{TraceParent, trace_state};
pub use queue::Queue;
pub use span::{EndedSpan, Kind, Value};
pub use tracer::Tracer;
