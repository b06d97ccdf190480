//! Implements the functions of `host` with the component's imports. A component imports
//! only those that it calls.

use super::context::kenning::context::context;
use super::settings::kenning::settings::settings;
use super::state::kenning::state::state;
use super::world::kenning::knowledge as interfaces;
use crate::embedding::Purpose;
use crate::log::Level;
use crate::{
    Allowance, Caller, Candidate, Embeddings, Error, Hash, IdPage, KeyPage, Query, Request,
    StateEntry,
};

#[cfg(feature = "http")]
pub(crate) use super::http::send as http_send;

pub(crate) fn log(level: Level, message: &str) {
    interfaces::log::log(level.into(), message);
}

pub(crate) fn remaining() -> Allowance {
    interfaces::budget::remaining().into()
}

pub(crate) fn embed(texts: &[&str], purpose: Purpose) -> Result<Embeddings, Error> {
    let texts: Vec<String> = texts.iter().map(|text| text.to_string()).collect();
    Ok(interfaces::embedding::embed(&texts, purpose.into())?.into())
}

pub(crate) fn nearest(
    target: &Embeddings,
    filter: Option<&str>,
    limit: u32,
) -> Result<Vec<Candidate>, Error> {
    let found = interfaces::index::nearest(&target.clone().into(), filter, limit)?;
    Ok(found.into_iter().map(Into::into).collect())
}

pub(crate) fn matching(
    text: &str,
    filter: Option<&str>,
    limit: u32,
) -> Result<Vec<Candidate>, Error> {
    let found = interfaces::index::matching(text, filter, limit)?;
    Ok(found.into_iter().map(Into::into).collect())
}

pub(crate) fn read(ids: &[&str]) -> Result<Vec<Option<Hash>>, Error> {
    let ids: Vec<String> = ids.iter().map(|id| id.to_string()).collect();
    let hashes = interfaces::storage::read(&ids)?;
    Ok(hashes.into_iter().map(|hash| hash.map(Into::into)).collect())
}

pub(crate) fn page(cursor: Option<&str>, limit: u32) -> Result<IdPage, Error> {
    let interfaces::storage::IdPage { ids, cursor } = interfaces::storage::page(cursor, limit)?;
    Ok(IdPage { ids, cursor })
}

pub(crate) fn caller() -> Caller {
    context::caller().into()
}

pub(crate) fn request() -> Request {
    context::request().into()
}

pub(crate) fn query() -> Option<Query> {
    context::asked_query().map(Into::into)
}

pub(crate) fn options() -> Option<String> {
    context::options()
}

pub(crate) fn note(name: &str) -> Option<String> {
    context::note(name)
}

pub(crate) fn set_note(name: &str, value: &str) -> bool {
    context::set_note(name, value).is_ok()
}

pub(crate) fn settings() -> String {
    settings::get()
}

pub(crate) fn secret(name: &str) -> Option<String> {
    settings::secret(name)
}

pub(crate) fn state_get(key: &[u8]) -> Result<Option<StateEntry>, Error> {
    Ok(state::get(key)?.map(Into::into))
}

pub(crate) fn state_set(key: &[u8], value: &[u8], ttl: Option<u64>) -> Result<u64, Error> {
    Ok(state::set(key, value, ttl)?)
}

pub(crate) fn state_compare_and_set(
    key: &[u8],
    expected: Option<u64>,
    value: &[u8],
    ttl: Option<u64>,
) -> Result<u64, Error> {
    Ok(state::compare_and_set(key, expected, value, ttl)?)
}

pub(crate) fn state_increment(key: &[u8], by: i64, ttl: Option<u64>) -> Result<i64, Error> {
    Ok(state::increment(key, by, ttl)?)
}

pub(crate) fn state_delete(key: &[u8]) -> Result<bool, Error> {
    Ok(state::delete(key)?)
}

pub(crate) fn state_list(
    prefix: &[u8],
    cursor: Option<&[u8]>,
    limit: u32,
) -> Result<KeyPage, Error> {
    let state::KeyPage { keys, cursor } = state::list(prefix, cursor, limit)?;
    Ok(KeyPage { keys, cursor })
}
