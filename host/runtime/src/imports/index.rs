//! `index` and `index-write`: what search reads.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kenning_bindings::kenning::knowledge::{index, index_write};
use kenning_index::{Candidate, FactIndex, Filter, Index, IndexError, Work};
use kenning_storage::{FactId, Revision};
use wasmtime::{Result, Trap};

use super::search::{self, Bounds, Searched};
use super::{answer, check_items, fact_id, too_large};
use crate::outcome::{DeadlinePassed, Waiting};
use crate::state::State;
use crate::tenant_index::{Progress, Refusal, TenantIndex};
use crate::tenant_indexes::NewEntry;
use crate::wit::{self, Embeddings, Entry, Error, Problem};

/// The maximum of candidates in one result, defined by the contract.
const CANDIDATES: u32 = 10_000;

/// After indexing an entry took so long, other calls may compute.
const LONG: Duration = Duration::from_millis(1);

impl index::Host for State {
    async fn nearest(
        &mut self,
        target: Embeddings,
        filter: Option<String>,
        limit: u32,
    ) -> Result<Result<Vec<wit::Candidate>, Error>> {
        answer!(self, "index.nearest", (target, filter, limit) => {
            match self.check_profile(&target, 1) {
                Err(error) => Err(error),
                Ok(()) => self.find_nearest(target, filter, limit).await?,
            }
        })
    }

    async fn matching(
        &mut self,
        text: String,
        filter: Option<String>,
        limit: u32,
    ) -> Result<Result<Vec<wit::Candidate>, Error>> {
        answer!(self, "index.matching", (text, filter, limit) => {
            let found = self.search_index(filter, limit, move |index, filter, limit, work| {
                index.matching_within(&text, filter, limit, work)
            });
            found.await?.map(to_candidates)
        })
    }
}

impl index_write::Host for State {
    async fn upsert(
        &mut self,
        entries: Vec<Entry>,
        vectors: Option<Embeddings>,
    ) -> Result<Result<(), Error>> {
        answer!(self, "index-write.upsert", (entries, vectors) => {
            self.upsert_entries(entries, vectors).await
        })
    }

    async fn remove(&mut self, ids: Vec<String>) -> Result<Result<(), Error>> {
        answer!(self, "index-write.remove", (ids) => self.remove_entries(&ids).await)
    }
}

impl State {
    async fn find_nearest(
        &mut self,
        target: Embeddings,
        filter: Option<String>,
        limit: u32,
    ) -> Result<Result<Vec<wit::Candidate>, Error>> {
        let found = self.search_index(filter, limit, move |index, filter, limit, work| {
            index.nearest_within(&target.values, filter, limit, work)
        });
        Ok(found.await?.map(to_candidates))
    }

    async fn remove_entries(&mut self, ids: &[String]) -> Result<(), Error> {
        check_items(ids.len())?;
        // An index that is created later does not find the facts in storage.
        let index = self.services.indexes.existing(&self.tenant);
        for id in ids {
            let (id, revision) = self.revision(id)?;
            let Some(index) = index.as_ref().filter(|_| self.captured.is_none()) else { continue };
            let _turn = index.write().await;
            match index.remove(id.as_str(), revision.0) {
                Ok(true) => index.forget_embedded(id.as_str()),
                Ok(false) => {}
                Err(error) => return Err(self.index_error(&error)),
            }
        }
        Ok(())
    }

    /// Searches the tenant's index with `search`, which is given the parsed arguments, and counts
    /// its time as the host's.
    pub(super) async fn search_index<T: Send + 'static>(
        &mut self,
        filter: Option<String>,
        limit: u32,
        search: impl Fn(&Index, Option<&Filter>, usize, &Work<'_>) -> Result<T, IndexError>
        + Send
        + Sync
        + 'static,
    ) -> Result<Result<T, Error>> {
        let parsed = parse_filter(filter.as_deref())
            .and_then(|filter| check_limit(limit).map(|limit| (filter, limit)));
        let (filter, limit) = match parsed {
            Ok(parsed) => parsed,
            Err(error) => return Ok(Err(error)),
        };
        let index = match self.loaded_index().await {
            Ok(index) => index,
            Err(error) => return Ok(Err(error)),
        };
        let (begun, fuel) = (Instant::now(), self.fuel.left());
        let bounds = Bounds { fuel, deadline: self.deadline, slice: self.slice.clone() };
        let search =
            move |index: &Index, work: &Work<'_>| search(index, filter.as_ref(), limit, work);
        self.waiting = Waiting::Index;
        let searched = search::run(index, Arc::new(search), bounds).await;
        self.waiting = Waiting::Nothing;
        self.host_time += begun.elapsed();
        self.searched(searched)
    }

    /// The index that the call was admitted with; of another call, the tenant's, after it had a
    /// moment to be loaded.
    async fn loaded_index(&mut self) -> Result<Arc<TenantIndex>, Error> {
        let index = match &self.index {
            Some(index) => index.clone(),
            None => self.opened_index().await,
        };
        match index.refusal() {
            None => Ok(index),
            Some(Refusal { limit, allowed, used, .. }) => {
                Err(too_large(limit, allowed as u64, used as u64))
            }
        }
    }

    async fn opened_index(&mut self) -> Arc<TenantIndex> {
        let (services, tenant, deadline) =
            (self.services.clone(), self.tenant.clone(), self.deadline);
        let index = services.indexes.held().open(&tenant);
        if index.progress() != Progress::Loading {
            return index;
        }
        let loaded = services.indexes.held().loaded(&tenant, deadline);
        self.wait(Waiting::Index, loaded).await
    }

    /// Charges for a search. One that was stopped ends the call.
    fn searched<T>(&mut self, searched: Searched<T>) -> Result<Result<T, Error>> {
        if !self.fuel.spend(searched.fuel) {
            return Err(Trap::OutOfFuel.into());
        }
        match searched.result {
            Ok(found) => Ok(Ok(found)),
            Err(IndexError::Stopped) => Err(DeadlinePassed.into()),
            Err(error) => Ok(Err(self.index_error(&error))),
        }
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
        let embedder = self.services.embedders.of(&self.tenant);
        let dimensions = embedder.space().map_or(0, |space| space.dimensions);
        let mut new = Vec::with_capacity(entries.len());
        for (position, entry) in entries.into_iter().enumerate() {
            let (id, revision) = self.revision(&entry.id)?;
            let vector =
                vectors.as_ref().map(|all| &all.values[position * dimensions..][..dimensions]);
            let (vector, embedded_bytes) = self.with_windows(&entry.text, vector);
            let (text, metadata) = (entry.text, entry.metadata);
            let storing = self.unindexed.get(&id).cloned();
            new.push(NewEntry { id, revision, text, metadata, vector, embedded_bytes, storing });
        }
        if self.captured.is_some() {
            return Ok(());
        }
        let mut refused = Ok(());
        for entry in new {
            let id = entry.id.clone();
            match self.upsert_one(entry).await {
                Ok(()) => drop(self.unindexed.remove(&id)),
                // The other facts must be indexed all the same.
                Err(error) => refused = Err(self.index_error(&error)),
            }
        }
        refused
    }

    /// The vectors of all windows of a text of which the logic gives one, and how many bytes the
    /// windows cover. If the others are not known, for there was no time or the logic embedded
    /// something else, there are none, and the indexer makes them all.
    fn with_windows(&self, text: &str, given: Option<&[f32]>) -> (Option<Vec<f32>>, usize) {
        let embedder = self.services.embedders.of(&self.tenant);
        if text.len() <= embedder.window_bytes() {
            return (given.map(<[f32]>::to_vec), text.len());
        }
        let found = self.windows.as_ref().and_then(|windows| windows.find(text, given));
        if let Some(found) = found
            && (found.values.is_some() || given.is_none() || found.has_several)
        {
            return (found.values, found.embedded_bytes);
        }
        let is_whole = given.is_some() && embedder.windows(text, 2).len() == 1;
        (given.filter(|_| is_whole).map(<[f32]>::to_vec), text.len())
    }

    /// Indexes one entry, and lets other calls compute if that took long.
    async fn upsert_one(&mut self, entry: NewEntry) -> Result<(), IndexError> {
        let (services, tenant, begun) =
            (self.services.clone(), self.tenant.clone(), Instant::now());
        let upserted = services.indexes.upsert(&tenant, vec![entry]);
        let upserted = self.wait(Waiting::Index, upserted).await;
        if begun.elapsed() >= LONG {
            self.slice.next().await;
        }
        upserted
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
    pub(super) fn check_profile(&self, vectors: &Embeddings, count: usize) -> Result<(), Error> {
        let embedder = self.services.embedders.of(&self.tenant);
        let space = embedder.space();
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

pub(super) fn parse_filter(filter: Option<&str>) -> Result<Option<Filter>, Error> {
    let Some(text) = filter else { return Ok(None) };
    Filter::parse_text(text).map(Some).map_err(|error| {
        let pointer = format!("/filter{}", error.pointer);
        Error::InvalidFilter(Problem { pointer, message: error.message })
    })
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
