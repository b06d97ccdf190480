//! The queue before the local embedder's threads: bounded, in three lanes, and
//! forgetful of callers who have left.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout_at;

use super::{EmbedError, Lane, Vector};

const LANES: usize = 3;

/// One text that waits.
pub(super) struct Job {
    pub(super) text: String,
    until: Instant,
    answer: oneshot::Sender<Result<Vector, EmbedError>>,
    /// Its place in the lane's bound, free again when the job is done.
    _place: OwnedSemaphorePermit,
}

impl Job {
    pub(super) fn finish(self, answer: Result<Vector, EmbedError>) {
        // A caller who left does not want it.
        let _ = self.answer.send(answer);
    }

    fn is_wanted(&self) -> bool {
        !self.answer.is_closed() && Instant::now() < self.until
    }
}

/// Texts waiting for a thread.
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    places: [Arc<Semaphore>; LANES],
}

#[derive(Default)]
struct Waiting {
    lanes: [VecDeque<Job>; LANES],
    closed: bool,
}

impl Queue {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            waiting: Mutex::default(),
            changed: Condvar::new(),
            places: std::array::from_fn(|_| Arc::new(Semaphore::new(capacity))),
        }
    }

    /// Adds `text`, waiting until `until` for room.
    pub(super) async fn push(
        &self,
        text: String,
        lane: Lane,
        until: Instant,
    ) -> Result<oneshot::Receiver<Result<Vector, EmbedError>>, EmbedError> {
        let place = self.places[lane as usize].clone().acquire_owned();
        let place = match timeout_at(until.into(), place).await {
            Ok(Ok(place)) => place,
            _ => return Err(EmbedError::Overloaded),
        };
        let (answer, receiver) = oneshot::channel();
        let job = Job { text, until, answer, _place: place };
        self.lock().lanes[lane as usize].push_back(job);
        self.changed.notify_one();
        Ok(receiver)
    }

    /// The jobs at the head of the first lane that has any, up to `most` of them and
    /// about `most_bytes` of text; it never waits for more to come. `None` when the
    /// queue is closed.
    pub(super) fn pop(&self, most: usize, most_bytes: usize) -> Option<Vec<Job>> {
        let mut waiting = self.lock();
        loop {
            if waiting.closed {
                return None;
            }
            let jobs = waiting.take(most, most_bytes);
            if !jobs.is_empty() {
                return Some(jobs);
            }
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Ends the threads; what waits is dropped, and its callers are told.
    pub(super) fn close(&self) {
        let mut waiting = self.lock();
        waiting.closed = true;
        waiting.lanes = Default::default();
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn take(&mut self, most: usize, most_bytes: usize) -> Vec<Job> {
        let (mut jobs, mut bytes) = (Vec::new(), 0);
        for lane in &mut self.lanes {
            while jobs.len() < most && bytes < most_bytes {
                let Some(job) = lane.pop_front() else { break };
                if job.is_wanted() {
                    bytes += job.text.len();
                    jobs.push(job);
                } else {
                    job.finish(Err(EmbedError::Timeout));
                }
            }
            // A batch is of one lane: a query does not wait for a bulk's texts.
            if !jobs.is_empty() {
                break;
            }
        }
        jobs
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[tokio::test]
    async fn a_query_goes_before_a_bulk_that_came_first() {
        let queue = Queue::new(8);
        let _bulk = queue.push("bulk".into(), Lane::Background, soon()).await.unwrap();
        let _query = queue.push("query".into(), Lane::Query, soon()).await.unwrap();
        let first = queue.pop(8, 1_000).unwrap();
        assert_eq!(first.iter().map(|job| job.text.as_str()).collect::<Vec<_>>(), ["query"]);
    }

    #[tokio::test]
    async fn a_text_whose_caller_left_is_not_handed_out() {
        let queue = Queue::new(8);
        drop(queue.push("gone".into(), Lane::Query, soon()).await.unwrap());
        let _here = queue.push("here".into(), Lane::Query, soon()).await.unwrap();
        let jobs = queue.pop(8, 1_000).unwrap();
        assert_eq!(jobs.iter().map(|job| job.text.as_str()).collect::<Vec<_>>(), ["here"]);
    }

    #[tokio::test]
    async fn a_text_whose_deadline_passed_is_told_so() {
        let queue = Queue::new(8);
        let late = queue.push("late".into(), Lane::Query, Instant::now()).await;
        // Either there was no time to queue it, or it is dropped when its turn comes.
        if let Ok(late) = late {
            let _here = queue.push("here".into(), Lane::Query, soon()).await.unwrap();
            queue.pop(8, 1_000).unwrap();
            assert_eq!(late.await.unwrap(), Err(EmbedError::Timeout));
        }
    }

    #[tokio::test]
    async fn texts_up_to_the_bound_are_queued_obeyed() {
        let queue = Queue::new(1);
        assert!(queue.push("one".into(), Lane::Query, soon()).await.is_ok());
    }

    #[tokio::test]
    async fn a_text_above_the_bound_is_refused_at_its_deadline_violated() {
        let queue = Queue::new(1);
        let _one = queue.push("one".into(), Lane::Query, soon()).await.unwrap();
        let until = Instant::now() + Duration::from_millis(5);
        let two = queue.push("two".into(), Lane::Query, until).await;
        assert_eq!(two.err(), Some(EmbedError::Overloaded));
    }

    #[tokio::test]
    async fn a_closed_queue_ends_its_threads_and_tells_its_callers() {
        let queue = Queue::new(8);
        let one = queue.push("one".into(), Lane::Query, soon()).await.unwrap();
        queue.close();
        assert!(queue.pop(8, 1_000).is_none());
        assert!(one.await.is_err());
    }
}
