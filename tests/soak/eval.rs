//! Search quality, and exact words, on a judged set: a folder in BEIR's layout that is given, or
//! the samples.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use kenning_tests::checks::{Check, check_words, print_checks};
use kenning_tests::eval::{self, JudgedSet, Measured, Row};
use serde_json::{Value, json};
use tempfile::TempDir;

/// What the default may lose to the better of its two retrievers, in nDCG@10.
const TOLERANCE: f64 = 0.02;

/// Measures and prints; fails if the default loses to a retriever alone, a document is not taken,
/// or a word does not lead to its fact.
pub(crate) async fn run(data: Option<&Path>) -> Result<()> {
    let made = TempDir::new()?;
    let directory = match data {
        Some(data) => data.to_path_buf(),
        None => from_samples(made.path())?,
    };
    let set = JudgedSet::open(&directory, None)?;
    let server = eval::serve(None).await?;
    let imported = eval::import(&server, &set, false).await?;
    let begun = Instant::now();
    let run = eval::ask(&server, &set, &imported, &Row::base()).await?;
    eval::print_quality(&set, &imported, &run, begun.elapsed());
    let checks = check_words(&server, &set, &imported, false).await?;
    print_checks(&format!("{}: words that one fact has", set.name), &checks);

    ensure!(imported.refused.is_empty(), "documents were refused: {:?}", imported.refused.first());
    let noted = run.rows.iter().find(|row| !row.notes.is_empty());
    ensure!(noted.is_none(), "degraded or refused: {:?}", noted.map(|row| &row.notes));
    let hybrid = run.row("hybrid").map_or(0.0, Measured::ndcg);
    let leg = run.better_leg().context("a retriever alone")?;
    ensure!(
        hybrid >= leg.ndcg() - TOLERANCE,
        "the default has {hybrid:.4}, and {} alone {:.4}",
        leg.name,
        leg.ndcg()
    );
    // What other facts have in another form is not theirs alone; its figures are printed.
    let is_theirs = |check: &&Check| check.name.starts_with("words and stems");
    let below = checks.iter().filter(is_theirs).filter(|check| !check.holds());
    let below: Vec<&str> = below.map(|check| check.name.as_str()).collect();
    ensure!(below.is_empty(), "words that do not lead to their facts: {below:?}");
    Ok(())
}

/// The samples in BEIR's layout.
fn from_samples(directory: &Path) -> Result<PathBuf> {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples");
    let read = |name: &str| fs::read_to_string(samples.join(name));
    let (mut corpus, mut queries, mut qrels) = (String::new(), String::new(), String::new());
    for line in read("facts.jsonl")?.lines() {
        let fact: Value = line.parse()?;
        corpus.push_str(&format!("{}\n", json!({ "_id": fact["fact_id"], "text": fact["text"] })));
    }
    for (number, line) in read("questions.jsonl")?.lines().enumerate() {
        let question: Value = line.parse()?;
        let id = format!("q{number}");
        queries.push_str(&format!("{}\n", json!({ "_id": id, "text": question["query"] })));
        for fact in question["fact_ids"].as_array().context("fact_ids")? {
            qrels.push_str(&format!("{id}\t{}\t1\n", fact.as_str().context("an id")?));
        }
    }
    let directory = directory.join("samples");
    fs::create_dir(&directory)?;
    fs::write(directory.join("corpus.jsonl"), corpus)?;
    fs::write(directory.join("queries.jsonl"), queries)?;
    fs::write(directory.join("qrels.tsv"), qrels)?;
    Ok(directory)
}
