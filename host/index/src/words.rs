//! Full text: the facts that share words with a query, ranked by BM25.
//!
//! Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", 2009, with
//! the usual k1 = 1.2 and b = 0.75, and the inverse document frequency plus one inside the
//! logarithm, as Lucene has it, so that a word in most facts still counts for a little.
//!
//! Term at a time: every posting of every word of the query is looked at. Simple, exact, and
//! enough up to some 100,000 facts.

use std::hash::{BuildHasher, RandomState};

use fixedbitset::FixedBitSet;
use hashbrown::HashTable;

use crate::analysis;
use crate::best::Scored;
use crate::inverted::{Inverted, Item, Posting};
use crate::limits::QUERY_WORDS;

const K1: f32 = 1.2;
const B: f32 = 0.75;

/// The words of one text, each once, with how often it is there.
#[derive(Debug, Default)]
pub(crate) struct Text {
    items: Vec<Item<Box<str>, u32>>,
    length: u32,
}

impl Text {
    pub(crate) fn new(text: &str, hasher: &RandomState) -> Self {
        Self::limited(text, hasher, usize::MAX)
    }

    /// A query counts the first words only.
    pub(crate) fn query(text: &str, hasher: &RandomState) -> Self {
        Self::limited(text, hasher, QUERY_WORDS)
    }

    fn limited(text: &str, hasher: &RandomState, limit: usize) -> Self {
        let mut items = HashTable::<Item<Box<str>, u32>>::new();
        let mut length = 0;
        analysis::words(text, |word| {
            let hash = hasher.hash_one(word);
            if let Some(item) = items.find_mut(hash, |item| *item.key == *word) {
                item.payload += 1;
            } else if items.len() < limit {
                let item = Item { key: word.into(), hash, payload: 1 };
                items.insert_unique(hash, item, |item| item.hash);
            } else {
                return;
            }
            length += 1;
        });
        Self { items: items.into_iter().collect(), length }
    }
}

/// The words of all facts.
#[derive(Debug)]
pub(crate) struct Words {
    inverted: Inverted<Box<str>, u32>,
    /// How many words each slot's text has.
    lengths: Vec<u32>,
    total: u64,
    /// What the words themselves take.
    bytes: usize,
}

/// A word of the query that some fact has.
struct Term<'a> {
    word: &'a str,
    postings: &'a [Posting<u32>],
    /// What the word is worth at most: its rarity, times k1 + 1. Saying it twice is not worth more.
    weight: f32,
}

impl Words {
    pub(crate) fn new() -> Self {
        Self { inverted: Inverted::new(), lengths: Vec::new(), total: 0, bytes: 0 }
    }

    /// Adds a slot without words.
    pub(crate) fn push(&mut self) {
        self.inverted.push();
        self.lengths.push(0);
    }

    /// Gives `slot` the words of `text` in place of those it has.
    pub(crate) fn set(&mut self, slot: u32, text: Text) {
        self.clear(slot);
        self.total += u64::from(text.length);
        self.lengths[slot as usize] = text.length;
        let bytes = &mut self.bytes;
        self.inverted.fill(slot, text.items, |_, word| *bytes += word.len());
    }

    /// Removes `slot`; the last slot takes its number.
    pub(crate) fn swap_remove(&mut self, slot: u32) {
        self.clear(slot);
        self.inverted.swap_remove(slot);
        self.lengths.swap_remove(slot as usize);
    }

    fn clear(&mut self, slot: u32) {
        let length = std::mem::take(&mut self.lengths[slot as usize]);
        self.total -= u64::from(length);
        let bytes = &mut self.bytes;
        self.inverted.clear(slot, |_, word| *bytes -= word.len());
    }

    pub(crate) fn count(&self) -> usize {
        self.inverted.keys()
    }

    pub(crate) fn postings(&self) -> usize {
        self.inverted.postings()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.inverted.bytes() + self.bytes + self.lengths.capacity() * size_of::<u32>()
    }

    /// Calls `each` with every slot that shares a word with `query`, and its score, which is
    /// above zero. With `allowed`, only those slots are looked at.
    pub(crate) fn matching(
        &self,
        query: &Text,
        allowed: Option<&FixedBitSet>,
        mut each: impl FnMut(Scored),
    ) {
        let terms = self.terms(query);
        let postings: usize = terms.iter().map(|term| term.postings.len()).sum();
        let allows = |slot: u32| allowed.is_none_or(|allowed| allowed.contains(slot as usize));
        // Below this, sorting what was found is cheaper than a place for every fact.
        if postings < self.lengths.len() / 16 {
            self.score_few(&terms, allows, &mut each);
        } else {
            self.score_many(&terms, allows, &mut each);
        }
    }

    /// The terms, the rarest first. The order is part of a score's last bit, so it depends on
    /// nothing but the facts.
    fn terms<'a>(&'a self, query: &'a Text) -> Vec<Term<'a>> {
        let facts = self.lengths.len() as f32;
        let term = |item: &'a Item<Box<str>, u32>| {
            let list = self.inverted.find(item.hash, |word| *word == item.key)?;
            let postings = self.inverted.list(list).postings();
            let having = postings.len() as f32;
            let rarity = (1.0 + (facts - having + 0.5) / (having + 0.5)).ln();
            let weight = rarity * (K1 + 1.0);
            Some(Term { word: &item.key, postings, weight })
        };
        let mut terms: Vec<_> = query.items.iter().filter_map(term).collect();
        terms.sort_unstable_by_key(|term| (term.postings.len(), term.word));
        terms
    }

    fn score_few(
        &self,
        terms: &[Term<'_>],
        allows: impl Fn(u32) -> bool,
        each: &mut impl FnMut(Scored),
    ) {
        let lengths = self.length_factors();
        let mut found = Vec::new();
        for term in terms {
            let allowed = term.postings.iter().filter(|posting| allows(posting.slot));
            found.extend(allowed.map(|posting| Scored {
                score: score(term, posting, lengths(posting.slot)),
                slot: posting.slot,
            }));
        }
        // Stable, so that the shares of one fact are added in the order of the terms.
        found.sort_by_key(|scored| scored.slot);
        for shares in found.chunk_by(|left, right| left.slot == right.slot) {
            let score = shares.iter().fold(0.0, |sum, share| sum + share.score);
            each(Scored { score, slot: shares[0].slot });
        }
    }

    fn score_many(
        &self,
        terms: &[Term<'_>],
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

    /// How much the length of a slot's text weighs a word down: `k1 (1 - b + b length / mean)`.
    fn length_factors(&self) -> impl Fn(u32) -> f32 {
        let mean = self.total as f32 / self.lengths.len() as f32;
        move |slot| K1 * (1.0 - B) + K1 * B / mean * self.lengths[slot as usize] as f32
    }
}

fn score(term: &Term<'_>, posting: &Posting<u32>, length: f32) -> f32 {
    let count = posting.payload as f32;
    term.weight * count / (count + length)
}
