//! One caller's position in a tenant's changes.

use std::time::Instant;

use kenning_core::error::Error;
use kenning_storage::{Change, Changes, Revision};
use tokio::sync::watch;

use super::Seat;
use crate::kb::Caller;

/// The most changes that a subscriber takes at once, and so has in memory.
const TAKEN: usize = 200;

/// Somebody who follows a tenant's changes.
pub struct Subscriber {
    seat: Seat,
    moved: watch::Receiver<()>,
    position: Revision,
    /// The breaks in the tenant's latest changes that it knows of; `None` until it has compared
    /// its position with storage.
    breaks: Option<u64>,
}

/// What follows a subscriber's position.
#[derive(Debug)]
pub struct Found {
    /// What the caller is told.
    pub told: Told,
    /// The position behind it.
    pub position: Revision,
    breaks: Option<u64>,
}

/// What a caller is told.
#[derive(Debug)]
pub enum Told {
    /// These changes: fewer than there were, if it must not know of some.
    Changes(Vec<Change>),
    /// That changes are no longer kept: those after the first revision, up to the second.
    Gap(Revision, Revision),
}

impl Subscriber {
    pub(super) fn new(seat: Seat, position: Revision) -> Self {
        let moved = seat.feed.moved.subscribe();
        Self { seat, moved, position, breaks: None }
    }

    /// Its position.
    pub fn position(&self) -> Revision {
        self.position
    }

    /// Moves behind what was found.
    pub fn advance(&mut self, found: &Found) {
        self.position = found.position;
        self.breaks = found.breaks;
    }

    /// Waits until there may be more than at the last look.
    pub async fn moved(&mut self) {
        if self.moved.changed().await.is_err() {
            // The feed lives as long as its seats.
            std::future::pending::<()>().await;
        }
    }

    /// What follows its position, for `caller`, if there is anything. The position stays until
    /// [`Self::advance`].
    ///
    /// # Errors
    /// When storage or a hook fails.
    pub async fn look(&mut self, caller: &Caller) -> Result<Option<Found>, Error> {
        self.moved.mark_unchanged();
        let Some((changes, breaks)) = self.following().await? else { return Ok(None) };
        let breaks = Some(breaks);
        match changes {
            Changes::Gap { until, .. } => {
                let told = Told::Gap(self.position, until);
                Ok(Some(Found { told, position: until, breaks }))
            }
            Changes::Next(changes) => {
                let position = changes.last().map_or(self.position, |change| change.revision);
                let (feeds, feed) = (&self.seat.feeds, &self.seat.feed);
                let changes = feed.shown(&feeds.kb, caller, changes).await?;
                Ok(Some(Found { told: Told::Changes(changes), position, breaks }))
            }
        }
    }

    async fn following(&mut self) -> Result<Option<(Changes, u64)>, Error> {
        let (breaks, latest) = {
            let latest = self.seat.feed.latest();
            (latest.breaks(), latest.following(self.position, TAKEN))
        };
        if let Some(changes) = latest.filter(|_| self.breaks == Some(breaks)) {
            return Ok((!changes.is_empty()).then_some((Changes::Next(changes), breaks)));
        }
        let kb = &self.seat.feeds.kb;
        let storage = &kb.services().storage;
        let until = Instant::now() + kb.services().limits.storage_operation;
        let found = storage.changes(&self.seat.tenant, self.position, TAKEN, until).await;
        match found.map_err(|error| kb.storage_error(&error))? {
            Changes::Next(changes) if changes.is_empty() => {
                self.breaks = Some(breaks);
                Ok(None)
            }
            found => Ok(Some((found, breaks))),
        }
    }
}
