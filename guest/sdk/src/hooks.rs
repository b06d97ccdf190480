//! The hooks, one small trait each.
//!
//! Not one trait with a default body for each hook: the host sees a component's hooks
//! from what it exports, and a trait cannot tell which of its bodies were overridden.

use crate::{Draft, Fact, Hit, Query, Ranked, Refusal};

/// Before a draft is stored: change it, split it, enrich it or refuse it.
pub trait OnStore {
    /// The drafts to store in place of `draft`: usually one, at most 100.
    ///
    /// An empty list stores nothing and counts as a failure: refuse and say why. A store
    /// may be repeated under its id, so the same draft should become the same drafts.
    ///
    /// # Errors
    /// A [`Refusal`] refuses the write; its message is shown to the caller.
    fn on_store(draft: Draft) -> Result<Vec<Draft>, Refusal>;
}

/// Before a query is answered: rewrite it, add a filter or refuse it.
pub trait OnQuery {
    /// The query to answer in place of `query`.
    ///
    /// # Errors
    /// A [`Refusal`] refuses the query; its message is shown to the caller.
    fn on_query(query: Query) -> Result<Query, Refusal>;
}

/// Before facts leave, by get, list, search or export: redact or drop them.
pub trait OnRead {
    /// The facts that may leave, each as it may be seen.
    ///
    /// Facts that were not among `facts` are dropped; the order stays the host's.
    fn on_read(facts: Vec<Fact>) -> Vec<Fact>;
}

/// After a search: a new order, new scores, maybe fewer hits.
pub trait Rerank {
    /// The hits to return, in any order: the host sorts them by score.
    ///
    /// Ids that were not among `hits` are dropped, and all but the first of equal ids.
    /// A score must be finite.
    fn rerank(query: &Query, hits: Vec<Hit>) -> Vec<Ranked>;
}
