//! Reading facts by id: for callers, for other operations, and for the host's index.

use crate::budget::{Deadline, Fit};
use crate::fact::{Entry, Fact};
use crate::limits::FACTS_PER_CALL;
use crate::ports::{Hash, Level, Ports};
use crate::{Error, Logic, Result};

impl<P: Ports> Logic<P> {
    /// Reads the facts with these ids, at most 100, in order; `None` where there is no
    /// such fact.
    ///
    /// The result is truncated if it would be too large. It holds at least one element if
    /// `ids` does.
    ///
    /// # Errors
    /// If there are too many ids, or if storage fails.
    pub fn get(&self, ids: &[&str]) -> Result<Vec<Option<Fact>>> {
        FACTS_PER_CALL.check(ids.len())?;
        let mut facts = self.read_facts(ids)?;
        if facts.len() > 1 {
            let mut budget = Deadline::start(&self.ports).response_budget();
            let mut fits = |fact: &Fact| matches!(budget.reserve(fact.bytes()), Fit::Fits);
            let fitting = facts.iter().take_while(|fact| fact.as_ref().is_none_or(&mut fits));
            let fitting = fitting.count();
            facts.truncate(fitting.max(1));
        }
        Ok(facts)
    }

    /// Reads what the index needs of these facts, at most 100. Ids without a fact are left
    /// out. If the result would be too large, it ends with one `None` for each of the last
    /// ids that was not reached.
    ///
    /// # Errors
    /// If there are too many ids, or if storage fails.
    pub fn entries(&self, ids: &[&str]) -> Result<Vec<Option<Entry>>> {
        FACTS_PER_CALL.check(ids.len())?;
        let mut budget = Deadline::start(&self.ports).response_budget();
        let mut entries = Vec::with_capacity(ids.len());
        let mut reached = 0;
        for (id, hash) in ids.iter().zip(self.read_tolerantly(ids)?) {
            if let Some(fact) = hash.and_then(|hash| Fact::from_hash(id, hash)) {
                match budget.reserve(fact.bytes()) {
                    Fit::Fits => entries.push(Some(fact.into())),
                    Fit::TooLarge => self.log_oversized(id),
                    Fit::Full => break,
                }
            }
            reached += 1;
        }
        entries.resize(entries.len() + ids.len() - reached, None);
        Ok(entries)
    }

    /// Reads facts from storage, for a prefix of `ids` that holds at least one element if
    /// `ids` does.
    pub(crate) fn read_facts(&self, ids: &[&str]) -> Result<Vec<Option<Fact>>> {
        let hashes = ids.iter().zip(self.read(ids)?);
        Ok(hashes.map(|(id, hash)| Fact::from_hash(id, hash?)).collect())
    }

    /// Reads hashes for a prefix of `ids`, as above, but logs and skips a hash that is too
    /// large to be read: it must not block all that follow.
    pub(crate) fn read_tolerantly(&self, ids: &[&str]) -> Result<Vec<Option<Hash>>> {
        match (self.read(ids), ids) {
            (Err(Error::TooLarge(_)), [id]) => {
                self.log_oversized(id);
                Ok(vec![None])
            }
            (Err(Error::TooLarge(_)), [first, _, ..]) => self.read_tolerantly(&[first]),
            (read, _) => read,
        }
    }

    /// Logs that a fact, written by another program, is too large to be returned.
    pub(crate) fn log_oversized(&self, id: &str) {
        let line = format!("the fact {id} is too large for an answer and was left out");
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
