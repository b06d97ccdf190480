//! A fact, from draft to hash and back.
//!
//! A fact is the hash with the fields `content`, `metadata`, `timestamp` and `id`, which
//! programs besides ours write and read as well. So writing is strict and reading is
//! lenient: only a hash without `content` is not a fact.

use crate::ports::{EntryRef, Hash};
use crate::timestamp::Timestamp;
use crate::{Error, Result, limits, metadata};

/// The field that holds a fact's text.
pub const CONTENT: &str = "content";
/// The field that holds a fact's metadata, as JSON text.
pub const METADATA: &str = "metadata";
/// The field that says when a fact was first stored.
pub const TIMESTAMP: &str = "timestamp";
/// The field that repeats the id in the key.
pub const ID: &str = "id";

/// A fact before it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// The id the caller chose, or `None` for a fresh one.
    pub id: Option<String>,
    /// What the fact says.
    pub text: String,
    /// A JSON object as text.
    pub metadata: String,
    /// When the fact was first stored, or `None` for now.
    pub timestamp: Option<String>,
}

impl Draft {
    /// A draft that says `text` and leaves the rest to the logic.
    pub fn new(text: impl Into<String>) -> Self {
        Self { id: None, text: text.into(), metadata: "{}".into(), timestamp: None }
    }
}

/// A stored fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// The id in its key.
    pub id: String,
    /// What it says.
    pub text: String,
    /// A JSON object as text.
    pub metadata: String,
    /// When it was first stored, as its hash says; empty if the hash does not.
    pub timestamp: String,
}

impl Fact {
    /// The fact that the hash of `id` holds. The hash's own `id` field is not looked at: it
    /// is the key that every other verb will be asked by.
    pub fn from_hash(id: &str, mut hash: Hash) -> Option<Self> {
        let text = hash.take(CONTENT)?;
        let metadata = metadata::from_hash(hash.take(METADATA));
        let timestamp = hash.take(TIMESTAMP).unwrap_or_default();
        Some(Self { id: id.into(), text, metadata, timestamp })
    }

    /// What search is to read of it.
    pub fn entry(&self) -> EntryRef<'_> {
        EntryRef { id: &self.id, text: &self.text, metadata: &self.metadata }
    }

    /// About what it takes in a call's arguments or answer, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        // The id is in the key and in the hash.
        let strings = 2 * self.id.len() + self.text.len() + self.metadata.len();
        strings + self.timestamp.len() + limits::FACT_OVERHEAD_BYTES
    }

    /// Whether text and metadata say the same as another's.
    pub(crate) fn says_the_same_as(&self, other: &Fact) -> bool {
        self.text == other.text && metadata::same(&self.metadata, &other.metadata)
    }
}

/// What search is to read of one fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The fact.
    pub id: String,
    /// The text whose meaning and words are indexed.
    pub text: String,
    /// The JSON object that filters look at, as text.
    pub metadata: String,
}

impl From<Fact> for Entry {
    fn from(Fact { id, text, metadata, timestamp: _ }: Fact) -> Self {
        Self { id, text, metadata }
    }
}

/// A change to one fact; `None` leaves that part as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// The new text.
    pub text: Option<String>,
    /// Replaces the whole metadata object.
    pub metadata: Option<String>,
}

/// What became of one draft or change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The fact.
    pub id: String,
    /// Whether it can be found by meaning already.
    pub indexed: bool,
}

/// Facts, newest first, and where to go on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FactPage {
    /// Perhaps fewer than were asked for, even none.
    pub facts: Vec<Fact>,
    /// Opaque; only `None` ends a listing.
    pub cursor: Option<String>,
}

/// A text says something and is not longer than allowed.
pub fn check_text(text: &str) -> Result<()> {
    limits::FACT_TEXT_BYTES.check(text.len())?;
    if text.trim().is_empty() {
        return Err(Error::invalid("/text", "the text is blank; say something"));
    }
    Ok(())
}

/// An id is 1 to 128 bytes of ASCII letters, digits, `.`, `_` and `-`, and begins with a
/// letter, a digit or `_`.
pub fn check_id(id: &str) -> Result<()> {
    let begins = id.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    let holds = id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    if begins && holds && id.len() <= limits::FACT_ID_BYTES {
        return Ok(());
    }
    let rule = "an id is 1 to 128 ASCII letters, digits, '.', '_' and '-', not beginning with \
                '.' or '-'";
    Err(Error::invalid("/fact_id", rule))
}

/// Reads the timestamp of a draft.
pub fn check_timestamp(text: &str) -> Result<Timestamp> {
    let rule = "a timestamp is RFC 3339, such as 2026-11-23T17:48:43.123456+00:00";
    Timestamp::parse(text).ok_or_else(|| Error::invalid("/timestamp", rule))
}
