//! The task that reads what is new of all tenants that somebody follows.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kenning_storage::{Changes, Revision, StorageError, TenantId};
use tokio::time::sleep;

use super::Feeds;

/// How long one read waits for changes. A tenant that is new among others waits as long at first.
const WAIT: Duration = Duration::from_millis(100);

/// How often tenants are looked at whose streams were cut or began anew.
const LOOK: Duration = Duration::from_millis(500);

/// The most changes of a tenant in one read.
const CHANGES: usize = 500;

impl Feeds {
    /// Reads until aborted.
    pub async fn read(self: Arc<Self>) {
        let mut behind: Vec<(TenantId, Revision)> = Vec::new();
        let (mut next_look, mut is_failing) = (Instant::now() + LOOK, false);
        loop {
            let positions = self.positions();
            if positions.is_empty() {
                self.wanted.notified().await;
                continue;
            }
            let read = async {
                self.read_next(&positions).await?;
                if next_look <= Instant::now() {
                    behind = self.look(std::mem::take(&mut behind)).await?;
                    next_look = Instant::now() + LOOK;
                }
                Ok::<_, StorageError>(())
            };
            match read.await {
                Ok(()) => is_failing = false,
                Err(error) => {
                    if !is_failing {
                        tracing::warn!(%error, "changes cannot be read; they are read later");
                    }
                    is_failing = true;
                    sleep(WAIT).await;
                }
            }
        }
    }

    async fn read_next(&self, positions: &[(TenantId, Revision)]) -> Result<(), StorageError> {
        let storage = &self.kb.services().storage;
        let found = storage.next_changes(positions, CHANGES, WAIT).await?;
        for (tenant, changes) in found {
            let position = positions.iter().find(|(known, _)| *known == tenant);
            if let Some((_, after)) = position {
                self.take(&tenant, *after, changes);
            }
        }
        Ok(())
    }

    /// Asks for the tenants of which something is wrong: those that are beyond their revision, and
    /// those that did not move although they are `behind` since the last look. Returns those that
    /// are behind now.
    async fn look(
        &self,
        behind: Vec<(TenantId, Revision)>,
    ) -> Result<Vec<(TenantId, Revision)>, StorageError> {
        let storage = &self.kb.services().storage;
        let until = || Instant::now() + self.kb.services().limits.storage_operation;
        let positions = self.positions();
        let tenants: Vec<TenantId> = positions.iter().map(|(tenant, _)| tenant.clone()).collect();
        // What fails for one tenant must not stop the others' changes.
        let Ok(lasts) = storage.last_revisions(&tenants, until()).await else {
            return Ok(Vec::new());
        };
        let mut still = Vec::new();
        for ((tenant, position), last) in positions.into_iter().zip(lasts) {
            if position > last {
                self.take(&tenant, position, Changes::Gap { until: last, last });
            } else if position < last {
                let place = (tenant, position);
                if behind.contains(&place) {
                    let found = storage.changes(&place.0, position, CHANGES, until()).await?;
                    self.take(&place.0, position, found);
                }
                still.push(place);
            }
        }
        Ok(still)
    }
}
