//! Follows the languages of tenants: after a change, by this host or another, the texts of a
//! tenant's facts are read again. The facts are found meanwhile: a query has the terms of both
//! languages until none is left.

use kenning_runtime::TenantIndex;
use kenning_storage::{FactId, TenantId};
use tokio::time::sleep;

use super::{FACTS, Indexer, IndexerError};
use crate::kb::POLL;

/// Ids on one page of storage.
const PAGE: usize = 1_000;

impl Indexer {
    /// Runs until the task is aborted.
    pub(super) async fn follow_languages(&self) {
        loop {
            for tenant in self.held().tenants() {
                let Some(index) = self.indexes().existing(&tenant) else { continue };
                index.follow_language(self.kb.services().tenants.language(&tenant)).await;
                if index.outdated() > 0
                    && let Err(error) = self.read_again(&tenant, &index).await
                {
                    tracing::warn!(%tenant, %error, "facts not indexed for the language yet");
                }
            }
            sleep(POLL).await;
        }
    }

    async fn read_again(&self, tenant: &TenantId, index: &TenantIndex) -> Result<(), IndexerError> {
        let storage = &self.kb.services().storage;
        let mut cursor = None;
        loop {
            let page = storage.page(tenant, cursor.as_deref(), PAGE, self.until()).await?;
            for ids in page.ids.chunks(FACTS) {
                self.read_facts_again(tenant, index, ids).await?;
            }
            cursor = page.cursor;
            if cursor.is_none() || index.outdated() == 0 {
                return Ok(());
            }
        }
    }

    async fn read_facts_again(
        &self,
        tenant: &TenantId,
        index: &TenantIndex,
        ids: &[FactId],
    ) -> Result<(), IndexerError> {
        // A tenant that is being deleted needs no index.
        let Ok(_running) = self.kb.services().tenants.begin(tenant, None) else { return Ok(()) };
        let entries = self.entries(tenant, ids).await?;
        for (id, entry) in ids.iter().zip(entries) {
            let Some(entry) = entry else { continue };
            let _turn = index.write().await;
            index.analyse_again(id.as_str(), &entry.text);
        }
        Ok(())
    }
}
