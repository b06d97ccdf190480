//! The requests of one HTTP/2 connection, each a stream: what the executor of their futures and
//! their bodies do so that none of them waits for ever for a peer that does not read.
//!
//! On the connection, [`super::write_timeout`] fails when the peer reads nothing. A stream has a
//! window of its own, which a peer may leave closed while it reads the others. So a clock runs from
//! when a piece of a body was handed over until the next one is asked for, and a stream that takes
//! longer is reset.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use hyper::rt::Executor;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::sleep;

use super::connections::RunningCall;

/// What of a body is handed over at once on a stream. More would be held for the peer even after
/// the stream has ended here.
const PIECE: usize = 16 * 1024;

tokio::task_local! {
    /// Whether a piece of the stream's body waits for the peer to read it.
    static WAITS: Arc<AtomicBool>;
}

/// Runs the futures of streams, and drops one whose peer does not read for too long.
#[derive(Clone, Copy, Debug)]
pub(super) struct StreamExecutor {
    timeout: Duration,
}

impl StreamExecutor {
    pub(super) fn new(timeout: Duration) -> Self {
        Self { timeout }
    }
}

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for StreamExecutor {
    fn execute(&self, stream: F) {
        let waits = Arc::new(AtomicBool::new(false));
        let watched = watch(stream, waits.clone(), self.timeout);
        tokio::spawn(WAITS.scope(waits, watched));
    }
}

/// Ends with `stream`, or once its body has waited for its peer for `timeout`.
async fn watch(stream: impl Future, waits: Arc<AtomicBool>, timeout: Duration) {
    let mut stream = pin!(stream);
    let mut clock = None;
    std::future::poll_fn(|context| {
        if stream.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        if !waits.load(Ordering::Relaxed) {
            clock = None;
            return Poll::Pending;
        }
        let clock = clock.get_or_insert_with(|| Box::pin(sleep(timeout)));
        let late = clock.as_mut().poll(context);
        if late.is_ready() {
            tracing::debug!("a stream was reset: its peer did not read in time (answer_ms)");
        }
        late
    })
    .await;
}

/// A response's body on its way to the peer. The call runs until it is dropped.
pub(super) struct Outgoing {
    body: Body,
    /// What is left of the last piece of the body, on a stream.
    rest: Bytes,
    is_stream: bool,
    _call: RunningCall,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Outgoing {
    /// A body of a call; with the permit of its stream, if it is one.
    pub(super) fn new(
        body: Body,
        is_stream: bool,
        call: RunningCall,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Self {
        Self { body, rest: Bytes::new(), is_stream, _call: call, _permit: permit }
    }

    fn next_piece(&mut self) -> Bytes {
        if self.rest.len() > PIECE {
            return self.rest.split_to(PIECE);
        }
        // The last piece may stay behind when the stream has ended here. A copy of it holds no
        // share of the budget of all bodies.
        Bytes::copy_from_slice(&std::mem::take(&mut self.rest))
    }
}

impl hyper::body::Body for Outgoing {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if !self.is_stream {
            return Pin::new(&mut self.body).poll_frame(context);
        }
        if self.rest.is_empty() {
            set_waiting(false);
            match std::task::ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                end => return Poll::Ready(end),
            }
            set_waiting(true);
        }
        Poll::Ready(Some(Ok(Frame::data(self.next_piece()))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (of_body, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(of_body.lower() + rest);
        if let Some(upper) = of_body.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}

fn set_waiting(waits: bool) {
    // Without a stream around it nobody watches.
    let _ = WAITS.try_with(|state| state.store(waits, Ordering::Relaxed));
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test]
    async fn a_stream_whose_peer_does_not_read_ends_and_one_without_a_body_goes_on() {
        let late = Duration::from_millis(30);
        let waits = Arc::new(AtomicBool::new(true));
        watch(pending::<()>(), waits.clone(), late).await;
        waits.store(false, Ordering::Relaxed);
        let goes_on = tokio::time::timeout(10 * late, watch(pending::<()>(), waits, late)).await;
        assert!(goes_on.is_err());
    }
}
