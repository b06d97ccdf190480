//! all-MiniLM-L6-v2 in this process.
//!
//! Each thread runs one forward pass at a time, and a pass uses one thread: two passes keep two
//! cores busy, and another program on one core does not stall the other pass. A thread takes
//! what is queued and never waits for more: waiting for a fuller batch halved the throughput of
//! a single caller when it was measured.

use std::cell::RefCell;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use async_trait::async_trait;
use kenning_minilm::{DIMENSIONS, LoadError, MAX_TOKENS, MiniLm, Precision, Scratch};
use kenning_storage::TenantId;
use tokio::time::timeout_at;

use super::passes::work;
use super::queue::Queue;
use super::waiting::Waiting;
use super::windows::cut;
use super::{EmbedError, Embedder, Lane, Space, Vector};

/// A token stands for one byte at least, and each sequence has two that stand for no text.
const WINDOW_BYTES: usize = MAX_TOKENS - 2;

/// The model, its threads and the queue before them. Dropping it ends the threads.
pub struct LocalEmbedder {
    waiting: Waiting,
    queue: Arc<Queue>,
    model: Arc<MiniLm>,
    space: Space,
}

impl LocalEmbedder {
    /// Loads the model from `directory` and starts `threads` threads. Each lane has room for
    /// `queued` texts.
    ///
    /// # Errors
    /// If a file of the model is missing or damaged.
    ///
    /// # Panics
    /// If the system refuses to start a thread.
    pub fn load(directory: &Path, threads: usize, queued: usize) -> Result<Self, LoadError> {
        let model = Arc::new(MiniLm::load(directory, Precision::best())?);
        let queue = Arc::new(Queue::new(threads));
        for number in 0..threads {
            let (model, queue) = (model.clone(), queue.clone());
            thread::Builder::new()
                .name(format!("embed-{number}"))
                .spawn(move || {
                    // Of the passes that are in the middle of one another, each has its own.
                    let idle = RefCell::default();
                    work(&queue, &|texts, pause| embed(&model, texts, &idle, pause));
                })
                .expect("the system can start the embedder's threads");
        }
        let space = Space { profile: model.profile().to_string(), dimensions: DIMENSIONS };
        Ok(Self { waiting: Waiting::new(queued), queue, model, space })
    }
}

impl Drop for LocalEmbedder {
    fn drop(&mut self) {
        self.queue.close();
    }
}

#[async_trait]
impl Embedder for LocalEmbedder {
    async fn embed(
        &self,
        tenant: &TenantId,
        texts: Vec<String>,
        lane: Lane,
        until: Instant,
    ) -> Result<Vec<Vector>, EmbedError> {
        let _room = self.waiting.enter(tenant, lane, texts.len(), until).await?;
        let mut answers = Vec::with_capacity(texts.len());
        for text in texts {
            answers.push(self.queue.push(tenant, text, lane, until).await?);
        }
        let mut vectors = Vec::with_capacity(answers.len());
        for answer in answers {
            let answer = timeout_at(until.into(), answer).await.map_err(|_| EmbedError::Timeout)?;
            let gone = |_| EmbedError::Unavailable("the embedder is shutting down".into());
            vectors.push(answer.map_err(gone)??);
        }
        Ok(vectors)
    }

    fn window_bytes(&self) -> usize {
        WINDOW_BYTES
    }

    fn windows(&self, text: &str, most: usize) -> Vec<Range<usize>> {
        // What cannot be tokenized cannot be embedded either, and the error is returned there.
        cut(text, most, |rest| self.model.reach(rest).unwrap_or(rest.len()))
    }

    fn space(&self) -> Option<&Space> {
        Some(&self.space)
    }

    fn known_share(&self, text: &str) -> Option<f32> {
        self.model.known_share(text).ok()
    }

    fn knows_nothing(&self, text: &str) -> bool {
        self.model.knows_nothing(text).unwrap_or(false)
    }

    fn kind(&self) -> &'static str {
        "local"
    }

    fn model(&self) -> &str {
        self.space.profile.split('/').next().unwrap_or_default()
    }
}

/// Embeds texts in one forward pass. A panic in it loses its buffers, which may be half written.
fn embed(
    model: &MiniLm,
    texts: &[&str],
    idle: &RefCell<Vec<Scratch>>,
    pause: &mut dyn FnMut(),
) -> Result<Vec<Vector>, EmbedError> {
    let failed = |error: &dyn std::fmt::Display| EmbedError::Unavailable(error.to_string());
    let sequences: Result<Vec<Vec<u32>>, _> =
        texts.iter().map(|text| model.tokenize(text)).collect();
    let sequences = sequences.map_err(|error| failed(&error))?;
    let sequences: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();
    let mut scratch = idle.borrow_mut().pop().unwrap_or_default();
    let values = model.forward_with_pauses(&sequences, &mut scratch, pause);
    idle.borrow_mut().push(scratch);
    let values = values.map_err(|error| failed(&error))?;
    Ok(values.chunks_exact(DIMENSIONS).map(Vector::from).collect())
}
