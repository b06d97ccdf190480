//! Follows changes that other hosts on the same storage make to guests. A change is seen within
//! about a second, and no call waits for it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::registry::{LoadError, Registry};

/// How often storage is asked whether anything changed.
const PAUSE: Duration = Duration::from_secs(1);

/// Runs until the task is aborted. Records that cannot be read are tried again; until then the
/// loaded guests stay active.
pub async fn follow_registry(registry: Arc<Registry>) {
    let mut seen = None;
    let mut is_failing = false;
    loop {
        let done = catch_up(&registry, &mut seen).await;
        if let Err(error) = &done
            && !is_failing
        {
            tracing::warn!(%error, "cannot read the registry; changes by other hosts are not seen");
        }
        is_failing = done.is_err();
        sleep(PAUSE).await;
    }
}

async fn catch_up(registry: &Registry, seen: &mut Option<u64>) -> Result<(), LoadError> {
    if *seen == Some(registry.archive.revision().await?) {
        return Ok(());
    }
    let recorded = registry.load().await?;
    registry.reload(&recorded.tenants).await?;
    *seen = Some(recorded.revision);
    Ok(())
}
