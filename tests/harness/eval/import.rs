//! A server of its own, and a corpus in it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use kenning_storage::FactId;
use serde_json::{Map, Value, json};

use super::{Document, JudgedSet};
use crate::{Caller, Server, Setup};

/// One request's lines. An answer names at most 1,000 refused lines.
const BATCH_LINES: usize = 500;
const BATCH_BYTES: usize = 1024 * 1024;

/// An index that gains no fact for so long has hung.
const PATIENCE: Duration = Duration::from_secs(300);

const POLL: Duration = Duration::from_millis(50);

/// What became of a corpus.
#[derive(Default)]
pub struct Imported {
    pub facts: usize,
    /// The documents that were refused, and why.
    pub refused: Vec<(String, String)>,
    /// The documents whose id no fact can have, by the id that their fact has instead.
    pub renamed: HashMap<String, String>,
    /// Facts whose end is found by words only.
    pub partly_embedded: u64,
    pub took: Duration,
}

/// A server with the local model, of this build or of another binary.
///
/// # Errors
/// Why it does not start.
pub async fn serve(program: Option<PathBuf>) -> Result<Server> {
    let compile = program.is_some();
    let setup = Setup { embedder: Some("local"), program, compile, ..Setup::patient() };
    Server::start_with(setup).await
}

/// The fact that a document becomes. `titled` sets its title before its text, as BEIR's own
/// programs do; otherwise the title is in the metadata only.
pub(crate) fn fact_text(document: &Document, titled: bool) -> String {
    match document.title() {
        title if titled && !title.is_empty() => format!("{title} {}", document.text),
        _ => document.text.clone(),
    }
}

fn fact(document: &Document, id: &str, titled: bool) -> Value {
    let mut metadata: Map<String, Value> = document.metadata.clone().unwrap_or_default();
    if !document.title().is_empty() {
        metadata.insert("title".into(), document.title().into());
    }
    json!({ "fact_id": id, "text": fact_text(document, titled), "metadata": metadata })
}

/// Imports a corpus and waits until all of it is indexed. Documents that the server refuses are
/// told; whatever else fails is an error.
///
/// # Errors
/// If the corpus cannot be read, or the import or the indexing ends early.
pub async fn import(caller: &Caller, set: &JudgedSet, titled: bool) -> Result<Imported> {
    let begun = Instant::now();
    let mut imported = Imported::default();
    let mut batch = Batch::default();
    for line in set.corpus()? {
        let (number, document) = line?;
        let id = match FactId::parse(&document.id) {
            Ok(_) => document.id.clone(),
            Err(_) => {
                let id = format!("line-{number}-of-the-corpus");
                imported.renamed.insert(id.clone(), document.id.clone());
                id
            }
        };
        batch.push(document.id.clone(), &fact(&document, &id, titled));
        if batch.is_full() {
            std::mem::take(&mut batch).send(caller, &mut imported).await?;
        }
    }
    batch.send(caller, &mut imported).await?;
    ensure!(imported.facts > 0, "every document was refused: {:?}", imported.refused.first());
    wait_until_indexed(caller, &mut imported).await?;
    imported.took = begun.elapsed();
    Ok(imported)
}

/// Documents that are sent together.
#[derive(Default)]
struct Batch {
    ids: Vec<String>,
    lines: String,
}

impl Batch {
    fn push(&mut self, id: String, fact: &Value) {
        self.ids.push(id);
        self.lines.push_str(&format!("{fact}\n"));
    }

    fn is_full(&self) -> bool {
        self.ids.len() >= BATCH_LINES || self.lines.len() >= BATCH_BYTES
    }

    async fn send(self, caller: &Caller, imported: &mut Imported) -> Result<()> {
        if self.ids.is_empty() {
            return Ok(());
        }
        let answer = caller.post_raw("/v1/import", self.lines).await?;
        // Earlier versions answer with a line for each refused one, then the counts.
        let last = answer.text.lines().last().unwrap_or_default();
        let counts: Value = serde_json::from_str(last).unwrap_or(Value::Null);
        let taken = counts["imported"].as_u64();
        let taken = taken.with_context(|| format!("not imported: {}", answer.text))? as usize;
        let errors = match counts["errors"].as_array() {
            Some(errors) => errors.clone(),
            None => answer.text.lines().filter_map(|line| line.parse().ok()).collect(),
        };
        let mut refused = 0;
        for error in &errors {
            let (Some(line), Some(why)) = (error["line"].as_u64(), error["message"].as_str())
            else {
                continue;
            };
            let id = self.ids.get(line as usize - 1).context("no such line")?;
            imported.refused.push((id.clone(), why.to_string()));
            refused += 1;
        }
        ensure!(taken + refused == self.ids.len(), "the import ended early: {}", answer.text);
        imported.facts += taken;
        Ok(())
    }
}

async fn wait_until_indexed(caller: &Caller, imported: &mut Imported) -> Result<()> {
    let (mut progress, mut since) = (None, Instant::now());
    loop {
        let stats = caller.get("/v1/stats").await?;
        let facts = stats.json["facts"].as_u64().context("no facts in /v1/stats")?;
        ensure!(facts == imported.facts as u64, "{facts} facts, and not {}", imported.facts);
        let indexed = stats.json["indexed"].as_u64();
        if stats.json["pending"] == 0 && indexed == Some(facts) {
            let partly = stats.json["index"]["partly_embedded"].as_u64();
            imported.partly_embedded = partly.unwrap_or_default();
            return Ok(());
        }
        if progress != indexed {
            (progress, since) = (indexed, Instant::now());
        }
        if since.elapsed() > PATIENCE {
            bail!("the index does not get on: {}", stats.text);
        }
        tokio::time::sleep(POLL).await;
    }
}
