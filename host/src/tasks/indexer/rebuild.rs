//! Reads facts and their vectors from storage into an index.

use std::sync::Arc;

use kenning_runtime::TenantIndex;
use kenning_storage::{FactId, Revision, StorageError, TenantId, Vector};

use super::{FACTS, Indexer, IndexerError, upsert};

/// A fact without a usable vector, and the digest of the one that it had when it was read.
pub(super) type WithoutVector = (FactId, Option<[u8; 32]>);

impl Indexer {
    /// Indexes those of `ids` that can be read, and returns those without a usable vector. A
    /// damaged page of the file fails a read of all that are on it; then each is read by itself.
    pub(super) async fn rebuild_readable(
        &self,
        (tenant, index): (&TenantId, &Arc<TenantIndex>),
        ids: &[FactId],
        revision: Revision,
    ) -> Result<Vec<WithoutVector>, IndexerError> {
        let error = match self.rebuild_facts((tenant, index), ids, revision).await {
            Ok(without_vector) => return Ok(without_vector),
            Err(error) => error,
        };
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
        let mut without_vector = Vec::new();
        for id in ids.iter().filter(|id| unreadable.iter().all(|(damaged, _)| damaged != *id)) {
            let rebuilt = self.rebuild_facts((tenant, index), std::slice::from_ref(id), revision);
            without_vector.extend(rebuilt.await?);
        }
        Ok(without_vector)
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

    /// Indexes facts with their vectors from storage, at `revision`, which the tenant had before
    /// they were read. Returns those without a usable vector.
    async fn rebuild_facts(
        &self,
        (tenant, index): (&TenantId, &Arc<TenantIndex>),
        ids: &[FactId],
        revision: Revision,
    ) -> Result<Vec<WithoutVector>, IndexerError> {
        // A deletion of the tenant waits for `_running`, and only then drops the index.
        let Ok(_running) = self.kb.services().tenants.begin(tenant, None) else {
            return Ok(Vec::new());
        };
        self.index_stored((tenant, index), ids, |_| revision).await
    }

    /// Marks facts as pending that still have no usable vector, unless only a caller can give them
    /// one. Those that were stored a moment before they were read may have theirs by now, and those
    /// that this host is storing are left to the calls that store them.
    pub(super) async fn mark_without_vectors(
        &self,
        tenant: &TenantId,
        facts: &[WithoutVector],
    ) -> Result<(), IndexerError> {
        let services = self.kb.services();
        if services.embedders.given_dimensions(tenant).is_some() {
            return Ok(());
        }
        for facts in facts.chunks(FACTS) {
            let Ok(_running) = services.tenants.begin(tenant, None) else { return Ok(()) };
            let is_left = |(id, _): &&WithoutVector| !services.indexes.is_being_stored(tenant, id);
            let facts: Vec<&WithoutVector> = facts.iter().filter(is_left).collect();
            let ids: Vec<FactId> = facts.iter().map(|(id, _)| id.clone()).collect();
            let vectors = self.vectors(tenant, &ids).await?;
            let without = facts.iter().zip(vectors).filter(|((_, before), vector)| {
                vector.as_ref().map(|vector| vector.digest) == *before
            });
            let without: Vec<FactId> = without.map(|((id, _), _)| id.clone()).collect();
            if without.is_empty() {
                continue;
            }
            if let Err(error) = services.storage.mark_pending(tenant, &without, self.until()).await
            {
                // A storage that answers and refuses writes is served as it is.
                services.storage.ping(self.until()).await?;
                tracing::warn!(%tenant, %error, "facts without a vector could not be marked");
            }
            self.indexes().mark_pending(tenant);
        }
        Ok(())
    }

    /// Indexes facts with their vectors from storage, each at the revision that `revision` gives
    /// it. Returns those without a usable vector.
    pub(super) async fn index_stored(
        &self,
        (tenant, index): (&TenantId, &Arc<TenantIndex>),
        ids: &[FactId],
        revision: impl Fn(&FactId) -> Revision + Send + Sync,
    ) -> Result<Vec<WithoutVector>, IndexerError> {
        let entries = self.entries(tenant, ids).await?;
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
                let digest = vector.as_ref().map(|vector| vector.digest);
                let usable =
                    vector.and_then(|vector| self.indexes().usable(tenant, vector, &entry.text));
                if usable.is_none() {
                    without_vector.push((id.clone(), digest));
                }
                let revision = revision(id);
                let target = (self.indexes(), tenant, &**index);
                upsert(target, id, revision, entry, usable.as_ref()).await;
            }
            done = next.end;
        }
        Ok(without_vector)
    }
}
