//! The one thread that writes: it takes what is queued, commits it together, then acknowledges.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::timeout_at;

use super::handle::{Fault, Handle};
use super::request::Request;
use crate::{Revision, StorageError, StorageLimits};

/// A commit takes no further jobs once they hold this much, so that a small write never waits for
/// more than about this much of others.
const COMMIT_BYTES: usize = 16 << 20;

type Answer = Result<Vec<Option<Revision>>, StorageError>;

struct Job {
    request: Request,
    /// When its caller stops waiting.
    end: Instant,
    reply: oneshot::Sender<Answer>,
    /// Its share of what the queue may hold.
    _share: OwnedSemaphorePermit,
}

/// The way to the thread.
pub(super) struct Writer {
    /// `None` once closed.
    queue: Mutex<Option<mpsc::Sender<Job>>>,
    most_bytes: usize,
    bytes: Arc<Semaphore>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    pub(super) fn start(handle: Arc<Handle>, limits: &StorageLimits) -> std::io::Result<Self> {
        let (queue, jobs) = mpsc::channel(limits.queued_writes.max(1));
        let most = limits.commit_jobs.max(1);
        let thread = std::thread::Builder::new()
            .name("kenning-writer".into())
            .spawn(move || run(&handle, jobs, most))?;
        let most_bytes = limits.queued_bytes.max(1);
        Ok(Self {
            queue: Mutex::new(Some(queue)),
            most_bytes,
            bytes: Arc::new(Semaphore::new(most_bytes)),
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Queues a request and waits until it is durable, both until `end`.
    pub(super) async fn submit(&self, request: Request, end: Instant) -> Answer {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let queue = queue.ok_or_else(stopped)?;
        let late = StorageError::Timeout { wrote: false };
        let share = self.share(request.bytes());
        let Ok(Ok(share)) = timeout_at(end.into(), share).await else { return Err(late) };
        let (reply, answer) = oneshot::channel();
        let job = Job { request, end, reply, _share: share };
        match timeout_at(end.into(), queue.send(job)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(stopped()),
            Err(_) => return Err(late),
        }
        drop(queue);
        match timeout_at(end.into(), answer).await {
            Ok(Ok(answer)) => answer,
            // The thread ended with the job in its hands.
            Ok(Err(_)) | Err(_) => Err(StorageError::Timeout { wrote: true }),
        }
    }

    /// A change's share of the queue; one larger than all of it gets all.
    fn share(
        &self,
        bytes: usize,
    ) -> impl Future<Output = Result<OwnedSemaphorePermit, AcquireError>> {
        let bytes = u32::try_from(bytes.min(self.most_bytes)).unwrap_or(u32::MAX);
        self.bytes.clone().acquire_many_owned(bytes)
    }

    /// Takes no more jobs, does those that are queued, and waits until the file is let go.
    pub(super) async fn close(&self) {
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A panic of the thread has been printed by its hook; there is nothing to add.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

fn stopped() -> StorageError {
    StorageError::Unavailable("the storage is closed".into())
}

fn run(handle: &Handle, mut jobs: mpsc::Receiver<Job>, most: usize) {
    while let Some(first) = jobs.blocking_recv() {
        let mut bytes = first.request.bytes();
        let mut batch = vec![first];
        while batch.len() < most && bytes < COMMIT_BYTES {
            let Ok(job) = jobs.try_recv() else { break };
            bytes += job.request.bytes();
            batch.push(job);
        }
        commit(handle, batch);
    }
    handle.close();
}

fn commit(handle: &Handle, batch: Vec<Job>) {
    let now = Instant::now();
    let (late, batch): (Vec<_>, Vec<_>) =
        batch.into_iter().partition(|job| job.end <= now || job.reply.is_closed());
    for job in late {
        answer(job, Err(StorageError::Timeout { wrote: false }));
    }
    if batch.is_empty() {
        return;
    }
    let answers = handle.write(|tables| {
        let one = |job: &Job| match job.request.apply(tables) {
            Ok(revisions) => Ok(Ok(revisions)),
            Err(Fault::Request(error)) => Ok(Err(error)),
            Err(fault) => Err(fault),
        };
        batch.iter().map(one).collect::<Result<Vec<Answer>, Fault>>()
    });
    match answers {
        Ok(answers) => batch.into_iter().zip(answers).for_each(|(job, done)| answer(job, done)),
        Err(error) => batch.into_iter().for_each(|job| answer(job, Err(error.clone()))),
    }
}

/// Tells a caller, who may have left: then its own timeout told it.
fn answer(job: Job, answer: Answer) {
    let _ = job.reply.send(answer);
}
