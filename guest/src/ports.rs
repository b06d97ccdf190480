//! What the logic needs from outside: the imports of the contract, in plain Rust.
//!
//! The ports are synchronous: the host suspends a guest that waits. They belong to one
//! tenant, so no method names one. The contract's prose in `wit/host.wit` is theirs too;
//! here stands only what a native implementation must know besides.

use crate::Result;

/// All ports together, whichever types implement them.
pub trait Ports: Storage + Embedder + Index + Clock + Ids + Budget + Log {}

impl<T: Storage + Embedder + Index + Clock + Ids + Budget + Log> Ports for T {}

/// The tenant's facts, as hashes.
pub trait Storage {
    /// The hashes of the first of `ids`, in their order; `None` where there is none. At
    /// most 100 ids; the answer may be cut short, but not to nothing.
    fn read(&self, ids: &[&str]) -> Result<Vec<Option<Hash>>>;

    /// Ids after `cursor`, newest first, at most `limit` (1 to 1,000).
    fn page(&self, cursor: Option<&str>, limit: u32) -> Result<IdPage>;

    /// Performs at most 100 writes, each on its own; `true` where one happened.
    fn write(&self, writes: &[HashWrite<'_>]) -> Result<Vec<bool>>;

    /// Removes one fact; `false` if it was not there.
    fn delete(&self, id: &str) -> Result<bool>;
}

/// The hash that holds one fact: names and values, in no particular order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hash {
    /// Names and values.
    pub fields: Vec<(String, String)>,
}

impl Hash {
    /// The value of the first field called `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|field| field.0 == name).map(|field| field.1.as_str())
    }

    /// The same, and the field is empty afterwards.
    pub fn take(&mut self, name: &str) -> Option<String> {
        let field = self.fields.iter_mut().find(|field| field.0 == name)?;
        Some(std::mem::take(&mut field.1))
    }
}

/// Ids of facts and where to go on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IdPage {
    /// Newest first.
    pub ids: Vec<String>,
    /// Opaque, and marks the end of this page only; `None` after the last one.
    pub cursor: Option<String>,
}

/// One fact's write: all of its fields or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashWrite<'a> {
    /// The fact.
    pub id: &'a str,
    /// Names and values to set; others stay as they are.
    pub fields: Vec<(&'a str, &'a str)>,
    /// When the write may happen.
    pub condition: Condition,
    /// The place of a new fact: microseconds since 1970 in UTC; larger is newer.
    pub order: u64,
}

/// When a write may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// Only if there is no such fact.
    Absent,
    /// Only if there is one.
    Present,
}

/// Texts in, vectors out.
pub trait Embedder {
    /// The vectors of at most 100 texts, in their order.
    fn embed(&self, texts: &[&str], purpose: Purpose) -> Result<Embeddings>;
}

/// What texts are embedded for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Someone waits for the answer.
    Query,
    /// The fact is durable already; the wait is short.
    Document,
}

/// Vectors of length one, laid end to end.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Embeddings {
    /// The space they live in.
    pub profile: String,
    /// Numbers in each vector.
    pub dimensions: u32,
    /// All numbers, in the order of the texts.
    pub values: Vec<f32>,
}

/// What search reads.
pub trait Index {
    /// The facts nearest to the one vector in `target`, best first.
    fn nearest(
        &self,
        target: &Embeddings,
        filter: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Candidate>>;

    /// The facts that share words with `text`, best first.
    fn matching(&self, text: &str, filter: Option<&str>, limit: u32) -> Result<Vec<Candidate>>;

    /// Makes at most 100 facts findable, by meaning too if there are vectors.
    fn upsert(&self, entries: &[EntryRef<'_>], vectors: Option<&Embeddings>) -> Result<()>;

    /// Makes facts not findable, whether they were or not.
    fn remove(&self, ids: &[&str]) -> Result<()>;
}

/// A fact that an index found.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The fact.
    pub id: String,
    /// Cosine similarity or BM25; larger is better.
    pub score: f32,
}

/// What search is to read of one fact, borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryRef<'a> {
    /// The fact.
    pub id: &'a str,
    /// The text whose meaning and words are indexed.
    pub text: &'a str,
    /// The JSON object that filters look at, as text.
    pub metadata: &'a str,
}

/// The time of day.
pub trait Clock {
    /// Microseconds since 1970 in UTC; negative before.
    fn now(&self) -> i64;
}

/// Names for facts that come without one.
pub trait Ids {
    /// An id that no other fact has.
    fn fresh(&self) -> String;
}

/// What is left of this call.
pub trait Budget {
    /// A snapshot.
    fn remaining(&self) -> Allowance;
}

/// What is left of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Until the deadline.
    pub milliseconds: u64,
    /// Work, in wasmtime's fuel.
    pub fuel: u64,
    /// Calls of imported functions.
    pub host_calls: u32,
    /// The most that one argument list or one result may take.
    pub bytes: u64,
}

/// Lines for the operator.
pub trait Log {
    /// Writes one line, which must not say what a fact or a query says.
    fn log(&self, level: Level, message: &str);
}

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// For someone who looks for a cause.
    Debug,
    /// Normal, worth knowing.
    Info,
    /// Someone should look.
    Warn,
    /// Something does not work.
    Error,
}

/// The clock of this process, or the one WASI lends.
pub fn system_now() -> i64 {
    use std::time::{SystemTime, UNIX_EPOCH};
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_micros()).map_or(i64::MIN, |at| -at),
    }
}

/// A random id: UUID version 4.
pub fn random_id() -> String {
    uuid::Uuid::new_v4().to_string()
}
