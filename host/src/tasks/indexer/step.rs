//! One tenant's next facts: their words first, then their vectors.

use std::time::{Duration, Instant};

use kenning_storage::{FactId, StoredVector, TenantId};

use super::backlog::{After, Backlog, Pending, RUN};
use super::{FACTS, Indexer, IndexerError, upsert};
use kenning_embedder::{EmbedError, Lane};

/// Nobody waits for these, so their bound is only there to come back from an embedder
/// that hangs.
const EMBEDDING: Duration = Duration::from_secs(60);

/// How long an embedder has to show that it is well.
const PROBE: Duration = Duration::from_secs(10);

/// Whether a step may embed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    No,
    /// The embedder was down. Texts that crash it look the same, so it is to show first
    /// that it is well.
    AfterProbe,
    Yes,
}

/// How a step ended.
pub(super) enum Outcome {
    /// There may be more, at once.
    GoOn,
    /// The same, and the embedder is well.
    Well,
    /// All words can be found, and the embedder was not to be asked.
    Worded,
    /// A pass came to its end.
    Ended(After),
    /// Storage or the logic failed.
    Failed(IndexerError),
    /// The embedder embeds nothing now.
    Down(EmbedError),
}

impl Indexer {
    /// Sees to a tenant's next facts. Without leave to embed it only makes their words
    /// findable.
    pub(super) async fn step(
        &self,
        tenant: &TenantId,
        backlog: &mut Backlog,
        leave: Leave,
    ) -> Outcome {
        match self.word(tenant, backlog).await {
            Err(error) => return Outcome::Failed(error),
            Ok(true) => return Outcome::GoOn,
            Ok(false) => {}
        }
        match leave {
            Leave::No => return Outcome::Worded,
            Leave::AfterProbe => {
                if let Err(error) = self.probe().await {
                    return Outcome::Down(error);
                }
            }
            Leave::Yes => {}
        }
        self.embed(tenant, backlog).await.unwrap_or_else(Outcome::Failed)
    }

    async fn probe(&self) -> Result<(), EmbedError> {
        self.kb.services().embedder.probe(Instant::now() + PROBE).await
    }

    /// Makes pending facts findable by their words, whatever becomes of their vectors;
    /// `false` if none is left.
    async fn word(&self, tenant: &TenantId, backlog: &mut Backlog) -> Result<bool, IndexerError> {
        let storage = &self.kb.services().storage;
        let pending = storage.pending(tenant, backlog.worded, FACTS, self.until()).await?;
        let Some((_, last)) = pending.last() else { return Ok(false) };
        let ids: Vec<FactId> = pending.iter().map(|(id, _)| id.clone()).collect();
        let entries = self.entries(tenant, &ids).await?;
        let index = self.indexing().index(tenant);
        for ((id, revision), entry) in pending.iter().zip(&entries) {
            if let Some(entry) = entry {
                upsert(&index, id, *revision, entry, None);
            }
        }
        backlog.worded = Some(*last);
        Ok(true)
    }

    async fn embed(
        &self,
        tenant: &TenantId,
        backlog: &mut Backlog,
    ) -> Result<Outcome, IndexerError> {
        let storage = &self.kb.services().storage;
        let pending = storage.pending(tenant, backlog.embedded, RUN, self.until()).await?;
        if pending.is_empty() {
            return Ok(Outcome::Ended(backlog.end_pass()));
        }
        let run = backlog.choose(pending, Instant::now());
        if run.is_empty() {
            return Ok(Outcome::GoOn);
        }
        match self.embed_facts(tenant, &run).await {
            Ok(vectors) => {
                storage.put_vectors(tenant, &vectors, self.until()).await?;
                backlog.succeeded(&run);
                Ok(Outcome::Well)
            }
            Err(IndexerError::Embed(error)) => {
                Ok(self.find_fault(tenant, backlog, &run, error).await)
            }
            Err(other) => Err(other),
        }
    }

    /// Whether a run failed because of its texts or because of the embedder: that shows
    /// in a text that every embedder takes.
    async fn find_fault(
        &self,
        tenant: &TenantId,
        backlog: &mut Backlog,
        run: &[Pending],
        error: EmbedError,
    ) -> Outcome {
        if matches!(error, EmbedError::BackingOff(_) | EmbedError::Overloaded) {
            return Outcome::Down(error);
        }
        if self.probe().await.is_err() {
            return Outcome::Down(error);
        }
        if let Some(id) = backlog.failed(run, Instant::now()) {
            tracing::warn!(%tenant, %id, %error, "a fact cannot be embedded; it is tried later");
        }
        Outcome::Well
    }

    async fn embed_facts(
        &self,
        tenant: &TenantId,
        run: &[Pending],
    ) -> Result<Vec<StoredVector>, IndexerError> {
        let ids: Vec<FactId> = run.iter().map(|(id, _)| id.clone()).collect();
        let entries = self.entries(tenant, &ids).await?;
        let texts: Vec<String> = entries.iter().flatten().map(|entry| entry.text.clone()).collect();
        let mut embedded = Vec::new();
        if !texts.is_empty() {
            let until = Instant::now() + EMBEDDING;
            let embedder = &self.kb.services().embedder;
            embedded = embedder.embed(tenant, texts, Lane::Background, until).await?;
        }
        let index = self.indexing().index(tenant);
        let mut embedded = embedded.into_iter();
        let mut vectors = Vec::with_capacity(run.len());
        for ((id, revision), entry) in run.iter().zip(&entries) {
            // A hash that is no fact has nothing to embed; an empty vector takes its mark.
            let (text, values) = match entry {
                Some(entry) => {
                    let values = embedded.next().map(|values| values.to_vec()).unwrap_or_default();
                    upsert(&index, id, *revision, entry, Some(&values));
                    (entry.text.as_str(), values)
                }
                None => ("", Vec::new()),
            };
            vectors.push(self.indexing().stored_vector(id.clone(), *revision, text, values));
        }
        Ok(vectors)
    }
}
