//! Facts, drafts, changes, and the conversion between facts and hashes.
//!
//! A fact is stored as a hash with the fields `content`, `metadata`, `timestamp` and `id`.
//! Other programs write and read these hashes too, so writing is strict and reading is
//! lenient: any hash that has `content` is a fact.

use crate::ports::{EntryRef, Hash};
use crate::timestamp::Timestamp;
use crate::{Error, Result, limits, metadata};

/// The field that holds a fact's text.
pub const CONTENT: &str = "content";
/// The field that holds a fact's metadata, as JSON text.
pub const METADATA: &str = "metadata";
/// The field that holds the time when a fact was first stored.
pub const TIMESTAMP: &str = "timestamp";
/// The field that repeats the id in the key.
pub const ID: &str = "id";

/// A fact before it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// The id chosen by the caller, or `None` to generate one.
    pub id: Option<String>,
    /// The statement itself.
    pub text: String,
    /// A JSON object as text.
    pub metadata: String,
    /// When the fact was first stored, or `None` for now.
    pub timestamp: Option<String>,
}

impl Draft {
    /// A draft of `text` with a generated id, no metadata and the current time.
    pub fn new(text: impl Into<String>) -> Self {
        Self { id: None, text: text.into(), metadata: "{}".into(), timestamp: None }
    }
}

/// A stored fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// The id in its storage key.
    pub id: String,
    /// The statement itself.
    pub text: String,
    /// A JSON object as text.
    pub metadata: String,
    /// When it was first stored, as written in the hash; empty if it is not there.
    pub timestamp: String,
}

impl Fact {
    /// Converts the hash stored under `id`, or returns `None` if it is not a fact.
    ///
    /// The hash's own `id` field is ignored: every other operation uses the id in the key.
    pub fn from_hash(id: &str, mut hash: Hash) -> Option<Self> {
        let text = hash.take(CONTENT)?;
        let metadata = metadata::from_hash(hash.take(METADATA));
        let timestamp = hash.take(TIMESTAMP).unwrap_or_default();
        Some(Self { id: id.into(), text, metadata, timestamp })
    }

    /// What the index needs of it, with the result of
    /// [`indexed_metadata`](Self::indexed_metadata).
    pub(crate) fn entry<'a>(&'a self, metadata: &'a str) -> EntryRef<'a> {
        EntryRef { id: &self.id, text: &self.text, metadata }
    }

    /// What filters apply to: the metadata, and the fact's own time.
    pub(crate) fn indexed_metadata(&self) -> String {
        metadata::with_time(&self.metadata, &self.timestamp)
    }

    /// Approximate size in a call's arguments or result, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        // The id is both in the key and in the hash.
        let strings = 2 * self.id.len() + self.text.len() + self.metadata.len();
        strings + self.timestamp.len() + limits::FACT_OVERHEAD_BYTES
    }

    /// Whether both have the same text and equal metadata.
    pub(crate) fn has_same_content_as(&self, other: &Fact) -> bool {
        self.text == other.text && metadata::same(&self.metadata, &other.metadata)
    }
}

/// What the index needs of one fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The fact's id.
    pub id: String,
    /// The text that is embedded and whose words are indexed.
    pub text: String,
    /// The JSON object that filters apply to, as text.
    pub metadata: String,
}

impl From<Fact> for Entry {
    fn from(fact: Fact) -> Self {
        let metadata = fact.indexed_metadata();
        Self { id: fact.id, text: fact.text, metadata }
    }
}

/// A change to one fact; `None` leaves that field unchanged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// The new text.
    pub text: Option<String>,
    /// Replaces the whole metadata object.
    pub metadata: Option<String>,
}

/// A draft that was stored or a fact that was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The fact's id.
    pub id: String,
    /// Whether it can be found by meaning already.
    pub indexed: bool,
}

/// One page of a listing, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FactPage {
    /// May be fewer than requested, even none, before the last page.
    pub facts: Vec<Fact>,
    /// Where the next page starts. Opaque; `None` on the last page.
    pub cursor: Option<String>,
}

/// Checks the length of a text and that it is not blank.
///
/// # Errors
/// [`Error::TooLarge`] or [`Error::Invalid`].
pub fn validate_text(text: &str) -> Result<()> {
    limits::FACT_TEXT_BYTES.check(text.len())?;
    if text.trim().is_empty() {
        return Err(Error::invalid("/text", "the text is blank; say something"));
    }
    Ok(())
}

/// Checks an id: 1 to 128 bytes of ASCII letters, digits, `.`, `_` and `-`, starting with a
/// letter, a digit or `_`.
///
/// # Errors
/// [`Error::Invalid`] if it breaks the rule.
pub fn validate_id(id: &str) -> Result<()> {
    let valid_start = id.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    let valid_bytes =
        id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    if valid_start && valid_bytes && id.len() <= limits::FACT_ID_BYTES {
        return Ok(());
    }
    let rule = "an id must be 1 to 128 ASCII letters, digits, '.', '_' and '-', and must not \
                start with '.' or '-'";
    Err(Error::invalid("/fact_id", rule))
}

/// Parses the timestamp of a draft.
///
/// # Errors
/// [`Error::Invalid`] if it is not RFC 3339.
pub fn parse_timestamp(text: &str) -> Result<Timestamp> {
    let rule = "a timestamp must be RFC 3339, such as 2026-11-23T17:48:43.123456+00:00";
    Timestamp::parse(text).ok_or_else(|| Error::invalid("/timestamp", rule))
}
