//! Every tenant's index, from storage, once.

use std::time::{Duration, Instant};

use kenning_storage::{FactId, Revision, TenantId};
use tokio::time::sleep;

use super::{FACTS, Indexer, IndexerError, longer, upsert};
use kenning_runtime::tenant_indexes::Progress;

/// Ids on one page.
const PAGE: usize = 1_000;

/// How long a far embedder is waited for, to know before anything else how long its
/// vectors are. If it is away, the vectors in storage say it.
const SPACE: Duration = Duration::from_secs(5);

/// The revision of what was found in storage: any change that this host sees is
/// newer.
const FOUND: Revision = Revision(0);

impl Indexer {
    pub(super) async fn rebuild_until_done(&self) {
        self.learn_space().await;
        let mut pause = Duration::ZERO;
        while let Err(error) = self.rebuild().await {
            let reason = error.to_string();
            tracing::warn!(reason, "indexes not built yet");
            self.indexing().set_progress(Progress::Stalled { reason });
            pause = longer(pause);
            sleep(pause).await;
        }
        self.indexing().set_progress(Progress::Ready);
    }

    async fn learn_space(&self) {
        let embedder = &self.kb.services().embedder;
        if embedder.space().is_none()
            && let Err(error) = embedder.probe(Instant::now() + SPACE).await
        {
            tracing::warn!(%error, "the embedder does not answer yet");
        }
    }

    async fn rebuild(&self) -> Result<(), IndexerError> {
        let begun = Instant::now();
        let mut facts = 0;
        for tenant in self.kb.services().storage.tenants(self.until()).await? {
            facts = self.rebuild_tenant(&tenant, facts).await?;
            self.indexing().mark_pending(&tenant);
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
        // Under way to the end: a deletion drops the index only after this.
        let Ok(_running) = self.kb.services().tenants.begin(tenant, None) else { return Ok(()) };
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
}
