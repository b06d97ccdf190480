//! What the logic needs from outside: the imports of the contract as Rust traits.
//!
//! The ports are synchronous: the host suspends a guest that waits. They belong to one
//! tenant, so no method takes one. The documentation in `wit/host.wit` applies here as
//! well; the comments below repeat what a native implementation must know.

use crate::Result;

/// All ports together.
pub trait Ports: Storage + Embedder + Index + Clock + Ids + Budget + Log {}

impl<T: Storage + Embedder + Index + Clock + Ids + Budget + Log> Ports for T {}

/// The tenant's facts, as hashes.
pub trait Storage {
    /// Reads the hashes of `ids`, at most 100, in order; `None` where there is none. The
    /// result may be truncated, but holds at least one element if `ids` does.
    ///
    /// # Errors
    /// If storage fails, or if the first hash is too large to be returned.
    fn read(&self, ids: &[&str]) -> Result<Vec<Option<Hash>>>;

    /// Lists ids after `cursor`, newest first, at most `limit` (1 to 1,000).
    ///
    /// # Errors
    /// If storage fails or the cursor is invalid.
    fn page(&self, cursor: Option<&str>, limit: u32) -> Result<IdPage>;

    /// Performs at most 100 independent writes; `true` for each whose condition held.
    ///
    /// # Errors
    /// If storage fails. After [`Error::Timeout`](crate::Error::Timeout) any of the writes
    /// may have happened.
    fn write(&self, writes: &[HashWrite<'_>]) -> Result<Vec<bool>>;

    /// Deletes one fact; `false` if there is none.
    ///
    /// # Errors
    /// If storage fails.
    fn delete(&self, id: &str) -> Result<bool>;
}

/// The hash that holds one fact.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hash {
    /// Names and values, in no particular order.
    pub fields: Vec<(String, String)>,
}

impl Hash {
    /// The value of the first field named `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|field| field.0 == name).map(|field| field.1.as_str())
    }

    /// Like [`get`](Self::get), but moves the value out and leaves an empty one.
    pub fn take(&mut self, name: &str) -> Option<String> {
        let field = self.fields.iter_mut().find(|field| field.0 == name)?;
        Some(std::mem::take(&mut field.1))
    }
}

/// One page of ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IdPage {
    /// Newest first.
    pub ids: Vec<String>,
    /// The end of this page. Opaque; `None` on the last page.
    pub cursor: Option<String>,
}

/// An atomic write to one fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashWrite<'a> {
    /// The fact's id.
    pub id: &'a str,
    /// Names and values to set; other fields stay unchanged.
    pub fields: Vec<(&'a str, &'a str)>,
    /// The condition under which to write.
    pub condition: Condition,
    /// Position of a new fact in listings: microseconds since 1970 in UTC; larger is newer.
    pub order: u64,
}

/// The condition under which a write happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// Only if there is no such fact.
    Absent,
    /// Only if there is one.
    Present,
}

/// Turns texts into vectors.
pub trait Embedder {
    /// Embeds at most 100 texts. The vectors are in the order of the texts.
    ///
    /// # Errors
    /// If the embedder fails or times out.
    fn embed(&self, texts: &[&str], purpose: Purpose) -> Result<Embeddings>;
}

/// What texts are embedded for, which determines the priority and the time-out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A query that a user waits for: long time-out.
    Query,
    /// A fact that is already durable: short time-out.
    Document,
}

/// Concatenated unit vectors.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Embeddings {
    /// Identifies the embedding space, including the model and its precision.
    pub profile: String,
    /// Number of components of each vector.
    pub dimensions: u32,
    /// `texts × dimensions` components, in the order of the texts.
    pub values: Vec<f32>,
}

/// The tenant's search index.
pub trait Index {
    /// The facts nearest to the single vector in `target`, best first.
    ///
    /// # Errors
    /// If the index fails, or rejects the filter or the vector's profile.
    fn nearest(
        &self,
        target: &Embeddings,
        filter: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Candidate>>;

    /// The facts that share words with `text`, best first.
    ///
    /// # Errors
    /// If the index fails or rejects the filter.
    fn matching(&self, text: &str, filter: Option<&str>, limit: u32) -> Result<Vec<Candidate>>;

    /// Checks the filter of a query, and tells the share of the tokens of its text that the
    /// embedder's model knows, 0 to 1; `None` if that cannot be told.
    ///
    /// # Errors
    /// If the index rejects the filter.
    fn examine(&self, text: &str, filter: Option<&str>) -> Result<Option<f32>>;

    /// The facts that [`nearest`](Self::nearest) and [`matching`](Self::matching) find, at most
    /// `limit` each, with what both know of each. Without a target, only words are searched for.
    ///
    /// # Errors
    /// If the index fails, or rejects the filter or the vector's profile.
    fn retrieve(
        &self,
        text: &str,
        target: Option<&Embeddings>,
        filter: Option<&str>,
        limit: u32,
    ) -> Result<Retrieved>;

    /// Indexes at most 100 facts: by words, and by meaning if there are `vectors`, one per
    /// entry.
    ///
    /// # Errors
    /// If the index fails or rejects the vectors' profile.
    fn upsert(&self, entries: &[EntryRef<'_>], vectors: Option<&Embeddings>) -> Result<()>;

    /// Removes facts from the index. Unknown ids are ignored.
    ///
    /// # Errors
    /// If the index fails.
    fn remove(&self, ids: &[&str]) -> Result<()>;
}

/// A fact returned by the index.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The fact's id.
    pub id: String,
    /// Cosine similarity or BM25; larger is better.
    pub score: f32,
}

/// What the index knows of one fact, for one query.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Evidence {
    /// The fact's id.
    pub id: String,
    /// Cosine similarity; `None` if the fact or the query has no vector.
    pub similarity: Option<f32>,
    /// BM25; 0 if it shares no word with the query.
    pub words: f32,
    /// The share of the query's word weight that the fact's words cover, 0 to 1.
    pub coverage: f32,
    /// How many facts have the rarest of the query's words that this fact has; 0 if it has
    /// none of them.
    pub rarest: u32,
}

/// The best facts of either retriever.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Retrieved {
    /// In no particular order, each once.
    pub candidates: Vec<Evidence>,
    /// Number of facts that pass the filter.
    pub facts: u32,
    /// Number of facts that pass the filter and have a vector.
    pub vectors: u32,
    /// A bound on the BM25 score of any text for this query, also by words that no fact has.
    pub attainable: f32,
}

/// What the index needs of one fact, borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryRef<'a> {
    /// The fact's id.
    pub id: &'a str,
    /// The text that is embedded and whose words are indexed.
    pub text: &'a str,
    /// The JSON object that filters apply to, as text.
    pub metadata: &'a str,
}

/// The wall clock.
pub trait Clock {
    /// Microseconds since 1970 in UTC; negative for earlier times.
    fn now(&self) -> i64;
}

/// Ids for facts that are stored without one.
pub trait Ids {
    /// Generates a unique id.
    fn fresh(&self) -> String;
}

/// What the current call may still use.
pub trait Budget {
    /// A snapshot of what is left.
    fn remaining(&self) -> Allowance;
}

/// What a call may still use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Time until the deadline.
    pub milliseconds: u64,
    /// Computation, in units of wasmtime's fuel.
    pub fuel: u64,
    /// Number of calls to imported functions.
    pub host_calls: u32,
    /// Maximum size of one argument list or one result. Does not decrease during a call.
    pub bytes: u64,
}

/// Log output for the operator.
pub trait Log {
    /// Writes one line. It must not contain the text of a fact or a query.
    fn log(&self, level: Level, message: &str);
}

/// Severity of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Details for debugging.
    Debug,
    /// Normal operation.
    Info,
    /// Unexpected, but handled.
    Warn,
    /// A failure.
    Error,
}

/// The time of the system clock: microseconds since 1970 in UTC.
pub fn system_now() -> i64 {
    use std::time::{SystemTime, UNIX_EPOCH};
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_micros()).map_or(i64::MIN, |at| -at),
    }
}

/// Makes an id of random bits: a UUID version 4.
pub fn id_of_random(high: u64, low: u64) -> String {
    let bytes = (u128::from(high) << 64 | u128::from(low)).to_be_bytes();
    uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
}
