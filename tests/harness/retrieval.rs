//! Facts with questions and judgements, and how well a server answers them.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::Caller;
use crate::eval::{self, Document, JudgedQuery, JudgedSet, lines};

/// Hits looked at: nDCG@10, the measure of BEIR (Thakur et al., NeurIPS 2021).
const DEPTH: usize = 10;

/// Facts, questions and which facts answer which question.
pub struct Collection {
    /// Lines for `POST /v1/import`.
    pub facts: Vec<Value>,
    pub questions: Vec<Question>,
}

/// A question and its judged facts.
pub struct Question {
    pub query: String,
    /// How relevant each fact is; what is missing is not.
    pub relevant: HashMap<String, f64>,
}

/// What one mode of search achieved over all questions.
pub struct Quality {
    pub ndcg: f64,
    pub recall: f64,
    /// Of each question, as the caller saw it, sorted.
    pub latencies: Vec<Duration>,
}

impl Quality {
    pub fn median(&self) -> Duration {
        self.latencies[self.latencies.len() / 2]
    }
}

impl Collection {
    /// The repository's own: `facts.jsonl` and `questions.jsonl`.
    pub fn samples(directory: &Path) -> Result<Self> {
        #[derive(Deserialize)]
        struct Line {
            query: String,
            fact_ids: Vec<String>,
        }
        let questions = all::<Line>(&directory.join("questions.jsonl"))?;
        let to_question = |line: Line| Question {
            query: line.query,
            relevant: line.fact_ids.into_iter().map(|id| (id, 1.0)).collect(),
        };
        Ok(Self {
            facts: all(&directory.join("facts.jsonl"))?,
            questions: questions.into_iter().map(to_question).collect(),
        })
    }

    /// A folder as BEIR lays it out; titles are metadata.
    pub fn beir(directory: &Path) -> Result<Self> {
        let set = JudgedSet::open(directory, None)?;
        let to_fact = |line: Result<(usize, Document)>| {
            let (_, document) = line?;
            let metadata = json!({ "title": document.title() });
            Ok(json!({ "fact_id": document.id, "text": document.text, "metadata": metadata }))
        };
        let facts = set.corpus()?.map(to_fact).collect::<Result<_>>()?;
        let to_question =
            |query: JudgedQuery| Question { query: query.text, relevant: query.relevant };
        Ok(Self { facts, questions: set.queries.into_iter().map(to_question).collect() })
    }

    /// Imports all facts; every one must be taken.
    pub async fn import(&self, caller: &Caller) -> Result<Duration> {
        let begun = Instant::now();
        let lines: String = self.facts.iter().map(|fact| format!("{fact}\n")).collect();
        let answer = caller.post_raw("/v1/import", lines).await?;
        let summary: Value = answer.text.lines().last().unwrap_or_default().parse()?;
        ensure!(summary["imported"] == self.facts.len(), "not all imported: {}", answer.text);
        Ok(begun.elapsed())
    }

    /// Asks every question in `mode`, one after the other.
    pub async fn ask(&self, caller: &Caller, mode: &str, fusion: &str) -> Result<Quality> {
        let (mut ndcg, mut recall, mut latencies) = (0.0, 0.0, Vec::new());
        for question in &self.questions {
            let begun = Instant::now();
            let body =
                json!({ "query": question.query, "top_k": DEPTH, "mode": mode, "fusion": fusion });
            let answer = caller.post("/v1/search", body).await?;
            latencies.push(begun.elapsed());
            ensure!(answer.status == 200, "{}", answer.text);
            let hits = answer.json["results"].as_array().context("no results")?;
            let ids = hits.iter().filter_map(|hit| Some(hit["doc_id"].as_str()?.to_string()));
            let ids: Vec<String> = ids.collect();
            ndcg += eval::ndcg(&ids, &question.relevant, DEPTH);
            recall += eval::recall(&ids, &question.relevant, DEPTH);
        }
        latencies.sort();
        let count = self.questions.len() as f64;
        Ok(Quality { ndcg: ndcg / count, recall: recall / count, latencies })
    }
}

fn all<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    lines(path)?.map(|line| Ok(line?.1)).collect()
}
