//! all-MiniLM-L6-v2 in this process.
//!
//! Each thread runs one forward pass at a time, and a pass uses one thread: two passes keep two
//! cores busy, and another program on one core does not stall the other pass. A thread takes
//! what is queued and never waits for more: waiting for a fuller batch halved the throughput of
//! a single caller when it was measured.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use async_trait::async_trait;
use kenning_minilm::{DIMENSIONS, LoadError, MiniLm, Precision, Scratch};
use kenning_storage::TenantId;
use tokio::time::timeout_at;

use super::queue::{Job, Queue};
use super::{EmbedError, Embedder, Lane, Space, Vector};

/// The maximum of texts in one forward pass, and of their bytes: about 4,096 tokens, which take
/// a tenth of a second at most.
const BATCH_TEXTS: usize = 32;
const BATCH_BYTES: usize = 16 * 1024;

/// The model, its threads and the queue before them. Dropping it ends the threads.
pub struct LocalEmbedder {
    queue: Arc<Queue>,
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
        let queue = Arc::new(Queue::new(queued));
        for number in 0..threads {
            let (model, queue) = (model.clone(), queue.clone());
            thread::Builder::new()
                .name(format!("embed-{number}"))
                .spawn(move || work(&model, &queue))
                .expect("the system can start the embedder's threads");
        }
        let space = Space { profile: model.profile().to_string(), dimensions: DIMENSIONS };
        Ok(Self { queue, space })
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
        _tenant: &TenantId,
        texts: Vec<String>,
        lane: Lane,
        until: Instant,
    ) -> Result<Vec<Vector>, EmbedError> {
        let mut answers = Vec::with_capacity(texts.len());
        for text in texts {
            answers.push(self.queue.push(text, lane, until).await?);
        }
        let mut vectors = Vec::with_capacity(answers.len());
        for answer in answers {
            let answer = timeout_at(until.into(), answer).await.map_err(|_| EmbedError::Timeout)?;
            let gone = |_| EmbedError::Unavailable("the embedder is shutting down".into());
            vectors.push(answer.map_err(gone)??);
        }
        Ok(vectors)
    }

    fn space(&self) -> Option<&Space> {
        Some(&self.space)
    }

    fn kind(&self) -> &'static str {
        "local"
    }

    fn model(&self) -> &str {
        self.space.profile.split('/').next().unwrap_or_default()
    }
}

fn work(model: &MiniLm, queue: &Queue) {
    let mut scratch = Scratch::default();
    while let Some(jobs) = queue.pop(BATCH_TEXTS, BATCH_BYTES) {
        let texts: Vec<&str> = jobs.iter().map(|job| job.text.as_str()).collect();
        let begun = Instant::now();
        let computed = catch_unwind(AssertUnwindSafe(|| embed(model, &texts, &mut scratch)));
        metrics::histogram!("kenning_embedding_seconds").record(begun.elapsed().as_secs_f64());
        metrics::counter!("kenning_embedded_texts_total").increment(jobs.len() as u64);
        let answer = computed.unwrap_or_else(|_| {
            // The next pass must not read buffers that a panic left half written.
            scratch = Scratch::default();
            Err(EmbedError::Unavailable("the embedder failed on this text".into()))
        });
        answer_all(jobs, answer);
    }
}

fn embed(model: &MiniLm, texts: &[&str], scratch: &mut Scratch) -> Result<Vec<Vector>, EmbedError> {
    let failed = |error: &dyn std::fmt::Display| EmbedError::Unavailable(error.to_string());
    let sequences: Result<Vec<Vec<u32>>, _> =
        texts.iter().map(|text| model.tokenize(text)).collect();
    let sequences = sequences.map_err(|error| failed(&error))?;
    let sequences: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();
    let values = model.forward(&sequences, scratch).map_err(|error| failed(&error))?;
    Ok(values.chunks_exact(DIMENSIONS).map(Vector::from).collect())
}

fn answer_all(jobs: Vec<Job>, answer: Result<Vec<Vector>, EmbedError>) {
    match answer {
        Ok(vectors) => jobs.into_iter().zip(vectors).for_each(|(job, vector)| {
            job.finish(Ok(vector));
        }),
        Err(error) => jobs.into_iter().for_each(|job| job.finish(Err(error.clone()))),
    }
}
