//! Fills the indexes in the background: from storage at start, and whenever facts
//! are pending.
//!
//! What is indexed of a fact is the logic's to say (its export `entries`), so the
//! host reads no field of a fact here.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kenning_index::{Entry, FactIndex, Index};
use kenning_storage::{FactId, Revision, StorageError, StoredVector, TenantId};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::embedder::{EmbedError, Lane};
use crate::error::Error;
use crate::indexing::{Indexing, Progress};
use crate::kb::{Caller, Kb};
use crate::runtime::wit;

/// Ids on one page, facts in one call of the logic, texts embedded together.
const PAGE: usize = 1_000;
const FACTS: usize = 100;
const TEXTS: usize = 32;

/// Nobody waits for these, so their bound is only there to come back from a
/// backend that hangs.
const EMBEDDING: Duration = Duration::from_secs(60);

/// Pauses between tries, doubled from the first to the last.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_LAST: Duration = Duration::from_secs(5);

/// How often every tenant is looked at, in case another host left facts pending.
const SWEEP: Duration = Duration::from_secs(60);

/// The revision of what was found in storage while rebuilding: any change that
/// this host sees is newer.
const FOUND: Revision = Revision(0);

/// Why the indexer could not go on.
#[derive(Debug, thiserror::Error)]
enum IndexerError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("embedding: {0}")]
    Embed(#[from] EmbedError),
    #[error("{0}")]
    Logic(#[from] Error),
}

/// Rebuilds all indexes, then keeps up with what is pending, until aborted.
pub fn start(kb: Arc<Kb>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let indexer = Indexer { kb };
        indexer.rebuild_until_done().await;
        indexer.watch_adoption();
        indexer.keep_up().await;
    })
}

struct Indexer {
    kb: Arc<Kb>,
}

impl Indexer {
    async fn rebuild_until_done(&self) {
        let mut pause = RETRY_FIRST;
        while let Err(error) = self.rebuild().await {
            let reason = error.to_string();
            tracing::warn!(reason, "indexes not built yet");
            self.indexing().set_progress(Progress::Stalled { reason });
            sleep(pause).await;
            pause = (pause * 2).min(RETRY_LAST);
        }
        self.indexing().set_progress(Progress::Ready);
    }

    async fn rebuild(&self) -> Result<(), IndexerError> {
        let begun = Instant::now();
        let mut facts = 0;
        for tenant in self.kb.services().storage.tenants(self.until()).await? {
            facts = self.rebuild_tenant(&tenant, facts).await?;
            self.indexing().mark_late(&tenant);
        }
        tracing::info!(facts, took_ms = begun.elapsed().as_millis() as u64, "indexes built");
        Ok(())
    }

    async fn rebuild_tenant(&self, tenant: &TenantId, mut facts: u64) -> Result<u64, IndexerError> {
        let storage = &self.kb.services().storage;
        let mut cursor = None;
        loop {
            let page = storage.page(tenant, cursor.as_deref(), PAGE, self.until()).await?;
            for ids in page.ids.chunks(FACTS) {
                self.rebuild_facts(tenant, ids).await?;
                facts += ids.len() as u64;
            }
            self.indexing().set_progress(Progress::Building { facts });
            cursor = page.cursor;
            if cursor.is_none() {
                return Ok(facts);
            }
        }
    }

    /// Indexes facts with the vectors that storage has, and marks those without a
    /// usable one as pending.
    async fn rebuild_facts(&self, tenant: &TenantId, ids: &[FactId]) -> Result<(), IndexerError> {
        let storage = &self.kb.services().storage;
        let entries = self.entries(tenant, ids).await?;
        let vectors = storage.read_vectors(tenant, ids, self.until()).await?;
        let index = self.indexing().index(tenant);
        let mut without = Vec::new();
        for ((id, entry), vector) in ids.iter().zip(entries).zip(vectors) {
            let Some(entry) = entry else { continue };
            let values = vector.and_then(|vector| self.indexing().usable(vector, &entry.text));
            if values.is_none() {
                without.push(id.clone());
            }
            upsert(&index, id, FOUND, &entry, values.as_deref());
        }
        if !without.is_empty() {
            storage.mark_pending(tenant, &without, self.until()).await?;
        }
        Ok(())
    }

    /// Embeds what is pending whenever there is something, tenant by tenant.
    async fn keep_up(&self) {
        let mut pause = RETRY_FIRST;
        loop {
            let late = match tokio::time::timeout(SWEEP, self.indexing().late()).await {
                Ok(late) => late,
                Err(_) => {
                    self.kb.services().storage.tenants(self.until()).await.unwrap_or_default()
                }
            };
            let mut failed = false;
            for tenant in late {
                if let Err(error) = self.embed_pending(&tenant).await {
                    tracing::warn!(%tenant, %error, "facts are still waiting for their vectors");
                    self.indexing().mark_late(&tenant);
                    failed = true;
                }
            }
            pause = if failed { (pause * 2).min(RETRY_LAST) } else { RETRY_FIRST };
            if failed {
                sleep(pause).await;
            }
        }
    }

    async fn embed_pending(&self, tenant: &TenantId) -> Result<(), IndexerError> {
        let storage = &self.kb.services().storage;
        let mut after = None;
        loop {
            let pending = storage.pending(tenant, after, TEXTS, self.until()).await?;
            let Some((_, last)) = pending.last() else { return Ok(()) };
            after = Some(*last);
            let vectors = self.embed_facts(tenant, &pending).await?;
            storage.put_vectors(tenant, &vectors, self.until()).await?;
        }
    }

    async fn embed_facts(
        &self,
        tenant: &TenantId,
        pending: &[(FactId, Revision)],
    ) -> Result<Vec<StoredVector>, IndexerError> {
        let ids: Vec<FactId> = pending.iter().map(|(id, _)| id.clone()).collect();
        let entries = self.entries(tenant, &ids).await?;
        let index = self.indexing().index(tenant);
        // By words they can be found whatever becomes of their embedding.
        for ((id, revision), entry) in pending.iter().zip(&entries) {
            if let Some(entry) = entry {
                upsert(&index, id, *revision, entry, None);
            }
        }
        let texts = entries.iter().flatten().map(|entry| entry.text.clone()).collect();
        let until = Instant::now() + EMBEDDING;
        let embedder = &self.kb.services().embedder;
        let embedded = embedder.embed(tenant, texts, Lane::Background, until).await?;
        let mut embedded = embedded.into_iter();
        let mut vectors = Vec::with_capacity(pending.len());
        for ((id, revision), entry) in pending.iter().zip(&entries) {
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

    /// What the logic says is to be indexed of `ids`, however often its answer is
    /// cut.
    async fn entries(
        &self,
        tenant: &TenantId,
        ids: &[FactId],
    ) -> Result<Vec<Option<wit::Entry>>, IndexerError> {
        let mut entries: Vec<Option<wit::Entry>> = Vec::with_capacity(ids.len());
        while entries.len() < ids.len() {
            let rest = ids[entries.len()..].iter().map(ToString::to_string).collect();
            let caller = Caller::within(tenant.clone(), self.kb.services().limits.call).patient();
            let more = self.kb.entries(&caller, rest).await?;
            if more.is_empty() {
                return Err(Error::internal("the logic gave no entries").into());
            }
            entries.extend(more);
        }
        entries.truncate(ids.len());
        Ok(entries)
    }

    /// Other programs' facts, as storage takes them in, are pending like any other.
    fn watch_adoption(&self) {
        let Some(mut adoption) = self.kb.services().storage.adoption() else { return };
        let kb = self.kb.clone();
        tokio::spawn(async move {
            let Ok(tenant) = TenantId::parse(crate::limits::DEFAULT_TENANT) else { return };
            // Also once at first: a pass may have ended before anyone watched.
            loop {
                kb.services().indexing.mark_late(&tenant);
                if adoption.changed().await.is_err() {
                    return;
                }
            }
        });
    }

    fn indexing(&self) -> &Indexing {
        &self.kb.services().indexing
    }

    fn until(&self) -> Instant {
        Instant::now() + self.kb.services().limits.storage_operation
    }
}

/// One odd fact must not keep the others from being found.
fn upsert(
    index: &Index,
    id: &FactId,
    revision: Revision,
    entry: &wit::Entry,
    vector: Option<&[f32]>,
) {
    let upserted = index.upsert(&Entry {
        id: id.as_str(),
        revision: revision.0,
        text: &entry.text,
        metadata: &entry.metadata,
        vector,
    });
    if let Err(error) = upserted {
        tracing::warn!(%id, %error, "fact not indexed");
    }
}
