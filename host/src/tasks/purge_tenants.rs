//! Follows changes that other hosts make to tenants, finishes deletions, and writes down when keys
//! were used.

use std::sync::Arc;
use std::time::Duration;

use kenning_core::error::Error;
use tokio::time::{Instant, sleep};

use crate::kb::{Kb, POLL};

/// How often it is written down when keys were used.
const USES: Duration = Duration::from_secs(60);

/// Runs until the task is aborted.
pub async fn purge_tenants(kb: Arc<Kb>) {
    let mut is_failing = false;
    let mut written = Instant::now();
    loop {
        let mut done = follow_and_purge(&kb).await;
        if done.is_ok() && written.elapsed() >= USES {
            written = Instant::now();
            done = kb.services().tenants.write_last_uses().await;
        }
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
