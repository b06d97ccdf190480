//! The in-memory index: the parts behind one lock, and the rules by which revisions replace each
//! other.
//!
//! A write analyses the text, parses the metadata and quantizes the vector before it takes the
//! lock. Under the lock it only moves the results in, which takes a few microseconds.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::bm25::{Bm25Index, TermCounts};
use crate::error::IndexError;
use crate::filter::Filter;
use crate::limits::FACTS;
use crate::metadata::Metadata;
use crate::metadata_index::{self, MetadataIndex, MetadataKeys};
use crate::quantized::QuantizedVector;
use crate::removals::Removals;
use crate::top_k::{Scored, TopK};
use crate::vectors::Vectors;
use crate::{Candidate, Entry, FactIndex, Sizes};

/// One tenant's facts in memory.
///
/// Reads run concurrently. A write waits for the reads before it, and blocks those after it only
/// while it moves one fact in.
#[derive(Debug)]
pub struct Index {
    state: RwLock<State>,
    /// Randomly seeded, so that nobody can craft texts whose terms collide.
    hasher: RandomState,
}

/// All parts number the facts alike: slots from 0, without gaps. A removal moves the last fact
/// into the slot that became free.
#[derive(Debug)]
struct State {
    facts: Vec<Fact>,
    slots: HashMap<Arc<str>, u32>,
    bm25: Bm25Index,
    metadata: MetadataIndex,
    vectors: Vectors,
    removals: Removals,
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
    vector: Option<QuantizedVector>,
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
            removals: Removals::default(),
            id_bytes: 0,
        };
        Self { state: RwLock::new(state), hasher: RandomState::new() }
    }

    /// Ignores poisoning. A panic under the lock would be a bug of this crate, and the worst
    /// consequence is a wrong result from a cache that can be rebuilt, so the tenant's other
    /// requests go on.
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn prepare<'a>(&self, entry: &'a Entry<'a>) -> Result<Prepared<'a>, IndexError> {
        let vector = entry.vector.map(QuantizedVector::new).transpose()?;
        let keys = metadata_index::keys(&Metadata::parse(entry.metadata)?, &self.hasher);
        let text_hash = self.hasher.hash_one(entry.text);
        let change = self.read().change(entry.id, entry.revision, text_hash);
        let terms = (change == Change::NewText).then(|| TermCounts::new(entry.text, &self.hasher));
        Ok(Prepared { entry, text_hash, terms, keys, vector })
    }
}

impl FactIndex for Index {
    fn upsert(&self, entry: &Entry<'_>) -> Result<bool, IndexError> {
        let prepared = self.prepare(entry)?;
        self.write().upsert(prepared, &self.hasher)
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
    }

    fn nearest(
        &self,
        vector: &[f32],
        filter: Option<&Filter>,
        limit: usize,
    ) -> Result<Vec<Candidate>, IndexError> {
        let query = QuantizedVector::new(vector)?;
        let state = self.read();
        state.vectors.check_dimensions(&query)?;
        let allowed = filter.map(|filter| state.metadata.select(filter, &self.hasher));
        let mut top = state.top_k(limit);
        for found in state.vectors.nearest(&query, allowed.as_ref(), limit) {
            top.push(found.score, found.slot);
        }
        let found = top.into_sorted();
        Ok(state.candidates(&found))
    }

    fn matching(
        &self,
        text: &str,
        filter: Option<&Filter>,
        limit: usize,
    ) -> Result<Vec<Candidate>, IndexError> {
        let query = TermCounts::query(text, &self.hasher);
        let state = self.read();
        let allowed = filter.map(|filter| state.metadata.select(filter, &self.hasher));
        let mut top = state.top_k(limit);
        state.bm25.matching(&query, allowed.as_ref(), |found| top.push(found.score, found.slot));
        let found = top.into_sorted();
        Ok(state.candidates(&found))
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
        let Prepared { entry, text_hash, terms, keys, vector } = prepared;
        if let Some(vector) = &vector {
            self.vectors.check_dimensions(vector)?;
        }
        let change = self.change(entry.id, entry.revision, text_hash);
        if change == Change::Outdated || (change == Change::Current && vector.is_none()) {
            return Ok(false);
        }
        let slot = self.slot(entry.id)?;
        if change == Change::NewText {
            // Another write may have changed the fact since `prepare` looked at it.
            self.bm25.set(slot, terms.unwrap_or_else(|| TermCounts::new(entry.text, hasher)));
            self.vectors.unset(slot);
        }
        if change != Change::Current {
            self.metadata.set(slot, keys);
            let fact = &mut self.facts[slot as usize];
            (fact.revision, fact.text_hash) = (entry.revision, text_hash);
        }
        if let Some(vector) = &vector {
            self.vectors.set(slot, vector);
        }
        Ok(true)
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
        self.facts.push(Fact { id, revision: 0, text_hash: 0 });
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
        self.id_bytes -= id.len();
        self.facts.swap_remove(slot as usize);
        self.bm25.swap_remove(slot);
        self.metadata.swap_remove(slot);
        self.vectors.swap_remove(slot);
        if let Some(moved) = self.facts.get(slot as usize) {
            self.slots.insert(Arc::clone(&moved.id), slot);
        }
        true
    }

    /// Selects the facts with the highest scores, equal ones ordered by id.
    fn top_k(&self, limit: usize) -> TopK<impl Fn(u32, u32) -> Ordering> {
        let id = |slot: u32| &self.facts[slot as usize].id;
        TopK::new(limit, move |left, right| id(left).cmp(id(right)))
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
            + self.slots.capacity() * (size_of::<(Arc<str>, u32)>() + 1);
        let parts = self.bm25.bytes()
            + self.metadata.bytes()
            + self.vectors.bytes()
            + self.removals.bytes();
        Sizes {
            facts: self.facts.len(),
            vectors: self.vectors.count(),
            terms: self.bm25.count(),
            postings: self.bm25.postings() + self.metadata.postings(),
            removals: self.removals.count(),
            bytes: ids + tables + parts,
        }
    }
}
