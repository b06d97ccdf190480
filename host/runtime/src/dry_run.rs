//! Captures what a guest writes in a dry run, and drops it.
//!
//! A candidate for promotion replays requests that were answered before. It reads what is stored;
//! its writes must look to it as if they had happened, and must not happen.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use kenning_storage::{Condition, FactId, StateChange, StateChanged, StateEntry, StatePage, Write};

/// The writes of one dry-run call.
#[derive(Debug, Default)]
pub(crate) struct CapturedWrites {
    written: HashSet<FactId>,
    /// What the extension's state would hold; `None` for a key that was deleted.
    state: BTreeMap<Vec<u8>, Option<CapturedEntry>>,
}

/// A value that was set, and when it expires.
#[derive(Debug)]
struct CapturedEntry {
    entry: StateEntry,
    expires: Option<Instant>,
}

/// Above the versions that storage gives, so that a captured value has a version of its own.
const CAPTURED_VERSIONS: u64 = 1 << 52;

impl CapturedWrites {
    /// Whether `write` would have happened. `exists` says whether storage has the fact.
    pub(crate) fn write(&mut self, write: &Write, exists: bool) -> bool {
        let exists = exists || self.written.contains(&write.id);
        let happens = match write.condition {
            Condition::Absent => !exists,
            Condition::Present => exists,
        };
        if happens {
            self.written.insert(write.id.clone());
        }
        happens
    }

    /// What a key of the state would hold, given what storage has.
    pub(crate) fn entry(&self, key: &[u8], stored: Option<StateEntry>) -> Option<StateEntry> {
        match self.state.get(key) {
            None => stored,
            Some(set) => set.as_ref().and_then(CapturedEntry::living),
        }
    }

    /// What a change of a key would do, given what storage has.
    pub(crate) fn change(
        &mut self,
        key: Vec<u8>,
        stored: Option<StateEntry>,
        change: StateChange,
    ) -> StateChanged {
        let is = self.entry(&key, stored);
        let version = is.as_ref().map(|entry| entry.version);
        let new = CAPTURED_VERSIONS + self.state.len() as u64 + version.unwrap_or_default();
        let (value, expires_in, changed) = match change {
            StateChange::Delete => {
                self.state.insert(key, None);
                return StateChanged::Deleted(version.is_some());
            }
            StateChange::Set { expected, .. } if !expected.holds(version) => {
                return StateChanged::Lost(version);
            }
            StateChange::Set { value, ttl, .. } => (value, ttl, StateChanged::Set(new)),
            StateChange::Increment { by, ttl } => {
                let Some(sum) = StateEntry::sum(is.as_ref(), by) else {
                    return StateChanged::NotANumber;
                };
                let expires_in = is.map_or(ttl, |entry| entry.expires_in);
                (sum.to_string().into_bytes(), expires_in, StateChanged::Number(sum))
            }
        };
        let expires = expires_in.and_then(|time| Instant::now().checked_add(time));
        let entry = StateEntry { value, version: new, expires_in };
        self.state.insert(key, Some(CapturedEntry { entry, expires }));
        changed
    }

    /// The page of keys after `after` that there would be, given the one that storage has.
    pub(crate) fn page(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        mut page: StatePage,
    ) -> StatePage {
        page.keys.retain(|key| self.state.get(key).is_none_or(Option::is_some));
        let is_here = |key: &[u8]| {
            let is_after = after.is_none_or(|after| key > after);
            let is_before = page.after.as_deref().is_none_or(|last| key <= last);
            key.starts_with(prefix) && is_after && is_before
        };
        let set = self.state.iter().filter(|(key, entry)| {
            is_here(key) && entry.as_ref().is_some_and(|entry| entry.living().is_some())
        });
        page.keys.extend(set.map(|(key, _)| key.clone()));
        page.keys.sort();
        page.keys.dedup();
        page
    }

    /// Whether deleting `id` would have removed a fact. `exists` says whether storage has it.
    pub(crate) fn delete(&mut self, id: &FactId, exists: bool) -> bool {
        self.written.remove(id) || exists
    }
}

impl CapturedEntry {
    /// The entry, unless it has expired.
    fn living(&self) -> Option<StateEntry> {
        let Some(expires) = self.expires else { return Some(self.entry.clone()) };
        let left = expires.saturating_duration_since(Instant::now());
        let expires_in = Some(left);
        (left > Duration::ZERO).then(|| StateEntry { expires_in, ..self.entry.clone() })
    }
}

#[cfg(test)]
mod tests {
    use kenning_storage::Expected;

    use super::*;

    #[test]
    fn captured_state_looks_as_if_it_had_changed() {
        let mut captured = CapturedWrites::default();
        let stored = |version| Some(StateEntry { value: b"5".to_vec(), version, expires_in: None });
        let set = |expected| StateChange::Set { value: b"7".to_vec(), ttl: None, expected };
        let add = StateChange::Increment { by: 2, ttl: None };
        let lost = captured.change(b"a".to_vec(), stored(3), set(Expected::Version(2)));
        assert_eq!(lost, StateChanged::Lost(Some(3)));
        assert_eq!(captured.change(b"a".to_vec(), stored(3), add.clone()), StateChanged::Number(7));
        assert_eq!(captured.change(b"a".to_vec(), stored(3), add), StateChanged::Number(9));
        let is = captured.entry(b"a", stored(3)).unwrap();
        assert_eq!(is.value, b"9");
        let won = captured.change(b"a".to_vec(), stored(3), set(Expected::Version(is.version)));
        assert!(matches!(won, StateChanged::Set(version) if version > is.version));
        let gone = captured.change(b"b".to_vec(), stored(1), StateChange::Delete);
        assert_eq!(gone, StateChanged::Deleted(true));
        assert_eq!(captured.entry(b"b", stored(1)), None);
        let keys = [&b"b"[..], b"c"].map(<[u8]>::to_vec).to_vec();
        let page = captured.page(b"", None, StatePage { keys, after: Some(b"c".to_vec()) });
        assert_eq!(page.keys, [b"a", b"c"]);
        assert_eq!(
            captured.page(b"", Some(b"a"), StatePage::default()).keys,
            Vec::<Vec<u8>>::new()
        );
    }

    fn write(condition: Condition) -> Write {
        let id = FactId::parse("a").unwrap();
        let (fields, expected) = Default::default();
        Write { id, fields, condition, expected, order: 0 }
    }

    #[test]
    fn a_captured_write_looks_as_if_it_happened() {
        let mut captured = CapturedWrites::default();
        assert!(!captured.write(&write(Condition::Absent), true));
        assert!(!captured.write(&write(Condition::Present), false));
        assert!(captured.write(&write(Condition::Absent), false));
        assert!(captured.write(&write(Condition::Present), false), "it exists now");
        assert!(!captured.write(&write(Condition::Absent), false));
        assert!(captured.delete(&FactId::parse("a").unwrap(), false));
        assert!(!captured.delete(&FactId::parse("a").unwrap(), false));
    }
}
