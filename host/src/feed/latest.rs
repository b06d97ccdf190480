//! A tenant's latest changes, in memory.

use std::collections::VecDeque;

use kenning_storage::{Change, Changes, Revision};

/// The most changes in memory: what a subscriber reads from storage is what it is further behind.
const KEPT: usize = 1_000;

/// The latest changes, without a hole between them.
pub(super) struct Latest {
    /// The position before the first of them.
    after: Revision,
    changes: VecDeque<Change>,
    /// How often changes were missing, or the tenant's revisions began anew.
    breaks: u64,
}

impl Latest {
    /// None yet, of a tenant at revision `last`.
    pub(super) fn new(last: Revision) -> Self {
        Self { after: last, changes: VecDeque::new(), breaks: 0 }
    }

    /// The position behind the last of them.
    pub(super) fn last(&self) -> Revision {
        self.changes.back().map_or(self.after, |change| change.revision)
    }

    pub(super) fn breaks(&self) -> u64 {
        self.breaks
    }

    /// Takes what follows the position `after`. What was read from another position than the last
    /// is left; the next read brings it.
    pub(super) fn take(&mut self, after: Revision, found: Changes) {
        if after != self.last() {
            return;
        }
        match found {
            Changes::Next(changes) => {
                self.changes.extend(changes);
                while self.changes.len() > KEPT {
                    self.after = self.changes.pop_front().map_or(self.after, |old| old.revision);
                }
            }
            Changes::Gap { until, .. } => {
                *self = Self { breaks: self.breaks + 1, ..Self::new(until) };
            }
        }
    }

    /// Up to `most` changes after `position`; none if there are none yet, and `None` if storage has
    /// to be asked.
    pub(super) fn following(&self, position: Revision, most: usize) -> Option<Vec<Change>> {
        let behind = position.0.checked_sub(self.after.0)?;
        let skipped = usize::try_from(behind).unwrap_or(usize::MAX);
        Some(self.changes.iter().skip(skipped).take(most).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use kenning_storage::{ChangeKind, FactId};

    use super::*;

    fn next(revisions: impl IntoIterator<Item = u64>) -> Changes {
        let change = |revision| Change {
            revision: Revision(revision),
            id: FactId::parse("f").unwrap(),
            kind: ChangeKind::Stored,
            of: Revision(revision),
            is_own: true,
        };
        Changes::Next(revisions.into_iter().map(change).collect())
    }

    fn following(latest: &Latest, position: u64) -> Option<Vec<u64>> {
        let found = latest.following(Revision(position), 3)?;
        Some(found.iter().map(|change| change.revision.0).collect())
    }

    #[test]
    fn a_position_among_the_latest_needs_no_storage() {
        let mut latest = Latest::new(Revision(10));
        assert_eq!(following(&latest, 10), Some(vec![]));
        assert_eq!(following(&latest, 9), None);
        latest.take(Revision(10), next(11..=14));
        assert_eq!(following(&latest, 10), Some(vec![11, 12, 13]));
        assert_eq!(following(&latest, 13), Some(vec![14]));
        assert_eq!(following(&latest, 99), Some(vec![]), "not there yet");
        latest.take(Revision(12), next(13..=20));
        assert_eq!(latest.last(), Revision(14), "read from an earlier position");
        latest.take(Revision(14), next(15..=14 + KEPT as u64));
        assert_eq!(following(&latest, 13), None);
        assert_eq!(following(&latest, 14), Some(vec![15, 16, 17]));
        assert_eq!(latest.changes.len(), KEPT);
    }

    #[test]
    fn after_a_break_everybody_asks_storage() {
        let mut latest = Latest::new(Revision(10));
        latest.take(Revision(10), next([11]));
        latest.take(Revision(11), Changes::Gap { until: Revision(40), last: Revision(50) });
        assert_eq!(
            (following(&latest, 11), latest.last(), latest.breaks()),
            (None, Revision(40), 1)
        );
        latest.take(Revision(40), Changes::Gap { until: Revision(2), last: Revision(2) });
        assert_eq!((latest.last(), latest.breaks()), (Revision(2), 2));
    }
}
