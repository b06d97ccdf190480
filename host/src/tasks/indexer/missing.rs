//! Facts that are listed and give nothing to index: why, and what follows.

use std::time::Duration;

use kenning_storage::{FactId, StorageError, TenantId};

use super::{Indexer, IndexerError};
use kenning_runtime::wit;

/// Most ids in one request to storage.
const BATCH: usize = 100;

/// The pause between two looks at whether storage has lost facts.
const LOSSES: Duration = Duration::from_secs(5);

impl Indexer {
    /// Finds out why storage or the logic gave no entry for some of `ids`. A fact that storage has
    /// lost is removed everywhere; a record that is no fact, or is damaged, is noted.
    pub(super) async fn note_missing(
        &self,
        tenant: &TenantId,
        ids: &[FactId],
        entries: &[Option<wit::Entry>],
    ) -> Result<(), IndexerError> {
        let unreadable = self.indexes().unreadable();
        let mut missing = Vec::new();
        for (id, entry) in ids.iter().zip(entries) {
            match entry {
                Some(_) => unreadable.forget(tenant, id),
                None => missing.push(id.clone()),
            }
        }
        self.examine(tenant, &missing).await
    }

    /// Does this for `ids`, which are listed or in the index, and of which nothing could be read.
    pub(super) async fn examine(
        &self,
        tenant: &TenantId,
        ids: &[FactId],
    ) -> Result<(), IndexerError> {
        for ids in ids.chunks(BATCH) {
            let storage = &self.kb.services().storage;
            // A storage that refuses writes is served as it is.
            let lost = storage.remove_lost(tenant, ids, self.until()).await.unwrap_or_default();
            self.indexes().forget_lost(tenant, &lost).await;
            for id in ids.iter().filter(|id| lost.iter().all(|(lost, _)| lost != *id)) {
                if let Some(reason) = self.why_unreadable(tenant, id).await? {
                    self.indexes().unreadable().note(tenant, &[(id.clone(), reason)]);
                }
            }
        }
        Ok(())
    }

    /// Why nothing can be read of a record; `None` if it does not exist or can be read.
    async fn why_unreadable(
        &self,
        tenant: &TenantId,
        id: &FactId,
    ) -> Result<Option<String>, IndexerError> {
        let services = self.kb.services();
        let bytes = services.limits.host_call_bytes;
        let ids = std::slice::from_ref(id);
        match services.storage.read(tenant, ids, bytes, self.until()).await {
            // It exists, and is only too large to be returned.
            Err(StorageError::TooLarge { .. }) => Ok(None),
            Err(error @ StorageError::Damaged { .. }) => Ok(Some(error.to_string())),
            Err(error) => Err(error.into()),
            Ok(hashes) => match hashes.first() {
                Some(Some(hash)) if hash.iter().all(|(name, _)| name != "content") => {
                    Ok(Some("its hash has no field `content`".into()))
                }
                Some(Some(_)) => Ok(None),
                _ => Ok(services
                    .storage
                    .is_listed(tenant, id, self.until())
                    .await?
                    .then(|| "it is listed, and its record is missing or not a hash".into())),
            },
        }
    }

    /// Examines facts that could not be read while serving, until aborted.
    pub(super) async fn examine_suspects(&self) {
        loop {
            for (tenant, ids) in self.indexes().unreadable().take_suspects().await {
                let ids: Vec<FactId> = ids.into_iter().collect();
                if let Err(error) = self.examine(&tenant, &ids).await {
                    tracing::warn!(%tenant, %error, "facts that cannot be read are left for later");
                }
            }
        }
    }

    /// Removes what is left of facts that storage has lost by itself, whenever it has, until
    /// aborted.
    pub(super) async fn follow_losses(&self) {
        let mut followed = 0;
        loop {
            tokio::time::sleep(LOSSES).await;
            match self.kb.services().storage.losses(self.until()).await {
                Ok(losses) if losses != followed && self.remove_lost().await.is_ok() => {
                    followed = losses;
                }
                Ok(_) => {}
                Err(error) => tracing::debug!(%error, "cannot see whether facts were lost"),
            }
        }
    }

    async fn remove_lost(&self) -> Result<(), IndexerError> {
        let storage = &self.kb.services().storage;
        for tenant in storage.tenants(self.until()).await? {
            let lost = storage.remove_all_lost(&tenant, self.until()).await?;
            self.indexes().forget_lost(&tenant, &lost).await;
        }
        Ok(())
    }
}
