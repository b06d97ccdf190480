//! One of those who write while something is killed.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use anyhow::{Result, bail};
use http::Method;
use serde_json::{Value, json};

use super::ledger::{How, Ledger, Word, new_word, state};
use crate::{Answer, Caller, send};

/// Facts in one batch and in one import.
const BATCH: usize = 10;
const IMPORT: usize = 60;

/// Imported facts say when they were made.
const TIMESTAMP: &str = "2020-02-02T20:20:20.202020+00:00";

/// Writes facts of its own, one request at a time, and keeps a ledger of them.
pub(super) struct Worker {
    pub(super) tenant: &'static str,
    pub(super) ledger: Ledger,
    name: String,
    made: usize,
}

/// What an answer says of a write.
enum Outcome {
    Done,
    /// It did not happen.
    Nothing,
    Unknown,
}

impl Worker {
    pub(super) fn new(tenant: &'static str, number: usize) -> Self {
        Self { tenant, ledger: Ledger::default(), name: format!("{tenant}-{number}"), made: 0 }
    }

    /// Writes until something is not done.
    pub(super) async fn work(&mut self, caller: &Caller, acknowledged: &AtomicUsize) -> Result<()> {
        while let Some(written) = self.step(caller).await? {
            acknowledged.fetch_add(written, Relaxed);
        }
        Ok(())
    }

    /// How many facts were written; `None` if it was not all that were to be.
    async fn step(&mut self, caller: &Caller) -> Result<Option<usize>> {
        match fastrand::u32(0..12) {
            0..5 => self.store(caller).await,
            5..7 => self.change(caller).await,
            7 => self.delete(caller).await,
            8 => self.store_under_key(caller).await,
            9..11 => self.batch(caller).await,
            _ => self.import(caller).await,
        }
    }

    fn new_id(&mut self) -> String {
        self.made += 1;
        format!("{}-{}", self.name, self.made)
    }

    async fn store(&mut self, caller: &Caller) -> Result<Option<usize>> {
        let (id, word) = (self.new_id(), new_word());
        let answer = caller.post("/v1/facts", with_id(&id, &word)).await;
        self.record(&id, Some(word), How::Store, &outcome(answer)?)
    }

    async fn change(&mut self, caller: &Caller) -> Result<Option<usize>> {
        let Some(id) = self.ledger.any() else { return Ok(Some(0)) };
        let word = new_word();
        let answer = caller.patch(&format!("/v1/facts/{id}"), state(&word)).await;
        self.record(&id, Some(word), How::Change, &outcome(answer)?)
    }

    async fn delete(&mut self, caller: &Caller) -> Result<Option<usize>> {
        let Some(id) = self.ledger.any() else { return Ok(Some(0)) };
        let answer = caller.delete(&format!("/v1/facts/{id}")).await;
        self.record(&id, None, How::Delete, &outcome(answer)?)
    }

    async fn store_under_key(&mut self, caller: &Caller) -> Result<Option<usize>> {
        let (key, word) = (self.new_id(), new_word());
        match store_under_key(caller, &key, &word).await {
            Ok(answer) if answer.status == 201 => {
                let id = answer.json["fact_id"].as_str().unwrap_or_default();
                self.ledger.settle(id, Some(word));
                Ok(Some(1))
            }
            answer => {
                if matches!(outcome(answer)?, Outcome::Unknown) {
                    self.ledger.keys.push((key, word));
                }
                Ok(None)
            }
        }
    }

    async fn batch(&mut self, caller: &Caller) -> Result<Option<usize>> {
        let drafts: Vec<_> = (0..BATCH).map(|_| (self.new_id(), new_word())).collect();
        let facts: Vec<Value> = drafts.iter().map(|(id, word)| with_id(id, word)).collect();
        let answer = caller.post("/v1/facts/batch", json!({ "facts": facts })).await;
        let results = answer.as_ref().ok().and_then(|answer| answer.json["results"].as_array());
        let outcomes: Vec<Outcome> = match results {
            Some(results) => results.iter().map(outcome_of).collect::<Result<_>>()?,
            None => {
                let whole = outcome(answer)?;
                return self.record_all(drafts, How::Store, |_| &whole);
            }
        };
        self.record_all(drafts, How::Store, |at| &outcomes[at])
    }

    async fn import(&mut self, caller: &Caller) -> Result<Option<usize>> {
        let drafts: Vec<_> = (0..IMPORT).map(|_| (self.new_id(), new_word())).collect();
        let lines = drafts.iter().map(|(id, word)| import_line(id, word));
        let answer = caller.post_raw("/v1/import", lines.collect::<String>()).await;
        for (id, _) in &drafts {
            let entry = self.ledger.facts.entry(id.clone()).or_default();
            entry.timestamp = Some(TIMESTAMP.into());
        }
        let all = format!("\"imported\":{IMPORT}");
        let done = answer.is_ok_and(|answer| answer.text.contains(&all));
        let outcome = if done { Outcome::Done } else { Outcome::Unknown };
        self.record_all(drafts, How::Import, |_| &outcome)
    }

    fn record_all<'a>(
        &mut self,
        drafts: Vec<(String, Word)>,
        how: How,
        outcome: impl Fn(usize) -> &'a Outcome,
    ) -> Result<Option<usize>> {
        let mut written = Some(0);
        for (at, (id, word)) in drafts.into_iter().enumerate() {
            let more = self.record(&id, Some(word), how, outcome(at))?;
            written = written.zip(more).map(|(written, more)| written + more);
        }
        Ok(written)
    }

    fn record(
        &mut self,
        id: &str,
        word: Option<Word>,
        how: How,
        outcome: &Outcome,
    ) -> Result<Option<usize>> {
        match outcome {
            Outcome::Done => self.ledger.settle(id, word),
            Outcome::Nothing => return Ok(None),
            Outcome::Unknown => {
                self.ledger.doubt(id, word, how);
                return Ok(None);
            }
        }
        Ok(Some(1))
    }
}

pub(super) fn with_id(id: &str, word: &str) -> Value {
    let mut draft = state(word);
    draft["fact_id"] = id.into();
    draft
}

pub(super) fn import_line(id: &str, word: &str) -> String {
    let mut draft = with_id(id, word);
    draft["timestamp"] = TIMESTAMP.into();
    format!("{draft}\n")
}

pub(super) async fn store_under_key(caller: &Caller, key: &str, word: &str) -> Result<Answer> {
    let request = caller.request(Method::POST, "/v1/facts").header("idempotency-key", key);
    send(request.json(&state(word))).await
}

/// A connection that broke says nothing.
fn outcome(answer: Result<Answer>) -> Result<Outcome> {
    match answer {
        Err(_) => Ok(Outcome::Unknown),
        Ok(answer) if answer.status < 300 => Ok(Outcome::Done),
        Ok(answer) => outcome_of(&answer.json),
    }
}

fn outcome_of(answer: &Value) -> Result<Outcome> {
    if answer["status"] == "success" {
        return Ok(Outcome::Done);
    }
    Ok(match answer["code"].as_str() {
        _ if answer["details"]["outcome"] == "unknown" => Outcome::Unknown,
        Some("storage_unavailable" | "timeout" | "overloaded") => Outcome::Nothing,
        _ => bail!("a write ended in {answer}"),
    })
}
