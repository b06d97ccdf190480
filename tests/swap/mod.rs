//! Replacing the logic while it serves.

mod proof;
mod serving;
mod watch;

use anyhow::Result;
use kenning_tests::{Answer, Caller, component};
use serde_json::json;

/// The logic that comes with the server, with a digest of its own for each note.
fn logic(note: &str) -> Result<Vec<u8>> {
    Ok(kenning_tests::noted(&std::fs::read(component("logic")?)?, note))
}

/// A logic that behaves unless a text names a deed.
fn hostile() -> Result<Vec<u8>> {
    Ok(std::fs::read(component("hostile")?)?)
}

#[track_caller]
fn promoted(answer: &Answer, generation: u64) {
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.json["generation"], generation, "{}", answer.text);
    assert_eq!(answer.json["promoted"], true, "{}", answer.text);
}

/// The generation that answers now.
async fn generation(caller: &Caller) -> Result<String> {
    let answer = caller.get("/v1/facts").await?;
    Ok(answer.header("x-kenning-generation").to_string())
}

/// Facts to search, and searches to be asked again.
async fn asked(caller: &Caller, queries: &[&str]) -> Result<()> {
    for (id, text) in [
        ("cat", "The cat sleeps on the windowsill."),
        ("dog", "The dog sleeps in the kitchen."),
        ("tea", "Tea is made with boiling water."),
    ] {
        caller.store(json!({ "text": text, "fact_id": id })).await?;
    }
    for query in queries {
        let answer = caller.post("/v1/search", json!({ "query": query, "mode": "text" })).await?;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    Ok(())
}
