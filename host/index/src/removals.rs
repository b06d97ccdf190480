//! Recent removals, so that an older upsert that arrives late does not restore a removed fact.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::limits::REMOVALS;

/// The last [`REMOVALS`] removals.
#[derive(Debug, Default)]
pub(crate) struct Removals {
    revisions: HashMap<Arc<str>, u64>,
    /// Oldest first. May also hold ids that were stored again and are no longer in `revisions`.
    order: VecDeque<(Arc<str>, u64)>,
    /// Memory of the ids' strings in `order`, with their reference counts.
    id_bytes: usize,
}

impl Removals {
    /// Records that `id` was removed at `revision`, unless a newer removal is recorded.
    pub(crate) fn insert(&mut self, id: &str, revision: u64) {
        if self.revision(id).is_some_and(|known| known >= revision) {
            return;
        }
        let id: Arc<str> = id.into();
        self.revisions.insert(Arc::clone(&id), revision);
        self.id_bytes += id_bytes(&id);
        self.order.push_back((id, revision));
        if self.order.len() > REMOVALS
            && let Some((oldest, revision)) = self.order.pop_front()
        {
            self.id_bytes -= id_bytes(&oldest);
            if self.revision(&oldest) == Some(revision) {
                self.revisions.remove(&oldest);
            }
        }
    }

    /// The revision at which `id` was removed, if that is recorded.
    pub(crate) fn revision(&self, id: &str) -> Option<u64> {
        self.revisions.get(id).copied()
    }

    /// Forgets the removal of `id`, which is stored again.
    pub(crate) fn forget(&mut self, id: &str) {
        self.revisions.remove(id);
    }

    pub(crate) fn count(&self) -> usize {
        self.revisions.len()
    }

    /// Approximate memory use, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let entry = size_of::<(Arc<str>, u64)>();
        self.id_bytes + (self.order.capacity() + self.revisions.capacity()) * entry
    }
}

fn id_bytes(id: &str) -> usize {
    id.len() + 2 * size_of::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_removals_are_remembered_and_older_ones_are_not() {
        let mut removals = Removals::default();
        for number in 0..=REMOVALS as u64 {
            removals.insert(&number.to_string(), number);
        }
        assert_eq!(removals.revision("0"), None);
        assert_eq!(removals.revision("1"), Some(1));
        assert_eq!(removals.count(), REMOVALS);
        let ids = removals.order.iter().map(|(id, _)| id_bytes(id));
        assert_eq!(removals.id_bytes, ids.sum::<usize>());
    }

    #[test]
    fn removing_and_storing_the_same_id_repeatedly_keeps_memory_bounded() {
        let mut removals = Removals::default();
        for revision in 0..2 * REMOVALS as u64 {
            removals.insert("a", revision);
            removals.forget("a");
        }
        assert!(removals.order.len() <= REMOVALS);
        assert_eq!(removals.count(), 0);
    }

    #[test]
    fn an_older_removal_changes_nothing() {
        let mut removals = Removals::default();
        removals.insert("a", 5);
        removals.insert("a", 4);
        assert_eq!(removals.revision("a"), Some(5));
        assert_eq!(removals.order.len(), 1);
    }
}
