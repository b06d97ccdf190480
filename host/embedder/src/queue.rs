//! The queue before the local embedder's threads: bounded, in three lanes. Texts whose callers
//! have left are dropped.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout_at;

use super::{EmbedError, Lane, Vector};

const LANES: usize = 3;

/// One queued text.
pub(super) struct Job {
    pub(super) text: String,
    until: Instant,
    answer: oneshot::Sender<Result<Vector, EmbedError>>,
    /// One unit of the lane's capacity, returned when the job is dropped.
    _permit: OwnedSemaphorePermit,
}

impl Job {
    pub(super) fn finish(self, answer: Result<Vector, EmbedError>) {
        // The caller may have left.
        let _ = self.answer.send(answer);
    }

    fn is_wanted(&self) -> bool {
        !self.answer.is_closed() && Instant::now() < self.until
    }
}

/// Texts that wait for a thread.
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    capacity: [Arc<Semaphore>; LANES],
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
            capacity: std::array::from_fn(|_| Arc::new(Semaphore::new(capacity))),
        }
    }

    /// Adds `text`, waiting until `until` for room.
    pub(super) async fn push(
        &self,
        text: String,
        lane: Lane,
        until: Instant,
    ) -> Result<oneshot::Receiver<Result<Vector, EmbedError>>, EmbedError> {
        let permit = self.capacity[lane as usize].clone().acquire_owned();
        let permit = match timeout_at(until.into(), permit).await {
            Ok(Ok(permit)) => permit,
            _ => return Err(EmbedError::Overloaded),
        };
        let (answer, receiver) = oneshot::channel();
        let job = Job { text, until, answer, _permit: permit };
        self.lock().lanes[lane as usize].push_back(job);
        self.changed.notify_one();
        Ok(receiver)
    }

    /// Waits for a job, then takes jobs from the first lane that has any: up to `most` of them
    /// and about `most_bytes` of text. Returns `None` once the queue is closed.
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

    /// Ends the threads and drops the queued jobs, which fails their callers' requests.
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
            // A batch holds one lane only, so that a query does not wait for background texts.
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
    async fn a_query_is_served_before_background_work_that_came_first() {
        let queue = Queue::new(8);
        let _bulk = queue.push("bulk".into(), Lane::Background, soon()).await.unwrap();
        let _query = queue.push("query".into(), Lane::Query, soon()).await.unwrap();
        let first = queue.pop(8, 1_000).unwrap();
        assert_eq!(first.iter().map(|job| job.text.as_str()).collect::<Vec<_>>(), ["query"]);
    }

    #[tokio::test]
    async fn a_text_whose_caller_left_is_skipped() {
        let queue = Queue::new(8);
        drop(queue.push("gone".into(), Lane::Query, soon()).await.unwrap());
        let _here = queue.push("here".into(), Lane::Query, soon()).await.unwrap();
        let jobs = queue.pop(8, 1_000).unwrap();
        assert_eq!(jobs.iter().map(|job| job.text.as_str()).collect::<Vec<_>>(), ["here"]);
    }

    #[tokio::test]
    async fn a_text_whose_deadline_passed_fails_with_a_timeout() {
        let queue = Queue::new(8);
        let late = queue.push("late".into(), Lane::Query, Instant::now()).await;
        // Either the deadline passed before it was queued, or it is dropped when it is popped.
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
    async fn closing_the_queue_ends_its_threads_and_fails_its_callers() {
        let queue = Queue::new(8);
        let one = queue.push("one".into(), Lane::Query, soon()).await.unwrap();
        queue.close();
        assert!(queue.pop(8, 1_000).is_none());
        assert!(one.await.is_err());
    }
}
