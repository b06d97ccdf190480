//! What one tenant can do to another's times: a neighbour makes the same calls alone and beside a
//! tenant that takes as much as it can get.
//!
//! Every call of the neighbour must succeed. How long its calls took is printed beside what was
//! promised: with company, the p99 is at most the larger of twice the p99 alone and 15 ms more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use http::Method;
use kenning_tests::report::{Table, Timings, ms};
use kenning_tests::{Caller, Server, Setup, component, send, until, with_parts};
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// The neighbour's calls of each kind, alone and in company.
const CALLS: usize = 10_000;

/// Calls before those that are measured.
const WARM_UP: usize = 200;

/// Facts of the neighbour.
const FACTS: usize = 100;

/// What company may cost, if that is more than twice the time alone.
const ALLOWANCE: Duration = Duration::from_millis(15);

/// The texts of one batch, and their words.
const TEXTS: usize = 100;
const WORDS: usize = 400;

/// Facts that are searched through for long, by so many callers, each until its deadline.
const SEARCHED: usize = 20_000;
const SEARCHERS: usize = 8;
const DEADLINE: Duration = Duration::from_secs(2);

/// Guests of one tenant at once, and the memories that each has in addition to its own.
const GUESTS: usize = 64;
const MORE_MEMORIES: usize = 3;

/// What the company does.
#[derive(Clone, Copy)]
enum Company {
    Embeds,
    Searches,
    HasMemories,
}

/// What the neighbour met.
#[derive(Default)]
struct Met {
    times: Vec<Duration>,
    unavailable: usize,
    /// The first answers that were not what they should be.
    others: Vec<String>,
}

pub(crate) async fn run() -> Result<()> {
    let columns = [
        "beside a tenant that",
        "its calls",
        "calls",
        "alone p50 ms",
        "p99",
        "beside p50 ms",
        "p99",
        "allowed p99",
        "503s",
        "kept",
    ];
    let mut table = Table::new("Neighbours", 2, &columns);
    table.note(format!(
        "allowed: the larger of 2 × alone and alone + {} ms; {CALLS} calls in a closed loop each",
        ALLOWANCE.as_millis()
    ));
    let mut broken = Vec::new();
    for company in [Company::Embeds, Company::Searches, Company::HasMemories] {
        let (alone, beside) = measure(company).await?;
        broken.extend(alone.others.iter().chain(&beside.others).cloned());
        table.row(cells(company, alone, beside));
    }
    table.print();
    ensure!(broken.is_empty(), "calls of the neighbour failed: {broken:?}");
    Ok(())
}

impl Company {
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Embeds => ("stores 100 long texts at a time", "searches"),
            Self::Searches => ("searches 20,000 facts for 1,000 words", "text searches"),
            Self::HasMemories => ("runs 64 guests of 4 memories", "gets"),
        }
    }

    fn setup(self) -> Result<Setup> {
        Ok(match self {
            Self::Embeds => Setup { embedder: Some("local"), ..Setup::default() },
            Self::Searches => Setup::default(),
            Self::HasMemories => Setup { logic: Some(component("hostile")?), ..Setup::default() },
        })
    }

    /// What it has before it begins.
    async fn prepare(self, company: &Caller) -> Result<()> {
        match self {
            Self::Embeds => Ok(()),
            Self::Searches => fill(company).await,
            Self::HasMemories => {
                let hostile = std::fs::read(component("hostile")?)?;
                let logic = with_parts(&hostile, "(memory 1)", MORE_MEMORIES)?;
                let swapped = company.swap_logic(logic, "?tenant=company").await?;
                ensure!(swapped.status == 200, "{}", swapped.text);
                Ok(())
            }
        }
    }

    fn callers(self) -> usize {
        match self {
            Self::Embeds => 2,
            Self::Searches => SEARCHERS,
            Self::HasMemories => GUESTS,
        }
    }

    async fn call(self, company: &Caller) -> Result<()> {
        let (path, body) = match self {
            Self::Embeds => ("/v1/facts/batch", json!({ "facts": long_texts() })),
            Self::Searches => ("/v1/search", long_search()),
            Self::HasMemories => ("/v1/search", json!({ "query": "sleep 2" })),
        };
        let request = company.request(Method::POST, path).json(&body);
        let deadline = DEADLINE.as_millis().to_string();
        let answer = match self {
            Self::Searches => send(request.header("x-kenning-timeout-ms", deadline)).await?,
            _ => send(request).await?,
        };
        ensure!(matches!(answer.status, 200 | 429 | 503 | 504), "{}", answer.text);
        Ok(())
    }

    /// One call of the neighbour.
    fn neighbours(self, neighbour: &Caller, number: usize) -> reqwest::RequestBuilder {
        let search = |query: Value| neighbour.request(Method::POST, "/v1/search").json(&query);
        match self {
            // A text that nobody embedded before.
            Self::Embeds => search(json!({ "query": format!("which word{number} is it?") })),
            Self::Searches => {
                search(json!({ "query": format!("word{}", number % FACTS), "mode": "text" }))
            }
            Self::HasMemories => {
                neighbour.request(Method::GET, &format!("/v1/facts/fact-{}", number % FACTS))
            }
        }
    }
}

/// The neighbour's calls alone, and beside the company.
async fn measure(kind: Company) -> Result<(Met, Met)> {
    let server = Server::start_with(kind.setup()?).await?;
    let (neighbour, company) = (server.tenant("neighbour"), server.tenant("company"));
    for number in 0..FACTS {
        let fact = json!({ "fact_id": format!("fact-{number}"), "text": format!("word{number}") });
        neighbour.store(fact).await?;
    }
    kind.prepare(&company).await?;
    calls(kind, &neighbour, WARM_UP, 0).await?;
    let alone = calls(kind, &neighbour, CALLS, WARM_UP).await?;
    let begun = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let mut calling = JoinSet::new();
    for _ in 0..kind.callers() {
        let (company, begun, stop) = (company.clone(), begun.clone(), stop.clone());
        calling.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                begun.fetch_add(1, Ordering::Relaxed);
                kind.call(&company).await?;
            }
            anyhow::Ok(())
        });
    }
    until("the company has begun", async || {
        Ok((begun.load(Ordering::Relaxed) >= kind.callers() as u64).then_some(()))
    })
    .await?;
    calls(kind, &neighbour, WARM_UP, WARM_UP + CALLS).await?;
    let beside = calls(kind, &neighbour, CALLS, 2 * WARM_UP + CALLS).await?;
    stop.store(true, Ordering::Relaxed);
    while let Some(called) = calling.join_next().await {
        called?.context("a call of the company")?;
    }
    Ok((alone, beside))
}

/// So many calls of the neighbour, numbered from `first`.
async fn calls(kind: Company, neighbour: &Caller, count: usize, first: usize) -> Result<Met> {
    let mut met = Met::default();
    for number in first..first + count {
        let request = kind.neighbours(neighbour, number);
        let begun = Instant::now();
        let answer = send(request).await?;
        met.times.push(begun.elapsed());
        met.unavailable += usize::from(answer.status == 503);
        if answer.status != 200 && met.others.len() < 5 {
            met.others.push(answer.text);
        }
    }
    Ok(met)
}

fn cells(company: Company, alone: Met, beside: Met) -> Vec<String> {
    let (does, calls) = company.names();
    let unavailable = alone.unavailable + beside.unavailable;
    let (alone, beside) = (Timings::new(alone.times), Timings::new(beside.times));
    let p99 = alone.percentile(99.0);
    let allowed = (2 * p99).max(p99 + ALLOWANCE);
    let kept = beside.percentile(99.0) <= allowed && unavailable == 0;
    vec![
        does.into(),
        calls.into(),
        beside.count().to_string(),
        ms(alone.median()),
        ms(p99),
        ms(beside.median()),
        ms(beside.percentile(99.0)),
        ms(allowed),
        unavailable.to_string(),
        if kept { "yes" } else { "no" }.into(),
    ]
}

/// Texts that nobody embedded before.
fn long_texts() -> Vec<Value> {
    let word = |_| format!("w{} ", fastrand::u32(..100_000));
    let text = |_| json!({ "text": (0..WORDS).map(word).collect::<String>() });
    (0..TEXTS).map(text).collect()
}

/// What takes the index long: a thousand words, and sixteen conditions that look at every text.
fn long_search() -> Value {
    let words: String = (0..1_000).map(|n| format!("common{n} ")).collect();
    let scans: Vec<Value> =
        (0..16).map(|n| json!({ "note": { "icontains": format!("absent{n}") } })).collect();
    json!({ "query": words, "mode": "text", "filter": { "NOT": { "OR": scans } } })
}

/// The facts that are searched through: each has its own note, and fifty of the thousand words.
async fn fill(company: &Caller) -> Result<()> {
    for batch in 0..SEARCHED / 100 {
        let fact = |n: usize| {
            let words: String =
                (0..50).map(|_| format!("common{} ", fastrand::u32(..1_000))).collect();
            let note = format!("{batch} {n} {}", "Filler ".repeat(30));
            json!({ "text": words, "metadata": { "note": note } })
        };
        let facts: Vec<Value> = (0..100).map(fact).collect();
        let answer = company.post("/v1/facts/batch", json!({ "facts": facts })).await?;
        ensure!(answer.status == 200, "{}", answer.text);
    }
    Ok(())
}
