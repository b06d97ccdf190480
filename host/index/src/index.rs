//! The in-memory index: the parts behind one lock, and the rules by which revisions replace each
//! other.
//!
//! A write analyses the text, parses the metadata and quantizes the vector before it takes the
//! lock. Under the lock it only moves the results in, which takes a few microseconds.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use fixedbitset::FixedBitSet;
use smallvec::SmallVec;

use crate::analysis::Language;
use crate::bm25::{Bm25Index, TermCounts};
use crate::error::IndexError;
use crate::filter::Filter;
use crate::languages::Languages;
use crate::limits::FACTS;
use crate::metadata::Metadata;
use crate::metadata_index::{self, MetadataIndex, MetadataKeys};
use crate::quantized::QuantizedVector;
use crate::removals::Removals;
use crate::retrieve::{Evidence, Retrieval, RetrievalQuery, Retrieved};
use crate::top_k::{Scored, TopK};
use crate::vectors::Vectors;
use crate::work::Work;
use crate::{Candidate, Entry, FactIndex, Sizes};

/// One tenant's facts in memory.
///
/// Reads run concurrently. A write waits for the reads before it, and blocks those after it only
/// while it moves one fact in.
#[derive(Debug)]
pub struct Index {
    state: RwLock<State>,
    /// Randomly seeded, so that nobody can craft texts whose terms collide.
    pub(crate) hasher: RandomState,
}

/// All parts number the facts alike: slots from 0, without gaps. A removal moves the last fact
/// into the slot that became free.
#[derive(Debug)]
pub(crate) struct State {
    facts: Vec<Fact>,
    pub(crate) slots: HashMap<Arc<str>, u32>,
    pub(crate) bm25: Bm25Index,
    pub(crate) metadata: MetadataIndex,
    pub(crate) vectors: Vectors,
    /// The facts whose text means nothing: they have a vector, and it is near to none.
    meaningless: HashSet<Arc<str>>,
    removals: Removals,
    pub(crate) languages: Languages,
    /// Memory of the ids' strings, in bytes.
    id_bytes: usize,
}

#[derive(Debug)]
struct Fact {
    id: Arc<str>,
    revision: u64,
    /// Hash of the text. A changed text is taken for the old one, so that the old vector stays,
    /// with probability 2^-64.
    text_hash: u64,
    /// The language for which the text was analysed.
    language: Language,
}

/// How an entry relates to the stored fact of the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    /// Older than the stored fact or its removal, or another text of the same revision.
    Outdated,
    /// The same revision of the same text.
    Current,
    /// Newer, with the stored text.
    SameText,
    /// Newer, with another text; or no fact is stored.
    NewText,
}

/// An entry, analysed and ready to be moved in.
struct Prepared<'a> {
    entry: &'a Entry<'a>,
    text_hash: u64,
    /// Absent if the text seems to be stored already.
    terms: Option<TermCounts>,
    keys: MetadataKeys,
    /// Empty if none is given.
    vectors: Vec<QuantizedVector>,
    is_meaningless: bool,
}

impl Default for Index {
    fn default() -> Self {
        Self::new()
    }
}

impl Index {
    /// Creates an empty index. The first vector fixes the number of dimensions of all.
    pub fn new() -> Self {
        Self::from(Vectors::new(None))
    }

    /// Creates an empty index for vectors of `dimensions` values.
    pub fn with_dimensions(dimensions: usize) -> Self {
        Self::from(Vectors::new(Some(dimensions)))
    }

    fn from(vectors: Vectors) -> Self {
        let state = State {
            facts: Vec::new(),
            slots: HashMap::new(),
            bm25: Bm25Index::new(),
            metadata: MetadataIndex::new(),
            vectors,
            meaningless: HashSet::new(),
            removals: Removals::default(),
            languages: Languages::default(),
            id_bytes: 0,
        };
        Self { state: RwLock::new(state), hasher: RandomState::new() }
    }

    /// The language for which texts are analysed.
    pub fn language(&self) -> Language {
        self.read().languages.current()
    }

    /// Analyses new texts for `language`. The facts that are there stay as they are, and are found,
    /// until [`analyse_again`](Self::analyse_again) has had each.
    pub fn set_language(&self, language: Language) {
        let mut state = self.write();
        let outdated = state.facts.iter().filter(|fact| fact.language != language).count();
        state.languages.change(language, outdated);
    }

    /// How many facts are still analysed for a former language.
    pub fn outdated(&self) -> usize {
        self.read().languages.outdated()
    }

    /// Analyses the text of a fact again, if it was analysed for a former language and the fact
    /// still has this text.
    pub fn analyse_again(&self, id: &str, text: &str) {
        let text_hash = self.hasher.hash_one(text);
        let language = {
            let state = self.read();
            if state.outdated_slot(id, text_hash).is_none() {
                return;
            }
            state.languages.current()
        };
        let terms = TermCounts::new(text, language, &self.hasher);
        let mut state = self.write();
        if language == state.languages.current()
            && let Some(slot) = state.outdated_slot(id, text_hash)
        {
            state.set_terms(slot, terms);
        }
    }

    fn languages(&self) -> SmallVec<[Language; 2]> {
        self.read().languages.in_use()
    }

    /// Ignores poisoning. A panic under the lock would be a bug of this crate, and the worst
    /// consequence is a wrong result from a cache that can be rebuilt, so the tenant's other
    /// requests go on.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn prepare<'a>(
        &self,
        entry: &'a Entry<'a>,
        dimensions: Option<usize>,
    ) -> Result<Prepared<'a>, IndexError> {
        let is_meaningless = entry.vector.is_some_and(<[f32]>::is_empty);
        let values = entry.vector.filter(|_| !is_meaningless);
        let vectors = values.map(|values| quantized(values, dimensions)).transpose()?;
        let vectors = vectors.unwrap_or_default();
        let keys = metadata_index::keys(&Metadata::parse(entry.metadata)?, &self.hasher);
        let text_hash = self.hasher.hash_one(entry.text);
        let (change, language) = {
            let state = self.read();
            (state.change(entry.id, entry.revision, text_hash), state.languages.current())
        };
        let analyse = || TermCounts::new(entry.text, language, &self.hasher);
        let terms = (change == Change::NewText).then(analyse);
        Ok(Prepared { entry, text_hash, terms, keys, vectors, is_meaningless })
    }

    fn upsert_with(
        &self,
        entry: &Entry<'_>,
        dimensions: Option<usize>,
    ) -> Result<bool, IndexError> {
        let prepared = self.prepare(entry, dimensions)?;
        self.write().upsert(prepared, &self.hasher)
    }
}

impl FactIndex for Index {
    fn upsert(&self, entry: &Entry<'_>) -> Result<bool, IndexError> {
        self.upsert_with(entry, None)
    }

    fn upsert_windows(&self, entry: &Entry<'_>, dimensions: usize) -> Result<bool, IndexError> {
        self.upsert_with(entry, Some(dimensions))
    }

    fn remove(&self, id: &str, revision: u64) -> Result<bool, IndexError> {
        Ok(self.write().remove(id, revision))
    }

    fn revision(&self, id: &str) -> Option<u64> {
        let state = self.read();
        let slot = *state.slots.get(id)?;
        Some(state.facts[slot as usize].revision)
    }

    fn has_vector(&self, id: &str) -> bool {
        let state = self.read();
        state.slots.get(id).is_some_and(|slot| state.vectors.has(*slot))
            || state.meaningless.contains(id)
    }

    fn nearest_within(
        &self,
        vector: &[f32],
        filter: Option<&Filter>,
        limit: usize,
        work: &Work<'_>,
    ) -> Result<Vec<Candidate>, IndexError> {
        let query = QuantizedVector::new(vector)?;
        let state = self.read();
        state.vectors.check_dimensions(&query)?;
        let allowed = filter.map(|filter| state.metadata.select(filter, &self.hasher, work));
        let mut top = TopK::new(limit, state.by_id());
        for found in state.vectors.nearest(&query, allowed.as_ref(), limit, work) {
            top.push(found.score, found.slot);
        }
        let found = top.into_sorted();
        if work.finish() { Ok(state.candidates(&found)) } else { Err(IndexError::Stopped) }
    }

    fn matching_within(
        &self,
        text: &str,
        filter: Option<&Filter>,
        limit: usize,
        work: &Work<'_>,
    ) -> Result<Vec<Candidate>, IndexError> {
        let query = TermCounts::query(text, &self.languages(), &self.hasher);
        let state = self.read();
        let allowed = filter.map(|filter| state.metadata.select(filter, &self.hasher, work));
        let mut top = TopK::new(limit, state.by_id());
        let push = |found: Scored| top.push(found.score, found.slot);
        state.bm25.matching(&state.bm25.look_up(&query), allowed.as_ref(), work, push);
        let found = top.into_sorted();
        if work.finish() { Ok(state.candidates(&found)) } else { Err(IndexError::Stopped) }
    }

    fn retrieve_within(
        &self,
        text: &str,
        vector: Option<&[f32]>,
        filter: Option<&Filter>,
        limit: usize,
        work: &Work<'_>,
    ) -> Result<Retrieved, IndexError> {
        let query = RetrievalQuery::new(text, vector, &self.languages(), &self.hasher)?;
        let state = self.read();
        let retrieval = Retrieval::new(&state.bm25, &state.vectors, &query)?;
        let allowed = filter.map(|filter| state.metadata.select(filter, &self.hasher, work));
        let slots = retrieval.pools(allowed.as_ref(), limit, state.by_id(), work);
        let candidate = |slot: u32| {
            let id = Arc::clone(&state.facts[slot as usize].id);
            retrieval.evidence(slot, work).map(|evidence| (id, evidence))
        };
        let candidates = slots.into_iter().map_while(candidate).collect();
        let (facts, vectors) = state.count(allowed.as_ref(), work);
        let attainable = retrieval.attainable();
        let retrieved = Retrieved { candidates, facts, vectors, attainable };
        if work.finish() { Ok(retrieved) } else { Err(IndexError::Stopped) }
    }

    fn evidence_within(
        &self,
        text: &str,
        vector: Option<&[f32]>,
        ids: &[&str],
        work: &Work<'_>,
    ) -> Result<Vec<Option<Evidence>>, IndexError> {
        let query = RetrievalQuery::new(text, vector, &self.languages(), &self.hasher)?;
        let state = self.read();
        let retrieval = Retrieval::new(&state.bm25, &state.vectors, &query)?;
        let known = |id: &&str| match state.slots.get(*id) {
            Some(&slot) => retrieval.evidence(slot, work).map(Some),
            None => Some(None),
        };
        let evidence = ids.iter().map_while(known).collect();
        if work.finish() { Ok(evidence) } else { Err(IndexError::Stopped) }
    }

    fn sizes(&self) -> Sizes {
        self.read().sizes()
    }
}

impl State {
    fn change(&self, id: &str, revision: u64, text_hash: u64) -> Change {
        if self.removals.revision(id).is_some_and(|removed| removed >= revision) {
            return Change::Outdated;
        }
        let Some(&slot) = self.slots.get(id) else {
            return Change::NewText;
        };
        let fact = &self.facts[slot as usize];
        match (revision.cmp(&fact.revision), text_hash == fact.text_hash) {
            (Ordering::Less, _) | (Ordering::Equal, false) => Change::Outdated,
            (Ordering::Equal, true) => Change::Current,
            (Ordering::Greater, true) => Change::SameText,
            (Ordering::Greater, false) => Change::NewText,
        }
    }

    fn upsert(&mut self, prepared: Prepared<'_>, hasher: &RandomState) -> Result<bool, IndexError> {
        let Prepared { entry, text_hash, terms, keys, vectors, is_meaningless } = prepared;
        vectors.first().map_or(Ok(()), |vector| self.vectors.check_dimensions(vector))?;
        let change = self.change(entry.id, entry.revision, text_hash);
        let has_vector = !vectors.is_empty() || is_meaningless;
        if change == Change::Outdated || (change == Change::Current && !has_vector) {
            return Ok(false);
        }
        if self.vectors.is_full(vectors.len()) {
            return Err(IndexError::Full);
        }
        let slot = self.slot(entry.id)?;
        if change == Change::NewText {
            // Another write may have changed the fact, or the language, since `prepare` looked.
            let language = self.languages.current();
            let terms = terms.filter(|terms| terms.language() == language);
            let terms = terms.unwrap_or_else(|| TermCounts::new(entry.text, language, hasher));
            self.set_terms(slot, terms);
            self.vectors.unset(slot);
            self.meaningless.remove(entry.id);
        }
        if change != Change::Current {
            self.metadata.set(slot, keys);
            let fact = &mut self.facts[slot as usize];
            (fact.revision, fact.text_hash) = (entry.revision, text_hash);
        }
        if !vectors.is_empty() {
            self.vectors.set(slot, &vectors);
            self.meaningless.remove(entry.id);
        }
        if is_meaningless {
            self.vectors.unset(slot);
            self.meaningless.insert(Arc::clone(&self.facts[slot as usize].id));
        }
        Ok(true)
    }

    fn set_terms(&mut self, slot: u32, terms: TermCounts) {
        let fact = &mut self.facts[slot as usize];
        self.languages.leave(fact.language);
        fact.language = terms.language();
        self.bm25.set(slot, terms);
    }

    /// The slot of a fact with this text whose terms are of another language.
    fn outdated_slot(&self, id: &str, text_hash: u64) -> Option<u32> {
        let slot = *self.slots.get(id)?;
        let fact = &self.facts[slot as usize];
        let is_outdated = fact.language != self.languages.current();
        (is_outdated && fact.text_hash == text_hash).then_some(slot)
    }

    /// The slot of `id`; adds one if there is none.
    fn slot(&mut self, id: &str) -> Result<u32, IndexError> {
        if let Some(&slot) = self.slots.get(id) {
            return Ok(slot);
        }
        if self.facts.len() >= FACTS {
            return Err(IndexError::Full);
        }
        self.removals.forget(id);
        let slot = self.facts.len() as u32;
        let id: Arc<str> = id.into();
        self.id_bytes += id.len();
        self.slots.insert(Arc::clone(&id), slot);
        let language = self.languages.current();
        self.facts.push(Fact { id, revision: 0, text_hash: 0, language });
        self.bm25.push();
        self.metadata.push();
        self.vectors.push();
        Ok(slot)
    }

    fn remove(&mut self, id: &str, revision: u64) -> bool {
        let Some(&slot) = self.slots.get(id) else {
            self.removals.insert(id, revision);
            return false;
        };
        if self.facts[slot as usize].revision > revision {
            return false;
        }
        self.removals.insert(id, revision);
        self.slots.remove(id);
        self.meaningless.remove(id);
        self.id_bytes -= id.len();
        let removed = self.facts.swap_remove(slot as usize);
        self.languages.leave(removed.language);
        self.bm25.swap_remove(slot);
        self.metadata.swap_remove(slot);
        self.vectors.swap_remove(slot);
        if let Some(moved) = self.facts.get(slot as usize) {
            self.slots.insert(Arc::clone(&moved.id), slot);
        }
        true
    }

    /// Orders slots by the ids of their facts.
    fn by_id(&self) -> impl Fn(u32, u32) -> Ordering + Copy {
        let id = |slot: u32| &self.facts[slot as usize].id;
        move |left, right| id(left).cmp(id(right))
    }

    /// Number of facts in `allowed`, and of those that have a vector.
    fn count(&self, allowed: Option<&FixedBitSet>, work: &Work<'_>) -> (usize, usize) {
        let Some(allowed) = allowed else {
            return (self.facts.len(), self.vectors.slots());
        };
        let facts = allowed.count_ones(..);
        if !work.spend(facts as u64) {
            return (0, 0);
        }
        let vectors = allowed.ones().filter(|&slot| self.vectors.has(slot as u32)).count();
        (facts, vectors)
    }

    fn candidates(&self, found: &[Scored]) -> Vec<Candidate> {
        let candidate = |scored: &Scored| Candidate {
            id: Arc::clone(&self.facts[scored.slot as usize].id),
            score: scored.score,
        };
        found.iter().map(candidate).collect()
    }

    fn sizes(&self) -> Sizes {
        // Both tables share one allocation per id, which also holds two reference counts.
        let ids = self.id_bytes + self.facts.len() * 2 * size_of::<usize>();
        let tables = self.facts.capacity() * size_of::<Fact>()
            + self.slots.capacity() * (size_of::<(Arc<str>, u32)>() + 1)
            + self.meaningless.capacity() * (size_of::<Arc<str>>() + 1);
        let parts = self.bm25.bytes()
            + self.metadata.bytes()
            + self.vectors.bytes()
            + self.removals.bytes();
        Sizes {
            facts: self.facts.len(),
            vectors: self.vectors.slots() + self.meaningless.len(),
            windows: self.vectors.windows(),
            terms: self.bm25.count(),
            postings: self.bm25.postings() + self.metadata.postings(),
            removals: self.removals.count(),
            bytes: ids + tables + parts,
        }
    }
}

/// The vectors that `values` holds one after another, of so many dimensions each; without
/// dimensions, they are one vector.
fn quantized(
    values: &[f32],
    dimensions: Option<usize>,
) -> Result<Vec<QuantizedVector>, IndexError> {
    match dimensions {
        Some(dimensions) if dimensions > 0 && values.len() > dimensions => {
            let vectors = values.chunks_exact(dimensions);
            if !vectors.remainder().is_empty() {
                return Err(IndexError::Dimensions { expected: dimensions, got: values.len() });
            }
            vectors.map(QuantizedVector::new).collect()
        }
        _ => Ok(vec![QuantizedVector::new(values)?]),
    }
}
