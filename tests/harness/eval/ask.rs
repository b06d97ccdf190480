//! Every query through HTTP, and the scores of what is found.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::Value;

use super::statistics::mean;
use super::{Imported, JudgedQuery, JudgedSet, MEASURES, NDCG_10, Row};
use super::{ndcg, recall, reciprocal_rank};
use crate::Caller;

/// Searches at once. Their order makes no difference to what they find.
const AT_ONCE: usize = 4;

/// A caller who wants ten hits asks for ten, and the size of the pools follows from that; so recall
/// at 100 is of a search of its own.
const DEPTH: usize = 10;
const DEEP: usize = 100;

/// How often a search is repeated whose error says that it may be: on a machine that is busy with
/// other work one may time out.
const RETRIES: usize = 3;

/// The measures of each query, as columns in the order of [`MEASURES`].
pub type RowScores = [Vec<f64>; MEASURES.len()];

/// What a row achieved.
pub struct Measured {
    pub name: String,
    /// `None` if the server refused the row.
    pub scores: Option<RowScores>,
    /// Queries with no hit.
    pub empty: usize,
    /// Searches that were sent again.
    pub repeated: usize,
    /// What was refused or degraded, with how often.
    pub notes: BTreeMap<String, usize>,
}

impl Measured {
    /// The mean of nDCG@10; below all others if there is none.
    pub fn ndcg(&self) -> f64 {
        self.scores.as_ref().map_or(f64::NEG_INFINITY, |scores| mean(&scores[NDCG_10]))
    }
}

/// All rows on one set.
pub struct Run {
    /// The queries, in the order of the scores.
    pub queries: Vec<String>,
    pub rows: Vec<Measured>,
}

impl Run {
    pub fn row(&self, name: &str) -> Option<&Measured> {
        self.rows.iter().find(|row| row.name == name)
    }

    /// The better of the two retrievers alone, by nDCG@10.
    pub fn better_leg(&self) -> Option<&Measured> {
        let legs = ["text", "vector"].into_iter().filter_map(|name| self.row(name));
        legs.max_by(|one, other| one.ndcg().total_cmp(&other.ndcg()))
    }
}

/// Asks every query of the set for each row.
///
/// # Errors
/// If the server fails. A row or a query that it refuses is told instead.
pub async fn ask(
    caller: &Caller,
    set: &JudgedSet,
    imported: &Imported,
    rows: &[Row],
) -> Result<Run> {
    let queries = set.queries.iter().map(|query| query.id.clone()).collect();
    let mut run = Run { queries, rows: Vec::new() };
    for row in rows {
        run.rows.push(measure(caller, set, imported, row).await?);
    }
    Ok(run)
}

async fn measure(
    caller: &Caller,
    set: &JudgedSet,
    imported: &Imported,
    row: &Row,
) -> Result<Measured> {
    let mut measured = Measured {
        name: row.name.clone(),
        scores: None,
        empty: 0,
        repeated: 0,
        notes: BTreeMap::new(),
    };
    // What any query would be refused for.
    let probe = caller.post("/v1/search", row.search("probe", 1)).await?;
    if (400..500).contains(&probe.status) {
        let why = probe.json["message"].as_str().unwrap_or_default();
        measured.notes.insert(format!("refused: {} {why}", probe.status), 1);
        return Ok(measured);
    }
    let found = stream::iter(&set.queries)
        .map(|query| ask_one(caller, query, imported, row))
        .buffered(AT_ONCE);
    let mut found = std::pin::pin!(found);
    let mut scores = RowScores::default();
    while let Some(one) = found.try_next().await? {
        for (column, score) in scores.iter_mut().zip(one.scores) {
            column.push(score);
        }
        measured.empty += usize::from(one.empty);
        measured.repeated += one.repeated;
        one.notes.into_iter().for_each(|note| *measured.notes.entry(note).or_default() += 1);
    }
    measured.scores = Some(scores);
    Ok(measured)
}

/// One query's scores.
struct Scored {
    scores: [f64; MEASURES.len()],
    empty: bool,
    repeated: usize,
    notes: Vec<String>,
}

async fn ask_one(
    caller: &Caller,
    query: &JudgedQuery,
    imported: &Imported,
    row: &Row,
) -> Result<Scored> {
    let (mut notes, mut repeated) = (Vec::new(), 0);
    let mut hits = Vec::new();
    for depth in [DEPTH, DEEP] {
        let search = row.search(&query.text, depth);
        let mut answer = caller.post("/v1/search", search.clone()).await?;
        for _ in 0..RETRIES {
            if answer.json["retryable"] == true {
                repeated += 1;
                answer = caller.post("/v1/search", search.clone()).await?;
            }
        }
        ensure!(answer.status < 500, "query {}: {}", query.id, answer.text);
        if answer.status != 200 {
            let why = answer.json["message"].as_str().unwrap_or_default();
            notes.push(format!("query {} was refused and counts 0: {why}", query.id));
        }
        let degraded = answer.json["degraded"].as_array().map(Vec::as_slice).unwrap_or_default();
        let degraded = degraded.iter().filter_map(Value::as_str);
        notes.extend(degraded.map(|why| format!("degraded: {why}")));
        hits.push(ids(&answer.json, imported).with_context(|| answer.text)?);
    }
    notes.sort();
    notes.dedup();
    let [shallow, deep] = &hits[..] else { unreachable!("two searches") };
    let relevant = &query.relevant;
    let scores = [
        ndcg(shallow, relevant, DEPTH),
        recall(shallow, relevant, DEPTH),
        recall(deep, relevant, DEEP),
        reciprocal_rank(shallow, relevant, DEPTH),
    ];
    Ok(Scored { scores, empty: shallow.is_empty(), repeated, notes })
}

/// The documents of the hits, best first; none of a refusal.
fn ids(answer: &Value, imported: &Imported) -> Result<Vec<String>> {
    if answer["status"] == "error" {
        return Ok(Vec::new());
    }
    let hits = answer["results"].as_array().context("no results")?;
    let document = |hit: &Value| {
        let id = hit["doc_id"].as_str().context("a hit without an id")?;
        Ok(imported.renamed.get(id).map_or(id, String::as_str).to_string())
    };
    hits.iter().map(document).collect()
}
