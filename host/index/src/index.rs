//! The index in memory: a lock around the parts, and the rules of what replaces what.
//!
//! Whatever can be made before the lock is taken, is: words, parsed metadata, the vector in both
//! forms. What is left under the lock is to move them in, a few microseconds each.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::best::{Best, Scored};
use crate::columns::{self, Columns, Members};
use crate::error::IndexError;
use crate::filter::Filter;
use crate::limits::FACTS;
use crate::metadata::Metadata;
use crate::removals::Removals;
use crate::unit::UnitVector;
use crate::vectors::Vectors;
use crate::words::{Text, Words};
use crate::{Candidate, Entry, FactIndex, Sizes};

/// One tenant's facts as search sees them, in memory.
///
/// Reads run beside each other; a write waits for the reads before it and holds up those after
/// it for the time of moving one fact in.
#[derive(Debug)]
pub struct Index {
    state: RwLock<State>,
    /// Random, so that nobody can write texts whose words collide.
    hasher: RandomState,
}

/// Every part numbers the facts alike: slots from 0, without gaps. A removal gives the last
/// fact the number that became free.
#[derive(Debug)]
struct State {
    facts: Vec<Fact>,
    slots: HashMap<Arc<str>, u32>,
    words: Words,
    columns: Columns,
    vectors: Vectors,
    removals: Removals,
    /// What the ids themselves take.
    id_bytes: usize,
}

#[derive(Debug)]
struct Fact {
    id: Arc<str>,
    revision: u64,
    /// A hash of the text. Taking a new text for the old one, and so keeping the old vector,
    /// has a chance of 1 in 2^64.
    text: u64,
}

/// What an entry is to the fact that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Outdated,
    /// The same revision of the same text.
    Current,
    /// Newer, with the text that is there.
    SameText,
    NewText,
}

/// An entry, ready to be moved in.
struct Prepared<'a> {
    entry: &'a Entry<'a>,
    text: u64,
    words: Option<Text>,
    members: Members,
    vector: Option<UnitVector>,
}

impl Default for Index {
    fn default() -> Self {
        Self::new()
    }
}

impl Index {
    /// An empty index. The first vector says how many dimensions all have.
    pub fn new() -> Self {
        Self::from(Vectors::new(None))
    }

    /// An empty index for vectors of `dimensions` numbers.
    pub fn with_dimensions(dimensions: usize) -> Self {
        Self::from(Vectors::new(Some(dimensions)))
    }

    fn from(vectors: Vectors) -> Self {
        let state = State {
            facts: Vec::new(),
            slots: HashMap::new(),
            words: Words::new(),
            columns: Columns::new(),
            vectors,
            removals: Removals::default(),
            id_bytes: 0,
        };
        Self { state: RwLock::new(state), hasher: RandomState::new() }
    }

    /// A panic under the lock would be a fault of this crate. Even then the worst here is a wrong
    /// answer from a cache that can be rebuilt, so the rest of the tenant's requests go on.
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn prepare<'a>(&self, entry: &'a Entry<'a>) -> Result<Prepared<'a>, IndexError> {
        let vector = entry.vector.map(UnitVector::new).transpose()?;
        let members = columns::members(&Metadata::parse(entry.metadata)?, &self.hasher);
        let text = self.hasher.hash_one(entry.text);
        let standing = self.read().standing(entry.id, entry.revision, text);
        let words = (standing == Standing::NewText).then(|| Text::new(entry.text, &self.hasher));
        Ok(Prepared { entry, text, words, members, vector })
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
        let query = UnitVector::new(vector)?;
        let state = self.read();
        state.vectors.check(&query)?;
        let allowed = filter.map(|filter| state.columns.select(filter, &self.hasher));
        let mut best = state.best(limit);
        for found in state.vectors.nearest(&query, allowed.as_ref(), limit) {
            best.push(found.score, found.slot);
        }
        let found = best.into_sorted();
        Ok(state.candidates(&found))
    }

    fn matching(
        &self,
        text: &str,
        filter: Option<&Filter>,
        limit: usize,
    ) -> Result<Vec<Candidate>, IndexError> {
        let query = Text::query(text, &self.hasher);
        let state = self.read();
        let allowed = filter.map(|filter| state.columns.select(filter, &self.hasher));
        let mut best = state.best(limit);
        state.words.matching(&query, allowed.as_ref(), |found| best.push(found.score, found.slot));
        let found = best.into_sorted();
        Ok(state.candidates(&found))
    }

    fn sizes(&self) -> Sizes {
        self.read().sizes()
    }
}

impl State {
    fn standing(&self, id: &str, revision: u64, text: u64) -> Standing {
        if self.removals.revision(id).is_some_and(|removed| removed >= revision) {
            return Standing::Outdated;
        }
        let Some(&slot) = self.slots.get(id) else {
            return Standing::NewText;
        };
        let fact = &self.facts[slot as usize];
        match (revision.cmp(&fact.revision), text == fact.text) {
            (Ordering::Less, _) | (Ordering::Equal, false) => Standing::Outdated,
            (Ordering::Equal, true) => Standing::Current,
            (Ordering::Greater, true) => Standing::SameText,
            (Ordering::Greater, false) => Standing::NewText,
        }
    }

    fn upsert(&mut self, prepared: Prepared<'_>, hasher: &RandomState) -> Result<bool, IndexError> {
        let Prepared { entry, text, words, members, vector } = prepared;
        if let Some(vector) = &vector {
            self.vectors.check(vector)?;
        }
        let standing = self.standing(entry.id, entry.revision, text);
        if standing == Standing::Outdated || (standing == Standing::Current && vector.is_none()) {
            return Ok(false);
        }
        let slot = self.slot(entry.id)?;
        if standing == Standing::NewText {
            // Another write can have come between the two looks at what is there.
            self.words.set(slot, words.unwrap_or_else(|| Text::new(entry.text, hasher)));
            self.vectors.unset(slot);
        }
        if standing != Standing::Current {
            self.columns.set(slot, members);
            let fact = &mut self.facts[slot as usize];
            (fact.revision, fact.text) = (entry.revision, text);
        }
        if let Some(vector) = &vector {
            self.vectors.set(slot, vector);
        }
        Ok(true)
    }

    /// The slot of `id`, a new one if need be.
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
        self.facts.push(Fact { id, revision: 0, text: 0 });
        self.words.push();
        self.columns.push();
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
        self.words.swap_remove(slot);
        self.columns.swap_remove(slot);
        self.vectors.swap_remove(slot);
        if let Some(moved) = self.facts.get(slot as usize) {
            self.slots.insert(Arc::clone(&moved.id), slot);
        }
        true
    }

    /// For the best facts by score, and by id where scores are equal.
    fn best(&self, limit: usize) -> Best<impl Fn(u32, u32) -> Ordering> {
        let id = |slot: u32| &self.facts[slot as usize].id;
        Best::new(limit, move |left, right| id(left).cmp(id(right)))
    }

    fn candidates(&self, found: &[Scored]) -> Vec<Candidate> {
        let candidate = |scored: &Scored| Candidate {
            id: Arc::clone(&self.facts[scored.slot as usize].id),
            score: scored.score,
        };
        found.iter().map(candidate).collect()
    }

    fn sizes(&self) -> Sizes {
        // An id is in one allocation, with two counts, for both tables.
        let ids = self.id_bytes + self.facts.len() * 2 * size_of::<usize>();
        let tables = self.facts.capacity() * size_of::<Fact>()
            + self.slots.capacity() * (size_of::<(Arc<str>, u32)>() + 1);
        let parts = self.words.bytes()
            + self.columns.bytes()
            + self.vectors.bytes()
            + self.removals.bytes();
        Sizes {
            facts: self.facts.len(),
            vectors: self.vectors.count(),
            words: self.words.count(),
            postings: self.words.postings() + self.columns.postings(),
            removals: self.removals.count(),
            bytes: ids + tables + parts,
        }
    }
}
