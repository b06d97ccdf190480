//! Writes failures of requests to storage, and deletes records that are beyond their bounds.

use std::sync::Arc;
use std::time::Duration;

use kenning_storage::StorageError;
use tokio::time::{Instant, sleep};

use crate::journal::{Audit, Failures};

/// How often failures are written: the longest time for which only their own host knows them.
const FLUSH_EVERY: Duration = Duration::from_secs(1);

/// How often records beyond their bounds are deleted.
const PRUNE_EVERY: Duration = Duration::from_secs(600);

/// Runs until the task is aborted.
pub async fn keep_journals(audit: Arc<Audit>, failures: Arc<Failures>) {
    let (mut is_failing, mut pruned) = (false, None::<Instant>);
    loop {
        let mut done = failures.flush().await;
        if done.is_ok() && pruned.is_none_or(|pruned| pruned.elapsed() >= PRUNE_EVERY) {
            done = prune(&audit, &failures).await;
            pruned = Some(Instant::now());
        }
        if let Err(error) = &done
            && !is_failing
        {
            tracing::warn!(%error, "cannot write the records of failed requests; trying again");
        }
        is_failing = done.is_err();
        sleep(FLUSH_EVERY).await;
    }
}

async fn prune(audit: &Audit, failures: &Failures) -> Result<(), StorageError> {
    failures.prune().await?;
    audit.prune().await
}
