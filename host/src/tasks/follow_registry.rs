//! What another host on the same storage decided: seen within a second or so, and
//! never in the way of a call.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::registry::{LoadError, Registry};

/// How often storage is asked whether anything changed.
const PAUSE: Duration = Duration::from_secs(1);

/// Keeps up with other hosts, for ever. What cannot be read is tried again; until
/// then what runs goes on.
pub async fn follow_registry(registry: Arc<Registry>) {
    let mut seen = None;
    let mut said = false;
    loop {
        match catch_up(&registry, &mut seen).await {
            Ok(()) => said = false,
            Err(error) => {
                if !std::mem::replace(&mut said, true) {
                    tracing::warn!(%error, "cannot see what other hosts decided");
                }
            }
        }
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
