//! The adapter to WebAssembly: nothing else names the contract in `wit/`.
//!
//! It converts between the contract's types and the crate's own, by moving, and contains no
//! logic. Each hook has its own world, so that a component exports only the hooks passed to
//! [`export!`](crate::export). `world`, `context`, `options`, `schema`,
//! `settings`, `state` and the hooks' modules are generated.

pub(crate) mod context;
mod convert;
#[cfg(feature = "http")]
pub(crate) mod http;
pub(crate) mod imports;
#[doc(hidden)]
pub mod on_change;
#[doc(hidden)]
pub mod on_delete;
#[doc(hidden)]
pub mod on_query;
#[doc(hidden)]
pub mod on_read;
#[doc(hidden)]
pub mod on_store;
#[doc(hidden)]
pub mod options;
#[doc(hidden)]
pub mod rerank;
#[doc(hidden)]
pub mod schema;
pub(crate) mod settings;
pub(crate) mod state;
mod world;

use on_change::exports::kenning::events::on_change::{self as events, Guest as OnChangeGuest};
use on_delete::exports::kenning::events::on_delete::{self as deletion, Guest as OnDeleteGuest};
use on_query::exports::kenning::knowledge::on_query::Guest as OnQueryGuest;
use on_read::exports::kenning::knowledge::on_read::Guest as OnReadGuest;
use on_store::exports::kenning::knowledge::on_store::Guest as OnStoreGuest;
use options::exports::kenning::options::schema::Guest as OptionsSchemaGuest;
use rerank::exports::kenning::knowledge::rerank::Guest as RerankGuest;
use schema::exports::kenning::settings::schema::Guest as SchemaGuest;
use world::kenning::knowledge::types;

use crate::{
    Change, ChangeKind, DeletionRefusal, OnChange, OnDelete, OnQuery, OnRead, OnStore,
    OptionsSchema, Rerank, SettingsSchema,
};

impl<T: OnStore> OnStoreGuest for T {
    fn on_store(draft: types::Draft) -> Result<Vec<types::Draft>, types::Refusal> {
        let drafts = T::on_store(draft.into())?;
        Ok(drafts.into_iter().map(Into::into).collect())
    }
}

impl<T: OnQuery> OnQueryGuest for T {
    fn on_query(query: types::Query) -> Result<types::Query, types::Refusal> {
        Ok(T::on_query(query.into())?.into())
    }
}

impl<T: OnRead> OnReadGuest for T {
    fn on_read(facts: Vec<types::Fact>) -> Vec<types::Fact> {
        let facts = T::on_read(facts.into_iter().map(Into::into).collect());
        facts.into_iter().map(Into::into).collect()
    }
}

impl<T: Rerank> RerankGuest for T {
    fn rerank(query: types::Query, hits: Vec<types::Hit>) -> Vec<types::Ranked> {
        let ranked = T::rerank(&query.into(), hits.into_iter().map(Into::into).collect());
        ranked.into_iter().map(Into::into).collect()
    }
}

impl<T: OnDelete> OnDeleteGuest for T {
    fn on_delete(fact: types::Fact) -> Result<(), deletion::Refusal> {
        T::on_delete(fact.into()).map_err(|refusal| {
            let DeletionRefusal { message, code, pointer } = refusal;
            deletion::Refusal { message, code, pointer }
        })
    }
}

impl<T: OnChange> OnChangeGuest for T {
    fn on_change(change: events::Change) -> Result<(), String> {
        let events::Change { id, kind, revision, fact, attempt } = change;
        let kind = match kind {
            events::Kind::Stored => ChangeKind::Stored,
            events::Kind::Changed => ChangeKind::Changed,
            events::Kind::Deleted => ChangeKind::Deleted,
            events::Kind::Missed => ChangeKind::Missed,
        };
        T::on_change(Change { id, kind, revision, fact: fact.map(Into::into), attempt })
    }
}

impl<T: SettingsSchema> SchemaGuest for T {
    fn settings() -> String {
        T::SCHEMA.to_owned()
    }
}

impl<T: OptionsSchema> OptionsSchemaGuest for T {
    fn options() -> String {
        T::SCHEMA.to_owned()
    }
}
