//! What travels between the host and an extension.

use serde_json::Value;

use crate::Metadata;

/// A fact before it is stored.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Draft {
    /// The id the caller chose, or `None` for a fresh one: 1 to 128 bytes of ASCII
    /// letters, digits, `.`, `_` and `-`, beginning with a letter, a digit or `_`.
    pub id: Option<String>,
    /// What the fact says: at most 256 KiB, not blank.
    pub text: String,
    /// What else is known of it.
    pub metadata: Metadata,
    /// When the fact was first stored, in RFC 3339, or `None` for now. Set when facts move
    /// from one knowledge base to another.
    pub timestamp: Option<String>,
}

impl Draft {
    /// A draft that says `text`, without an id and without metadata.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// The same under this id.
    #[must_use]
    pub fn with_id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// The same with one more field of metadata.
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
    /// What it says.
    pub text: String,
    /// What else is known of it.
    pub metadata: Metadata,
    /// When it was first stored, in RFC 3339 with an offset. A fact that another program
    /// wrote may carry a time without one, which counts as UTC.
    pub timestamp: String,
}

impl Fact {
    /// A fact for tests: without metadata, stored when 1970 began.
    pub fn new(id: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            text: text.into(),
            metadata: Metadata::default(),
            timestamp: "1970-01-01T00:00:00+00:00".into(),
        }
    }

    /// The same with one more field of metadata.
    #[must_use]
    pub fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.metadata.set(field, value);
        self
    }
}

/// Which index a search asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Both, and their scores are fused.
    #[default]
    Hybrid,
    /// By meaning only.
    Vector,
    /// By words only.
    Text,
}

/// How the two halves of a hybrid search become one order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fusion {
    /// Scores, standardised within each half and added with weights.
    #[default]
    Score,
    /// Ranks, by reciprocal rank fusion with k = 60.
    Rank,
}

/// What is searched for.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// In the caller's words.
    pub text: String,
    /// How many hits at most, 1 to 1,000.
    pub top_k: u32,
    /// Which index is asked.
    pub mode: Mode,
    /// How two halves become one order.
    pub fusion: Fusion,
    /// A filter over metadata as JSON text, or `None` for no filter. See
    /// [`require`](Self::require).
    pub filter: Option<String>,
    /// Whether each hit carries its explanation.
    pub explain: bool,
}

impl Query {
    /// A query for the best ten, by words and by meaning.
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

    /// Lets through only what passes `filter` too, whatever the caller's own filter says.
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
            // Joined as text, so that the caller's filter stays as it was written.
            Some(theirs) => format!("{{\"AND\":[{theirs},{filter}]}}"),
            None => filter.to_string(),
        });
    }
}

/// What one half of a search said of one hit.
#[derive(Clone, Debug, PartialEq)]
pub struct Leg {
    /// `vector` or `text`.
    pub name: String,
    /// 1 is best.
    pub rank: u32,
    /// As the index gave it: cosine similarity for `vector`, BM25 for `text`.
    pub score: f64,
    /// What it added to the hit's score.
    pub share: f64,
}

/// Why a hit stands where it stands: its legs, at most one of each name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Explanation {
    /// What each half of the search said.
    pub legs: Vec<Leg>,
}

/// A fact that answers a query.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// The fact.
    pub fact: Fact,
    /// Finite; larger is better; comparable within one answer only, and may be negative.
    pub score: f64,
    /// Why it stands where it stands, if the query asked.
    pub explanation: Option<Explanation>,
}

impl Hit {
    /// A hit without an explanation.
    pub fn new(fact: Fact, score: f64) -> Self {
        Self { fact, score, explanation: None }
    }
}

/// A fact's place in a new order.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranked {
    /// The fact's id.
    pub id: String,
    /// Must be finite.
    pub score: f64,
}

/// Why an extension does not let a draft or a query through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Shown to the caller.
    pub message: String,
}

impl Refusal {
    /// A refusal with a message for the caller: what is wrong and what to do.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}

impl<T: Into<String>> From<T> for Refusal {
    fn from(message: T) -> Self {
        Self::new(message)
    }
}

/// What is left of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Until the deadline.
    pub milliseconds: u64,
    /// Work, in wasmtime's fuel.
    pub fuel: u64,
    /// Calls of the host.
    pub host_calls: u32,
    /// The most that one argument list or one result may take, in bytes.
    pub bytes: u64,
}

/// Vectors, laid end to end, each of length one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Embeddings {
    /// The space the vectors live in. Vectors of different profiles are never compared.
    pub profile: String,
    /// Numbers in one vector.
    pub dimensions: u32,
    /// All of them: vectors times dimensions.
    pub values: Vec<f32>,
}

impl Embeddings {
    /// The vectors one by one, in the order of their texts.
    pub fn vectors(&self) -> impl Iterator<Item = &[f32]> {
        self.values.chunks(self.dimensions.max(1) as usize)
    }
}

/// A fact that an index found.
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

/// Ids, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdPage {
    /// The ids of this page.
    pub ids: Vec<String>,
    /// Where the next page begins; `None` after the last.
    pub cursor: Option<String>,
}
