//! `index` and `index-write`: what search reads.

use kenning_bindings::kenning::knowledge::{index, index_write};
use kenning_index::{Candidate, FactIndex, Filter, IndexError};
use kenning_storage::{FactId, Revision};
use wasmtime::Result;

use super::{check_items, fact_id, too_large};
use crate::outcome::Waiting;
use crate::state::State;
use crate::tenant_indexes::NewEntry;
use crate::wit::{self, Embeddings, Entry, Error, Problem};

/// The maximum of candidates in one result, defined by the contract.
const CANDIDATES: u32 = 10_000;

impl index::Host for State {
    async fn nearest(
        &mut self,
        target: Embeddings,
        filter: Option<String>,
        limit: u32,
    ) -> Result<Result<Vec<wit::Candidate>, Error>> {
        self.enter()?;
        let found = self.search_index(|state| {
            state.check_profile(&target, 1)?;
            let filter = parse_filter(filter.as_deref())?;
            let limit = check_limit(limit)?;
            let Some(index) = state.services.indexes.existing(&state.tenant) else {
                return Ok(Vec::new());
            };
            let found = index.nearest(&target.values, filter.as_ref(), limit);
            found.map_err(|error| state.index_error(&error))
        });
        Ok(found.map(to_candidates))
    }

    async fn matching(
        &mut self,
        text: String,
        filter: Option<String>,
        limit: u32,
    ) -> Result<Result<Vec<wit::Candidate>, Error>> {
        self.enter()?;
        let found = self.search_index(|state| {
            let filter = parse_filter(filter.as_deref())?;
            let limit = check_limit(limit)?;
            let Some(index) = state.services.indexes.existing(&state.tenant) else {
                return Ok(Vec::new());
            };
            let found = index.matching(&text, filter.as_ref(), limit);
            found.map_err(|error| state.index_error(&error))
        });
        Ok(found.map(to_candidates))
    }
}

impl index_write::Host for State {
    async fn upsert(
        &mut self,
        entries: Vec<Entry>,
        vectors: Option<Embeddings>,
    ) -> Result<Result<(), Error>> {
        self.enter()?;
        Ok(self.upsert_entries(entries, vectors).await)
    }

    async fn remove(&mut self, ids: Vec<String>) -> Result<Result<(), Error>> {
        self.enter()?;
        let removed = check_items(ids.len()).and_then(|()| {
            let index = self.services.indexes.index(&self.tenant);
            for id in &ids {
                let (id, revision) = self.revision(id)?;
                if self.captured.is_some() {
                    continue;
                }
                let removed = index.remove(id.as_str(), revision.0);
                removed.map_err(|error| self.index_error(&error))?;
            }
            Ok(())
        });
        Ok(removed)
    }
}

impl State {
    /// Runs work on the index and counts its time as the host's.
    fn search_index<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> T {
        let begun = std::time::Instant::now();
        self.waiting = Waiting::Index;
        let answer = work(self);
        self.waiting = Waiting::Nothing;
        self.host_time += begun.elapsed();
        answer
    }

    async fn upsert_entries(
        &mut self,
        entries: Vec<Entry>,
        vectors: Option<Embeddings>,
    ) -> Result<(), Error> {
        check_items(entries.len())?;
        if let Some(vectors) = &vectors {
            self.check_profile(vectors, entries.len())?;
        }
        let dimensions = self.services.embedder.space().map_or(0, |space| space.dimensions);
        let mut new = Vec::with_capacity(entries.len());
        for (position, entry) in entries.into_iter().enumerate() {
            let (id, revision) = self.revision(&entry.id)?;
            let vector = vectors
                .as_ref()
                .map(|vectors| vectors.values[position * dimensions..][..dimensions].to_vec());
            new.push(NewEntry { id, revision, text: entry.text, metadata: entry.metadata, vector });
        }
        if self.captured.is_some() {
            return Ok(());
        }
        let ids: Vec<FactId> = new.iter().map(|entry| entry.id.clone()).collect();
        let (services, tenant) = (self.services.clone(), self.tenant.clone());
        let upserted = services.indexes.upsert(&tenant, new);
        let upserted = self.wait(Waiting::Index, upserted).await;
        upserted.map_err(|error| self.index_error(&error))?;
        for id in &ids {
            self.unindexed.remove(id);
        }
        Ok(())
    }

    /// An error of the index. A full index is the host's fault, any other error the guest's.
    fn index_error(&mut self, error: &IndexError) -> Error {
        match error {
            IndexError::Full => self.host_fault(error),
            _ => Error::Other(error.to_string()),
        }
    }

    /// The revision of the write to `id` in this call.
    fn revision(&self, id: &str) -> Result<(FactId, Revision), Error> {
        let id = fact_id(id)?;
        match self.revisions.get(&id) {
            Some(revision) => Ok((id, *revision)),
            None => Err(Error::Invalid(Problem {
                pointer: "/id".into(),
                message: format!("{id} was not written by this call; write it first"),
            })),
        }
    }

    /// Refuses vectors unless they are `count` of the embedder's profile.
    fn check_profile(&self, vectors: &Embeddings, count: usize) -> Result<(), Error> {
        let space = self.services.embedder.space();
        let Some(space) = space.filter(|space| space.profile == vectors.profile) else {
            let of_index = space.map_or("not known yet", |space| &space.profile);
            return Err(Error::ProfileMismatch(format!(
                "the vector's profile is {} and the index's profile is {of_index}",
                vectors.profile
            )));
        };
        let wanted = count * space.dimensions;
        if vectors.values.len() != wanted {
            return Err(Error::Invalid(Problem {
                pointer: "/values".into(),
                message: format!(
                    "{count} vectors have {wanted} numbers, not {}",
                    vectors.values.len()
                ),
            }));
        }
        Ok(())
    }
}

fn parse_filter(filter: Option<&str>) -> Result<Option<Filter>, Error> {
    let Some(text) = filter else { return Ok(None) };
    let problem = |pointer: String, message: String| {
        Error::InvalidFilter(Problem { pointer: format!("/filter{pointer}"), message })
    };
    let value = serde_json::from_str(text)
        .map_err(|error| problem(String::new(), format!("the filter is not JSON: {error}")))?;
    Filter::parse(&value).map(Some).map_err(|error| problem(error.pointer, error.message))
}

fn check_limit(limit: u32) -> Result<usize, Error> {
    match limit {
        1..=CANDIDATES => Ok(limit as usize),
        _ => Err(too_large("candidates", u64::from(CANDIDATES), u64::from(limit))),
    }
}

fn to_candidates(candidates: Vec<Candidate>) -> Vec<wit::Candidate> {
    candidates
        .into_iter()
        .map(|candidate| wit::Candidate { id: candidate.id.to_string(), score: candidate.score })
        .collect()
}
