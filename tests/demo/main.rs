//! `make demo`: a server, facts, questions, a change and a deletion, and guests that are
//! swapped while callers search; each answer printed with its scores and times.
//! `make demo DATA=DIR` does the same with a folder laid out like BEIR's.

mod swaps;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kenning_tests::{Answer, Collection, Server, Setup};
use serde_json::{Value, json};

/// Questions shown with their hits; all of them are counted.
const SHOWN: usize = 5;
const SHOWN_HITS: usize = 3;

#[tokio::main]
async fn main() -> Result<()> {
    let given = std::env::args().nth(1);
    let collection = match &given {
        Some(directory) => Collection::beir(Path::new(directory))?,
        None => Collection::samples(&samples())?,
    };
    let name = given.as_deref().unwrap_or("the repository's own samples");
    step(&format!("Starting a server on embedded storage, then importing {name}"));
    let setup = Setup { embedder: Some("local"), ..Setup::default() };
    let server = Server::start_with(setup).await?;
    println!("serving at {}", server.url());
    let took = collection.import(&server).await?;
    let rate = collection.facts.len() as f64 / took.as_secs_f64();
    println!("{} facts in {}, {rate:.0} a second", collection.facts.len(), show(took));
    wait_until_indexed(&server).await?;

    step("Searching by meaning");
    for question in collection.questions.iter().step_by(collection.questions.len().div_ceil(SHOWN))
    {
        search(&server, &question.query).await?;
    }
    if given.is_none() {
        search(&server, "feline pet resting").await?;
    }
    compare(&server, &collection).await?;
    change_and_delete(&server).await?;
    swaps::swap_while_serving(&server).await?;

    step("Stopping");
    let code = server.stop().await?;
    ensure!(code == Some(0), "the server ended with {code:?}");
    println!("stopped, exit code 0");
    Ok(())
}

fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples")
}

fn step(what: &str) {
    println!("\n== {what}");
}

fn show(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

/// Facts whose embedding was late are finished in the background.
async fn wait_until_indexed(server: &Server) -> Result<()> {
    let begun = Instant::now();
    loop {
        let stats = server.get("/v1/stats").await?;
        if stats.json["pending"] == 0 {
            println!("all findable by meaning {} later", show(begun.elapsed()));
            return Ok(());
        }
        ensure!(begun.elapsed() < Duration::from_secs(600), "still pending: {}", stats.text);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn search(server: &Server, query: &str) -> Result<Answer> {
    let body = json!({ "query": query, "top_k": SHOWN_HITS, "explain": true });
    let answer = server.post("/v1/search", body).await?;
    ensure!(answer.status == 200, "{}", answer.text);
    println!("\n\"{query}\"  ({} ms)", answer.json["took_ms"]);
    for hit in answer.json["results"].as_array().context("no results")? {
        let share = |leg: &str| hit["explain"][leg]["share"].as_f64().unwrap_or(0.0);
        println!(
            "  {:>6.3}  (vector {:.3}, text {:.3})  {}",
            hit["score"].as_f64().unwrap_or(0.0),
            share("vector"),
            share("text"),
            hit["content"].as_str().unwrap_or_default(),
        );
    }
    Ok(answer)
}

/// The two halves of search, and the two ways to bring them together.
async fn compare(server: &Server, collection: &Collection) -> Result<()> {
    step(&format!("Asking all {} questions", collection.questions.len()));
    println!("{:<22} {:>8} {:>10} {:>12}", "", "nDCG@10", "recall@10", "median");
    for (name, mode, fusion) in [
        ("hybrid, by scores", "hybrid", "score"),
        ("hybrid, by ranks", "hybrid", "rank"),
        ("meaning (vectors)", "vector", "score"),
        ("words (BM25)", "text", "score"),
    ] {
        let quality = collection.ask(server, mode, fusion).await?;
        let median = show(quality.median());
        println!("{name:<22} {:>8.4} {:>10.4} {median:>12}", quality.ndcg, quality.recall);
    }
    println!("(times as the caller sees them; the first row embeds each question, the others find");
    println!("its embedding in the cache)");
    Ok(())
}

async fn change_and_delete(server: &Server) -> Result<()> {
    step("Changing a fact, then deleting it");
    let text = "The spare key hangs behind the blue door.";
    let body = json!({ "fact_id": "demo-key", "text": text, "metadata": { "room": "hall" } });
    report("stored", &server.post("/v1/facts", body).await?, 201)?;
    search(server, "how do I get in without my keys?").await?;
    let change = json!({ "text": "The spare key is with the neighbour, Ms Ito." });
    report("changed", &server.patch("/v1/facts/demo-key", change).await?, 200)?;
    search(server, "how do I get in without my keys?").await?;
    report("deleted", &server.delete("/v1/facts/demo-key").await?, 200)?;
    report("gone", &server.get("/v1/facts/demo-key").await?, 404)
}

fn report(what: &str, answer: &Answer, status: u16) -> Result<()> {
    ensure!(answer.status == status, "{what}: {}", answer.text);
    let message: &Value = &answer.json["message"];
    println!("\n{what}: {status} {message}");
    Ok(())
}
