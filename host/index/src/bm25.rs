//! Full-text search: the facts that share terms with a query, ranked by BM25.
//!
//! Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", 2009, with
//! the usual k1 = 1.2 and b = 0.75. As in Lucene, the inverse document frequency has a one added
//! inside the logarithm, so that a term that is in most facts still has a small positive weight.
//!
//! The normalization by length assumes that a long text repeats itself. Facts of a sentence or two
//! do not: one of thirty words only says more than one of ten. So lengths are compared with a mean
//! of at least [`MEAN_LENGTH`], below which length hardly counts.
//!
//! Evaluation is term at a time: it reads every posting of every query term. That is simple,
//! exact, and fast enough up to about 100,000 facts.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use fixedbitset::FixedBitSet;
use hashbrown::HashTable;

use crate::analysis::{self, Kind, Language, Term};
use crate::inverted::{Inverted, Item, Posting};
use crate::limits::QUERY_TERMS;
use crate::top_k::Scored;
use crate::work::Work;

const K1: f32 = 1.2;
const B: f32 = 0.75;

/// The least mean length, in terms, that lengths are compared with.
const MEAN_LENGTH: f32 = 100.0;

/// How much each term of a query counts. The wholes and parts of an identifier count half, so that
/// a query with one still finds what its other words say.
const QUERY_WORD: u32 = 2;
const QUERY_EXTRA: u32 = 1;

/// How much the form of a word counts beside its stem. Little: what it tells above all is that a
/// fact alone has the word as the query writes it. Tuned on the sets of `docs/SEARCH.md`.
const FORM_WEIGHT: f32 = 0.02;

/// Marks the count of a term that the text also has bare: as a word that is its own stem, whose
/// form has no term of its own. No text repeats a word so often that its count reaches this bit.
const BARE: u32 = 1 << 31;

/// Up to how many facts with a stem are asked which of them have it bare. One form of a word that
/// more have says nothing.
const BARE_POSTINGS: usize = 4 * 1024;

/// Up to how many distinct words a query has terms for their forms. Of more, one is in a form that
/// a single fact has by chance.
const FORM_WORDS: usize = 16;

/// Postings or facts that are handled between two looks at the bound of the work.
const PIECE: usize = 8 * 1024;

/// The work of one posting, and of one fact.
const POSTING_UNITS: u64 = 4;
const FACT_UNITS: u64 = 2;

/// The distinct terms of one text with their frequencies; those of a query with their units. Both
/// may be marked [`BARE`].
#[derive(Debug, Default)]
pub(crate) struct TermCounts {
    items: Vec<Item<Box<str>, u32>>,
    /// Number of term occurrences, without extra terms.
    length: u32,
    language: Language,
}

impl TermCounts {
    /// The terms of a fact's text.
    pub(crate) fn new(text: &str, language: Language, hasher: &RandomState) -> Self {
        let mut counted = Counter::new(usize::MAX);
        analysis::terms(text, language, |term| counted.add(term, 1, hasher));
        counted.finish(language)
    }

    /// The terms of a query, with how often it repeats each, without its stop words: at most the
    /// first [`QUERY_TERMS`] distinct ones. A query of only stop words keeps them.
    ///
    /// While facts are analysed for another language, a query has the terms of both.
    pub(crate) fn query(text: &str, languages: &[Language], hasher: &RandomState) -> Self {
        let mut languages = languages.iter();
        let first = languages.next().copied().unwrap_or_default();
        let mut all = Self::query_in(text, first, hasher);
        for language in languages {
            let other = Self::query_in(text, *language, hasher);
            let known: HashSet<Box<str>> = all.items.iter().map(|item| item.key.clone()).collect();
            all.items.extend(other.items.into_iter().filter(|item| !known.contains(&item.key)));
        }
        all
    }

    fn query_in(text: &str, language: Language, hasher: &RandomState) -> Self {
        let (mut counted, mut says_something) = (Counter::new(QUERY_TERMS), false);
        analysis::query_terms(text, language, |term| {
            says_something |= term.kind == Kind::Word;
            if term.kind != Kind::Stop {
                counted.add(term, query_units(term.kind), hasher);
            }
        });
        if !says_something {
            counted = Counter::new(QUERY_TERMS);
            analysis::query_terms(text, language, |term| {
                counted.add(term, query_units(term.kind), hasher);
            });
        }
        let mut counts = counted.finish(language);
        let is_form = |item: &Item<Box<str>, u32>| analysis::is_form(&item.key);
        if counts.items.iter().filter(|item| !is_form(item)).count() > FORM_WORDS {
            counts.items.retain(|item| !is_form(item));
            counts.items.iter_mut().for_each(|item| item.payload &= !BARE);
        }
        counts
    }

    /// The distinct terms.
    pub(crate) fn terms(&self) -> impl Iterator<Item = &str> {
        self.items.iter().map(|item| &*item.key)
    }

    /// The language for which the text was analysed.
    pub(crate) fn language(&self) -> Language {
        self.language
    }
}

/// Counts terms, of which at most `limit` are distinct.
struct Counter {
    items: HashTable<Item<Box<str>, u32>>,
    length: u32,
    limit: usize,
}

impl Counter {
    fn new(limit: usize) -> Self {
        Self { items: HashTable::new(), length: 0, limit }
    }

    fn add(&mut self, term: Term<'_>, units: u32, hasher: &RandomState) {
        let hash = hasher.hash_one(term.text);
        let bare = if term.is_bare { BARE } else { 0 };
        if let Some(item) = self.items.find_mut(hash, |item| *item.key == *term.text) {
            item.payload = (item.payload + units) | bare;
        } else if self.items.len() < self.limit {
            let item = Item { key: term.text.into(), hash, payload: units | bare };
            self.items.insert_unique(hash, item, |item| item.hash);
        } else {
            return;
        }
        self.length += u32::from(matches!(term.kind, Kind::Word | Kind::Stop));
    }

    fn finish(self, language: Language) -> TermCounts {
        TermCounts { items: self.items.into_iter().collect(), length: self.length, language }
    }
}

fn query_units(kind: Kind) -> u32 {
    if kind == Kind::Extra { QUERY_EXTRA } else { QUERY_WORD }
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

/// The terms of a query, looked up in the index.
pub(crate) struct QueryTerms<'a> {
    /// Those that occur in at least one fact, rarest first.
    found: Vec<QueryTerm<'a>>,
    attainable: f32,
}

impl QueryTerms<'_> {
    /// Number of terms that occur in at least one fact.
    pub(crate) fn count(&self) -> usize {
        self.found.len()
    }

    /// Upper bound of any text's score: the sum of the weights of all terms, also of those that no
    /// fact has.
    pub(crate) fn attainable(&self) -> f32 {
        self.attainable
    }

    /// The slots that alone have one of the terms, which may repeat.
    pub(crate) fn sole_holders(&self) -> impl Iterator<Item = u32> {
        self.found.iter().filter(|term| term.holders() == 1).flat_map(|term| {
            let is_sole = |posting: &&Posting<u32>| term.postings.len() == 1 || is_bare(posting);
            term.postings.iter().filter(is_sole).map(|posting| posting.slot)
        })
    }
}

/// What a fact shares with a query.
#[derive(Debug, Default)]
pub(crate) struct Matched {
    /// The fact's BM25 score.
    pub(crate) score: f32,
    /// The share of the query's weight that the shared terms have, 0 to 1.
    pub(crate) coverage: f32,
    /// Number of facts that have the rarest shared term; 0 if no term is shared.
    pub(crate) rarest: u32,
}

/// A term of the query.
struct QueryTerm<'a> {
    term: &'a str,
    /// The term's list in the inverted index.
    list: u32,
    postings: &'a [Posting<u32>],
    /// Upper bound of the term's score: `idf * (k1 + 1)`, as many times as the query has the term.
    weight: f32,
    /// Number of facts that have the stem bare, and what that counts; both 0 if it says nothing.
    bare: u32,
    bare_weight: f32,
}

impl QueryTerm<'_> {
    /// Number of facts that have the word as the query has it, as far as that is known.
    fn holders(&self) -> u32 {
        if self.bare > 0 { self.bare } else { self.postings.len() as u32 }
    }
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

    /// Number of slots.
    pub(crate) fn slots(&self) -> usize {
        self.lengths.len()
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
    /// positive. If `allowed` is given, other slots are skipped. Ends early if `work` is stopped.
    pub(crate) fn matching(
        &self,
        query: &QueryTerms<'_>,
        allowed: Option<&FixedBitSet>,
        work: &Work<'_>,
        mut each: impl FnMut(Scored),
    ) {
        let terms = &query.found;
        let postings: usize = terms.iter().map(|term| term.postings.len()).sum();
        let allows = |slot: u32| allowed.is_none_or(|allowed| allowed.contains(slot as usize));
        // With few postings, sorting the hits is cheaper than an accumulator for every fact.
        if postings < self.lengths.len() / 16 {
            self.score_sparse(terms, allows, work, &mut each);
        } else {
            self.score_dense(terms, allows, work, &mut each);
        }
    }

    /// What the fact in `slot` shares with `query`. The score is exactly the one that
    /// [`matching`](Self::matching) gives it, because the same numbers are added in the same order.
    pub(crate) fn matched(&self, query: &QueryTerms<'_>, slot: u32) -> Matched {
        let length = self.length_factors()(slot);
        let (mut matched, mut weight) = (Matched::default(), 0.0);
        for term in &query.found {
            let Some(posting) = self.inverted.posting(term.list, slot) else { continue };
            matched.score += score(term, posting, length);
            weight += term.weight;
            let mut holders = term.postings.len() as u32;
            if term.bare > 0 && is_bare(posting) {
                weight += term.bare_weight;
                holders = term.bare;
            }
            if matched.rarest == 0 || holders < matched.rarest {
                matched.rarest = holders;
            }
        }
        if weight > 0.0 {
            matched.coverage = (weight / query.attainable).min(1.0);
        }
        matched
    }

    /// Looks up the terms of a query, rarest first. Scores are added in this order, which affects
    /// their last bit, so it must depend on nothing but the facts.
    pub(crate) fn look_up<'a>(&'a self, query: &'a TermCounts) -> QueryTerms<'a> {
        let facts = self.lengths.len() as f32;
        let term = |item: &'a Item<Box<str>, u32>| {
            let list = self.inverted.find(item.hash, |term| *term == item.key);
            let postings = list.map_or(&[][..], |list| self.inverted.list(list).postings());
            let idf = idf(facts, postings.len() as f32);
            let counts = if analysis::is_form(&item.key) { FORM_WEIGHT } else { 1.0 };
            let times = (K1 + 1.0) * (item.payload & !BARE) as f32 / QUERY_WORD as f32;
            let weight = counts * idf * times;
            let bare = if item.payload & BARE == 0 { 0 } else { bare_holders(postings) };
            let bare_weight = match bare {
                0 => 0.0,
                holders => FORM_WEIGHT * self::idf(facts, holders as f32) * times,
            };
            let list = list.unwrap_or_default();
            QueryTerm { term: &item.key, list, postings, weight, bare, bare_weight }
        };
        let mut found: Vec<_> = query.items.iter().map(term).collect();
        // What no fact has is a word that says more than any; a form of one says nothing.
        found.retain(|term| !term.postings.is_empty() || !analysis::is_form(term.term));
        found.sort_unstable_by_key(|term| (term.postings.len(), term.term));
        // Not `sum`, which begins with -0.0.
        let attainable = found.iter().fold(0.0, |sum, term| sum + term.weight + term.bare_weight);
        found.retain(|term| !term.postings.is_empty());
        QueryTerms { found, attainable }
    }

    /// The inverse document frequency of `term`, which no fact needs to have.
    pub(crate) fn idf(&self, term: &str, hasher: &RandomState) -> f32 {
        let list = self.inverted.find(hasher.hash_one(term), |other| **other == *term);
        let holders = list.map_or(0, |list| self.inverted.list(list).postings().len());
        idf(self.lengths.len() as f32, holders as f32)
    }

    /// The share of the terms of either slot that both have (Jaccard's coefficient), 0 to 1.
    pub(crate) fn shared(&self, left: u32, right: u32) -> f32 {
        let (both, either) = self.inverted.shared(left, right);
        if either == 0 { 0.0 } else { both as f32 / either as f32 }
    }

    fn score_sparse(
        &self,
        terms: &[QueryTerm<'_>],
        allows: impl Fn(u32) -> bool,
        work: &Work<'_>,
        each: &mut impl FnMut(Scored),
    ) {
        let lengths = self.length_factors();
        let mut hits = Vec::new();
        for (term, postings) in pieces(terms) {
            if !work.spend(POSTING_UNITS * postings.len() as u64) {
                return;
            }
            let allowed = postings.iter().filter(|posting| allows(posting.slot));
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
        work: &Work<'_>,
        each: &mut impl FnMut(Scored),
    ) {
        let lengths = self.length_factors();
        let mut scores = vec![0.0; self.lengths.len()];
        for (term, postings) in pieces(terms) {
            if !work.spend(POSTING_UNITS * postings.len() as u64) {
                return;
            }
            for posting in postings {
                scores[posting.slot as usize] += score(term, posting, lengths(posting.slot));
            }
        }
        for (number, scores) in scores.chunks(PIECE).enumerate() {
            if !work.spend(FACT_UNITS * scores.len() as u64) {
                return;
            }
            for (slot, &score) in ((number * PIECE) as u32..).zip(scores) {
                if score > 0.0 && allows(slot) {
                    each(Scored { score, slot });
                }
            }
        }
    }

    /// BM25's length normalization of a slot: `k1 * (1 - b + b * length / mean)`.
    fn length_factors(&self) -> impl Fn(u32) -> f32 {
        let mean = (self.total_length as f32 / self.lengths.len() as f32).max(MEAN_LENGTH);
        move |slot| K1 * (1.0 - B) + K1 * B / mean * self.lengths[slot as usize] as f32
    }
}

/// The postings of all terms, in pieces.
fn pieces<'t, 'i>(
    terms: &'t [QueryTerm<'i>],
) -> impl Iterator<Item = (&'t QueryTerm<'i>, &'t [Posting<u32>])> {
    terms.iter().flat_map(|term| term.postings.chunks(PIECE).map(move |postings| (term, postings)))
}

fn idf(facts: f32, holders: f32) -> f32 {
    (1.0 + (facts - holders + 0.5) / (holders + 0.5)).ln()
}

fn is_bare(posting: &Posting<u32>) -> bool {
    posting.payload & BARE != 0
}

/// Number of facts that have a stem bare; 0 if all have it, or too many to be asked.
fn bare_holders(postings: &[Posting<u32>]) -> u32 {
    if postings.len() > BARE_POSTINGS {
        return 0;
    }
    let bare = postings.iter().filter(|posting| is_bare(posting)).count();
    if bare == postings.len() { 0 } else { bare as u32 }
}

fn score(term: &QueryTerm<'_>, posting: &Posting<u32>, length: f32) -> f32 {
    let count = (posting.payload & !BARE) as f32;
    let bare = if is_bare(posting) { term.bare_weight / (1.0 + length) } else { 0.0 };
    term.weight * count / (count + length) + bare
}
