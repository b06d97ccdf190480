//! Reading facts by id: for a caller, for other verbs, and for the host's index.

use crate::budget::{Fit, Watch};
use crate::fact::{Entry, Fact};
use crate::limits::FACTS_PER_CALL;
use crate::ports::{Hash, Level, Ports};
use crate::{Error, Logic, Result};

impl<P: Ports> Logic<P> {
    /// The facts of the first of `ids`, at most 100, in their order; `None` where there is
    /// no such fact. Shorter than `ids` if the answer would be too large, but not empty.
    pub fn get(&self, ids: &[&str]) -> Result<Vec<Option<Fact>>> {
        FACTS_PER_CALL.check(ids.len())?;
        let mut facts = self.read_facts(ids)?;
        if facts.len() > 1 {
            let mut room = Watch::begin(&self.ports).room();
            let mut fits = |fact: &Fact| matches!(room.take(fact.bytes()), Fit::Fits);
            let fitting = facts.iter().take_while(|fact| fact.as_ref().is_none_or(&mut fits));
            let fitting = fitting.count();
            facts.truncate(fitting.max(1));
        }
        Ok(facts)
    }

    /// What search is to read of `ids`, at most 100; ids without a fact are left out. For
    /// each of the last ids that did not fit into the answer a `None` follows.
    pub fn entries(&self, ids: &[&str]) -> Result<Vec<Option<Entry>>> {
        FACTS_PER_CALL.check(ids.len())?;
        let mut room = Watch::begin(&self.ports).room();
        let mut entries = Vec::with_capacity(ids.len());
        let mut reached = 0;
        for (id, hash) in ids.iter().zip(self.read_tolerantly(ids)?) {
            if let Some(fact) = hash.and_then(|hash| Fact::from_hash(id, hash)) {
                match room.take(fact.bytes()) {
                    Fit::Fits => entries.push(Some(fact.into())),
                    Fit::Never => self.note_oversized(id),
                    Fit::Full => break,
                }
            }
            reached += 1;
        }
        entries.resize(entries.len() + ids.len() - reached, None);
        Ok(entries)
    }

    /// Facts as storage holds them: some of `ids` from the first on, at least one if there
    /// are any.
    pub(crate) fn read_facts(&self, ids: &[&str]) -> Result<Vec<Option<Fact>>> {
        let hashes = ids.iter().zip(self.read(ids)?);
        Ok(hashes.map(|(id, hash)| Fact::from_hash(id, hash?)).collect())
    }

    /// Hashes of some of `ids`, as above, where one that is too large to be read is passed
    /// over with a line in the log: it must not stand in the way of all that follow.
    pub(crate) fn read_tolerantly(&self, ids: &[&str]) -> Result<Vec<Option<Hash>>> {
        match (self.read(ids), ids) {
            (Err(Error::TooLarge(_)), [id]) => {
                self.note_oversized(id);
                Ok(vec![None])
            }
            (Err(Error::TooLarge(_)), [first, _, ..]) => self.read_tolerantly(&[first]),
            (read, _) => read,
        }
    }

    /// One line about a fact that another program made too large to be delivered.
    pub(crate) fn note_oversized(&self, id: &str) {
        let line = format!("the fact {id} is larger than an answer may be and was left out");
        self.ports.log(Level::Warn, &line);
    }

    fn read(&self, ids: &[&str]) -> Result<Vec<Option<Hash>>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let hashes = self.ports.read(ids)?;
        if hashes.is_empty() || hashes.len() > ids.len() {
            return Err(Error::miscounted("storage.read"));
        }
        Ok(hashes)
    }
}
