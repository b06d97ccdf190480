//! A minimal, correct implementation of the contract.

use crate::bindings::kenning::knowledge::storage_write::{Condition, HashWrite};
use crate::bindings::kenning::knowledge::types::{
    Answer, Candidate, Draft, Entry, Error, Fact, FactPage, Field, Hash, Hit, Query, Stored,
};
use crate::bindings::kenning::knowledge::{index, index_write, storage, storage_write};

const TIMESTAMP: &str = "2001-02-03T04:05:06+00:00";

pub(crate) fn store(drafts: Vec<Draft>) -> Result<Vec<Result<Stored, Error>>, Error> {
    let written = write(&drafts)?;
    let entries: Vec<Entry> = drafts.into_iter().enumerate().map(to_entry).collect();
    let (new, _): (Vec<_>, Vec<_>) =
        entries.iter().cloned().zip(&written).partition(|(_, written)| **written);
    let new: Vec<Entry> = new.into_iter().map(|(entry, _)| entry).collect();
    if !new.is_empty() {
        index_write::upsert(&new, None)?;
    }
    let outcome = |entry: Entry, written| match written {
        true => Ok(Stored { id: entry.id, indexed: false }),
        false => Err(Error::Conflict(entry.id)),
    };
    Ok(entries.into_iter().zip(written).map(|(entry, written)| outcome(entry, written)).collect())
}

/// Writes drafts and does not index them.
pub(crate) fn write(drafts: &[Draft]) -> Result<Vec<bool>, Error> {
    let writes: Vec<HashWrite> = drafts.iter().enumerate().map(to_write).collect();
    storage_write::write(&writes)
}

/// Reports drafts as stored without writing them.
pub(crate) fn unwritten(drafts: Vec<Draft>) -> Vec<Result<Stored, Error>> {
    let stored = |(position, draft)| Ok(Stored { id: id_of(position, draft), indexed: true });
    drafts.iter().enumerate().map(stored).collect()
}

fn id_of(position: usize, draft: &Draft) -> String {
    draft.id.clone().unwrap_or_else(|| format!("unnamed-{position}"))
}

fn to_write((position, draft): (usize, &Draft)) -> HashWrite {
    let field = |name: &str, value: &str| Field { name: name.into(), value: value.into() };
    HashWrite {
        id: id_of(position, draft),
        fields: vec![field("content", &draft.text), field("metadata", &draft.metadata)],
        condition: Condition::Absent,
        order: 1,
    }
}

fn to_entry((position, draft): (usize, Draft)) -> Entry {
    Entry { id: id_of(position, &draft), text: draft.text, metadata: draft.metadata }
}

pub(crate) fn get(ids: &[String]) -> Result<Vec<Option<Fact>>, Error> {
    let hashes = storage::read(ids)?;
    Ok(ids.iter().zip(hashes).map(|(id, hash)| Some(to_fact(id, hash?))).collect())
}

pub(crate) fn list(limit: u32, cursor: Option<&str>) -> Result<FactPage, Error> {
    let page = storage::page(cursor, limit)?;
    let mut facts = Vec::with_capacity(page.ids.len());
    for ids in page.ids.chunks(100) {
        facts.extend(get(ids)?.into_iter().flatten());
    }
    Ok(FactPage { facts, cursor: page.cursor })
}

pub(crate) fn delete(id: String) -> Result<(), Error> {
    match storage_write::delete(&id)? {
        true => index_write::remove(&[id]),
        false => Err(Error::NotFound(id)),
    }
}

pub(crate) fn entries(ids: &[String]) -> Result<Vec<Option<Entry>>, Error> {
    let to_entry = |fact: Fact| Entry { id: fact.id, text: fact.text, metadata: fact.metadata };
    Ok(get(ids)?.into_iter().map(|fact| fact.map(to_entry)).collect())
}

pub(crate) fn search(query: &Query) -> Result<Answer, Error> {
    let found = index::matching(&query.text, query.filter.as_deref(), query.top_k)?;
    let ids: Vec<String> = found.iter().map(|found| found.id.clone()).take(100).collect();
    let hits = get(&ids)?.into_iter().zip(found).filter_map(|(fact, found)| to_hit(fact?, &found));
    Ok(Answer { hits: hits.collect(), degraded: Vec::new() })
}

fn to_hit(fact: Fact, found: &Candidate) -> Option<Hit> {
    Some(Hit { fact, score: found.score.into(), explanation: None })
}

fn to_fact(id: &str, hash: Hash) -> Fact {
    let value = |name: &str| {
        let field = hash.fields.iter().find(|field| field.name == name);
        field.map(|field| field.value.clone()).unwrap_or_default()
    };
    let (text, metadata) = (value("content"), value("metadata"));
    Fact { id: id.into(), text, metadata, timestamp: TIMESTAMP.into() }
}
