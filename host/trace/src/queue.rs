//! Where ended spans wait for the exporter.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::span::EndedSpan;

/// A bounded queue. Spans for which there is no room are dropped, and counted. Clones are the same
/// queue.
#[derive(Clone, Debug)]
pub struct Queue(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    waiting: Mutex<VecDeque<EndedSpan>>,
    most: usize,
    dropped: AtomicU64,
    has_batch: Notify,
}

impl Queue {
    /// So many spans are exported at once, as soon as there are that many.
    pub const BATCH: usize = 512;

    /// A queue of at most `most` spans.
    pub fn new(most: usize) -> Self {
        let (waiting, dropped, has_batch) = Default::default();
        Self(Arc::new(Shared { waiting, most, dropped, has_batch }))
    }

    /// Adds spans, as far as there is room.
    pub(crate) fn push(&self, spans: Vec<EndedSpan>) {
        let mut waiting = self.waiting();
        let room = self.0.most.saturating_sub(waiting.len());
        let dropped = spans.len().saturating_sub(room);
        waiting.extend(spans.into_iter().take(room));
        let is_batch = waiting.len() >= Self::BATCH;
        drop(waiting);
        if dropped > 0 {
            self.count_dropped(dropped as u64);
        }
        if is_batch {
            self.0.has_batch.notify_one();
        }
    }

    /// Takes the oldest spans, at most `most`.
    pub fn take(&self, most: usize) -> Vec<EndedSpan> {
        let mut waiting = self.waiting();
        let count = most.min(waiting.len());
        waiting.drain(..count).collect()
    }

    /// Waits until there are enough spans for a batch.
    pub async fn batch(&self) {
        self.0.has_batch.notified().await;
    }

    /// Counts spans that nobody gets to see.
    pub fn count_dropped(&self, spans: u64) {
        self.0.dropped.fetch_add(spans, Ordering::Relaxed);
        metrics::counter!("kenning_trace_spans_dropped_total").increment(spans);
    }

    /// How many spans nobody got to see.
    pub fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<EndedSpan>> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use crate::{Kind, Queue, Tracer};

    #[test]
    fn spans_without_room_are_dropped_and_counted() {
        let queue = Queue::new(2);
        let tracer = Tracer::new(queue.clone(), 1.0);
        for _ in 0..5 {
            let context = tracer.begin(None, None).unwrap();
            drop(context.begin("one", Kind::Server));
        }
        assert_eq!((queue.take(10).len(), queue.dropped()), (2, 3));
        assert!(queue.take(10).is_empty());
    }
}
