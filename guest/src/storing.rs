//! Storing drafts: durable first, findable second.
//!
//! A draft whose id is free is written; one whose id is taken is compared with what stands
//! there. So a store can be repeated after a timeout, and never overwrites. Drafts with
//! the same id in one call behave as if they were stored one after the other.

use crate::budget::runs;
use crate::fact::{self, Draft, Fact, Stored};
use crate::ports::{Condition, HashWrite, Ports};
use crate::timestamp::Timestamp;
use crate::{Error, Logic, Result, limits, metadata};

/// A draft that may be written.
struct Checked {
    fact: Fact,
    order: u64,
}

/// What is known of an id after the writes.
enum Standing {
    /// This call wrote the fact.
    Written { indexed: bool },
    /// A fact was there before this call; none if the hash is not a fact.
    Before(Option<Fact>),
    /// It could not be written, or not be compared.
    Failed(Error),
}

impl<P: Ports> Logic<P> {
    /// Stores at most 100 drafts and says of each, in their order, what became of it.
    ///
    /// The outer error means that nothing was stored, or after [`Error::Timeout`] that it
    /// is unknown what was.
    pub fn store(&self, drafts: Vec<Draft>) -> Result<Vec<Result<Stored>>> {
        limits::FACTS_PER_CALL.check(drafts.len())?;
        let checked: Vec<_> = drafts.into_iter().map(|draft| self.check(draft)).collect();
        let firsts = first_of_each_id(&checked);
        let standing = self.write_all(&firsts)?;
        Ok(checked.iter().map(|draft| outcome(draft.as_ref(), &firsts, &standing)).collect())
    }

    fn check(&self, draft: Draft) -> Result<Checked> {
        fact::check_text(&draft.text)?;
        metadata::check(&draft.metadata)?;
        let timestamp = match &draft.timestamp {
            Some(text) => fact::check_timestamp(text)?,
            None => Timestamp::from_micros(self.ports.now()),
        };
        let id = draft.id.unwrap_or_else(|| self.ports.fresh());
        fact::check_id(&id)?;
        let Draft { text, metadata, .. } = draft;
        let fact = Fact { id, text, metadata, timestamp: timestamp.to_string() };
        Ok(Checked { fact, order: timestamp.order() })
    }

    /// Writes drafts with different ids: in one round trip, unless they are too large.
    fn write_all(&self, drafts: &[&Checked]) -> Result<Vec<Standing>> {
        let sizes: Vec<_> = drafts.iter().map(|draft| draft.fact.bytes()).collect();
        let mut standing: Vec<Standing> = Vec::with_capacity(drafts.len());
        for run in runs(&self.ports, &sizes) {
            let of_run = &drafts[run];
            match self.write_run(of_run) {
                Ok(written) => standing.extend(written),
                Err(error) if standing.is_empty() => return Err(error),
                // What went before is durable, and must be said to be.
                Err(error) => {
                    standing.extend(of_run.iter().map(|_| Standing::Failed(error.clone())));
                }
            }
        }
        self.compare(drafts, &mut standing);
        self.make_findable(drafts, &mut standing);
        Ok(standing)
    }

    fn write_run(&self, drafts: &[&Checked]) -> Result<Vec<Standing>> {
        let writes: Vec<_> = drafts.iter().map(|draft| write(draft)).collect();
        let written = self.ports.write(&writes)?;
        if written.len() != writes.len() {
            return Err(Error::miscounted("storage-write.write"));
        }
        let standing = |written| match written {
            true => Standing::Written { indexed: false },
            false => Standing::Before(None),
        };
        Ok(written.into_iter().map(standing).collect())
    }

    /// Reads what was there before.
    fn compare(&self, drafts: &[&Checked], standing: &mut [Standing]) {
        let mut before: Vec<_> = drafts
            .iter()
            .zip(standing)
            .filter(|(_, standing)| matches!(standing, Standing::Before(_)))
            .map(|(draft, standing)| (draft.fact.id.as_str(), standing))
            .collect();
        let mut rest = &mut before[..];
        while !rest.is_empty() {
            let ids: Vec<_> = rest.iter().map(|(id, _)| *id).collect();
            let read = match self.read_facts(&ids) {
                Ok(read) => read,
                Err(error) => {
                    rest.iter_mut().for_each(|(_, at)| **at = Standing::Failed(error.clone()));
                    return;
                }
            };
            let (reached, others) = rest.split_at_mut(read.len());
            for ((_, at), fact) in reached.iter_mut().zip(read) {
                **at = Standing::Before(fact);
            }
            rest = others;
        }
    }

    fn make_findable(&self, drafts: &[&Checked], standing: &mut [Standing]) {
        let (entries, flags): (Vec<_>, Vec<_>) = drafts
            .iter()
            .zip(standing)
            .filter_map(|(draft, standing)| match standing {
                Standing::Written { indexed } => Some((draft.fact.entry(), indexed)),
                _ => None,
            })
            .unzip();
        for (flag, indexed) in flags.into_iter().zip(self.index(&entries)) {
            *flag = indexed;
        }
    }
}

fn write(Checked { fact, order }: &Checked) -> HashWrite<'_> {
    let fields = vec![
        (fact::CONTENT, fact.text.as_str()),
        (fact::METADATA, fact.metadata.as_str()),
        (fact::TIMESTAMP, fact.timestamp.as_str()),
        (fact::ID, fact.id.as_str()),
    ];
    HashWrite { id: &fact.id, fields, condition: Condition::Absent, order: *order }
}

/// The drafts to write. Others with their ids meet what these leave.
fn first_of_each_id(checked: &[Result<Checked>]) -> Vec<&Checked> {
    let mut firsts: Vec<&Checked> = Vec::with_capacity(checked.len());
    for draft in checked.iter().flatten() {
        if !firsts.iter().any(|first| first.fact.id == draft.fact.id) {
            firsts.push(draft);
        }
    }
    firsts
}

fn outcome(
    draft: Result<&Checked, &Error>,
    firsts: &[&Checked],
    standing: &[Standing],
) -> Result<Stored> {
    let fact = &draft.map_err(Error::clone)?.fact;
    let of_id = firsts.iter().zip(standing).find(|(first, _)| first.fact.id == fact.id);
    let (there, indexed) = match of_id {
        Some((first, Standing::Written { indexed })) => (Some(&first.fact), *indexed),
        // Whoever wrote it saw to its index, or the host still does.
        Some((_, Standing::Before(there))) => (there.as_ref(), true),
        Some((_, Standing::Failed(error))) => return Err(error.clone()),
        None => return Err(Error::miscounted("storage-write.write")),
    };
    if there.is_some_and(|there| there.says_the_same_as(fact)) {
        return Ok(Stored { id: fact.id.clone(), indexed });
    }
    Err(Error::Conflict(fact.id.clone()))
}
