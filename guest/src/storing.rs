//! Storing drafts: first durably, then in the index.
//!
//! A draft whose id is free is written. If the id is taken, the draft is compared with the
//! existing fact. A store can therefore be repeated after a timeout, and never overwrites.
//! Drafts with the same id in one call behave as if they were stored one after the other.

use crate::budget::batches;
use crate::fact::{self, Draft, Fact, Stored};
use crate::ports::{Condition, HashWrite, Ports};
use crate::timestamp::Timestamp;
use crate::{Error, Logic, Result, limits, metadata};

/// A validated draft.
struct NewFact {
    fact: Fact,
    order: u64,
}

/// The outcome of writing under one id.
enum Write {
    /// This call wrote the fact.
    Written { indexed: bool },
    /// The id was taken before this call; `None` if its hash is not a fact.
    Existed(Option<Fact>),
    /// The fact could not be written, or the existing one could not be read.
    Failed(Error),
}

impl<P: Ports> Logic<P> {
    /// Stores at most 100 drafts and returns the outcome of each, in order.
    ///
    /// # Errors
    /// An outer error means that nothing was stored or, for [`Error::Timeout`], that it is
    /// unknown what was. An inner error is about one draft.
    pub fn store(&self, drafts: Vec<Draft>) -> Result<Vec<Result<Stored>>> {
        limits::FACTS_PER_CALL.check(drafts.len())?;
        let validated: Vec<_> = drafts.into_iter().map(|draft| self.validate(draft)).collect();
        let firsts = first_of_each_id(&validated);
        let writes = self.write_all(&firsts)?;
        Ok(validated.iter().map(|draft| outcome(draft.as_ref(), &firsts, &writes)).collect())
    }

    fn validate(&self, draft: Draft) -> Result<NewFact> {
        fact::validate_text(&draft.text)?;
        metadata::validate(&draft.metadata)?;
        let timestamp = match &draft.timestamp {
            Some(text) => fact::parse_timestamp(text)?,
            None => Timestamp::from_micros(self.ports.now()),
        };
        let id = draft.id.unwrap_or_else(|| self.ports.fresh());
        fact::validate_id(&id)?;
        let Draft { text, metadata, .. } = draft;
        let fact = Fact { id, text, metadata, timestamp: timestamp.to_string() };
        Ok(NewFact { fact, order: timestamp.order() })
    }

    /// Writes drafts with different ids, in one round trip unless they are too large.
    fn write_all(&self, drafts: &[&NewFact]) -> Result<Vec<Write>> {
        let sizes: Vec<_> = drafts.iter().map(|draft| draft.fact.bytes()).collect();
        let mut writes: Vec<Write> = Vec::with_capacity(drafts.len());
        for range in batches(&self.ports, &sizes) {
            let batch = &drafts[range];
            match self.write_batch(batch) {
                Ok(written) => writes.extend(written),
                Err(error) if writes.is_empty() => return Err(error),
                // Earlier batches are durable and must be reported as stored.
                Err(error) => {
                    writes.extend(batch.iter().map(|_| Write::Failed(error.clone())));
                }
            }
        }
        self.read_existing(drafts, &mut writes);
        self.index_written(drafts, &mut writes);
        Ok(writes)
    }

    fn write_batch(&self, drafts: &[&NewFact]) -> Result<Vec<Write>> {
        let hashes: Vec<_> = drafts.iter().map(|draft| to_hash(draft)).collect();
        let written = self.ports.write(&hashes)?;
        if written.len() != hashes.len() {
            return Err(Error::miscounted("storage-write.write"));
        }
        let write = |written| match written {
            true => Write::Written { indexed: false },
            false => Write::Existed(None),
        };
        Ok(written.into_iter().map(write).collect())
    }

    /// Reads the facts whose ids were taken.
    fn read_existing(&self, drafts: &[&NewFact], writes: &mut [Write]) {
        let mut existing: Vec<_> = drafts
            .iter()
            .zip(writes)
            .filter(|(_, write)| matches!(write, Write::Existed(_)))
            .map(|(draft, write)| (draft.fact.id.as_str(), write))
            .collect();
        let mut rest = &mut existing[..];
        while !rest.is_empty() {
            let ids: Vec<_> = rest.iter().map(|(id, _)| *id).collect();
            let facts = match self.read_facts(&ids) {
                Ok(facts) => facts,
                Err(error) => {
                    rest.iter_mut().for_each(|(_, write)| **write = Write::Failed(error.clone()));
                    return;
                }
            };
            let (read, unread) = rest.split_at_mut(facts.len());
            for ((_, write), fact) in read.iter_mut().zip(facts) {
                **write = Write::Existed(fact);
            }
            rest = unread;
        }
    }

    fn index_written(&self, drafts: &[&NewFact], writes: &mut [Write]) {
        let (facts, flags): (Vec<_>, Vec<_>) = drafts
            .iter()
            .zip(writes)
            .filter_map(|(draft, write)| match write {
                Write::Written { indexed } => Some((&draft.fact, indexed)),
                _ => None,
            })
            .unzip();
        for (flag, indexed) in flags.into_iter().zip(self.index(&facts)) {
            *flag = indexed;
        }
    }
}

fn to_hash(NewFact { fact, order }: &NewFact) -> HashWrite<'_> {
    let fields = vec![
        (fact::CONTENT, fact.text.as_str()),
        (fact::METADATA, fact.metadata.as_str()),
        (fact::TIMESTAMP, fact.timestamp.as_str()),
        (fact::ID, fact.id.as_str()),
    ];
    HashWrite { id: &fact.id, fields, condition: Condition::Absent, order: *order }
}

/// The drafts to write. Later drafts with the same id are compared with these.
fn first_of_each_id(validated: &[Result<NewFact>]) -> Vec<&NewFact> {
    let mut firsts: Vec<&NewFact> = Vec::with_capacity(validated.len());
    for draft in validated.iter().flatten() {
        if !firsts.iter().any(|first| first.fact.id == draft.fact.id) {
            firsts.push(draft);
        }
    }
    firsts
}

fn outcome(
    draft: Result<&NewFact, &Error>,
    firsts: &[&NewFact],
    writes: &[Write],
) -> Result<Stored> {
    let fact = &draft.map_err(Error::clone)?.fact;
    let of_id = firsts.iter().zip(writes).find(|(first, _)| first.fact.id == fact.id);
    let (stored, indexed) = match of_id {
        Some((first, Write::Written { indexed })) => (Some(&first.fact), *indexed),
        // The earlier store indexed it, or the host will.
        Some((_, Write::Existed(existing))) => (existing.as_ref(), true),
        Some((_, Write::Failed(error))) => return Err(error.clone()),
        None => return Err(Error::miscounted("storage-write.write")),
    };
    if stored.is_some_and(|stored| stored.has_same_content_as(fact)) {
        return Ok(Stored { id: fact.id.clone(), indexed });
    }
    Err(Error::Conflict(fact.id.clone()))
}
