//! What search reads: the facts of one tenant by meaning, by words and by metadata.
//!
//! An index is a cache of storage. It is rebuilt when the host starts and kept in step by
//! upserts and removals that carry the fact's revision, so that they may come late, twice or
//! out of order.
//!
//! [`FactIndex`] is what the host asks; [`Index`] answers it in memory: exactly, and with no work
//! put off, so an acknowledged upsert is in the next answer. That costs about 3 KB a fact of 50
//! words and 384 dimensions, and a search of 100,000 facts costs a few milliseconds; for tenants
//! far beyond that, another implementation can take its place.
//!
//! In reading order:
//! - `index`: the lock, and what replaces what. `removals`: what must not come back.
//! - `vectors`: the nearest facts. `unit`: a vector and its 8-bit copy. `kernels`: the products.
//! - `words`: the matching facts. `analysis`: the words of a text.
//! - `filter`: the language of filters. `columns`: the facts that pass one. `metadata`, `number`.
//! - `inverted`: from words, and from metadata, to facts. `best`: the best few of many.
//! - `limits`: every number.

mod analysis;
mod best;
mod columns;
mod error;
pub mod filter;
mod index;
mod inverted;
mod kernels;
pub mod limits;
mod metadata;
mod number;
mod removals;
mod unit;
mod vectors;
mod words;

use std::sync::Arc;

pub use error::IndexError;
pub use filter::{Filter, FilterError};
pub use index::Index;
pub use metadata::Metadata;

/// An index of one tenant's facts. Every method may be called from many threads at once.
pub trait FactIndex: Send + Sync {
    /// Makes a fact findable: by words at once, and by meaning if there is a vector.
    ///
    /// Says whether it changed anything. An entry is ignored when its revision is older than
    /// what is known of the id, a removal included. One of the same revision can only add or
    /// replace the vector, and only with the same text. A newer one replaces all; without a
    /// vector it keeps the old one if the text is the same, and drops it if not.
    ///
    /// # Errors
    /// When the vector or the metadata is unusable; nothing is changed then.
    fn upsert(&self, entry: &Entry<'_>) -> Result<bool, IndexError>;

    /// Makes a fact not findable, unless it is newer than `revision`, and remembers that for a
    /// while (see [`limits::REMOVALS`]). Says whether it was there.
    ///
    /// # Errors
    /// None in memory.
    fn remove(&self, id: &str, revision: u64) -> Result<bool, IndexError>;

    /// The revision that is there of a fact; `None` if it is not there.
    fn revision(&self, id: &str) -> Option<u64>;

    /// Whether a fact can be found by meaning.
    fn has_vector(&self, id: &str) -> bool;

    /// The facts with the highest cosine to `vector`, at most `limit`, best first, and by id
    /// where they are equal. Exact: every vector that passes `filter` is compared.
    ///
    /// # Errors
    /// When the vector is unusable or has other dimensions than the facts' vectors.
    fn nearest(
        &self,
        vector: &[f32],
        filter: Option<&Filter>,
        limit: usize,
    ) -> Result<Vec<Candidate>, IndexError>;

    /// The facts that share words with `text`, at most `limit`, ranked by BM25, best first, and
    /// by id where they are equal.
    ///
    /// # Errors
    /// None in memory.
    fn matching(
        &self,
        text: &str,
        filter: Option<&Filter>,
        limit: usize,
    ) -> Result<Vec<Candidate>, IndexError>;

    /// How much there is.
    fn sizes(&self) -> Sizes;
}

/// What search reads of one fact.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// The fact's id.
    pub id: &'a str,
    /// Larger is newer; compared with other revisions of the same id only.
    pub revision: u64,
    /// The text whose words are found.
    pub text: &'a str,
    /// A JSON object as text: what filters look at.
    pub metadata: &'a str,
    /// The text's embedding, if it is there already. Scaled to length one here.
    pub vector: Option<&'a [f32]>,
}

/// A fact that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The fact's id.
    pub id: Arc<str>,
    /// Cosine similarity or BM25; larger is better.
    pub score: f32,
}

/// How much an index holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Facts.
    pub facts: usize,
    /// Facts that have a vector.
    pub vectors: usize,
    /// Different words.
    pub words: usize,
    /// Pairs of a fact and a word in it, or of a fact and a member of its metadata.
    pub postings: usize,
    /// Removals that are remembered.
    pub removals: usize,
    /// About the memory all of it takes.
    pub bytes: usize,
}
