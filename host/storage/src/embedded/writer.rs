//! The writer thread: takes the queued requests, commits them together, then acknowledges each.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::timeout_at;

use super::changes::{Lasts, Sweep};
use super::handle::{Handle, TransactionError};
use super::request::Request;
use super::tables::counters;
use crate::{Revision, StorageError, StorageLimits, TenantId};

/// The bytes after which a commit takes no further jobs, so that a small write never waits for more
/// than about this many bytes of others.
const COMMIT_BYTES: usize = 16 << 20;

type Answer = Result<Vec<Option<Revision>>, StorageError>;

struct Job {
    request: Request,
    /// When the caller stops waiting.
    end: Instant,
    reply: oneshot::Sender<Answer>,
    /// Its part of the bytes that the queue may hold.
    _permit: OwnedSemaphorePermit,
}

/// The queue to the writer thread.
pub(super) struct Writer {
    /// `None` once closed.
    queue: Mutex<Option<mpsc::Sender<Job>>>,
    max_bytes: usize,
    bytes: Arc<Semaphore>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    pub(super) fn start(
        handle: Arc<Handle>,
        lasts: Arc<Lasts>,
        limits: &StorageLimits,
    ) -> std::io::Result<Self> {
        let (queue, jobs) = mpsc::channel(limits.queued_writes.max(1));
        let max_jobs = limits.commit_jobs.max(1);
        let thread = std::thread::Builder::new()
            .name("kenning-writer".into())
            .spawn(move || run(&handle, &lasts, jobs, max_jobs))?;
        let max_bytes = limits.queued_bytes.max(1);
        Ok(Self {
            queue: Mutex::new(Some(queue)),
            max_bytes,
            bytes: Arc::new(Semaphore::new(max_bytes)),
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Queues a request and waits until it is durable. Gives up at `end`.
    pub(super) async fn submit(&self, request: Request, end: Instant) -> Answer {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let queue = queue.ok_or_else(stopped)?;
        let late = StorageError::Timeout { outcome_unknown: false };
        let permit = self.reserve(request.bytes());
        let Ok(Ok(permit)) = timeout_at(end.into(), permit).await else { return Err(late) };
        let (reply, answer) = oneshot::channel();
        let job = Job { request, end, reply, _permit: permit };
        match timeout_at(end.into(), queue.send(job)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(stopped()),
            Err(_) => return Err(late),
        }
        drop(queue);
        match timeout_at(end.into(), answer).await {
            Ok(Ok(answer)) => answer,
            // Late, or the thread ended while it had the job.
            Ok(Err(_)) | Err(_) => Err(StorageError::Timeout { outcome_unknown: true }),
        }
    }

    /// Reserves `bytes` of the queue. A request larger than the queue reserves all of it.
    fn reserve(
        &self,
        bytes: usize,
    ) -> impl Future<Output = Result<OwnedSemaphorePermit, AcquireError>> {
        let bytes = u32::try_from(bytes.min(self.max_bytes)).unwrap_or(u32::MAX);
        self.bytes.clone().acquire_many_owned(bytes)
    }

    /// Stops taking jobs, performs those that are queued, and waits until the file is closed.
    pub(super) async fn close(&self) {
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // If the thread panicked, the panic hook has reported it.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

fn stopped() -> StorageError {
    StorageError::Unavailable("the storage is closed".into())
}

fn run(handle: &Handle, lasts: &Lasts, mut jobs: mpsc::Receiver<Job>, max_jobs: usize) {
    let mut sweep = Sweep::default();
    while let Some(first) = jobs.blocking_recv() {
        let mut bytes = first.request.bytes();
        let mut batch = vec![first];
        while batch.len() < max_jobs && bytes < COMMIT_BYTES {
            let Ok(job) = jobs.try_recv() else { break };
            bytes += job.request.bytes();
            batch.push(job);
        }
        commit(handle, lasts, &mut sweep, batch);
    }
    handle.close();
}

fn commit(handle: &Handle, lasts: &Lasts, sweep: &mut Sweep, batch: Vec<Job>) {
    let now = Instant::now();
    let (late, batch): (Vec<_>, Vec<_>) =
        batch.into_iter().partition(|job| job.end <= now || job.reply.is_closed());
    for job in late {
        answer(job, Err(StorageError::Timeout { outcome_unknown: false }));
    }
    let batch = without_refused(handle, batch);
    if batch.is_empty() {
        return;
    }
    let grows = batch.iter().any(|job| job.request.grows());
    let answers = handle.write(grows, |tables| {
        let one = |job: &Job| match job.request.apply(tables) {
            Ok(revisions) => Ok(Ok(revisions)),
            Err(TransactionError::Request(error)) => Ok(Err(error)),
            Err(error) => Err(error),
        };
        let answers = batch.iter().map(one).collect::<Result<Vec<Answer>, TransactionError>>()?;
        sweep.step(tables)?;
        let tenants: BTreeSet<&TenantId> =
            batch.iter().filter_map(|job| job.request.tenant()).collect();
        let last = |tenant: &TenantId| {
            // Damaged counters, which the next write counts again, tell nobody anything.
            let counters = counters(&tables.tenants, tenant.as_str())?.unwrap_or_default();
            Ok((tenant.clone(), counters.revision))
        };
        let revisions = tenants.into_iter().map(last).collect::<Result<_, TransactionError>>()?;
        Ok((answers, revisions))
    });
    match answers {
        Ok((answers, revisions)) => {
            lasts.publish(revisions);
            batch.into_iter().zip(answers).for_each(|(job, done)| answer(job, done));
        }
        Err(error) => batch.into_iter().for_each(|job| answer(job, Err(error.clone()))),
    }
}

/// Refuses jobs that need room while the disk is known to be full, and returns the others.
fn without_refused(handle: &Handle, batch: Vec<Job>) -> Vec<Job> {
    let Some(refusal) = handle.room().refusal() else { return batch };
    let (refused, rest): (Vec<_>, Vec<_>) = batch.into_iter().partition(|job| job.request.grows());
    for job in refused {
        answer(job, Err(refusal.clone()));
    }
    rest
}

/// Answers the caller. One that has left was told by its own timeout.
fn answer(job: Job, answer: Answer) {
    let _ = job.reply.send(answer);
}
