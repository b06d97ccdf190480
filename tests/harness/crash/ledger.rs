//! What one worker knows of the facts that only it writes.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Letters of a word: no two of all that a run makes are alike.
const LETTERS: usize = 14;

/// The word that one state of one fact has to itself.
pub(super) type Word = String;

pub(super) fn new_word() -> Word {
    std::iter::repeat_with(fastrand::lowercase).take(LETTERS).collect()
}

/// The text of that state.
pub(super) fn text(word: &str) -> String {
    format!("{word} is the word of this fact")
}

/// Its text and metadata, which belong together.
pub(super) fn state(word: &str) -> Value {
    json!({ "text": text(word), "metadata": { "word": word } })
}

/// What is known of one fact.
#[derive(Debug, Default)]
pub(super) struct Entry {
    /// Its word as it was acknowledged last; `None` when there is no such fact.
    pub(super) now: Option<Word>,
    /// What nobody answered.
    pub(super) doubt: Option<Doubt>,
    /// As it was given, or first seen.
    pub(super) timestamp: Option<String>,
}

/// A write that may have happened.
#[derive(Clone, Debug)]
pub(super) struct Doubt {
    pub(super) wanted: Option<Word>,
    pub(super) how: How,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum How {
    Store,
    Import,
    Change,
    Delete,
}

/// All facts of one worker.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) facts: BTreeMap<String, Entry>,
    /// Stores under an idempotency key that nobody answered: the ids are not known.
    pub(super) keys: Vec<(String, Word)>,
    /// Words of states that are over.
    pub(super) over: Vec<Word>,
}

impl Ledger {
    /// `id` was written, and says `word` from now on.
    pub(super) fn settle(&mut self, id: &str, word: Option<Word>) {
        let entry = self.facts.entry(id.to_string()).or_default();
        entry.doubt = None;
        let before = std::mem::replace(&mut entry.now, word);
        if entry.now.is_none() {
            entry.timestamp = None;
        }
        // A repeated write leaves the word as it was.
        self.over.extend(before.filter(|before| entry.now.as_ref() != Some(before)));
    }

    pub(super) fn doubt(&mut self, id: &str, wanted: Option<Word>, how: How) {
        self.facts.entry(id.to_string()).or_default().doubt = Some(Doubt { wanted, how });
    }

    /// One of the facts that are there.
    pub(super) fn any(&self) -> Option<String> {
        let there = self.facts.iter().filter(|(_, entry)| entry.now.is_some());
        let ids: Vec<&String> = there.map(|(id, _)| id).collect();
        fastrand::choice(ids).cloned()
    }
}
