//! Follows changes that other hosts on the same storage make to guests, keys and quotas, and keeps
//! this host's lease.
//!
//! No call depends on this task: storage refuses a call that goes by what is no longer in force,
//! and what was changed is loaded then. The task makes that rare, and is what the operator who
//! changes something waits for.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::registry::{LoadError, RENEW_EVERY, Registry};

/// How often storage is asked whether anything changed, where other hosts may change it: one read
/// of a number.
const SHARED_PAUSE: Duration = Duration::from_millis(100);

/// The same where nobody else may, and after a failure.
const PAUSE: Duration = Duration::from_secs(1);

/// Runs until the task is aborted. Records that cannot be read are tried again; until then the
/// loaded guests stay active.
pub async fn follow_registry(registry: Arc<Registry>, host: String) {
    registry.set_host(host);
    // A load may take longer than a lease lasts.
    tokio::join!(keep_lease(&registry), follow(&registry));
}

async fn keep_lease(registry: &Arc<Registry>) {
    loop {
        if let Err(error) = registry.renew_lease().await {
            tracing::debug!(%error, "the lease of this host is not renewed");
        }
        sleep(RENEW_EVERY).await;
    }
}

async fn follow(registry: &Arc<Registry>) {
    let pause = if registry.is_shared() { SHARED_PAUSE } else { PAUSE };
    let mut is_failing = false;
    loop {
        let done: Result<(), LoadError> = registry.follow_and_say().await;
        if let Err(error) = &done
            && !is_failing
        {
            tracing::warn!(%error, "cannot read the registry; changes by other hosts are not seen");
        }
        is_failing = done.is_err();
        sleep(if is_failing { PAUSE } else { pause }).await;
    }
}
