//! The scores of a run in a file, to compare a later one with.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::{JudgedSet, MEASURES, Run};

const FORMAT: u32 = 1;

/// Runs by the names of their sets.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SavedRun {
    format: u32,
    sets: BTreeMap<String, SavedSet>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct SavedSet {
    split: String,
    documents: usize,
    queries: Vec<String>,
    /// Row, then measure, then a score for each query.
    rows: BTreeMap<String, BTreeMap<String, Vec<f64>>>,
}

/// The scores of both runs for the queries that both have.
pub(super) struct Common {
    pub(super) queries: usize,
    /// One measure of one row, now and then.
    pub(super) columns: Vec<(String, &'static str, Vec<f64>, Vec<f64>)>,
}

impl SavedRun {
    pub fn new() -> Self {
        Self { format: FORMAT, sets: BTreeMap::new() }
    }

    /// # Errors
    /// If the file is missing or was not written by [`SavedRun::write`].
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let saved: Self = serde_json::from_str(&text)
            .with_context(|| format!("{} is not a saved run", path.display()))?;
        ensure!(saved.format == FORMAT, "{} has another format", path.display());
        for (name, set) in &saved.sets {
            let columns = set.rows.values().flat_map(|row| row.values());
            let whole = columns.clone().all(|column| column.len() == set.queries.len());
            ensure!(whole, "{}: {name} has not a score for each query", path.display());
        }
        Ok(saved)
    }

    pub fn add(&mut self, set: &JudgedSet, run: &Run) {
        let mut rows = BTreeMap::new();
        for row in &run.rows {
            let Some(scores) = &row.scores else { continue };
            let columns = MEASURES.iter().map(ToString::to_string).zip(scores.iter().cloned());
            rows.insert(row.name.clone(), columns.collect());
        }
        let (split, queries) = (set.split.clone(), run.queries.clone());
        let saved = SavedSet { split, documents: set.documents, queries, rows };
        self.sets.insert(set.name.clone(), saved);
    }

    /// # Errors
    /// If the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        std::fs::write(path, serde_json::to_string(self)?)
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// What both runs have of a set.
    ///
    /// # Errors
    /// If the saved run does not have the set, or no query of it.
    pub(super) fn common(&self, set: &JudgedSet, run: &Run) -> Result<Common> {
        let saved = self.sets.get(&set.name).with_context(|| {
            let there: Vec<&str> = self.sets.keys().map(String::as_str).collect();
            format!("the saved run has no set {:?}, but {}", set.name, there.join(", "))
        })?;
        let places: HashMap<&str, usize> =
            saved.queries.iter().enumerate().map(|(at, id)| (id.as_str(), at)).collect();
        let queries = run.queries.iter().enumerate();
        let pairs: Vec<(usize, usize)> =
            queries.filter_map(|(at, id)| Some((at, *places.get(id.as_str())?))).collect();
        ensure!(!pairs.is_empty(), "the saved run of {:?} has other queries", set.name);
        let mut columns = Vec::new();
        for row in &run.rows {
            let (Some(scores), Some(before)) = (&row.scores, saved.rows.get(&row.name)) else {
                continue;
            };
            for (measure, column) in MEASURES.into_iter().zip(scores) {
                let Some(before) = before.get(measure) else { continue };
                let now = pairs.iter().map(|(at, _)| column[*at]).collect();
                let then = pairs.iter().map(|(_, at)| before[*at]).collect();
                columns.push((row.name.clone(), measure, now, then));
            }
        }
        Ok(Common { queries: pairs.len(), columns })
    }
}
