//! `make eval DATA=DIR`: how well search answers the judged queries of a folder in BEIR's layout,
//! through HTTP, with the local model. `docs/SEARCH.md`, "Measuring", says how to read it.
//!
//! Figures are printed and not judged; `make soak PARTS=eval` holds the product to some of them.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, ensure};
use clap::{Parser, ValueEnum};
use kenning_tests::checks::{check_identifiers, check_scripts, check_words, print_checks};
use kenning_tests::eval::{self, JudgedSet, QueryHalf, Row, Run, SavedRun};

/// Measure how well search answers judged queries.
#[derive(Parser)]
#[command(name = "eval")]
struct Arguments {
    /// Folders with corpus.jsonl, queries.jsonl and qrels/SPLIT.tsv or qrels.tsv
    data: Vec<PathBuf>,
    /// Which judgements of qrels/ are used; `test` if left out
    #[arg(long)]
    split: Option<String>,
    /// Half of the queries, `tune` or `report`: by the titles of articles, or by query ids
    #[arg(long)]
    half: Option<QueryHalf>,
    /// Where titles go: `text` sets them before the text, as BEIR's own programs do
    #[arg(long, value_enum, default_value_t)]
    title: Title,
    /// Further rows: diversity=0.3, min_relevance=0.1, recency=30d or recency=30d@FIELD
    #[arg(long = "option", value_parser = Row::option)]
    options: Vec<Row>,
    /// Write the scores of each query to this file
    #[arg(long)]
    save: Option<PathBuf>,
    /// Compare with the scores in this file, query by query
    #[arg(long)]
    against: Option<PathBuf>,
    /// Another `kenning` to measure, such as an earlier version
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Also ask for words of one fact, generated identifiers, and words of many scripts
    #[arg(long)]
    checks: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Title {
    #[default]
    Metadata,
    Text,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("eval: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Result<()> {
    ensure!(
        !arguments.data.is_empty() || arguments.checks,
        "name a folder in BEIR's layout: make eval DATA=DIR"
    );
    // All that may be wrong with what was given is said before anything is measured.
    let sets = arguments.data.iter().map(|data| open(arguments, data));
    let sets = sets.collect::<Result<Vec<_>>>()?;
    let mut names: Vec<&str> = sets.iter().map(|set| set.name.as_str()).collect();
    names.sort_unstable();
    let twice = names.windows(2).find(|pair| pair[0] == pair[1]);
    ensure!(twice.is_none(), "two folders have the same name: {twice:?}");
    let against = arguments.against.as_deref().map(SavedRun::read).transpose()?;
    let mut saved = SavedRun::new();
    let mut runs = Vec::new();
    for set in &sets {
        let run = measure(arguments, set).await?;
        if let Some(against) = &against {
            eval::print_against(set, &run, against)?;
        }
        saved.add(set, &run);
        if let Some(path) = &arguments.save {
            saved.write(path)?;
        }
        runs.push((set.name.clone(), run));
    }
    if runs.len() > 1 {
        eval::print_summary(&runs);
    }
    if arguments.checks {
        check(arguments).await?;
    }
    Ok(())
}

fn open(arguments: &Arguments, data: &std::path::Path) -> Result<JudgedSet> {
    let mut set = JudgedSet::open(data, arguments.split.as_deref())?;
    if let Some(half) = arguments.half {
        half.cut(&mut set)?;
    }
    Ok(set)
}

async fn measure(arguments: &Arguments, set: &JudgedSet) -> Result<Run> {
    let titled = arguments.title == Title::Text;
    let server = eval::serve(arguments.binary.clone()).await?;
    let imported = eval::import(&server, set, titled).await?;
    let rows = [Row::base(), arguments.options.clone()].concat();
    let begun = Instant::now();
    let run = eval::ask(&server, set, &imported, &rows).await?;
    eval::print_quality(set, &imported, &run, begun.elapsed());
    if arguments.checks {
        let checks = check_words(&server, set, &imported, titled).await?;
        print_checks(&format!("{}: words that one fact has", set.name), &checks);
    }
    Ok(run)
}

/// What needs no data.
async fn check(arguments: &Arguments) -> Result<()> {
    let server = eval::serve(arguments.binary.clone()).await?;
    let mut checks = check_scripts(&server.tenant("scripts")).await?;
    checks.extend(check_identifiers(&server.tenant("identifiers")).await?);
    print_checks("Exact words of many scripts, and identifiers", &checks);
    Ok(())
}
