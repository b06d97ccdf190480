//! What must be true when everything runs again.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};

use super::Tally;
use super::ledger::{Doubt, Entry, How, Ledger, Word, state, text};
use super::worker::{import_line, store_under_key, with_id};
use crate::{Caller, all_indexed, until};

/// Searches at once.
const SEARCHES: usize = 8;

/// A fact as the export gives it, once its halves fit.
struct Found {
    word: Word,
    timestamp: String,
}

/// Checks one tenant's facts, repeats what is in doubt, and checks again.
pub(super) async fn check(
    caller: &Caller,
    ledgers: &mut [&mut Ledger],
    tally: &mut Tally,
) -> Result<()> {
    until("the server is ready", async || {
        Ok((caller.get("/readyz").await?.status == 200).then_some(()))
    })
    .await?;
    let found = exported(caller, tally).await?;
    for ledger in ledgers.iter_mut() {
        for (id, entry) in &mut ledger.facts {
            compare(id, entry, found.get(id), tally);
        }
        tally.in_doubt += ledger.keys.len();
        repeat(caller, ledger).await?;
    }
    let found = exported(caller, tally).await?;
    let mut known = 0;
    for ledger in ledgers.iter_mut() {
        for (id, entry) in &mut ledger.facts {
            compare(id, entry, found.get(id), tally);
            known += usize::from(entry.now.is_some());
        }
    }
    if found.len() != known {
        let problem = format!("{} facts where {known} were stored", found.len());
        tally.duplicated.push(problem);
    }
    check_index(caller, ledgers, known, tally).await
}

/// All facts of the tenant by id; what is torn or there twice is noted.
async fn exported(caller: &Caller, tally: &mut Tally) -> Result<BTreeMap<String, Found>> {
    let mut found = BTreeMap::new();
    for line in caller.export().await?.lines() {
        let fact: Value = line.parse()?;
        let part = |part: &Value| part.as_str().map(str::to_string);
        let id = part(&fact["id"]).context("a fact without an id")?;
        let word = part(&fact["metadata"]["word"]);
        let timestamp = part(&fact["timestamp"]).filter(|timestamp| !timestamp.is_empty());
        match (word, timestamp) {
            (Some(word), Some(timestamp)) if fact["content"] == *text(&word) => {
                if found.insert(id, Found { word, timestamp }).is_some() {
                    tally.duplicated.push(fact.to_string());
                }
            }
            _ => tally.torn.push(fact.to_string()),
        }
    }
    Ok(found)
}

fn compare(id: &str, entry: &mut Entry, found: Option<&Found>, tally: &mut Tally) {
    tally.checked += 1;
    tally.in_doubt += usize::from(entry.doubt.is_some());
    let word = found.map(|found| &found.word);
    let wanted = entry.doubt.as_ref().map(|doubt| doubt.wanted.as_ref());
    if word != entry.now.as_ref() && Some(word) != wanted {
        tally.lost.push(format!("{id} says {word:?} and was to say {entry:?}"));
        return;
    }
    let Some(Found { timestamp, .. }) = found else { return };
    let expected = entry.timestamp.get_or_insert_with(|| timestamp.clone());
    if expected != timestamp {
        tally.torn.push(format!("{id} was made at {timestamp} and at {expected}"));
    }
}

/// What nobody answered is asked again, as it was.
async fn repeat(caller: &Caller, ledger: &mut Ledger) -> Result<()> {
    let doubts: Vec<(String, Doubt)> = ledger
        .facts
        .iter()
        .filter_map(|(id, entry)| Some((id.clone(), entry.doubt.clone()?)))
        .collect();
    for (id, Doubt { wanted, how }) in doubts {
        let word = wanted.as_deref().unwrap_or_default();
        let path = format!("/v1/facts/{id}");
        let answer = match how {
            How::Store => caller.post("/v1/facts", with_id(&id, word)).await?,
            How::Import => caller.post_raw("/v1/import", import_line(&id, word)).await?,
            How::Change => caller.patch(&path, state(word)).await?,
            How::Delete => caller.delete(&path).await?,
        };
        let done = match how {
            How::Store => answer.status == 201,
            How::Import => answer.text.contains("\"imported\":1"),
            How::Change => answer.status == 200,
            How::Delete => [200, 404].contains(&answer.status),
        };
        ensure!(done, "repeating {how:?} of {id} failed: {}", answer.text);
        ledger.settle(&id, wanted);
    }
    for (key, word) in std::mem::take(&mut ledger.keys) {
        let answer = store_under_key(caller, &key, &word).await?;
        ensure!(answer.status == 201, "repeating the key {key} failed: {}", answer.text);
        let id = answer.json["fact_id"].as_str().context("no fact_id")?;
        ledger.settle(id, Some(word));
    }
    Ok(())
}

/// Every fact is found by its word and by its text, and nothing that is over is.
async fn check_index(
    caller: &Caller,
    ledgers: &mut [&mut Ledger],
    known: usize,
    tally: &mut Tally,
) -> Result<()> {
    let stats = all_indexed(caller).await?;
    for count in ["facts", "indexed"] {
        if stats[count] != known {
            tally.disagreeing.push(format!("{known} facts, and {count} is {}", stats[count]));
        }
    }
    let over = ledgers.iter_mut().flat_map(|ledger| ledger.over.drain(..).collect::<Vec<_>>());
    let mut searches: Vec<(&str, String, Option<String>)> =
        over.map(|word| ("text", word, None)).collect();
    for (id, entry) in ledgers.iter().flat_map(|ledger| &ledger.facts) {
        if let Some(word) = &entry.now {
            searches.push(("text", word.clone(), Some(id.clone())));
            searches.push(("vector", text(word), Some(id.clone())));
        }
    }
    tally.searched += searches.len();
    let wrong: Vec<Option<String>> = stream::iter(searches)
        .map(|(mode, query, id)| async move {
            let asked = json!({ "query": query, "mode": mode, "top_k": 1 });
            let found = caller.search(asked).await?;
            let wanted: Vec<String> = id.into_iter().collect();
            let problem = || format!("{query} by {mode}: {found:?}, not {wanted:?}");
            anyhow::Ok((found != wanted).then(problem))
        })
        .buffer_unordered(SEARCHES)
        .try_collect()
        .await?;
    tally.disagreeing.extend(wrong.into_iter().flatten());
    Ok(())
}
