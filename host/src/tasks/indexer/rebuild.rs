//! Builds every tenant's index from storage, once at start.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use kenning_storage::{FactId, Revision, StorageError, TenantId, Vector};
use tokio::time::sleep;

use super::{FACTS, Indexer, IndexerError, next_backoff, upsert};
use kenning_runtime::tenant_indexes::Progress;

/// Ids on one page of storage.
const PAGE: usize = 1_000;

/// How long to wait for a remote embedder. Its first response says how long its vectors are; if
/// it does not respond, the vectors in storage say it.
const PROBE: Duration = Duration::from_secs(5);

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
        let embedder = self.kb.services().embedders.own();
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
            // Read first: changes from here on are followed.
            let last = self.last_revision(&tenant).await?;
            facts = self.rebuild_tenant(&tenant, last, facts).await?;
            self.indexes().applied().advance(&tenant, last);
            self.indexes().mark_pending(&tenant);
        }
        tracing::info!(facts, took_ms = started.elapsed().as_millis() as u64, "indexes built");
        Ok(())
    }

    pub(super) async fn last_revision(&self, tenant: &TenantId) -> Result<Revision, IndexerError> {
        let storage = &self.kb.services().storage;
        let lasts = storage.last_revisions(std::slice::from_ref(tenant), self.until()).await?;
        Ok(lasts.first().copied().unwrap_or(Revision(0)))
    }

    async fn rebuild_tenant(
        &self,
        tenant: &TenantId,
        last: Revision,
        mut facts: u64,
    ) -> Result<u64, IndexerError> {
        let storage = &self.kb.services().storage;
        // What this host has stored since it was started, another may have deleted by `last`.
        let mut gone = self.indexed(tenant);
        let mut cursor = None;
        loop {
            let page = storage.page(tenant, cursor.as_deref(), PAGE, self.until()).await?;
            for ids in page.ids.chunks(FACTS) {
                self.rebuild_readable(tenant, ids, last).await?;
                facts += ids.len() as u64;
                for id in ids {
                    gone.remove(id.as_str());
                }
            }
            self.indexes().set_progress(Progress::Building { facts });
            cursor = page.cursor;
            if cursor.is_none() {
                break;
            }
        }
        self.remove_gone(tenant, &gone, last).await;
        Ok(facts)
    }

    /// Ids of the facts that are in a tenant's index now.
    pub(super) fn indexed(&self, tenant: &TenantId) -> HashSet<String> {
        let index = self.indexes().existing(tenant);
        index.map(|index| index.ids().into_iter().collect()).unwrap_or_default()
    }

    /// Removes facts from a tenant's index that storage did not have after `last`.
    pub(super) async fn remove_gone(
        &self,
        tenant: &TenantId,
        gone: &HashSet<String>,
        last: Revision,
    ) {
        for id in gone.iter().filter_map(|id| FactId::parse(id).ok()) {
            self.indexes().remove_missing(tenant, &id, last.0).await;
        }
    }

    /// Indexes those of `ids` that can be read. A damaged page of the file fails a read of all
    /// that are on it, and then each is read by itself.
    pub(super) async fn rebuild_readable(
        &self,
        tenant: &TenantId,
        ids: &[FactId],
        revision: Revision,
    ) -> Result<(), IndexerError> {
        let Err(error) = self.rebuild_facts(tenant, ids, revision).await else { return Ok(()) };
        let mut unreadable = Vec::new();
        for id in ids {
            if let Some(reason) = self.damage(tenant, id).await? {
                unreadable.push((id.clone(), reason));
            }
        }
        if unreadable.is_empty() {
            return Err(error);
        }
        self.indexes().unreadable().note(tenant, &unreadable);
        for id in ids.iter().filter(|id| unreadable.iter().all(|(damaged, _)| damaged != *id)) {
            self.rebuild_facts(tenant, std::slice::from_ref(id), revision).await?;
        }
        Ok(())
    }

    /// What damage keeps a fact from being read; `None` if it can be, or does not exist.
    async fn damage(&self, tenant: &TenantId, id: &FactId) -> Result<Option<String>, IndexerError> {
        let services = self.kb.services();
        let (ids, bytes) = (std::slice::from_ref(id), services.limits.host_call_bytes);
        match services.storage.read(tenant, ids, bytes, self.until()).await {
            Ok(_) | Err(StorageError::TooLarge { .. }) => Ok(None),
            Err(error @ (StorageError::Damaged { .. } | StorageError::Corrupt(_))) => {
                Ok(Some(error.to_string()))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The vectors of facts. Those on a damaged page are like missing ones: they are made again.
    pub(super) async fn vectors(
        &self,
        tenant: &TenantId,
        ids: &[FactId],
    ) -> Result<Vec<Option<Vector>>, IndexerError> {
        let storage = &self.kb.services().storage;
        match storage.read_vectors(tenant, ids, self.until()).await {
            Err(StorageError::Corrupt(_)) => {}
            read => return Ok(read?),
        }
        let mut vectors = Vec::with_capacity(ids.len());
        for id in ids {
            let one = std::slice::from_ref(id);
            match storage.read_vectors(tenant, one, self.until()).await {
                Ok(read) => vectors.extend(read),
                Err(StorageError::Corrupt(reason)) => {
                    tracing::warn!(%tenant, %id, reason, "a vector cannot be read");
                    vectors.push(None);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(vectors)
    }

    /// Indexes facts with their vectors from storage; facts without a usable vector are marked
    /// pending. They are indexed at `revision`, which the tenant had before they were read.
    async fn rebuild_facts(
        &self,
        tenant: &TenantId,
        ids: &[FactId],
        revision: Revision,
    ) -> Result<(), IndexerError> {
        // A deletion of the tenant waits for `_running`, and only then drops the index.
        let Ok(_running) = self.kb.services().tenants.begin(tenant, None) else { return Ok(()) };
        let without_vector = self.index_stored(tenant, ids, |_| revision).await?;
        let storage = &self.kb.services().storage;
        if !without_vector.is_empty()
            && let Err(error) = storage.mark_pending(tenant, &without_vector, self.until()).await
        {
            // A storage that answers and refuses writes is served as it is.
            storage.ping(self.until()).await?;
            tracing::warn!(%tenant, %error, "facts without a vector could not be marked");
        }
        Ok(())
    }

    /// Indexes facts with their vectors from storage, each at the revision that `revision` gives
    /// it. Returns those without a usable vector.
    pub(super) async fn index_stored(
        &self,
        tenant: &TenantId,
        ids: &[FactId],
        revision: impl Fn(&FactId) -> Revision + Send + Sync,
    ) -> Result<Vec<FactId>, IndexerError> {
        let entries = self.entries(tenant, ids).await?;
        let index = self.indexes().index(tenant);
        index.follow_language(self.kb.services().tenants.language(tenant)).await;
        let mut without_vector = Vec::new();
        let mut done = 0;
        while done < ids.len() {
            let texts = entries[done..].iter();
            let texts = texts.map(|entry| entry.as_ref().map_or("", |entry| entry.text.as_str()));
            let next = done..done + self.indexes().readable_vectors(tenant, texts);
            let vectors = self.vectors(tenant, &ids[next.clone()]).await?;
            for ((id, entry), vector) in ids[next.clone()].iter().zip(&entries[done..]).zip(vectors)
            {
                let Some(entry) = entry else { continue };
                let usable =
                    vector.and_then(|vector| self.indexes().usable(tenant, vector, &entry.text));
                if usable.is_none() {
                    without_vector.push(id.clone());
                }
                let revision = revision(id);
                upsert((self.indexes(), tenant, &index), id, revision, entry, usable.as_ref())
                    .await;
            }
            done = next.end;
        }
        Ok(without_vector)
    }
}
