//! The log of requests: a line for each, once its answer was sent. It says who asked for which
//! route, with what result, and never what was asked: no path, no query, no fact.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};

use super::observed::Asker;

/// The status of a request whose caller left before there was an answer, as nginx has it.
pub(super) const GONE: u16 = 499;

/// A line that is written when this is dropped.
pub(super) struct Line {
    pub(super) begun: Instant,
    pub(super) method: &'static str,
    pub(super) route: Arc<str>,
    pub(super) request_id: String,
    pub(super) trace_id: Option<String>,
    /// `None` for a socket in the file system.
    pub(super) peer: Option<IpAddr>,
    pub(super) asker: Asker,
    /// Bytes of the request's body that were read.
    pub(super) received: Arc<AtomicU64>,
    /// `None` until there is an answer.
    pub(super) status: Option<u16>,
    pub(super) sent: u64,
}

impl Drop for Line {
    fn drop(&mut self) {
        let peer = self.peer.map_or_else(|| "unix".to_owned(), |peer| peer.to_string());
        tracing::info!(
            target: "access",
            method = self.method,
            route = &*self.route,
            status = self.status.unwrap_or(GONE),
            duration_us = self.begun.elapsed().as_micros() as u64,
            bytes_in = self.received.load(Ordering::Relaxed),
            bytes_out = self.sent,
            tenant = self.asker.tenant(),
            key_id = self.asker.key_id(),
            request_id = self.request_id,
            trace_id = self.trace_id,
            peer,
            "request"
        );
    }
}

/// Where the bytes of a body are counted.
enum Count {
    Received(Arc<AtomicU64>),
    Sent(Line),
}

/// A body whose bytes are counted.
struct Counted {
    body: Body,
    count: Count,
}

/// The body of a request, counted in `received`.
pub(super) fn received(body: Body, received: Arc<AtomicU64>) -> Body {
    Body::new(Counted { body, count: Count::Received(received) })
}

/// The body of an answer. The line is written when it was sent, or its caller has left.
pub(super) fn sent(body: Body, line: Line) -> Body {
    Body::new(Counted { body, count: Count::Sent(line) })
}

impl hyper::body::Body for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame {
            let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
            match &mut self.count {
                Count::Received(received) => {
                    received.fetch_add(bytes, Ordering::Relaxed);
                }
                Count::Sent(line) => line.sent += bytes,
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
