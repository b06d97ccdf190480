//! The queue before the local embedder's threads, in three lanes. Texts whose callers have left are
//! dropped.
//!
//! Earlier lanes go first. Their texts are also embedded in the middle of a pass of a later lane,
//! which would take a hundredth of a second or more: see [`Queue::pop_before`].
//!
//! Only as much text is queued as the threads can take in one forward pass each. The rest waits at
//! a [`FairSemaphore`] of its lane, whose permits are bytes of text. So a long batch passes in
//! pieces, and tenants get as much of the threads' time each, however much one has to embed.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use kenning_core::fair_semaphore::{FairSemaphore, Limits, Permit};
use kenning_storage::TenantId;
use tokio::sync::oneshot;
use tokio::time::timeout_at;

use super::{EmbedError, Lane, Vector};
use crate::waiting::LANES;

/// Text in one forward pass, in bytes: about 512 tokens of English, which take a hundredth of a
/// second. So long may the text of another tenant in the same lane have to wait.
pub(super) const PASS_BYTES: usize = 2 * 1024;

/// The minimum that a text counts for, in bytes: what the shortest takes of a pass.
const LEAST_BYTES: usize = 64;

/// One pass in so many begins with the second lane, so that queries cannot keep stores waiting for
/// ever; one in the square of it begins with the third. As much of its time is left to a pass in
/// whose middle texts of earlier lanes are embedded.
const EVERY: u32 = 4;

/// One queued text.
pub(super) struct Job {
    pub(super) text: String,
    until: Instant,
    answer: oneshot::Sender<Result<Vector, EmbedError>>,
    /// The text's bytes, returned when the job is dropped.
    _permit: Permit,
}

impl Job {
    pub(super) fn finish(self, answer: Result<Vector, EmbedError>) {
        // The caller may have left.
        let _ = self.answer.send(answer);
    }

    fn is_wanted(&self) -> bool {
        !self.answer.is_closed() && Instant::now() < self.until
    }

    fn bytes(&self) -> usize {
        counted(&self.text)
    }
}

/// The bytes that a text counts for.
fn counted(text: &str) -> usize {
    text.len().clamp(LEAST_BYTES, PASS_BYTES)
}

/// The texts of one forward pass, all of one lane.
pub(super) struct Pass {
    pub(super) jobs: Vec<Job>,
    lane: usize,
    /// How many bytes of text of earlier lanes may still be embedded in the middle of it.
    room: usize,
}

impl Pass {
    fn new(lane: usize, jobs: Vec<Job>) -> Self {
        let bytes: usize = jobs.iter().map(Job::bytes).sum();
        Self { lane, room: bytes * (EVERY as usize - 1), jobs }
    }
}

/// Texts that wait for a thread.
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    bytes: [Arc<FairSemaphore>; LANES],
}

#[derive(Default)]
struct Waiting {
    lanes: [VecDeque<Job>; LANES],
    /// Counts the passes.
    passes: u32,
    closed: bool,
}

impl Queue {
    /// A queue for so many threads.
    pub(super) fn new(threads: usize) -> Self {
        let permits = threads * PASS_BYTES;
        let limits = Limits { permits, per_tenant: permits, reserved_for_idle: 0 };
        Self {
            waiting: Mutex::default(),
            changed: Condvar::new(),
            bytes: std::array::from_fn(|_| FairSemaphore::new(limits)),
        }
    }

    /// Adds a text of `tenant`, once it is the tenant's turn.
    pub(super) async fn push(
        &self,
        tenant: &TenantId,
        text: String,
        lane: Lane,
        until: Instant,
    ) -> Result<oneshot::Receiver<Result<Vector, EmbedError>>, EmbedError> {
        let permit = self.bytes[lane as usize].acquire_many(tenant, counted(&text));
        let permit = timeout_at(until.into(), permit).await.map_err(|_| EmbedError::Timeout)?;
        let (answer, receiver) = oneshot::channel();
        let job = Job { text, until, answer, _permit: permit };
        self.lock().lanes[lane as usize].push_back(job);
        self.changed.notify_one();
        Ok(receiver)
    }

    /// Waits for a job, then takes the jobs of one pass: from one lane, up to `most` of them and
    /// about [`PASS_BYTES`] of text. Returns `None` once the queue is closed.
    pub(super) fn pop(&self, most: usize) -> Option<Pass> {
        let mut waiting = self.lock();
        loop {
            if waiting.closed {
                return None;
            }
            if let Some(pass) = waiting.take(most) {
                return Some(pass);
            }
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The jobs of an earlier lane that are to be embedded now, in the middle of `pass`. All that
    /// are, together, have [`EVERY`] less one times as much text as the pass, or a little more.
    pub(super) fn pop_before(&self, pass: &mut Pass, most: usize) -> Option<Pass> {
        if pass.lane == 0 || pass.room == 0 {
            return None;
        }
        let urgent = self.lock().take_before(pass, most)?;
        let bytes = urgent.jobs.iter().map(Job::bytes).sum();
        pass.room = pass.room.saturating_sub(bytes);
        Some(urgent)
    }

    /// Ends the threads and drops the queued jobs, which fails their callers' requests.
    pub(super) fn close(&self) {
        let mut waiting = self.lock();
        waiting.closed = true;
        let dropped = std::mem::take(&mut waiting.lanes);
        drop(waiting);
        drop(dropped);
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// A pass holds one lane only, so that a query does not wait for background texts.
    fn take(&mut self, most: usize) -> Option<Pass> {
        let first = self.first_lane();
        let mut order = std::iter::once(first).chain((0..LANES).filter(|lane| *lane != first));
        let pass = order.find_map(|lane| self.take_from(lane, most, PASS_BYTES))?;
        self.passes = self.passes.wrapping_add(1);
        Some(pass)
    }

    /// Takes a pass of a lane before that of `pass`. It counts as one, unless a later lane is next.
    fn take_before(&mut self, pass: &Pass, most: usize) -> Option<Pass> {
        let bytes = pass.room.min(PASS_BYTES);
        let taken = (0..pass.lane).find_map(|lane| self.take_from(lane, most, bytes))?;
        let counts = self.first_lane() <= taken.lane;
        self.passes = self.passes.wrapping_add(u32::from(counts));
        Some(taken)
    }

    fn take_from(&mut self, lane: usize, most: usize, bytes: usize) -> Option<Pass> {
        let jobs = take_wanted(&mut self.lanes[lane], most, bytes);
        (!jobs.is_empty()).then(|| Pass::new(lane, jobs))
    }

    /// The lane that the next pass begins with.
    fn first_lane(&self) -> usize {
        match self.passes % (EVERY * EVERY) {
            last if last == EVERY * EVERY - 1 => Lane::Background as usize,
            other if other % EVERY == EVERY - 1 => Lane::Document as usize,
            _ => Lane::Query as usize,
        }
    }
}

/// The next jobs whose callers still wait: up to `most` of them, and about so many bytes of text.
fn take_wanted(lane: &mut VecDeque<Job>, most: usize, most_bytes: usize) -> Vec<Job> {
    let (mut jobs, mut bytes) = (Vec::new(), 0);
    while jobs.len() < most && bytes < most_bytes {
        let Some(job) = lane.pop_front() else { break };
        if job.is_wanted() {
            bytes += job.bytes();
            jobs.push(job);
        } else {
            job.finish(Err(EmbedError::Timeout));
        }
    }
    jobs
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;
    use std::time::Duration;

    use futures::FutureExt;

    use super::*;

    static ONE: LazyLock<TenantId> = LazyLock::new(|| TenantId::parse("one").unwrap());
    static OTHER: LazyLock<TenantId> = LazyLock::new(|| TenantId::parse("other").unwrap());

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    fn texts(pass: &Pass) -> Vec<&str> {
        pass.jobs.iter().map(|job| job.text.as_str()).collect()
    }

    fn long(name: &str) -> String {
        format!("{name}{}", " word".repeat(PASS_BYTES / 5))
    }

    #[tokio::test]
    async fn a_query_is_served_before_background_work_that_came_first() {
        let queue = Queue::new(1);
        let _bulk = queue.push(&ONE, "bulk".into(), Lane::Background, soon()).await.unwrap();
        let _query = queue.push(&ONE, "query".into(), Lane::Query, soon()).await.unwrap();
        assert_eq!(texts(&queue.pop(8).unwrap()), ["query"]);
    }

    #[tokio::test]
    async fn queries_without_end_do_not_keep_a_store_or_background_work_waiting() {
        let queue = Queue::new(8);
        let mut answers = Vec::new();
        for lane in [Lane::Document, Lane::Background] {
            let text = format!("{lane:?}");
            answers.push(queue.push(&ONE, text, lane, soon()).await.unwrap());
        }
        let mut served = Vec::new();
        for _ in 0..EVERY * EVERY {
            answers.push(queue.push(&ONE, "query".into(), Lane::Query, soon()).await.unwrap());
            let pass = queue.pop(1).unwrap();
            served.extend(texts(&pass).into_iter().map(String::from));
        }
        assert_eq!(served.iter().position(|text| text == "Document"), Some(3));
        assert_eq!(served.iter().position(|text| text == "Background"), Some(15));
    }

    #[tokio::test]
    async fn a_text_whose_caller_left_is_skipped() {
        let queue = Queue::new(1);
        drop(queue.push(&ONE, "gone".into(), Lane::Query, soon()).await.unwrap());
        let _here = queue.push(&ONE, "here".into(), Lane::Query, soon()).await.unwrap();
        assert_eq!(texts(&queue.pop(8).unwrap()), ["here"]);
    }

    #[tokio::test]
    async fn a_text_whose_deadline_passed_fails_with_a_timeout() {
        let queue = Queue::new(1);
        let late = queue.push(&ONE, "late".into(), Lane::Query, Instant::now()).await;
        // Either the deadline passed before it was queued, or it is dropped when it is popped.
        if let Ok(late) = late {
            let _here = queue.push(&ONE, "here".into(), Lane::Query, soon()).await.unwrap();
            queue.pop(8).unwrap();
            assert_eq!(late.await.unwrap(), Err(EmbedError::Timeout));
        }
    }

    #[tokio::test]
    async fn a_text_that_is_not_queued_by_its_deadline_fails_with_a_timeout() {
        let queue = Queue::new(1);
        let _one = queue.push(&ONE, long("one"), Lane::Query, soon()).await.unwrap();
        let two = queue.push(&ONE, "two".into(), Lane::Query, Instant::now()).await;
        assert_eq!(two.err(), Some(EmbedError::Timeout));
    }

    #[tokio::test]
    async fn short_texts_of_many_callers_are_embedded_in_one_pass() {
        let queue = Queue::new(1);
        let mut answers = Vec::new();
        for tenant in [&ONE, &OTHER, &ONE, &OTHER] {
            answers.push(queue.push(tenant, "short".into(), Lane::Query, soon()).await.unwrap());
        }
        assert_eq!(queue.pop(8).unwrap().jobs.len(), 4);
    }

    #[tokio::test]
    async fn a_text_waits_for_one_pass_of_another_tenant_however_much_that_has_to_embed() {
        let queue = Queue::new(1);
        let _first = queue.push(&ONE, long("first"), Lane::Document, soon()).await.unwrap();
        let push = |tenant, text| queue.push(tenant, text, Lane::Document, soon()).boxed();
        let mut waiting = vec![push(&ONE, long("second")), push(&ONE, long("third"))];
        waiting.push(push(&OTHER, "neighbour".into()));
        assert!(waiting.iter_mut().all(|push| push.now_or_never().is_none()));
        // The first pass ends.
        drop(queue.pop(8).unwrap());
        // What is dropped here is not embedded.
        let queued: Vec<_> = waiting.iter_mut().map(|push| push.now_or_never()).collect();
        let is_queued: Vec<bool> = queued.iter().map(Option::is_some).collect();
        assert_eq!(is_queued, [false, false, true]);
        assert_eq!(texts(&queue.pop(8).unwrap()), ["neighbour"]);
    }

    #[tokio::test]
    async fn closing_the_queue_ends_its_threads_and_fails_its_callers() {
        let queue = Queue::new(1);
        let one = queue.push(&ONE, "one".into(), Lane::Query, soon()).await.unwrap();
        queue.close();
        assert!(queue.pop(8).is_none());
        assert!(one.await.is_err());
    }
}
