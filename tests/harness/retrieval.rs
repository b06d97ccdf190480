//! Facts with questions and judgements, and how well a server answers them.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::Caller;

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
        let questions = lines::<Line>(&directory.join("questions.jsonl"))?;
        let to_question = |line: Line| Question {
            query: line.query,
            relevant: line.fact_ids.into_iter().map(|id| (id, 1.0)).collect(),
        };
        Ok(Self {
            facts: lines(&directory.join("facts.jsonl"))?,
            questions: questions.into_iter().map(to_question).collect(),
        })
    }

    /// A folder as BEIR lays it out: `corpus.jsonl`, `queries.jsonl`, and `qrels.tsv`
    /// or `qrels/test.tsv`.
    pub fn beir(directory: &Path) -> Result<Self> {
        #[derive(Deserialize)]
        struct Document {
            _id: String,
            #[serde(default)]
            title: String,
            text: String,
        }
        #[derive(Deserialize)]
        struct Query {
            _id: String,
            text: String,
        }
        let documents: Vec<Document> = lines(&directory.join("corpus.jsonl"))?;
        let to_fact = |document: Document| {
            let metadata = json!({ "title": document.title });
            json!({ "fact_id": document._id, "text": document.text, "metadata": metadata })
        };
        let mut judged = judgements(directory)?;
        let queries: Vec<Query> = lines(&directory.join("queries.jsonl"))?;
        let questions = queries.into_iter().filter_map(|query| {
            let relevant = judged.remove(&query._id)?;
            Some(Question { query: query.text, relevant })
        });
        Ok(Self {
            facts: documents.into_iter().map(to_fact).collect(),
            questions: questions.collect(),
        })
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
            let ids: Vec<&str> = hits.iter().filter_map(|hit| hit["doc_id"].as_str()).collect();
            ndcg += ndcg_of(&ids, &question.relevant);
            recall += recall_of(&ids, &question.relevant);
        }
        latencies.sort();
        let count = self.questions.len() as f64;
        Ok(Quality { ndcg: ndcg / count, recall: recall / count, latencies })
    }
}

/// Järvelin and Kekäläinen, "Cumulated Gain-Based Evaluation of IR Techniques",
/// 2002, with linear gain as trec_eval has it.
fn ndcg_of(ids: &[&str], relevant: &HashMap<String, f64>) -> f64 {
    let discounted = |gains: &mut dyn Iterator<Item = f64>| -> f64 {
        gains.take(DEPTH).enumerate().map(|(rank, gain)| gain / (rank as f64 + 2.0).log2()).sum()
    };
    let mut ideal: Vec<f64> = relevant.values().copied().collect();
    ideal.sort_by(|one, other| other.total_cmp(one));
    let best = discounted(&mut ideal.into_iter());
    let got = discounted(&mut ids.iter().map(|id| relevant.get(*id).copied().unwrap_or(0.0)));
    if best == 0.0 { 0.0 } else { got / best }
}

fn recall_of(ids: &[&str], relevant: &HashMap<String, f64>) -> f64 {
    let found: HashSet<&str> =
        ids.iter().take(DEPTH).filter(|id| relevant.contains_key(**id)).copied().collect();
    found.len() as f64 / relevant.len().max(1) as f64
}

fn judgements(directory: &Path) -> Result<HashMap<String, HashMap<String, f64>>> {
    let flat = directory.join("qrels.tsv");
    let path = if flat.is_file() { flat } else { directory.join("qrels").join("test.tsv") };
    let text = std::fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
    let mut judged: HashMap<String, HashMap<String, f64>> = HashMap::new();
    for line in text.lines().skip(1) {
        let mut columns = line.split('\t');
        let columns = (columns.next(), columns.next(), columns.next());
        let (Some(query), Some(fact), Some(score)) = columns else { continue };
        let score: f64 = score.trim().parse().with_context(|| format!("{line:?}"))?;
        if score > 0.0 {
            judged.entry(query.into()).or_default().insert(fact.into(), score);
        }
    }
    Ok(judged)
}

fn lines<T: for<'a> Deserialize<'a>>(path: &Path) -> Result<Vec<T>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("{}", path.display()))?;
    let parse = |(number, line): (usize, &str)| {
        serde_json::from_str(line).with_context(|| format!("{}:{}", path.display(), number + 1))
    };
    text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).map(parse).collect()
}
