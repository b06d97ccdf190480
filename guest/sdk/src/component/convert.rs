//! Conversions between the contract's types and the crate's own.

use std::time::Duration;

use super::context::kenning::context::context;
use super::state::kenning::state::state;
use super::world::kenning::knowledge::{embedding, types};
use crate::embedding::Purpose;
use crate::log::Level;
use crate::{
    Allowance, Backend, Caller, Candidate, Draft, Embeddings, Error, Exceeded, Explanation, Fact,
    Failure, Fusion, Hash, Hit, Leg, Metadata, Mode, Problem, Query, Ranked, Refusal, Request,
    StateEntry, Verb,
};

impl From<types::Draft> for Draft {
    fn from(types::Draft { id, text, metadata, timestamp }: types::Draft) -> Self {
        Self { id, text, metadata: Metadata::from_host(metadata), timestamp }
    }
}

impl From<Draft> for types::Draft {
    fn from(Draft { id, text, metadata, timestamp }: Draft) -> Self {
        Self { id, text, metadata: metadata.into_string(), timestamp }
    }
}

impl From<types::Fact> for Fact {
    fn from(types::Fact { id, text, metadata, timestamp }: types::Fact) -> Self {
        Self { id, text, metadata: Metadata::from_host(metadata), timestamp }
    }
}

impl From<Fact> for types::Fact {
    fn from(Fact { id, text, metadata, timestamp }: Fact) -> Self {
        Self { id, text, metadata: metadata.into_string(), timestamp }
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

impl From<Query> for types::Query {
    fn from(Query { text, top_k, mode, fusion, filter, explain }: Query) -> Self {
        let mode = match mode {
            Mode::Hybrid => types::Mode::Hybrid,
            Mode::Vector => types::Mode::Vector,
            Mode::Text => types::Mode::Text,
        };
        let fusion = match fusion {
            Fusion::Score => types::Fusion::Score,
            Fusion::Rank => types::Fusion::Rank,
        };
        Self { text, top_k, mode, fusion, filter, explain }
    }
}

impl From<types::Hit> for Hit {
    fn from(types::Hit { fact, score, explanation }: types::Hit) -> Self {
        Self { fact: fact.into(), score, explanation: explanation.map(Into::into) }
    }
}

impl From<types::Explanation> for Explanation {
    fn from(explanation: types::Explanation) -> Self {
        let leg = |types::Leg { name, rank, score, share }| Leg { name, rank, score, share };
        Self { legs: explanation.legs.into_iter().map(leg).collect() }
    }
}

impl From<Ranked> for types::Ranked {
    fn from(Ranked { id, score }: Ranked) -> Self {
        Self { id, score }
    }
}

impl From<Refusal> for types::Refusal {
    fn from(Refusal { message }: Refusal) -> Self {
        Self { message }
    }
}

impl From<types::Allowance> for Allowance {
    fn from(allowance: types::Allowance) -> Self {
        let types::Allowance { milliseconds, fuel, host_calls, bytes } = allowance;
        Self { milliseconds, fuel, host_calls, bytes }
    }
}

impl From<types::Embeddings> for Embeddings {
    fn from(types::Embeddings { profile, dimensions, values }: types::Embeddings) -> Self {
        Self { profile, dimensions, values }
    }
}

impl From<Embeddings> for types::Embeddings {
    fn from(Embeddings { profile, dimensions, values }: Embeddings) -> Self {
        Self { profile, dimensions, values }
    }
}

impl From<types::Candidate> for Candidate {
    fn from(types::Candidate { id, score }: types::Candidate) -> Self {
        Self { id, score }
    }
}

impl From<types::Hash> for Hash {
    fn from(hash: types::Hash) -> Self {
        let field = |types::Field { name, value }| (name, value);
        Self { fields: hash.fields.into_iter().map(field).collect() }
    }
}

impl From<Level> for types::Level {
    fn from(level: Level) -> Self {
        match level {
            Level::Debug => Self::Debug,
            Level::Info => Self::Info,
            Level::Warn => Self::Warn,
            Level::Error => Self::Error,
        }
    }
}

impl From<Purpose> for embedding::Purpose {
    fn from(purpose: Purpose) -> Self {
        match purpose {
            Purpose::Query => Self::Query,
            Purpose::Document => Self::Document,
        }
    }
}

impl From<context::CallerInfo> for Caller {
    fn from(caller: context::CallerInfo) -> Self {
        let context::CallerInfo { key_id, attributes, subject, scopes } = caller;
        Self { key_id, attributes: Metadata::from_host(attributes), subject, scopes }
    }
}

impl From<context::RequestInfo> for Request {
    fn from(context::RequestInfo { verb, id, is_replay }: context::RequestInfo) -> Self {
        let verb = match verb {
            context::Verb::Store => Verb::Store,
            context::Verb::Import => Verb::Import,
            context::Verb::Update => Verb::Update,
            context::Verb::Delete => Verb::Delete,
            context::Verb::Get => Verb::Get,
            context::Verb::List => Verb::List,
            context::Verb::Search => Verb::Search,
            context::Verb::Export => Verb::Export,
            context::Verb::Follow => Verb::Follow,
            context::Verb::Maintain => Verb::Maintain,
        };
        Self { verb, id, is_replay }
    }
}

impl From<state::Entry> for StateEntry {
    fn from(state::Entry { value, version, expires_in }: state::Entry) -> Self {
        Self { value, version, expires_in: expires_in.map(Duration::from_millis) }
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
                Self::TooLarge(Exceeded { limit, allowed, used })
            }
            Theirs::Unavailable(failure) => Self::Unavailable(failure.into()),
            Theirs::Timeout(failure) => Self::Timeout(failure.into()),
            Theirs::ProfileMismatch(profiles) => Self::ProfileMismatch(profiles),
            Theirs::Other(message) => Self::Other(message),
        }
    }
}

impl From<types::Problem> for Problem {
    fn from(types::Problem { pointer, message }: types::Problem) -> Self {
        Self { pointer, message }
    }
}

impl From<types::Failure> for Failure {
    fn from(types::Failure { backend, message }: types::Failure) -> Self {
        let backend = match backend {
            types::Backend::Storage => Backend::Storage,
            types::Backend::Embedding => Backend::Embedding,
        };
        Self { backend, message }
    }
}
