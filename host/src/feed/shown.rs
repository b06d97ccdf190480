//! Which changes the tenant's `on-read` hooks let callers know of.
//!
//! A hook is asked with the fact as it is now, as for any other read. It cannot be asked about a
//! fact that is gone, and nobody knows what it would have said: where there is such a hook,
//! deletions and changes of facts that are gone by now are left out.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use kenning_core::error::Error;
use kenning_runtime::Hook;
use kenning_storage::{Change, ChangeKind, FactId, Revision};

use super::Feed;
use super::latest::Latest;
use crate::kb::{Caller, Kb};
use crate::registry::Snapshot;

/// Facts of which it is remembered whether they are shown, so that the hooks are asked once for all
/// subscribers.
const REMEMBERED: usize = 2_000;

/// The facts of one call to the hooks.
const TOGETHER: usize = 25;

/// What the hooks said of facts that have not changed since.
#[derive(Default)]
pub(super) struct Shown {
    /// The guests that said it.
    by: Option<Snapshot>,
    /// Whether a fact is shown.
    answers: HashMap<FactId, bool>,
    /// The breaks in the latest changes, and the position, up to which answers were forgotten.
    forgotten: (u64, Revision),
}

impl Shown {
    /// Forgets what other guests said, and what they said of facts that have changed.
    fn forget(&mut self, snapshot: Snapshot, latest: &Latest) {
        let is_same = self.by.as_ref().is_some_and(|by| {
            Arc::ptr_eq(&by.logic, &snapshot.logic)
                && Arc::ptr_eq(&by.extensions, &snapshot.extensions)
        });
        let (breaks, position) = self.forgotten;
        let new = latest.following(position, usize::MAX);
        match new.filter(|_| is_same && breaks == latest.breaks()) {
            Some(changes) => {
                changes.iter().filter(|change| is_told(change.kind)).for_each(|change| {
                    self.answers.remove(&change.id);
                })
            }
            None => self.answers.clear(),
        }
        if self.answers.len() > REMEMBERED {
            self.answers.clear();
        }
        (self.by, self.forgotten) = (Some(snapshot), (latest.breaks(), latest.last()));
    }
}

impl Feed {
    /// Those of `changes` that callers are told of.
    pub(super) async fn shown(
        &self,
        kb: &Kb,
        caller: &Caller,
        mut changes: Vec<Change>,
    ) -> Result<Vec<Change>, Error> {
        changes.retain(|change| is_told(change.kind));
        let snapshot = kb.snapshot(caller).await?;
        if !snapshot.has(Hook::OnRead) {
            return Ok(changes);
        }
        changes.retain(|change| change.kind != ChangeKind::Deleted);
        // Held while the hooks are asked: other subscribers wait for the same answers.
        let mut shown = self.shown.lock().await;
        shown.forget(snapshot, &self.latest());
        let ids: BTreeSet<&FactId> = changes.iter().map(|change| &change.id).collect();
        let unknown: Vec<FactId> =
            ids.into_iter().filter(|id| !shown.answers.contains_key(id)).cloned().collect();
        for ids in unknown.chunks(TOGETHER) {
            let asked = ids.iter().map(|id| id.as_str().to_owned()).collect();
            let visible = kb.visible(caller, asked).await?;
            let answer = |id: &FactId| (id.clone(), visible.contains(id.as_str()));
            shown.answers.extend(ids.iter().map(answer));
        }
        changes.retain(|change| shown.answers.get(&change.id) == Some(&true));
        Ok(changes)
    }
}

/// Whether callers are told of changes of this kind.
fn is_told(kind: ChangeKind) -> bool {
    match kind {
        ChangeKind::Stored | ChangeKind::Changed | ChangeKind::Deleted => true,
        ChangeKind::Marked | ChangeKind::Embedded => false,
    }
}
