//! An in-memory search index over the facts of one tenant: nearest neighbours of a vector,
//! full-text search with BM25, and metadata filters for both.
//!
//! [`FactIndex`] is the interface that the host uses, and [`Index`] its in-memory implementation.
//! An [`Entry`] is what the index stores of a fact, a [`Candidate`] is a search result, and a
//! [`Filter`] restricts a search by [`Metadata`].
//!
//! The index is a cache of the storage. It is rebuilt when the host starts, and kept up to date by
//! upserts and removals that carry the fact's revision, so that they may arrive late, twice or
//! out of order.
//!
//! Results are exact, and no indexing work is deferred: a search that starts after an upsert
//! returned sees the fact. A fact of 50 words and 384 dimensions takes about 3 KB of memory, and a
//! search of 100,000 facts takes a few milliseconds. Tenants far beyond that size need another
//! implementation of [`FactIndex`].
//!
//! # Example
//! ```
//! use kenning_index::{Entry, FactIndex, Filter, Index};
//!
//! let index = Index::with_dimensions(2);
//! index.upsert(&Entry {
//!     id: "moon",
//!     revision: 1,
//!     text: "The moon orbits the earth.",
//!     metadata: r#"{"topic": "space"}"#,
//!     vector: Some(&[0.6, 0.8]),
//! })?;
//!
//! let filter = Filter::parse_text(r#"{"topic": "space"}"#)?;
//! let by_text = index.matching("orbit", Some(&filter), 10)?;
//! assert_eq!(&*by_text[0].id, "moon");
//! let by_vector = index.nearest(&[1.0, 0.0], None, 10)?;
//! assert!((by_vector[0].score - 0.6).abs() < 1e-6);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Layout
//! In reading order:
//! - `index`: the lock, and how revisions replace each other. `removals`: recent removals.
//! - `vectors`: nearest-neighbour search. `shortlist`: the rows that may be in its result.
//!   `quantized`: a vector and its 8-bit copy. `kernels`: dot products of 8-bit vectors.
//! - `bm25`: full-text search. `analysis`: the terms of a text.
//!   `languages`: the language for which the facts are analysed.
//! - [`filter`]: the filter language; its parser and evaluation. `metadata_index`: the facts that
//!   match a filter. `metadata`, `number` and `time`: parsed metadata. `fold`: case folding.
//! - `facets`: how many facts have which value. `diversity`: hits that do not repeat one another.
//!   `passages`: parts of a text with the words of a query. `places`: where those words are.
//! - `retrieve`: both searches at once, with both scores of each fact.
//! - `work`: how a search is bounded.
//! - `inverted`: the inverted index below `bm25` and `metadata_index`. `top_k`: the highest scores.
//! - [`limits`]: every limit.

#![deny(missing_docs)]

mod analysis;
mod bm25;
mod diversity;
mod error;
mod facets;
pub mod filter;
mod fold;
mod ids;
mod index;
mod inverted;
mod kernels;
mod languages;
pub mod limits;
mod metadata;
mod metadata_index;
mod number;
mod passages;
mod places;
mod quantized;
mod removals;
mod retrieve;
mod shortlist;
mod time;
mod top_k;
mod vectors;
mod work;

use std::sync::Arc;

pub use analysis::Language;
pub use diversity::Picked;
pub use error::IndexError;
pub use facets::{Facet, FacetValue};
pub use filter::{Filter, FilterError};
pub use index::Index;
pub use metadata::Metadata;
pub use passages::{PASSAGE_CHARS, PASSAGES, Passage};
pub use retrieve::{Evidence, Retrieved};
pub use time::parse_time;
pub use work::Work;

/// An index of one tenant's facts. All methods may be called concurrently.
pub trait FactIndex: Send + Sync {
    /// Adds or replaces a fact. It can be found by [`matching`](Self::matching) at once, and by
    /// [`nearest`](Self::nearest) if it has a vector.
    ///
    /// Returns whether the index changed. An entry is ignored if a newer revision of its id, or a
    /// removal of the same or a newer revision, is known. An entry of the stored revision can only
    /// add or replace the vector, and only if its text is the same. A newer entry replaces
    /// everything; if it has no vector, the stored one is kept if the text is the same and dropped
    /// otherwise.
    ///
    /// # Errors
    /// Fails if the vector or the metadata is invalid, or if the index is full. The index is
    /// unchanged then.
    fn upsert(&self, entry: &Entry<'_>) -> Result<bool, IndexError>;

    /// The same for a fact whose text has several windows: its `vector` holds the vector of each,
    /// of so many dimensions, one after another. The best one counts for the fact.
    ///
    /// # Errors
    /// As [`upsert`](Self::upsert), also if the vector ends within a window's.
    fn upsert_windows(&self, entry: &Entry<'_>, dimensions: usize) -> Result<bool, IndexError>;

    /// Removes a fact, unless the stored one is newer than `revision`, and remembers the removal
    /// for a while (see [`limits::REMOVALS`]). Returns whether a fact was removed.
    ///
    /// # Errors
    /// [`Index`] never fails.
    fn remove(&self, id: &str, revision: u64) -> Result<bool, IndexError>;

    /// The stored revision of a fact; `None` if the fact is not in the index.
    fn revision(&self, id: &str) -> Option<u64>;

    /// Whether a fact is in the index and has a vector.
    fn has_vector(&self, id: &str) -> bool;

    /// The up to `limit` facts with the highest cosine similarity to `vector`, highest first, and
    /// by id where scores are equal. The best vector of a fact counts. Facts that do not
    /// match `filter` are left out. Exact: no fact with a higher similarity is missed.
    ///
    /// `vector` has as many values as the vectors of the facts; its length does not matter.
    ///
    /// # Errors
    /// Fails if `vector` is empty, too long, not finite or all zero, or has another number of
    /// dimensions than the vectors of the facts.
    fn nearest(
        &self,
        vector: &[f32],
        filter: Option<&Filter>,
        limit: usize,
    ) -> Result<Vec<Candidate>, IndexError> {
        self.nearest_within(vector, filter, limit, &Work::unbounded())
    }

    /// The same, bounded by `work`.
    ///
    /// # Errors
    /// As [`nearest`](Self::nearest), and [`IndexError::Stopped`] if `work` was stopped.
    fn nearest_within(
        &self,
        vector: &[f32],
        filter: Option<&Filter>,
        limit: usize,
        work: &Work<'_>,
    ) -> Result<Vec<Candidate>, IndexError>;

    /// The up to `limit` facts with the highest BM25 score for `text`, highest first, and by id
    /// where scores are equal. Only facts that share a term with `text` and match `filter` are
    /// returned.
    ///
    /// # Errors
    /// [`Index`] never fails.
    fn matching(
        &self,
        text: &str,
        filter: Option<&Filter>,
        limit: usize,
    ) -> Result<Vec<Candidate>, IndexError> {
        self.matching_within(text, filter, limit, &Work::unbounded())
    }

    /// The same, bounded by `work`.
    ///
    /// # Errors
    /// As [`matching`](Self::matching), and [`IndexError::Stopped`] if `work` was stopped.
    fn matching_within(
        &self,
        text: &str,
        filter: Option<&Filter>,
        limit: usize,
        work: &Work<'_>,
    ) -> Result<Vec<Candidate>, IndexError>;

    /// The up to `limit` facts that [`nearest`](Self::nearest) finds for `vector` and the up to
    /// `limit` that [`matching`](Self::matching) finds for `text`, with what both know of each,
    /// all at one moment. Facts that alone have a word of `text` are among them, up to 16 more.
    /// Without a vector, only the text is searched for.
    ///
    /// # Errors
    /// As [`nearest_within`](Self::nearest_within).
    fn retrieve_within(
        &self,
        text: &str,
        vector: Option<&[f32]>,
        filter: Option<&Filter>,
        limit: usize,
        work: &Work<'_>,
    ) -> Result<Retrieved, IndexError>;

    /// What is known of given facts, in their order; `None` for facts that are not in the index.
    ///
    /// The scores equal those that [`nearest`](Self::nearest) and [`matching`](Self::matching) give
    /// the same facts for `vector` and `text`.
    ///
    /// # Errors
    /// As [`nearest_within`](Self::nearest_within).
    fn evidence_within(
        &self,
        text: &str,
        vector: Option<&[f32]>,
        ids: &[&str],
        work: &Work<'_>,
    ) -> Result<Vec<Option<Evidence>>, IndexError>;

    /// What the index holds, in numbers.
    fn sizes(&self) -> Sizes;
}

/// What the index stores of one fact.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// The fact's id.
    pub id: &'a str,
    /// Revision of the fact: larger is newer. Only revisions of the same id are compared.
    pub revision: u64,
    /// The text that [`FactIndex::matching`] searches.
    pub text: &'a str,
    /// The metadata that filters test, as the text of a JSON object.
    pub metadata: &'a str,
    /// The text's embedding, if it is known yet: 1 to [`limits::DIMENSIONS`] finite values of any
    /// scale. An empty one says that the text means nothing to the model: the fact counts as one
    /// with a vector, and no search by vector finds it.
    pub vector: Option<&'a [f32]>,
}

/// A fact in the result of a search.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The fact's id.
    pub id: Arc<str>,
    /// Cosine similarity (-1 to 1) or BM25 score (above 0); higher is better.
    pub score: f32,
}

/// The size of an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Number of facts.
    pub facts: usize,
    /// Number of facts that have a vector.
    pub vectors: usize,
    /// Number of vectors: one for each window of a text.
    pub windows: usize,
    /// Number of distinct terms in all texts.
    pub terms: usize,
    /// Number of postings: pairs of a fact and a term of its text or a value of its metadata.
    pub postings: usize,
    /// Number of removals that are remembered.
    pub removals: usize,
    /// Approximate memory use, in bytes.
    pub bytes: usize,
}
