//! What the guests of a call may know of it: who asks, what for, and what extensions leave for
//! later ones.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::wit::Query;

/// Bytes of all notes of a call, names included; the contract names the number.
const NOTE_BYTES: usize = 16 * 1024;

/// What a caller asked the host to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verb {
    /// Store drafts.
    Store,
    /// Store the lines of an import.
    Import,
    /// Change a fact.
    Update,
    /// Delete facts.
    Delete,
    /// Read one fact.
    Get,
    /// List or count facts.
    List,
    /// Search.
    Search,
    /// Read all facts.
    Export,
    /// Follow changes.
    Follow,
    /// Nobody asked: the host does it for itself.
    #[default]
    Maintain,
}

/// Who makes a call. Its clones are cheap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallerIdentity {
    /// The id of the key that the request came with, if it needed one.
    pub key_id: Option<Arc<str>>,
    /// What the operator says of the key's holder, as a JSON object; `None` for nothing.
    pub attributes: Option<Arc<str>>,
    /// Whom the request's token stands for, if it came with one.
    pub subject: Option<Arc<str>>,
    /// What the key or token is limited to; empty if it is not.
    pub scopes: Vec<&'static str>,
}

/// The options of a request for each extension by its name, as JSON text.
pub type ExtensionOptions = Arc<BTreeMap<String, String>>;

/// What the guests of one call may know of it. Clones belong to the same call.
#[derive(Clone, Debug, Default)]
pub struct RequestContext {
    /// Who makes the call.
    pub caller: CallerIdentity,
    /// What the caller asked for.
    pub verb: Verb,
    /// The id of the request that the call is part of.
    pub id: Option<Arc<str>>,
    /// The query as the caller sent it.
    pub query: Option<Arc<Query>>,
    /// What the request says to single extensions.
    pub options: ExtensionOptions,
    /// What extensions left for later ones.
    pub notes: Notes,
}

impl RequestContext {
    /// A call for `verb` that nobody outside makes.
    pub fn of(verb: Verb) -> Self {
        Self { verb, ..Self::default() }
    }

    /// The same for another attempt, by `caller` as it is known now: without notes.
    #[must_use]
    pub fn anew(&self, caller: CallerIdentity) -> Self {
        Self { caller, notes: Notes::default(), ..self.clone() }
    }
}

/// What extensions of a call left for later ones.
#[derive(Clone, Debug, Default)]
pub struct Notes(Arc<Mutex<BTreeMap<String, String>>>);

impl Notes {
    fn notes(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self, name: &str) -> Option<String> {
        self.notes().get(name).cloned()
    }

    /// Replaces the note of this name. If there is no room, nothing changes, and the error has the
    /// allowed bytes and those that there would be.
    pub(crate) fn set(&self, name: String, value: String) -> Result<(), (u64, u64)> {
        let mut notes = self.notes();
        let others = notes.iter().filter(|(other, _)| **other != name);
        let others: usize = others.map(|(name, value)| name.len() + value.len()).sum();
        let used = others + name.len() + value.len();
        if used > NOTE_BYTES {
            return Err((NOTE_BYTES as u64, used as u64));
        }
        notes.insert(name, value);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_bounded_together_and_a_new_one_takes_the_room_of_the_old_one() {
        let notes = Notes::default();
        let full = "x".repeat(NOTE_BYTES - 1);
        assert_eq!(notes.set("a".into(), full.clone()), Ok(()));
        let over = (NOTE_BYTES as u64, NOTE_BYTES as u64 + 1);
        assert_eq!(notes.set("b".into(), String::new()), Err(over));
        assert_eq!(notes.get("b"), None);
        assert_eq!(notes.set("a".into(), "short".into()), Ok(()));
        assert_eq!(notes.set("b".into(), "too".into()), Ok(()));
        assert_eq!(notes.clone().get("a").as_deref(), Some("short"));
        assert_eq!(notes.set("c".into(), full).unwrap_err().0, NOTE_BYTES as u64);
    }
}
