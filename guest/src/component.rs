//! The adapter to WebAssembly: the only file that names the contract in `wit/`.
//!
//! It converts between the contract's types and the crate's own, by moving, and implements
//! the ports with the imports. It contains no logic, and takes nothing of WASI, which makes an
//! instance smaller and its beginning shorter (decision 057).
//!
//! The contract calls a retriever's contribution a *leg*.

use std::panic;

use crate::arena::Arena;
use crate::fact::{Change, Draft, Entry, Fact, FactPage, Stored};
use crate::fusion::Contribution;
use crate::ports::{
    self, Candidate, Embeddings, EntryRef, Evidence, Hash, HashWrite, IdPage, Retrieved,
};
use crate::search::{Answer, Fusion, Hit, Mode, Query};
use crate::{Error, Logic, Result, error};
use bindings::exports::kenning::knowledge::{facts, search};
use bindings::kenning::knowledge::{
    budget, embedding, index, index_write, log, storage, storage_write, types,
};
use bindings::kenning::retrieval::retrieval;
use bindings::kenning::system::system;

mod bindings {
    #![expect(unsafe_code, reason = "the generated glue crosses the component boundary")]

    wit_bindgen::generate!({
        path: ["../wit", "../wit/retrieval", "../wit/system"],
        inline: "
            package kenning:guest;
            world clocked-logic {
                include kenning:retrieval/ranking-logic@0.1.0;
                import kenning:system/system@0.1.0;
            }
        ",
        world: "kenning:guest/clocked-logic",
        // The world includes interfaces of the other package.
        generate_all,
        // Pass arguments of imports by reference instead of copying them.
        ownership: Borrowing { duplicate_if_necessary: true },
    });

    use super::Component;
    export!(Component);
}

/// The component: the logic over the imports.
struct Component;

#[global_allocator]
static ARENA: Arena = Arena::new();

/// The logic over the imports. There is no stderr, so a panic says in the log what it is and where.
fn logic() -> Logic<Imports> {
    panic::set_hook(Box::new(|panic| {
        for line in panic.to_string().lines() {
            log::log(types::Level::Error, line);
        }
    }));
    Logic { ports: Imports }
}

impl facts::Guest for Component {
    fn store_drafts(
        drafts: Vec<types::Draft>,
    ) -> Result<Vec<Result<types::Stored, types::Error>>, types::Error> {
        let outcomes = logic().store(drafts.into_iter().map(Draft::from).collect())?;
        Ok(outcomes.into_iter().map(|outcome| Ok(outcome?.into())).collect())
    }

    fn get(ids: Vec<String>) -> Result<Vec<Option<types::Fact>>, types::Error> {
        let facts = logic().get(&borrow(&ids))?;
        Ok(facts.into_iter().map(|fact| fact.map(Into::into)).collect())
    }

    fn list(
        containing: Option<String>,
        limit: u32,
        cursor: Option<String>,
    ) -> Result<types::FactPage, types::Error> {
        Ok(logic().list(containing.as_deref(), limit, cursor.as_deref())?.into())
    }

    fn update(id: String, change: types::Change) -> Result<types::Stored, types::Error> {
        let types::Change { text, metadata } = change;
        Ok(logic().update(&id, &Change { text, metadata })?.into())
    }

    fn delete(id: String) -> Result<(), types::Error> {
        Ok(logic().delete(&id)?)
    }

    fn entries(ids: Vec<String>) -> Result<Vec<Option<types::EntryResult>>, types::Error> {
        let entries = logic().entries(&borrow(&ids))?;
        Ok(entries.into_iter().map(|entry| entry.map(Into::into)).collect())
    }
}

impl search::Guest for Component {
    fn search(query: types::Query) -> Result<types::Answer, types::Error> {
        Ok(logic().search(&query.into())?.into())
    }
}

fn borrow(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

/// Implements the ports with the imports.
struct Imports;

impl ports::Storage for Imports {
    fn read(&self, ids: &[&str]) -> Result<Vec<Option<Hash>>> {
        let hashes = storage::read(ids)?;
        Ok(hashes.into_iter().map(|hash| hash.map(Into::into)).collect())
    }

    fn page(&self, cursor: Option<&str>, limit: u32) -> Result<IdPage> {
        let storage::IdPage { ids, cursor } = storage::page(cursor, limit)?;
        Ok(IdPage { ids, cursor })
    }

    fn write(&self, writes: &[HashWrite<'_>]) -> Result<Vec<bool>> {
        let fields: Vec<Vec<_>> = writes.iter().map(fields).collect();
        let writes = writes.iter().zip(&fields).map(|(write, fields)| storage_write::HashWrite {
            id: write.id,
            fields,
            condition: match write.condition {
                ports::Condition::Absent => storage_write::Condition::Absent,
                ports::Condition::Present => storage_write::Condition::Present,
            },
            order: write.order,
        });
        Ok(storage_write::write(&writes.collect::<Vec<_>>())?)
    }

    fn delete(&self, id: &str) -> Result<bool> {
        Ok(storage_write::delete(id)?)
    }
}

fn fields<'a>(write: &HashWrite<'a>) -> Vec<types::FieldParam<'a>> {
    write.fields.iter().map(|&(name, value)| types::FieldParam { name, value }).collect()
}

impl ports::Embedder for Imports {
    fn embed(&self, texts: &[&str], purpose: ports::Purpose) -> Result<Embeddings> {
        let purpose = match purpose {
            ports::Purpose::Query => embedding::Purpose::Query,
            ports::Purpose::Document => embedding::Purpose::Document,
        };
        let types::EmbeddingsResult { profile, dimensions, values } =
            embedding::embed(texts, purpose)?;
        Ok(Embeddings { profile, dimensions, values })
    }
}

impl ports::Index for Imports {
    fn nearest(
        &self,
        target: &Embeddings,
        filter: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Candidate>> {
        let found = index::nearest(target.into(), filter, limit)?;
        Ok(found.into_iter().map(Into::into).collect())
    }

    fn matching(&self, text: &str, filter: Option<&str>, limit: u32) -> Result<Vec<Candidate>> {
        let found = index::matching(text, filter, limit)?;
        Ok(found.into_iter().map(Into::into).collect())
    }

    fn examine(&self, text: &str, filter: Option<&str>) -> Result<Option<f32>> {
        Ok(retrieval::examine(text, filter)?)
    }

    fn retrieve(
        &self,
        text: &str,
        target: Option<&Embeddings>,
        filter: Option<&str>,
        limit: u32,
    ) -> Result<Retrieved> {
        Ok(retrieval::retrieve(text, target.map(Into::into), filter, limit)?.into())
    }

    fn upsert(&self, entries: &[EntryRef<'_>], vectors: Option<&Embeddings>) -> Result<()> {
        let entries = entries.iter().map(|&EntryRef { id, text, metadata }| types::EntryParam {
            id,
            text,
            metadata,
        });
        Ok(index_write::upsert(&entries.collect::<Vec<_>>(), vectors.map(Into::into))?)
    }

    fn remove(&self, ids: &[&str]) -> Result<()> {
        Ok(index_write::remove(ids)?)
    }
}

impl ports::Clock for Imports {
    fn now(&self) -> i64 {
        system::now()
    }
}

impl ports::Ids for Imports {
    fn fresh(&self) -> String {
        ports::id_of_random(system::random(), system::random())
    }
}

impl ports::Budget for Imports {
    fn remaining(&self) -> ports::Allowance {
        let types::Allowance { milliseconds, fuel, host_calls, bytes } = budget::remaining();
        ports::Allowance { milliseconds, fuel, host_calls, bytes }
    }
}

impl ports::Log for Imports {
    fn log(&self, level: ports::Level, message: &str) {
        let level = match level {
            ports::Level::Debug => types::Level::Debug,
            ports::Level::Info => types::Level::Info,
            ports::Level::Warn => types::Level::Warn,
            ports::Level::Error => types::Level::Error,
        };
        log::log(level, message);
    }
}

impl From<types::Draft> for Draft {
    fn from(types::Draft { id, text, metadata, timestamp }: types::Draft) -> Self {
        Self { id, text, metadata, timestamp }
    }
}

impl From<Stored> for types::Stored {
    fn from(Stored { id, indexed }: Stored) -> Self {
        Self { id, indexed }
    }
}

impl From<Fact> for types::Fact {
    fn from(Fact { id, text, metadata, timestamp }: Fact) -> Self {
        Self { id, text, metadata, timestamp }
    }
}

impl From<FactPage> for types::FactPage {
    fn from(FactPage { facts, cursor }: FactPage) -> Self {
        Self { facts: facts.into_iter().map(Into::into).collect(), cursor }
    }
}

impl From<Entry> for types::EntryResult {
    fn from(Entry { id, text, metadata }: Entry) -> Self {
        Self { id, text, metadata }
    }
}

impl From<types::Query> for Query {
    fn from(query: types::Query) -> Self {
        let types::Query { text, top_k, mode, fusion, filter, explain } = query;
        let mode = match mode {
            types::Mode::Hybrid => Mode::Hybrid,
            types::Mode::Vector => Mode::Vector,
            types::Mode::Text => Mode::Text,
        };
        let fusion = match fusion {
            types::Fusion::Score => Fusion::Score,
            types::Fusion::Rank => Fusion::Rank,
        };
        Self { text, top_k, mode, fusion, filter, explain }
    }
}

impl From<Answer> for types::Answer {
    fn from(Answer { hits, degraded }: Answer) -> Self {
        Self { hits: hits.into_iter().map(Into::into).collect(), degraded }
    }
}

impl From<Hit> for types::Hit {
    fn from(Hit { fact, score, explanation }: Hit) -> Self {
        let explanation = explanation
            .map(|legs| types::Explanation { legs: legs.into_iter().map(Into::into).collect() });
        Self { fact: fact.into(), score, explanation }
    }
}

impl From<Contribution> for types::Leg {
    fn from(Contribution { retriever, rank, score, share }: Contribution) -> Self {
        Self { name: retriever.name().into(), rank, score, share }
    }
}

impl From<types::Hash> for Hash {
    fn from(hash: types::Hash) -> Self {
        let field = |types::FieldResult { name, value }| (name, value);
        Self { fields: hash.fields.into_iter().map(field).collect() }
    }
}

impl From<types::Candidate> for Candidate {
    fn from(types::Candidate { id, score }: types::Candidate) -> Self {
        Self { id, score }
    }
}

impl From<retrieval::Retrieved> for Retrieved {
    fn from(found: retrieval::Retrieved) -> Self {
        let retrieval::Retrieved { ids, similarities, words, coverage, rarest, .. } = found;
        let scores = similarities.into_iter().zip(words).zip(coverage).zip(rarest);
        let evidence =
            |(id, (((similarity, words), coverage), rarest)): (_, (((f32, _), _), _))| {
                let similarity = (!similarity.is_nan()).then_some(similarity);
                Evidence { id, similarity, words, coverage, rarest }
            };
        Self {
            candidates: ids.into_iter().zip(scores).map(evidence).collect(),
            facts: found.facts,
            vectors: found.vectors,
            attainable: found.attainable,
        }
    }
}

impl<'a> From<&'a Embeddings> for types::EmbeddingsParam<'a> {
    fn from(Embeddings { profile, dimensions, values }: &'a Embeddings) -> Self {
        Self { profile, dimensions: *dimensions, values }
    }
}

impl From<types::Error> for Error {
    fn from(error: types::Error) -> Self {
        use types::Error as Theirs;
        match error {
            Theirs::Invalid(problem) => Self::Invalid(problem.into()),
            Theirs::InvalidFilter(problem) => Self::InvalidFilter(problem.into()),
            Theirs::NotFound(id) => Self::NotFound(id),
            Theirs::Conflict(id) => Self::Conflict(id),
            Theirs::TooLarge(types::Exceeded { limit, allowed, used }) => {
                Self::TooLarge(error::Exceeded { limit, allowed, used })
            }
            Theirs::Unavailable(failure) => Self::Unavailable(failure.into()),
            Theirs::Timeout(failure) => Self::Timeout(failure.into()),
            Theirs::ProfileMismatch(profiles) => Self::ProfileMismatch(profiles),
            Theirs::Other(message) => Self::Other(message),
        }
    }
}

impl From<Error> for types::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Invalid(problem) => Self::Invalid(problem.into()),
            Error::InvalidFilter(problem) => Self::InvalidFilter(problem.into()),
            Error::NotFound(id) => Self::NotFound(id),
            Error::Conflict(id) => Self::Conflict(id),
            Error::TooLarge(error::Exceeded { limit, allowed, used }) => {
                Self::TooLarge(types::Exceeded { limit, allowed, used })
            }
            Error::Unavailable(failure) => Self::Unavailable(failure.into()),
            Error::Timeout(failure) => Self::Timeout(failure.into()),
            Error::ProfileMismatch(profiles) => Self::ProfileMismatch(profiles),
            Error::Other(message) => Self::Other(message),
        }
    }
}

impl From<types::Problem> for error::Problem {
    fn from(types::Problem { pointer, message }: types::Problem) -> Self {
        Self { pointer, message }
    }
}

impl From<error::Problem> for types::Problem {
    fn from(error::Problem { pointer, message }: error::Problem) -> Self {
        Self { pointer, message }
    }
}

impl From<types::Failure> for error::Failure {
    fn from(types::Failure { backend, message }: types::Failure) -> Self {
        let backend = match backend {
            types::Backend::Storage => error::Backend::Storage,
            types::Backend::Embedding => error::Backend::Embedding,
        };
        Self { backend, message }
    }
}

impl From<error::Failure> for types::Failure {
    fn from(error::Failure { backend, message }: error::Failure) -> Self {
        let backend = match backend {
            error::Backend::Storage => types::Backend::Storage,
            error::Backend::Embedding => types::Backend::Embedding,
        };
        Self { backend, message }
    }
}
