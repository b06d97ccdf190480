//! Follows changes that other hosts make to tenants, and finishes deletions.

use std::sync::Arc;

use kenning_core::error::Error;
use tokio::time::sleep;

use crate::kb::{Kb, POLL};

/// Runs until the task is aborted.
pub async fn purge_tenants(kb: Arc<Kb>) {
    let mut is_failing = false;
    loop {
        let done = follow_and_purge(&kb).await;
        if let Err(error) = &done
            && !is_failing
        {
            tracing::warn!(%error, "cannot read the tenants; their last known keys stay valid");
        }
        is_failing = done.is_err();
        sleep(POLL).await;
    }
}

async fn follow_and_purge(kb: &Kb) -> Result<(), Error> {
    let refreshed = kb.services().tenants.refresh().await;
    refreshed.map_err(|error| kb.storage_error(&error))?;
    kb.purge_deleted_tenants().await
}
