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
            tracing::warn!(%error, "cannot read the tenants; the keys that were read last stay valid");
        }
        is_failing = done.is_err();
        sleep(POLL).await;
    }
}

async fn follow_and_purge(kb: &Kb) -> Result<(), Error> {
    kb.services().tenants.refresh().await?;
    kb.purge_deleted_tenants().await
}
