//! Builds every tenant's index from storage, once at start.

use std::time::{Duration, Instant};

use kenning_storage::{FactId, Revision, TenantId};
use tokio::time::sleep;

use super::{FACTS, Indexer, IndexerError, next_backoff, upsert};
use kenning_runtime::tenant_indexes::Progress;

/// Ids on one page of storage.
const PAGE: usize = 1_000;

/// How long to wait for a remote embedder. Its first response says how long its vectors are; if
/// it does not respond, the vectors in storage say it.
const PROBE: Duration = Duration::from_secs(5);

/// The revision of facts read from storage: older than any change that this host sees.
const FROM_STORAGE: Revision = Revision(0);

impl Indexer {
    pub(super) async fn rebuild_until_done(&self) {
        self.probe_embedder().await;
        let mut backoff = Duration::ZERO;
        while let Err(error) = self.rebuild().await {
            let reason = error.to_string();
            tracing::warn!(reason, "indexes not built yet; trying again");
            self.indexes().set_progress(Progress::Stalled { reason });
            backoff = next_backoff(backoff);
            sleep(backoff).await;
        }
        self.indexes().set_progress(Progress::Ready);
    }

    async fn probe_embedder(&self) {
        let embedder = &self.kb.services().embedder;
        if embedder.space().is_none()
            && let Err(error) = embedder.probe(Instant::now() + PROBE).await
        {
            tracing::warn!(%error, "the embedder does not respond yet");
        }
    }

    async fn rebuild(&self) -> Result<(), IndexerError> {
        let started = Instant::now();
        let mut facts = 0;
        for tenant in self.kb.services().storage.tenants(self.until()).await? {
            facts = self.rebuild_tenant(&tenant, facts).await?;
            self.indexes().mark_pending(&tenant);
        }
        tracing::info!(facts, took_ms = started.elapsed().as_millis() as u64, "indexes built");
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
            self.indexes().set_progress(Progress::Building { facts });
            cursor = page.cursor;
            if cursor.is_none() {
                return Ok(facts);
            }
        }
    }

    /// Indexes facts with their vectors from storage; facts without a usable vector are marked
    /// pending.
    async fn rebuild_facts(&self, tenant: &TenantId, ids: &[FactId]) -> Result<(), IndexerError> {
        // A deletion of the tenant waits for `_running`, and only then drops the index.
        let Ok(_running) = self.kb.services().tenants.begin(tenant, None) else { return Ok(()) };
        let storage = &self.kb.services().storage;
        let entries = self.entries(tenant, ids).await?;
        let vectors = storage.read_vectors(tenant, ids, self.until()).await?;
        let index = self.indexes().index(tenant);
        let mut without_vector = Vec::new();
        for ((id, entry), vector) in ids.iter().zip(entries).zip(vectors) {
            let Some(entry) = entry else { continue };
            let values = vector.and_then(|vector| self.indexes().usable(vector, &entry.text));
            if values.is_none() {
                without_vector.push(id.clone());
            }
            upsert(&index, id, FROM_STORAGE, &entry, values.as_deref());
        }
        if !without_vector.is_empty() {
            storage.mark_pending(tenant, &without_vector, self.until()).await?;
        }
        Ok(())
    }
}
