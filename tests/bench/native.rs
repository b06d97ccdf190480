//! The logic without a sandbox: its ports over the services that the sandbox's imports use.
//!
//! The ports are synchronous and the services are not, so a port blocks its thread until the
//! service is done, where the host suspends the guest and its worker goes on. With one caller that
//! is the same wait. What the host does for a guest only (meters, limits, waits in bounds of their
//! own, looking twice at what a guest hands over) is not done here: it is part of what the sandbox
//! costs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kenning::kb::Kb;
use kenning_embedder::Lane;
use kenning_index::{FactIndex, Filter, Work};
use kenning_logic::error::Problem;
use kenning_logic::ports::{
    Allowance, Budget, Candidate, Clock, Condition, Embedder, Embeddings, EntryRef, Evidence, Hash,
    HashWrite, IdPage, Ids, Index, Level, Log, Purpose, Retrieved, Storage, id_of_random,
    system_now,
};
use kenning_logic::{Error, Result};
use kenning_runtime::Services;
use kenning_runtime::tenant_indexes::NewEntry;
use kenning_storage::{FactId, Revision, TenantId, Write};

/// The ports of one call.
pub(crate) struct Native {
    kb: Arc<Kb>,
    tenant: TenantId,
    /// Of the facts that this call wrote, as the host keeps them.
    revisions: Mutex<HashMap<FactId, Revision>>,
}

impl Native {
    pub(crate) fn new(kb: Arc<Kb>, tenant: TenantId) -> Self {
        Self { kb, tenant, revisions: Mutex::default() }
    }

    fn services(&self) -> &Services {
        self.kb.services()
    }

    /// Blocks until `work` is done, on the runtime that owns sockets and timers.
    fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        let _io = self.services().io.enter();
        futures::executor::block_on(work)
    }

    fn until(&self, bound: Duration) -> Instant {
        Instant::now() + bound
    }

    fn storage_until(&self) -> Instant {
        self.until(self.services().limits.storage_operation)
    }

    fn note(&self, id: FactId, revision: Option<Revision>) -> bool {
        let mut revisions = self.revisions.lock().unwrap_or_else(PoisonError::into_inner);
        revisions.extend(revision.map(|revision| (id, revision)));
        revision.is_some()
    }

    fn revision(&self, id: &str) -> Result<(FactId, Revision)> {
        let id = fact_id(id)?;
        let revisions = self.revisions.lock().unwrap_or_else(PoisonError::into_inner);
        let revision = revisions.get(&id).copied();
        Ok((id, revision.ok_or_else(|| Error::Other("not written by this call".into()))?))
    }
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::Other(error.to_string())
}

fn fact_id(id: &str) -> Result<FactId> {
    FactId::parse(id).map_err(|error| Error::invalid("/fact_id", error.to_string()))
}

fn parse_filter(filter: Option<&str>) -> Result<Option<Filter>> {
    let Some(text) = filter else { return Ok(None) };
    let problem = |pointer, message| Error::InvalidFilter(Problem { pointer, message });
    let value =
        serde_json::from_str(text).map_err(|error| problem("/filter".into(), error.to_string()))?;
    Filter::parse(&value).map(Some).map_err(|error| problem(error.pointer, error.message))
}

impl Storage for Native {
    fn read(&self, ids: &[&str]) -> Result<Vec<Option<Hash>>> {
        let ids = ids.iter().map(|id| fact_id(id)).collect::<Result<Vec<_>>>()?;
        let Services { storage, limits, .. } = self.services();
        let read = storage.read(&self.tenant, &ids, limits.host_call_bytes, self.storage_until());
        let hashes = self.wait(read).map_err(failed)?;
        Ok(hashes.into_iter().map(|hash| hash.map(|fields| Hash { fields })).collect())
    }

    fn page(&self, cursor: Option<&str>, limit: u32) -> Result<IdPage> {
        let until = self.storage_until();
        let page = self.services().storage.page(&self.tenant, cursor, limit as usize, until);
        let page = self.wait(page).map_err(failed)?;
        let ids = page.ids.iter().map(ToString::to_string).collect();
        Ok(IdPage { ids, cursor: page.cursor })
    }

    fn write(&self, writes: &[HashWrite<'_>]) -> Result<Vec<bool>> {
        let writes = writes.iter().map(to_write).collect::<Result<Vec<_>>>()?;
        let until = self.storage_until();
        let written = self.services().storage.write(&self.tenant, &writes, until);
        let revisions = self.wait(written).map_err(failed)?;
        let writes = writes.into_iter().zip(revisions);
        Ok(writes.map(|(write, revision)| self.note(write.id, revision)).collect())
    }

    fn delete(&self, id: &str) -> Result<bool> {
        let id = fact_id(id)?;
        let until = self.storage_until();
        let deleted = self.services().storage.delete(&self.tenant, &id, until);
        let revision = self.wait(deleted).map_err(failed)?;
        Ok(self.note(id, revision))
    }
}

fn to_write(write: &HashWrite<'_>) -> Result<Write> {
    Ok(Write {
        id: fact_id(write.id)?,
        fields: write.fields.iter().map(|&(name, value)| (name.into(), value.into())).collect(),
        condition: match write.condition {
            Condition::Absent => kenning_storage::Condition::Absent,
            Condition::Present => kenning_storage::Condition::Present,
        },
        expected: Vec::new(),
        order: write.order,
    })
}

impl Embedder for Native {
    fn embed(&self, texts: &[&str], purpose: Purpose) -> Result<Embeddings> {
        let Services { embedders, limits, .. } = self.services();
        let embedder = embedders.own();
        let (lane, bound) = match purpose {
            Purpose::Query => (Lane::Query, limits.embedding),
            Purpose::Document => (Lane::Document, limits.store_embedding),
        };
        let texts = texts.iter().map(ToString::to_string).collect();
        let embedded = embedder.embed(&self.tenant, texts, lane, self.until(bound));
        let vectors = self.wait(embedded).map_err(failed)?;
        let space = embedder.space();
        Ok(Embeddings {
            profile: space.map(|space| space.profile.clone()).unwrap_or_default(),
            dimensions: space.map_or(0, |space| space.dimensions as u32),
            values: vectors.iter().flat_map(|vector| vector.iter().copied()).collect(),
        })
    }
}

impl Index for Native {
    fn nearest(
        &self,
        target: &Embeddings,
        filter: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Candidate>> {
        let filter = parse_filter(filter)?;
        let index = self.services().indexes.held().open(&self.tenant);
        let found = index.nearest(&target.values, filter.as_ref(), limit as usize);
        Ok(found.map_err(failed)?.into_iter().map(to_candidate).collect())
    }

    fn matching(&self, text: &str, filter: Option<&str>, limit: u32) -> Result<Vec<Candidate>> {
        let filter = parse_filter(filter)?;
        let index = self.services().indexes.held().open(&self.tenant);
        let found = index.matching(text, filter.as_ref(), limit as usize);
        Ok(found.map_err(failed)?.into_iter().map(to_candidate).collect())
    }

    fn examine(&self, text: &str, filter: Option<&str>) -> Result<Option<f32>> {
        parse_filter(filter)?;
        Ok(self.services().embedders.own().known_share(text))
    }

    fn retrieve(
        &self,
        text: &str,
        target: Option<&Embeddings>,
        filter: Option<&str>,
        limit: u32,
    ) -> Result<Retrieved> {
        let filter = parse_filter(filter)?;
        let index = self.services().indexes.held().open(&self.tenant);
        let (target, limit) = (target.map(|target| &target.values[..]), limit as usize);
        let work = Work::unbounded();
        let found = index.retrieve_within(text, target, filter.as_ref(), limit, &work);
        let found = found.map_err(failed)?;
        Ok(Retrieved {
            candidates: found.candidates.into_iter().map(to_evidence).collect(),
            facts: found.facts as u32,
            vectors: found.vectors as u32,
            attainable: found.attainable,
        })
    }

    fn upsert(&self, entries: &[EntryRef<'_>], vectors: Option<&Embeddings>) -> Result<()> {
        let dimensions =
            self.services().embedders.own().space().map_or(0, |space| space.dimensions);
        let mut new = Vec::with_capacity(entries.len());
        for (position, entry) in entries.iter().enumerate() {
            let (id, revision) = self.revision(entry.id)?;
            let of_entry = |vectors: &Embeddings| {
                vectors.values[position * dimensions..][..dimensions].to_vec()
            };
            let vector = vectors.map(of_entry);
            let (text, metadata) = (entry.text.into(), entry.metadata.into());
            let embedded_bytes = entry.text.len();
            let storing = None;
            new.push(NewEntry { id, revision, text, metadata, vector, embedded_bytes, storing });
        }
        self.wait(self.services().indexes.upsert(&self.tenant, new)).map_err(failed)
    }

    fn remove(&self, ids: &[&str]) -> Result<()> {
        let index = self.services().indexes.held().open(&self.tenant);
        for id in ids {
            let (id, revision) = self.revision(id)?;
            index.remove(id.as_str(), revision.0).map_err(failed)?;
        }
        Ok(())
    }
}

fn to_evidence((id, known): (Arc<str>, kenning_index::Evidence)) -> Evidence {
    let kenning_index::Evidence { similarity, words, coverage, rarest } = known;
    Evidence { id: id.to_string(), similarity, words, coverage, rarest }
}

fn to_candidate(found: kenning_index::Candidate) -> Candidate {
    Candidate { id: found.id.to_string(), score: found.score }
}

impl Clock for Native {
    fn now(&self) -> i64 {
        system_now()
    }
}

impl Ids for Native {
    fn fresh(&self) -> String {
        id_of_random(fastrand::u64(..), fastrand::u64(..))
    }
}

impl Budget for Native {
    fn remaining(&self) -> Allowance {
        let limits = &self.services().limits;
        Allowance {
            milliseconds: limits.call.as_millis() as u64,
            fuel: limits.fuel_base,
            host_calls: limits.host_calls,
            bytes: limits.host_call_bytes as u64,
        }
    }
}

impl Log for Native {
    fn log(&self, level: Level, message: &str) {
        // The logic logs only what went wrong, which a measurement must not hide.
        eprintln!("{level:?}: {message}");
    }
}
