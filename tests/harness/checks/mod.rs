//! Exact words that must lead to their facts: words of a corpus that one fact alone has, generated
//! identifiers, and words of many scripts. `make eval CHECKS=1` prints them, tests and the soak
//! hold the product to them.

mod identifiers;
mod scripts;
mod words;

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};

use crate::Caller;
use crate::report::Table;

pub use identifiers::{Identifiers, check_identifiers};
pub use scripts::{SCRIPTS, Script, check_scripts};
pub use words::check_words;

/// The modes that are checked; the default is asked for by naming none.
const MODES: [&str; 2] = ["text", "default"];

const AT_ONCE: usize = 4;

/// Hits looked at.
const DEPTH: usize = 10;

/// A query and the fact that it must lead to.
#[derive(Clone)]
pub(crate) struct Expected {
    pub(crate) query: String,
    pub(crate) id: String,
}

/// Queries of one kind in one mode, and which of them did not find their fact.
pub struct Check {
    pub name: String,
    pub asked: usize,
    /// The share of the queries that must find it, if any must.
    pub wanted: Option<f64>,
    pub failures: Vec<String>,
}

impl Check {
    pub fn right(&self) -> usize {
        self.asked - self.failures.len()
    }

    pub fn holds(&self) -> bool {
        self.right() as f64 >= self.wanted.unwrap_or(0.0) * self.asked as f64
    }
}

/// Where a fact was found.
struct Found {
    hits: usize,
    place: Option<usize>,
    first: String,
}

/// Asks each query in one of [`MODES`].
async fn find(caller: &Caller, mode: &str, asked: &[Expected]) -> Result<Vec<Found>> {
    let ask = async |expected: &Expected| {
        let mut search = json!({ "query": expected.query, "top_k": DEPTH });
        if mode != "default" {
            search["mode"] = mode.into();
        }
        let hits = caller.search(search).await?;
        let place = hits.iter().position(|hit| *hit == expected.id);
        let (count, first) = (hits.len(), hits.into_iter().next().unwrap_or_default());
        Ok::<_, anyhow::Error>(Found { hits: count, place, first })
    };
    stream::iter(asked).map(ask).buffered(AT_ONCE).try_collect().await
}

/// Which facts are not among the first `depth` hits.
fn check(
    name: String,
    asked: &[Expected],
    found: &[Found],
    depth: usize,
    wanted: Option<f64>,
) -> Check {
    let failed = asked.iter().zip(found).filter_map(|(expected, found)| {
        if found.place.is_some_and(|place| place < depth) {
            return None;
        }
        let place = found.place.map_or("not found".into(), |place| format!("place {}", place + 1));
        let Expected { query, id } = expected;
        Some(format!("{query:?} for {id}: {place}, first is {:?}", found.first))
    });
    Check { name, asked: asked.len(), wanted, failures: failed.collect() }
}

/// Imports facts, given as id and text, all of which must be taken.
async fn import(caller: &Caller, facts: impl Iterator<Item = (String, String)>) -> Result<()> {
    let line = |(id, text)| format!("{}\n", json!({ "fact_id": id, "text": text }));
    let answer = caller.post_raw("/v1/import", facts.map(line).collect::<String>()).await?;
    let last = answer.text.lines().last().unwrap_or_default();
    let counts: Value = last.parse().with_context(|| answer.text.clone())?;
    ensure!(counts["failed"] == 0, "not all imported: {}", answer.text);
    crate::all_indexed(caller).await?;
    Ok(())
}

/// The checks in a table, and each query that failed.
pub fn print_checks(title: &str, checks: &[Check]) {
    let mut table = Table::new(title, 1, &["check", "right", "of", "wanted", ""]);
    for check in checks {
        table.row([
            check.name.clone(),
            check.right().to_string(),
            check.asked.to_string(),
            check.wanted.map_or(String::new(), |wanted| format!("{:.0} %", wanted * 100.0)),
            if check.holds() { String::new() } else { "below".into() },
        ]);
    }
    table.print();
    for check in checks.iter().filter(|check| !check.failures.is_empty()) {
        println!("\n   {}:", check.name);
        check.failures.iter().for_each(|failure| println!("     {failure}"));
    }
}
