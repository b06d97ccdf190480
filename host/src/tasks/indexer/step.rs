//! One step for one tenant: indexes the text of its next pending facts, then embeds them.

use std::time::{Duration, Instant};

use kenning_storage::{FactId, StoredVector, TenantId};

use super::backlog::{BATCH, Backlog, NextPass, Pending};
use super::{FACTS, Indexer, IndexerError, upsert};
use kenning_embedder::{EmbedError, Lane};

/// How long to wait for a batch. No caller waits for it, so the limit only has to recover from an
/// embedder that hangs.
const EMBEDDING: Duration = Duration::from_secs(60);

/// How long to wait for a probe of the embedder.
const PROBE: Duration = Duration::from_secs(10);

/// Whether a step may embed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EmbedPermit {
    Denied,
    /// The embedder was down. A text that crashes it would look the same, so a probe with a
    /// harmless text comes first.
    AfterProbe,
    Granted,
}

/// How a step ended.
pub(super) enum StepOutcome {
    /// There may be more to do.
    Continue,
    /// There may be more to do, and the embedder responded.
    EmbedderUp,
    /// All texts are indexed, and the step had no permit to embed.
    TextIndexed,
    /// A pass ended.
    PassEnded(NextPass),
    /// Storage or the logic failed.
    Failed(IndexerError),
    /// The embedder failed, and not because of a text.
    EmbedderDown(EmbedError),
}

impl Indexer {
    /// Indexes a tenant's next facts; without a permit to embed only their text.
    pub(super) async fn step(
        &self,
        tenant: &TenantId,
        backlog: &mut Backlog,
        permit: EmbedPermit,
    ) -> StepOutcome {
        match self.index_text(tenant, backlog).await {
            Err(error) => return StepOutcome::Failed(error),
            Ok(true) => return StepOutcome::Continue,
            Ok(false) => {}
        }
        match permit {
            EmbedPermit::Denied => return StepOutcome::TextIndexed,
            EmbedPermit::AfterProbe => {
                if let Err(error) = self.probe().await {
                    return StepOutcome::EmbedderDown(error);
                }
            }
            EmbedPermit::Granted => {}
        }
        self.embed(tenant, backlog).await.unwrap_or_else(StepOutcome::Failed)
    }

    async fn probe(&self) -> Result<(), EmbedError> {
        self.kb.services().embedder.probe(Instant::now() + PROBE).await
    }

    /// Indexes the text of pending facts, so that text search finds them before they have
    /// vectors; `false` if none is left.
    async fn index_text(
        &self,
        tenant: &TenantId,
        backlog: &mut Backlog,
    ) -> Result<bool, IndexerError> {
        let storage = &self.kb.services().storage;
        let pending = storage.pending(tenant, backlog.text_indexed, FACTS, self.until()).await?;
        let Some((_, last)) = pending.last() else { return Ok(false) };
        let ids: Vec<FactId> = pending.iter().map(|(id, _)| id.clone()).collect();
        let entries = self.entries(tenant, &ids).await?;
        let index = self.indexes().index(tenant);
        for ((id, revision), entry) in pending.iter().zip(&entries) {
            if let Some(entry) = entry {
                upsert(&index, id, *revision, entry, None);
            }
        }
        backlog.text_indexed = Some(*last);
        Ok(true)
    }

    async fn embed(
        &self,
        tenant: &TenantId,
        backlog: &mut Backlog,
    ) -> Result<StepOutcome, IndexerError> {
        let storage = &self.kb.services().storage;
        let pending = storage.pending(tenant, backlog.embedded, BATCH, self.until()).await?;
        if pending.is_empty() {
            return Ok(StepOutcome::PassEnded(backlog.end_pass()));
        }
        let batch = backlog.next_batch(pending, Instant::now());
        if batch.is_empty() {
            return Ok(StepOutcome::Continue);
        }
        match self.embed_batch(tenant, &batch).await {
            Ok(vectors) => {
                storage.put_vectors(tenant, &vectors, self.until()).await?;
                backlog.succeeded(&batch);
                Ok(StepOutcome::EmbedderUp)
            }
            Err(IndexerError::Embed(error)) => {
                Ok(self.embed_failed(tenant, backlog, &batch, error).await)
            }
            Err(other) => Err(other),
        }
    }

    /// Finds out whether a batch failed because of its texts or because of the embedder: a probe
    /// embeds a text that every embedder accepts.
    async fn embed_failed(
        &self,
        tenant: &TenantId,
        backlog: &mut Backlog,
        batch: &[Pending],
        error: EmbedError,
    ) -> StepOutcome {
        if matches!(error, EmbedError::BackingOff(_) | EmbedError::Overloaded) {
            return StepOutcome::EmbedderDown(error);
        }
        if self.probe().await.is_err() {
            return StepOutcome::EmbedderDown(error);
        }
        if let Some(id) = backlog.failed(batch, Instant::now()) {
            tracing::warn!(%tenant, %id, %error, "fact cannot be embedded; it is tried again later");
        }
        StepOutcome::EmbedderUp
    }

    async fn embed_batch(
        &self,
        tenant: &TenantId,
        batch: &[Pending],
    ) -> Result<Vec<StoredVector>, IndexerError> {
        let ids: Vec<FactId> = batch.iter().map(|(id, _)| id.clone()).collect();
        let entries = self.entries(tenant, &ids).await?;
        let texts: Vec<String> = entries.iter().flatten().map(|entry| entry.text.clone()).collect();
        let mut embedded = Vec::new();
        if !texts.is_empty() {
            let until = Instant::now() + EMBEDDING;
            let embedder = &self.kb.services().embedder;
            embedded = embedder.embed(tenant, texts, Lane::Background, until).await?;
        }
        let index = self.indexes().index(tenant);
        let mut embedded = embedded.into_iter();
        let mut vectors = Vec::with_capacity(batch.len());
        for ((id, revision), entry) in batch.iter().zip(&entries) {
            // A hash that is not a fact has no text to embed; an empty vector clears its mark.
            let (text, values) = match entry {
                Some(entry) => {
                    let values = embedded.next().map(|values| values.to_vec()).unwrap_or_default();
                    upsert(&index, id, *revision, entry, Some(&values));
                    (entry.text.as_str(), values)
                }
                None => ("", Vec::new()),
            };
            vectors.push(self.indexes().stored_vector(id.clone(), *revision, text, values));
        }
        Ok(vectors)
    }
}
