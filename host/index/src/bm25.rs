//! Full-text search: the facts that share terms with a query, ranked by BM25.
//!
//! Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", 2009, with
//! the usual k1 = 1.2 and b = 0.75. As in Lucene, the inverse document frequency has a one added
//! inside the logarithm, so that a term that is in most facts still has a small positive weight.
//!
//! Evaluation is term at a time: it reads every posting of every query term. That is simple,
//! exact, and fast enough up to about 100,000 facts.

use std::hash::{BuildHasher, RandomState};

use fixedbitset::FixedBitSet;
use hashbrown::HashTable;

use crate::analysis;
use crate::inverted::{Inverted, Item, Posting};
use crate::limits::QUERY_TERMS;
use crate::top_k::Scored;

const K1: f32 = 1.2;
const B: f32 = 0.75;

/// The distinct terms of one text with their frequencies.
#[derive(Debug, Default)]
pub(crate) struct TermCounts {
    items: Vec<Item<Box<str>, u32>>,
    /// Number of term occurrences.
    length: u32,
}

impl TermCounts {
    pub(crate) fn new(text: &str, hasher: &RandomState) -> Self {
        Self::limited(text, hasher, usize::MAX)
    }

    /// The terms of a query: at most the first [`QUERY_TERMS`] distinct ones.
    pub(crate) fn query(text: &str, hasher: &RandomState) -> Self {
        Self::limited(text, hasher, QUERY_TERMS)
    }

    fn limited(text: &str, hasher: &RandomState, limit: usize) -> Self {
        let mut items = HashTable::<Item<Box<str>, u32>>::new();
        let mut length = 0;
        analysis::terms(text, |term| {
            let hash = hasher.hash_one(term);
            if let Some(item) = items.find_mut(hash, |item| *item.key == *term) {
                item.payload += 1;
            } else if items.len() < limit {
                let item = Item { key: term.into(), hash, payload: 1 };
                items.insert_unique(hash, item, |item| item.hash);
            } else {
                return;
            }
            length += 1;
        });
        Self { items: items.into_iter().collect(), length }
    }
}

/// The terms of all facts.
#[derive(Debug)]
pub(crate) struct Bm25Index {
    inverted: Inverted<Box<str>, u32>,
    /// Text length of each slot, in term occurrences.
    lengths: Vec<u32>,
    /// Sum of `lengths`.
    total_length: u64,
    /// Memory of the terms' strings, in bytes.
    bytes: usize,
}

/// A term of the query that occurs in at least one fact.
struct QueryTerm<'a> {
    term: &'a str,
    postings: &'a [Posting<u32>],
    /// Upper bound of the term's score, `idf * (k1 + 1)`. How often the query repeats the term
    /// does not matter.
    weight: f32,
}

impl Bm25Index {
    pub(crate) fn new() -> Self {
        Self { inverted: Inverted::new(), lengths: Vec::new(), total_length: 0, bytes: 0 }
    }

    /// Adds a slot without terms.
    pub(crate) fn push(&mut self) {
        self.inverted.push();
        self.lengths.push(0);
    }

    /// Replaces the terms of `slot`.
    pub(crate) fn set(&mut self, slot: u32, terms: TermCounts) {
        self.clear(slot);
        self.total_length += u64::from(terms.length);
        self.lengths[slot as usize] = terms.length;
        let bytes = &mut self.bytes;
        self.inverted.fill(slot, terms.items, |_, term| *bytes += term.len());
    }

    /// Removes `slot`; the last slot takes its number.
    pub(crate) fn swap_remove(&mut self, slot: u32) {
        self.clear(slot);
        self.inverted.swap_remove(slot);
        self.lengths.swap_remove(slot as usize);
    }

    fn clear(&mut self, slot: u32) {
        let length = std::mem::take(&mut self.lengths[slot as usize]);
        self.total_length -= u64::from(length);
        let bytes = &mut self.bytes;
        self.inverted.clear(slot, |_, term| *bytes -= term.len());
    }

    /// Number of distinct terms.
    pub(crate) fn count(&self) -> usize {
        self.inverted.keys()
    }

    pub(crate) fn postings(&self) -> usize {
        self.inverted.postings()
    }

    /// Approximate memory use, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.inverted.bytes() + self.bytes + self.lengths.capacity() * size_of::<u32>()
    }

    /// Calls `each` with every slot that shares a term with `query`, and its score, which is
    /// positive. If `allowed` is given, other slots are skipped.
    pub(crate) fn matching(
        &self,
        query: &TermCounts,
        allowed: Option<&FixedBitSet>,
        mut each: impl FnMut(Scored),
    ) {
        let terms = self.terms(query);
        let postings: usize = terms.iter().map(|term| term.postings.len()).sum();
        let allows = |slot: u32| allowed.is_none_or(|allowed| allowed.contains(slot as usize));
        // With few postings, sorting the hits is cheaper than an accumulator for every fact.
        if postings < self.lengths.len() / 16 {
            self.score_sparse(&terms, allows, &mut each);
        } else {
            self.score_dense(&terms, allows, &mut each);
        }
    }

    /// The query terms that occur in the index, rarest first. Scores are added in this order, which
    /// affects their last bit, so it must depend on nothing but the facts.
    fn terms<'a>(&'a self, query: &'a TermCounts) -> Vec<QueryTerm<'a>> {
        let facts = self.lengths.len() as f32;
        let term = |item: &'a Item<Box<str>, u32>| {
            let list = self.inverted.find(item.hash, |term| *term == item.key)?;
            let postings = self.inverted.list(list).postings();
            let frequency = postings.len() as f32;
            let idf = (1.0 + (facts - frequency + 0.5) / (frequency + 0.5)).ln();
            let weight = idf * (K1 + 1.0);
            Some(QueryTerm { term: &item.key, postings, weight })
        };
        let mut terms: Vec<_> = query.items.iter().filter_map(term).collect();
        terms.sort_unstable_by_key(|term| (term.postings.len(), term.term));
        terms
    }

    fn score_sparse(
        &self,
        terms: &[QueryTerm<'_>],
        allows: impl Fn(u32) -> bool,
        each: &mut impl FnMut(Scored),
    ) {
        let lengths = self.length_factors();
        let mut hits = Vec::new();
        for term in terms {
            let allowed = term.postings.iter().filter(|posting| allows(posting.slot));
            hits.extend(allowed.map(|posting| Scored {
                score: score(term, posting, lengths(posting.slot)),
                slot: posting.slot,
            }));
        }
        // A stable sort keeps the hits of one fact in the order of the terms.
        hits.sort_by_key(|scored| scored.slot);
        for hits in hits.chunk_by(|left, right| left.slot == right.slot) {
            let score = hits.iter().fold(0.0, |sum, hit| sum + hit.score);
            each(Scored { score, slot: hits[0].slot });
        }
    }

    fn score_dense(
        &self,
        terms: &[QueryTerm<'_>],
        allows: impl Fn(u32) -> bool,
        each: &mut impl FnMut(Scored),
    ) {
        let lengths = self.length_factors();
        let mut scores = vec![0.0; self.lengths.len()];
        for term in terms {
            for posting in term.postings {
                scores[posting.slot as usize] += score(term, posting, lengths(posting.slot));
            }
        }
        for (slot, score) in (0..).zip(scores) {
            if score > 0.0 && allows(slot) {
                each(Scored { score, slot });
            }
        }
    }

    /// BM25's length normalization of a slot: `k1 * (1 - b + b * length / mean)`.
    fn length_factors(&self) -> impl Fn(u32) -> f32 {
        let mean = self.total_length as f32 / self.lengths.len() as f32;
        move |slot| K1 * (1.0 - B) + K1 * B / mean * self.lengths[slot as usize] as f32
    }
}

fn score(term: &QueryTerm<'_>, posting: &Posting<u32>, length: f32) -> f32 {
    let count = posting.payload as f32;
    term.weight * count / (count + length)
}
