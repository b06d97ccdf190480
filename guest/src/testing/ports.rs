//! The ports, implemented over the state.

use serde_json::Value;

use super::{Call, DIMENSIONS, Indexed, Memory, State};
use crate::ports::{
    Allowance, Budget, Candidate, Clock, Condition, Embedder, Embeddings, EntryRef, Evidence, Hash,
    HashWrite, IdPage, Ids, Index, Level, Log, Purpose, Retrieved, Storage,
};
use crate::{Error, Result};

impl Storage for Memory {
    fn read(&self, ids: &[&str]) -> Result<Vec<Option<Hash>>> {
        crate::limits::FACTS_PER_CALL.check(ids.len())?;
        let state = self.enter(Call::Read, ids.len())?;
        let (mut hashes, mut bytes) = (Vec::new(), 0);
        for id in ids {
            let hash = state.facts.get(*id).map(|(_, hash)| hash.clone());
            let fields = hash.iter().flat_map(|hash| &hash.fields);
            bytes += fields.map(|(name, value)| name.len() + value.len()).sum::<usize>();
            if bytes > state.read_bytes && hashes.is_empty() {
                let allowed = state.read_bytes as u64;
                let limit = crate::limits::Limit { name: "host_call_bytes", allowed };
                return Err(Error::too_large(limit, bytes));
            }
            if bytes > state.read_bytes {
                break;
            }
            hashes.push(hash);
        }
        Ok(hashes)
    }

    fn page(&self, cursor: Option<&str>, limit: u32) -> Result<IdPage> {
        if !(1..=1_000).contains(&limit) {
            return Err(Error::invalid("/limit", "limit must be between 1 and 1000"));
        }
        let state = self.enter(Call::Page, limit as usize)?;
        let after = cursor.map(read_cursor).transpose()?;
        let mut all: Vec<_> = state.facts.iter().map(|(id, (order, _))| (*order, id)).collect();
        all.sort_unstable_by(|a, b| b.cmp(a));
        let rest = all.into_iter().filter(|&(order, id)| {
            after.is_none_or(|(after, after_id)| (order, id.as_str()) < (after, after_id))
        });
        let rest: Vec<_> = rest.collect();
        let page = &rest[..rest.len().min(limit as usize)];
        let last = page.last().filter(|_| page.len() < rest.len());
        Ok(IdPage {
            ids: page.iter().map(|(_, id)| (*id).clone()).collect(),
            cursor: last.map(|(order, id)| format!("{order}/{id}")),
        })
    }

    fn write(&self, writes: &[HashWrite<'_>]) -> Result<Vec<bool>> {
        crate::limits::FACTS_PER_CALL.check(writes.len())?;
        let mut state = self.enter(Call::Write, writes.len())?;
        Ok(writes.iter().map(|write| perform(&mut state, write)).collect())
    }

    fn delete(&self, id: &str) -> Result<bool> {
        Ok(self.enter(Call::Delete, 1)?.facts.remove(id).is_some())
    }
}

fn read_cursor(cursor: &str) -> Result<(u64, &str)> {
    let parts = cursor.split_once('/').and_then(|(order, id)| Some((order.parse().ok()?, id)));
    parts.ok_or_else(|| Error::invalid("/cursor", "the cursor is invalid"))
}

fn perform(state: &mut State, write: &HashWrite<'_>) -> bool {
    let exists = state.facts.contains_key(write.id);
    if exists != (write.condition == Condition::Present) {
        return false;
    }
    let (_, hash) = state.facts.entry(write.id.into()).or_insert((write.order, Hash::default()));
    for &(name, value) in &write.fields {
        hash.fields.retain(|field| field.0 != name);
        hash.fields.push((name.into(), value.into()));
    }
    true
}

impl Embedder for Memory {
    fn embed(&self, texts: &[&str], _: Purpose) -> Result<Embeddings> {
        drop(self.enter(Call::Embed, texts.len())?);
        let values = texts.iter().flat_map(|text| vector(text)).collect();
        Ok(Embeddings { profile: "words".into(), dimensions: DIMENSIONS as u32, values })
    }
}

/// A histogram of the words, hashed by the sum of their bytes, normalized to length one.
fn vector(text: &str) -> Vec<f32> {
    let mut counts = vec![0.0; DIMENSIONS];
    for word in text.split_whitespace() {
        let sum: usize = word.bytes().map(|byte| usize::from(byte.to_ascii_lowercase())).sum();
        counts[sum % DIMENSIONS] += 1.0;
    }
    let length = counts.iter().map(|count| count * count).sum::<f32>().sqrt().max(1.0);
    counts.iter().map(|count| count / length).collect()
}

impl Index for Memory {
    fn nearest(
        &self,
        target: &Embeddings,
        filter: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Candidate>> {
        nearest(&*self.enter(Call::Nearest, limit as usize)?, target, filter, limit)
    }

    fn matching(&self, text: &str, filter: Option<&str>, limit: u32) -> Result<Vec<Candidate>> {
        matching(&*self.enter(Call::Matching, limit as usize)?, text, filter, limit)
    }

    fn examine(&self, _text: &str, filter: Option<&str>) -> Result<Option<f32>> {
        let state = self.enter(Call::Examine, 1)?;
        filter.map(object).transpose()?;
        Ok(state.known_share)
    }

    fn retrieve(
        &self,
        text: &str,
        target: Option<&Embeddings>,
        filter: Option<&str>,
        limit: u32,
    ) -> Result<Retrieved> {
        let state = self.enter(Call::Retrieve, limit as usize)?;
        let by_vector = |limit| {
            let nearest = target.map(|target| nearest(&state, target, filter, limit));
            nearest.unwrap_or_else(|| Ok(Vec::new()))
        };
        let by_words = |limit| matching(&state, text, filter, limit);
        let (near, shared) = (by_vector(u32::MAX)?, by_words(u32::MAX)?);
        let score = |found: &[Candidate], id: &str| {
            found.iter().find(|candidate| candidate.id == id).map(|candidate| candidate.score)
        };
        let mut ids: Vec<_> =
            by_vector(limit)?.into_iter().chain(by_words(limit)?).map(|found| found.id).collect();
        ids.sort();
        ids.dedup();
        let candidates = ids.into_iter().map(|id| Evidence {
            similarity: score(&near, &id),
            words: score(&shared, &id).unwrap_or(0.0),
            id,
            ..Evidence::default()
        });
        Ok(Retrieved { candidates: candidates.collect(), ..Retrieved::default() })
    }

    fn upsert(&self, entries: &[EntryRef<'_>], vectors: Option<&Embeddings>) -> Result<()> {
        crate::limits::FACTS_PER_CALL.check(entries.len())?;
        let mut state = self.enter(Call::Upsert, entries.len())?;
        for (at, entry) in entries.iter().enumerate() {
            let vector =
                vectors.map(|vectors| vectors.values[at * DIMENSIONS..][..DIMENSIONS].to_vec());
            let (text, metadata) = (entry.text.into(), entry.metadata.into());
            state.index.insert(entry.id.into(), Indexed { text, metadata, vector });
        }
        Ok(())
    }

    fn remove(&self, ids: &[&str]) -> Result<()> {
        let mut state = self.enter(Call::Remove, ids.len())?;
        ids.iter().for_each(|id| drop(state.index.remove(*id)));
        Ok(())
    }
}

fn nearest(
    state: &State,
    target: &Embeddings,
    filter: Option<&str>,
    limit: u32,
) -> Result<Vec<Candidate>> {
    top_k(state, Call::Nearest, filter, limit, |entry| {
        let pairs = entry.vector.as_ref()?.iter().zip(&target.values);
        Some(pairs.map(|(one, other)| one * other).sum())
    })
}

fn matching(state: &State, text: &str, filter: Option<&str>, limit: u32) -> Result<Vec<Candidate>> {
    let words: Vec<_> = text.split_whitespace().map(str::to_lowercase).collect();
    top_k(state, Call::Matching, filter, limit, |entry| {
        let shared = |word: &&str| words.contains(&word.to_lowercase());
        let count = entry.text.split_whitespace().filter(shared).count();
        (count > 0).then_some(count as f32)
    })
}

/// The candidates set by the test, or the best entries that pass `filter`, an object of
/// values that the metadata must contain.
fn top_k(
    state: &State,
    call: Call,
    filter: Option<&str>,
    limit: u32,
    score: impl Fn(&Indexed) -> Option<f32>,
) -> Result<Vec<Candidate>> {
    let filter = filter.map(object).transpose()?;
    if let Some((_, found)) = state.candidates.iter().find(|(of, _)| *of == call) {
        return Ok(found.iter().take(limit as usize).cloned().collect());
    }
    let passes = |entry: &Indexed| {
        let Some(filter) = &filter else { return true };
        let metadata = object(&entry.metadata).unwrap_or_default();
        filter.iter().all(|(key, value)| metadata.get(key) == Some(value))
    };
    let found = state.index.iter().filter(|(_, entry)| passes(entry));
    let mut found: Vec<_> = found
        .filter_map(|(id, entry)| Some(Candidate { id: id.clone(), score: score(entry)? }))
        .collect();
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
    found.truncate(limit as usize);
    Ok(found)
}

fn object(text: &str) -> Result<serde_json::Map<String, Value>> {
    let message = "a filter must be a JSON object".to_owned();
    let problem = crate::error::Problem { pointer: "/filter".into(), message };
    serde_json::from_str(text).map_err(|_| Error::InvalidFilter(problem))
}

impl Clock for Memory {
    fn now(&self) -> i64 {
        let mut state = self.state();
        state.now += 1;
        state.now
    }
}

impl Ids for Memory {
    fn fresh(&self) -> String {
        let mut state = self.state();
        state.ids += 1;
        format!("fresh-{}", state.ids)
    }
}

impl Budget for Memory {
    fn remaining(&self) -> Allowance {
        self.state().remaining
    }
}

impl Log for Memory {
    fn log(&self, level: Level, message: &str) {
        self.state().lines.push((level, message.into()));
    }
}
