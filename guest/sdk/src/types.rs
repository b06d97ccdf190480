//! The types that the host and an extension exchange.

use std::time::Duration;

use serde_json::Value;

use crate::Metadata;

/// A fact before it is stored.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Draft {
    /// The id chosen by the caller, or `None` to generate one: 1 to 128 bytes of ASCII
    /// letters, digits, `.`, `_` and `-`, starting with a letter, a digit or `_`.
    pub id: Option<String>,
    /// The statement itself: at most 256 KiB of UTF-8, not blank.
    pub text: String,
    /// Additional information as a JSON object.
    pub metadata: Metadata,
    /// When the fact was first stored, in RFC 3339, or `None` for now. Set when facts move
    /// from one knowledge base to another.
    pub timestamp: Option<String>,
}

impl Draft {
    /// A draft of `text`, without an id and without metadata.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// Sets the id.
    #[must_use]
    pub fn with_id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Sets a field of the metadata.
    #[must_use]
    pub fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.metadata.set(field, value);
        self
    }
}

/// A stored fact.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fact {
    /// Its id.
    pub id: String,
    /// The statement itself.
    pub text: String,
    /// Additional information as a JSON object.
    pub metadata: Metadata,
    /// When it was first stored, in RFC 3339 with an offset. A fact that was written by
    /// another program may have a time without an offset, which counts as UTC.
    pub timestamp: String,
}

impl Fact {
    /// A fact for tests: without metadata, stored at the start of 1970.
    pub fn new(id: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            text: text.into(),
            metadata: Metadata::default(),
            timestamp: "1970-01-01T00:00:00+00:00".into(),
        }
    }

    /// Sets a field of the metadata.
    #[must_use]
    pub fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.metadata.set(field, value);
        self
    }
}

/// Which retrievers a search asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Both, merging their results.
    #[default]
    Hybrid,
    /// By meaning only.
    Vector,
    /// By words only.
    Text,
}

/// How a hybrid search merges the results of its two retrievers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fusion {
    /// By score: standardised per retriever, then added with weights.
    #[default]
    Score,
    /// By rank: reciprocal rank fusion with k = 60.
    Rank,
}

/// A search request.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// The query in natural language.
    pub text: String,
    /// Maximum number of hits, 1 to 1,000.
    pub top_k: u32,
    /// Which retrievers are asked.
    pub mode: Mode,
    /// How the results of two retrievers are merged.
    pub fusion: Fusion,
    /// A filter over metadata as JSON text, or `None` for no filter. See
    /// [`require`](Self::require).
    pub filter: Option<String>,
    /// Whether each hit includes an explanation of its score.
    pub explain: bool,
}

impl Query {
    /// A hybrid query for the ten best hits.
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            top_k: 10,
            mode: Mode::default(),
            fusion: Fusion::default(),
            filter: None,
            explain: false,
        }
    }

    /// Restricts the query to facts that also pass `filter`, in addition to the caller's own
    /// filter.
    ///
    /// ```
    /// use kenning_extension::{Query, json::json};
    /// let mut query = Query::new("tea");
    /// query.require(json!({"visibility": "public"}));
    /// assert_eq!(query.filter.as_deref(), Some(r#"{"visibility":"public"}"#));
    /// query.require(json!({"year": {"gte": 2020}}));
    /// let both = r#"{"AND":[{"visibility":"public"},{"year":{"gte":2020}}]}"#;
    /// assert_eq!(query.filter.as_deref(), Some(both));
    /// ```
    pub fn require(&mut self, filter: Value) {
        self.filter = Some(match self.filter.take() {
            // Joined as text, so that the caller's filter is kept unchanged.
            Some(theirs) => format!("{{\"AND\":[{theirs},{filter}]}}"),
            None => filter.to_string(),
        });
    }
}

/// What one retriever contributed to a hit's score. Named as in the contract.
#[derive(Clone, Debug, PartialEq)]
pub struct Leg {
    /// `vector` or `text`.
    pub name: String,
    /// The fact's rank in the retriever's list; 1 is best.
    pub rank: u32,
    /// The score that the index returned: cosine similarity for `vector`, BM25 for `text`.
    pub score: f64,
    /// What this adds to the hit's score.
    pub share: f64,
}

/// How a hit's score came about.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Explanation {
    /// One leg for each retriever that returned the fact.
    pub legs: Vec<Leg>,
}

/// A fact that answers a query.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// The fact.
    pub fact: Fact,
    /// Finite; larger is better; comparable within one answer only, and may be negative.
    pub score: f64,
    /// How the score came about, if the query asked for it.
    pub explanation: Option<Explanation>,
}

impl Hit {
    /// A hit without an explanation.
    pub fn new(fact: Fact, score: f64) -> Self {
        Self { fact, score, explanation: None }
    }
}

/// A hit's new score.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranked {
    /// The fact's id.
    pub id: String,
    /// Finite; larger is better.
    pub score: f64,
}

/// Why an extension rejects a draft or a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Shown to the caller.
    pub message: String,
}

impl Refusal {
    /// A refusal with a message for the caller: what is wrong and how to fix it.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}

impl<T: Into<String>> From<T> for Refusal {
    fn from(message: T) -> Self {
        Self::new(message)
    }
}

/// Why a fact is not deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeletionRefusal {
    /// Shown to the caller.
    pub message: String,
    /// For programs, for example `legal-hold`: at most 64 bytes.
    pub code: Option<String>,
    /// A JSON pointer into the fact, for example `/metadata/hold`: at most 256 bytes.
    pub pointer: Option<String>,
}

impl DeletionRefusal {
    /// A refusal with a message for the caller.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), ..Self::default() }
    }

    /// The same with a code for programs.
    #[must_use]
    pub fn with_code(self, code: impl Into<String>) -> Self {
        Self { code: Some(code.into()), ..self }
    }

    /// The same with a pointer to what speaks against it.
    #[must_use]
    pub fn at(self, pointer: impl Into<String>) -> Self {
        Self { pointer: Some(pointer.into()), ..self }
    }
}

/// What happened to a fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// It is new.
    Stored,
    /// It was written again.
    Changed,
    /// It is gone.
    Deleted,
    /// Changes are not known any more. Read what you depend on again.
    Missed,
}

/// A change of a fact.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The fact's id; empty for [`ChangeKind::Missed`].
    pub id: String,
    /// What happened.
    pub kind: ChangeKind,
    /// The number of the change. Later changes of the tenant have larger ones.
    pub revision: u64,
    /// The fact as it is now, which may be later than this change; `None` if there is none any
    /// more, or it cannot be read.
    pub fact: Option<Fact>,
    /// How often this change was told to this extension in this run, from 1.
    pub attempt: u32,
}

/// What a call may still use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Time until the deadline.
    pub milliseconds: u64,
    /// Computation, in units of wasmtime's fuel.
    pub fuel: u64,
    /// Number of calls to the host.
    pub host_calls: u32,
    /// Maximum size of one argument list or one result, in bytes.
    pub bytes: u64,
}

/// Concatenated unit vectors.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Embeddings {
    /// Identifies the embedding space. Vectors of different profiles are never compared.
    pub profile: String,
    /// Number of components of each vector.
    pub dimensions: u32,
    /// `texts × dimensions` components, in the order of the texts.
    pub values: Vec<f32>,
}

impl Embeddings {
    /// The individual vectors, in the order of the texts.
    pub fn vectors(&self) -> impl Iterator<Item = &[f32]> {
        self.values.chunks(self.dimensions.max(1) as usize)
    }
}

/// A fact returned by an index.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// The fact's id.
    pub id: String,
    /// Cosine similarity for `nearest`, BM25 for `matching`; larger is better.
    pub score: f32,
}

/// The hash that holds one fact.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hash {
    /// Names and values, in no particular order.
    pub fields: Vec<(String, String)>,
}

impl Hash {
    /// The value of one field. Kenning's own logic writes `content`, `metadata`,
    /// `timestamp` and `id`.
    pub fn get(&self, name: &str) -> Option<&str> {
        let field = self.fields.iter().find(|(field, _)| field == name);
        field.map(|(_, value)| value.as_str())
    }
}

/// One page of ids, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdPage {
    /// The ids of this page.
    pub ids: Vec<String>,
    /// Where the next page starts. Opaque; `None` on the last page.
    pub cursor: Option<String>,
}

/// A value in the extension's state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateEntry {
    /// Any bytes.
    pub value: Vec<u8>,
    /// Differs from the version of every earlier value of this key.
    pub version: u64,
    /// How long until the key expires; `None` if it does not.
    pub expires_in: Option<Duration>,
}

impl StateEntry {
    /// The value as text; `None` if it is not UTF-8.
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.value).ok()
    }
}

/// One page of keys, in the order of their bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyPage {
    /// The keys of this page. There may be none and still be a cursor.
    pub keys: Vec<Vec<u8>>,
    /// Where the next page starts; `None` on the last page.
    pub cursor: Option<Vec<u8>>,
}

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Caller {
    /// The id of the key that the request came with; `None` on a server without keys, and for the
    /// host itself.
    pub key_id: Option<String>,
    /// What the operator says of the holder of this key: a JSON object, empty if nothing.
    pub attributes: Metadata,
    /// Whom the key stands for, if that is known.
    pub subject: Option<String>,
    /// What the key is limited to; empty if it is not limited.
    pub scopes: Vec<String>,
}

impl Caller {
    /// A caller for tests, with the key of this id.
    pub fn new(key_id: impl Into<String>) -> Self {
        Self { key_id: Some(key_id.into()), ..Self::default() }
    }

    /// Sets an attribute, as an operator does.
    #[must_use]
    pub fn with(mut self, attribute: &str, value: impl Into<Value>) -> Self {
        self.attributes.set(attribute, value);
        self
    }
}

/// What is asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// What the caller asked the host to do.
    pub verb: Verb,
    /// The id under which the request is in the host's log; `None` if the host itself asks.
    pub id: Option<String>,
    /// Whether this is a recorded request that runs again to judge a new component. Nothing of it
    /// takes effect.
    pub is_replay: bool,
}

/// What a caller asked the host to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verb {
    /// Store drafts.
    Store,
    /// Store the lines of an import.
    Import,
    /// Change a fact that exists.
    Update,
    /// Delete facts.
    Delete,
    /// Read one fact.
    Get,
    /// List facts, or count them.
    List,
    /// Search.
    Search,
    /// Read all facts.
    Export,
    /// Follow changes.
    Follow,
    /// The host itself asks.
    #[default]
    Maintain,
}
