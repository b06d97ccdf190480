//! Exact words in mode `text`: scripts, identifiers among many, and the tenant's language.

mod identifiers;
mod language;
mod scripts;

use anyhow::{Result, ensure};
use kenning_tests::{Caller, Server, Setup};
use serde_json::{Value, json};

/// A server whose vectors have no meaning, which is enough where words are tested.
async fn serve() -> Result<Server> {
    Server::start_with(Setup { embedder: Some("hash"), ..Setup::patient() }).await
}

/// Imports facts, given as id and text, in one request.
async fn import(caller: &Caller, facts: &[(String, String)]) -> Result<()> {
    let line =
        |(id, text): &(String, String)| format!("{}\n", json!({ "fact_id": id, "text": text }));
    let answer = caller.post_raw("/v1/import", facts.iter().map(line).collect::<String>()).await?;
    let summary: Value = answer.text.lines().last().unwrap_or_default().parse()?;
    ensure!(summary["imported"] == facts.len(), "not all imported: {}", answer.text);
    Ok(())
}

/// The best facts by words.
async fn by_words(caller: &Caller, query: &str) -> Result<Vec<String>> {
    caller.search(json!({ "query": query, "mode": "text", "top_k": 3 })).await
}
