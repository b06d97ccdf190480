//! Both retrievers at once: the best facts of either, with what both know of each.
//!
//! Two rankings can be merged soundly only if each fact has both scores. A fact that one retriever
//! did not return has a score from it all the same: the cosine of its vector, and the BM25 score of
//! its words, which is 0 if it shares none with the query. Both are read from the index for the
//! fact alone, so they equal the scores that the retrievers would return.

use std::cmp::Ordering;
use std::hash::RandomState;
use std::sync::Arc;

use fixedbitset::FixedBitSet;

use crate::analysis::Language;
use crate::bm25::{Bm25Index, QueryTerms, TermCounts};
use crate::error::IndexError;
use crate::quantized::QuantizedVector;
use crate::top_k::{Scored, TopK};
use crate::vectors::Vectors;
use crate::work::Work;

/// The work of looking up one query term in one fact.
const LOOKUP_UNITS: u64 = 16;

/// Maximum number of facts outside the pools that are returned because they alone have a word.
const SOLE_HOLDERS: usize = 16;

/// What the index knows of one fact, for one query.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Evidence {
    /// Cosine similarity of the fact's best vector; `None` if it has none or the query has none.
    pub similarity: Option<f32>,
    /// BM25 score; 0 if it shares no word with the query.
    pub words: f32,
    /// The share of the query's word weight (idf) that the fact's words cover, 0 to 1. Words that
    /// no fact has weigh most.
    pub coverage: f32,
    /// How many facts have the rarest of the query's words that this fact has; 0 if it has none of
    /// them.
    pub rarest: u32,
}

/// The best facts of either retriever, with what both know of each.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Retrieved {
    /// The nearest facts, best first, then those that share words with the query and are not among
    /// the nearest, best first, then up to 16 others that alone have a word of the query.
    ///
    /// The first `limit` of them by similarity are the nearest facts, and those by word score that
    /// are above 0 the best by words, if equal scores are ordered by id.
    pub candidates: Vec<(Arc<str>, Evidence)>,
    /// Number of facts that match the filter.
    pub facts: usize,
    /// Number of facts that match the filter and have a vector.
    pub vectors: usize,
    /// A bound on the BM25 score of any text for this query: the sum over all its words, also those
    /// that no fact has. 0 if it has no word.
    pub attainable: f32,
}

/// A query, analysed before the index is locked.
#[derive(Debug)]
pub(crate) struct RetrievalQuery {
    terms: TermCounts,
    target: Option<QuantizedVector>,
}

impl RetrievalQuery {
    /// # Errors
    /// If the vector is invalid.
    pub(crate) fn new(
        text: &str,
        vector: Option<&[f32]>,
        languages: &[Language],
        hasher: &RandomState,
    ) -> Result<Self, IndexError> {
        let target = vector.map(QuantizedVector::new).transpose()?;
        Ok(Self { terms: TermCounts::query(text, languages, hasher), target })
    }
}

/// A query on the parts of one index. Facts are named by their slots.
pub(crate) struct Retrieval<'a> {
    bm25: &'a Bm25Index,
    vectors: &'a Vectors,
    terms: QueryTerms<'a>,
    target: Option<&'a QuantizedVector>,
}

impl<'a> Retrieval<'a> {
    /// # Errors
    /// If the query's vector has another number of dimensions than the index.
    pub(crate) fn new(
        bm25: &'a Bm25Index,
        vectors: &'a Vectors,
        query: &'a RetrievalQuery,
    ) -> Result<Self, IndexError> {
        let target = query.target.as_ref();
        if let Some(target) = target {
            vectors.check_dimensions(target)?;
        }
        Ok(Self { bm25, vectors, terms: bm25.look_up(&query.terms), target })
    }

    /// A bound on the BM25 score of any text for this query.
    pub(crate) fn attainable(&self) -> f32 {
        self.terms.attainable()
    }

    /// The best `limit` facts of each retriever, each fact once: the nearest first. Then a few that
    /// alone have a word of the query, which drowns where the other words are many. Other facts
    /// than `allowed` are skipped, and equal scores ordered by `ties`.
    pub(crate) fn pools(
        &self,
        allowed: Option<&FixedBitSet>,
        limit: usize,
        ties: impl Fn(u32, u32) -> Ordering + Copy,
        work: &Work<'_>,
    ) -> Vec<u32> {
        let mut nearest = TopK::new(limit, ties);
        if let Some(target) = self.target {
            for found in self.vectors.nearest(target, allowed, limit, work) {
                nearest.push(found.score, found.slot);
            }
        }
        let mut matching = TopK::new(limit, ties);
        let push = |found: Scored| matching.push(found.score, found.slot);
        self.bm25.matching(&self.terms, allowed, work, push);

        let mut seen = FixedBitSet::with_capacity(self.bm25.slots());
        let pools = nearest.into_sorted().into_iter().chain(matching.into_sorted());
        let mut slots: Vec<u32> = pools.map(|scored| scored.slot).collect();
        slots.retain(|&slot| !seen.put(slot as usize));
        let allows = |slot: &u32| allowed.is_none_or(|allowed| allowed.contains(*slot as usize));
        let sole = self.terms.sole_holders().filter(allows);
        slots.extend(sole.filter(|&slot| !seen.put(slot as usize)).take(SOLE_HOLDERS));
        slots
    }

    /// What is known of the fact in `slot`; `None` if `work` is stopped.
    pub(crate) fn evidence(&self, slot: u32, work: &Work<'_>) -> Option<Evidence> {
        let comparing = self.target.map_or(0, |target| self.vectors.similarity_work(slot, target));
        let looking_up = LOOKUP_UNITS * self.terms.count() as u64;
        if !work.spend(comparing + looking_up) {
            return None;
        }
        let similarity = self.target.and_then(|target| self.vectors.similarity(slot, target));
        let matched = self.bm25.matched(&self.terms, slot);
        Some(Evidence {
            similarity,
            words: matched.score,
            coverage: matched.coverage,
            rarest: matched.rarest,
        })
    }
}
