//! One step for one tenant: indexes the text of its next pending facts, then embeds them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kenning_runtime::windows::{Cut, TextVectors};
use kenning_storage::{FactId, StoredVector, TenantId};

use super::backlog::{BATCH, Backlog, NextPass, Pending};
use super::{FACTS, Indexer, IndexerError, upsert};
use kenning_core::error::Error;
use kenning_embedder::{EmbedError, Lane, Vector};
use kenning_runtime::{TenantIndex, wit};

/// Windows in one call of the embedder, and about as many in one batch: a fact with more is a batch
/// alone. So other tenants' facts wait for some seconds at most.
const WINDOWS: usize = 64;

/// How long to wait for a piece of a batch. No caller waits for it, so the limit only has to
/// recover from an embedder that hangs.
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
        if self.kb.services().embedders.given_dimensions(tenant).is_some() {
            // Only a caller can give these facts their vectors.
            return StepOutcome::PassEnded(backlog.end_pass());
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
        self.kb.services().embedders.own().probe(Instant::now() + PROBE).await
    }

    /// Indexes the text of pending facts, so that text search finds them before they have
    /// vectors; `false` if none is left. An index that is not held finds them when it is loaded.
    async fn index_text(
        &self,
        tenant: &TenantId,
        backlog: &mut Backlog,
    ) -> Result<bool, IndexerError> {
        let Some(index) = self.indexes().existing(tenant) else { return Ok(false) };
        let storage = &self.kb.services().storage;
        let pending = storage.pending(tenant, backlog.text_indexed, FACTS, self.until()).await?;
        let Some((_, last)) = pending.last() else { return Ok(false) };
        let ids: Vec<FactId> = pending.iter().map(|(id, _)| id.clone()).collect();
        let entries = self.entries(tenant, &ids).await?;
        for ((id, revision), entry) in pending.iter().zip(&entries) {
            if let Some(entry) = entry {
                upsert((self.indexes(), tenant, &index), id, *revision, entry, None).await;
            }
        }
        self.held().note_written(tenant, &index, ids.len());
        backlog.text_indexed = Some(*last);
        Ok(true)
    }

    async fn embed(
        &self,
        tenant: &TenantId,
        backlog: &mut Backlog,
    ) -> Result<StepOutcome, IndexerError> {
        let storage = &self.kb.services().storage;
        let mut pending = storage.pending(tenant, backlog.embedded, BATCH, self.until()).await?;
        let Some(last) = pending.last().map(|(_, revision)| *revision) else {
            self.others.forget_pending(tenant);
            return Ok(StepOutcome::PassEnded(backlog.end_pass()));
        };
        // Those that a call on this host is storing get their vectors from it. The tenant is marked
        // again once it has.
        pending.retain(|(id, _)| !self.indexes().is_being_stored(tenant, id));
        if pending.is_empty() {
            backlog.embedded = Some(last);
            return Ok(StepOutcome::Continue);
        }
        let pending = match self.ours(tenant, pending).await? {
            Ok(pending) => pending,
            Err(again) => {
                backlog.end_pass();
                return Ok(StepOutcome::PassEnded(NextPass::At(again)));
            }
        };
        let batch = backlog.next_batch(pending, Instant::now());
        if batch.is_empty() {
            return Ok(StepOutcome::Continue);
        }
        // Held until the vectors are stored: another one would not find them before.
        let index = self.indexes().existing(tenant);
        let embedding = self.embed_batch((tenant, index.as_ref()), &batch);
        match self.keeping_claim(tenant, embedding).await {
            Ok(vectors) => {
                let stored = storage.put_vectors(tenant, &vectors, self.until()).await;
                // Where changes are followed, a vector comes as one.
                if !storage.describe().backend.is_shared() {
                    self.held().reload_other(tenant, index.as_ref());
                }
                stored?;
                backlog.succeeded(&batch, vectors.len());
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
            tracing::warn!(%tenant, %id, %error, "cannot embed a fact; it is tried again later");
        }
        StepOutcome::EmbedderUp
    }

    /// Embeds the first facts of a batch, as many as have [`WINDOWS`] windows, and indexes them.
    async fn embed_batch(
        &self,
        (tenant, index): (&TenantId, Option<&Arc<TenantIndex>>),
        batch: &[Pending],
    ) -> Result<Vec<StoredVector>, IndexerError> {
        let ids: Vec<FactId> = batch.iter().map(|(id, _)| id.clone()).collect();
        let entries = self.entries(tenant, &ids).await?;
        let cut = self.cut(tenant, &entries).await?;
        let windows = cut.iter().flatten().flat_map(Cut::texts).collect();
        let mut embedded = self.embed_windows(tenant, windows).await?.into_iter();
        let mut vectors = Vec::with_capacity(cut.len());
        for (((id, revision), entry), cut) in batch.iter().zip(&entries).zip(&cut) {
            // A hash that is not a fact has no text to embed; an empty vector clears its mark.
            let mut of_text = TextVectors { values: Vec::new(), embedded_bytes: 0 };
            let mut text = "";
            if let (Some(entry), Some(cut)) = (entry, cut) {
                of_text.embedded_bytes = cut.embedded_bytes();
                for vector in embedded.by_ref().take(cut.windows.len()) {
                    of_text.values.extend_from_slice(&vector);
                }
                if let Some(index) = index {
                    let target = (self.indexes(), tenant, &**index);
                    upsert(target, id, *revision, entry, Some(&of_text)).await;
                }
                text = entry.text.as_str();
            }
            vectors.push(self.indexes().stored_vector(
                tenant,
                (id.clone(), *revision),
                text,
                of_text,
            ));
        }
        if let Some(index) = index {
            self.held().note_written(tenant, index, vectors.len());
        }
        Ok(vectors)
    }

    /// The windows of the first of these texts: at most [`WINDOWS`] in all, and of one text at
    /// least.
    async fn cut(
        &self,
        tenant: &TenantId,
        entries: &[Option<wit::Entry>],
    ) -> Result<Vec<Option<Cut>>, IndexerError> {
        let (kb, tenant) = (self.kb.clone(), tenant.clone());
        let texts = entries.iter().map(|entry| entry.as_ref().map(|entry| entry.text.clone()));
        let texts: Vec<Option<String>> = texts.collect();
        // To cut a long text takes some milliseconds.
        let cut = tokio::task::spawn_blocking(move || {
            let mut windows = 0;
            let mut cut = Vec::with_capacity(texts.len());
            for text in texts {
                let next = text.map(|text| kb.services().indexes.cut(&tenant, text));
                windows += next.as_ref().map_or(0, |cut| cut.windows.len());
                if windows > WINDOWS && !cut.is_empty() {
                    break;
                }
                cut.push(next);
            }
            cut
        });
        cut.await.map_err(|error| Error::internal(error).into())
    }

    /// Embeds windows in pieces. What is embedded stays in the embedder's cache if a later piece
    /// fails.
    async fn embed_windows(
        &self,
        tenant: &TenantId,
        windows: Vec<&str>,
    ) -> Result<Vec<Vector>, EmbedError> {
        let mut vectors = Vec::with_capacity(windows.len());
        for piece in windows.chunks(WINDOWS) {
            let piece = piece.iter().map(ToString::to_string).collect();
            let until = Instant::now() + EMBEDDING;
            let embedder = self.kb.services().embedders.own();
            vectors.extend(embedder.embed(tenant, piece, Lane::Background, until).await?);
        }
        Ok(vectors)
    }
}
