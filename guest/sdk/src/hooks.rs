//! The hooks, one trait each.
//!
//! A single trait with default methods would not work: the host learns a component's hooks
//! from its exports, and the macro could not tell which methods were overridden.

use crate::{Draft, Fact, Hit, Query, Ranked, Refusal};

/// Runs before a draft is stored: can change, split, enrich or reject it.
pub trait OnStore {
    /// Returns the drafts to store instead of `draft`: usually one, at most 100.
    ///
    /// An empty list stores nothing and counts as a failure; return a [`Refusal`] with a
    /// reason instead. A store may be repeated with the same id, so the same draft should
    /// always give the same drafts.
    ///
    /// # Errors
    /// A [`Refusal`] rejects the write; its message is shown to the caller.
    fn on_store(draft: Draft) -> Result<Vec<Draft>, Refusal>;
}

/// Runs before a query is answered: can rewrite it, add a filter or reject it.
pub trait OnQuery {
    /// Returns the query to answer instead of `query`.
    ///
    /// # Errors
    /// A [`Refusal`] rejects the query; its message is shown to the caller.
    fn on_query(query: Query) -> Result<Query, Refusal>;
}

/// Runs before facts are returned by get, list, search or export: can redact or drop them.
pub trait OnRead {
    /// Returns the facts that the caller may see, redacted where necessary.
    ///
    /// Facts that were not in `facts` are dropped. The host keeps its own order.
    fn on_read(facts: Vec<Fact>) -> Vec<Fact>;
}

/// Runs after a search: can reorder the hits, change their scores and drop some.
pub trait Rerank {
    /// Returns the hits to keep, in any order: the host sorts them by score.
    ///
    /// Ids that were not in `hits` are dropped, and so are duplicates after the first.
    /// Scores must be finite.
    fn rerank(query: &Query, hits: Vec<Hit>) -> Vec<Ranked>;
}
