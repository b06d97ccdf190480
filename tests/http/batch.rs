//! `POST /v1/facts/batch`.

use anyhow::Result;
use kenning_tests::{Backend, Server, assert_error_body, on_both_backends};
use serde_json::{Value, json};

on_both_backends!(each_fact_of_a_batch_has_its_own_outcome_in_order);

async fn each_fact_of_a_batch_has_its_own_outcome_in_order(backend: &Backend) -> Result<()> {
    let server = backend.serve().await?;
    server.store(json!({ "text": "there before", "fact_id": "before" })).await?;
    let facts = json!([
        { "text": "first", "fact_id": "a" },
        { "text": "" },
        { "text": "second", "metadata": { "n": 2 } },
        { "text": "other", "fact_id": "before" },
        { "text": "there before", "fact_id": "before" },
        { "text": "first", "fact_id": "a" },
        { "text": "not first", "fact_id": "a" },
        { "text": "x", "metadata": [] },
        { "text": 1 },
        { "txt": "x" },
        ["first", null, "a"],
        null,
        { "text": "x", "fact_id": "a:b" },
        { "text": "last", "fact_id": "z" },
    ]);
    let answer = server.post("/v1/facts/batch", json!({ "facts": facts })).await?;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let results = answer.json["results"].as_array().map(Vec::as_slice).unwrap_or_default();
    let outcomes: Vec<_> = results.iter().map(outcome).collect();
    let expected = [
        "a",
        "invalid_request /text",
        "",
        "conflict ",
        "before",
        "a",
        "conflict ",
        "invalid_request /metadata",
        "invalid_request /text",
        "invalid_request /txt",
        "invalid_request ",
        "invalid_request ",
        "invalid_request /fact_id",
        "z",
    ];
    let second = results[2]["fact_id"].as_str().unwrap_or_default();
    for (place, (outcome, expected)) in outcomes.iter().zip(expected).enumerate() {
        let expected = if place == 2 { second } else { expected };
        assert_eq!(outcome, expected, "fact {place}");
    }
    assert_eq!(outcomes.len(), expected.len());
    let list = server.get("/v1/facts").await?;
    assert_eq!(list.json["facts"].as_array().map(Vec::len), Some(4));
    assert_eq!(server.get("/v1/facts/before").await?.json["content"], "there before");
    assert_eq!(server.search(json!({ "query": "last", "mode": "text" })).await?, ["z"]);
    Ok(())
}

/// The id of what was stored, or the code and pointer of what was not.
fn outcome(result: &Value) -> String {
    if result["status"] == "success" {
        assert!(result["message"].is_string() && result["indexed"].is_boolean(), "{result}");
        return result["fact_id"].as_str().unwrap_or_default().to_string();
    }
    assert_error_body(result);
    let pointer = result["details"]["pointer"].as_str().unwrap_or_default();
    format!("{} {pointer}", result["code"].as_str().unwrap_or_default())
}

fn batch(size: usize) -> Value {
    let facts: Vec<Value> = (0..size).map(|n| json!({ "text": format!("fact {n}") })).collect();
    json!({ "facts": facts })
}

#[tokio::test]
async fn facts_of_a_batch_obeyed() -> Result<()> {
    let server = Server::start().await?;
    let answer = server.post("/v1/facts/batch", batch(100)).await?;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(server.export().await?.lines().count(), 100);
    Ok(())
}

#[tokio::test]
async fn facts_of_a_batch_violated() -> Result<()> {
    let server = Server::start().await?;
    let answer = server.post("/v1/facts/batch", batch(101)).await?;
    answer.assert_error(413, "too_large");
    let details = json!({ "limit": "batch_facts", "allowed": 100, "used": 101 });
    assert_eq!(answer.json["details"], details);
    assert_eq!(server.export().await?, "");
    Ok(())
}

#[tokio::test]
async fn a_batch_that_is_none_is_refused_whole() -> Result<()> {
    let server = Server::start().await?;
    for (body, pointer) in [
        (json!({ "facts": [] }), "/facts"),
        (json!({ "facts": { "text": "x" } }), "/facts"),
        (json!({ "facts": null }), "/facts"),
        (json!({}), ""),
        (json!([{ "text": "x" }]), ""),
        (json!({ "facts": [{ "text": "x" }], "more": 1 }), "/more"),
    ] {
        server.post("/v1/facts/batch", body).await?.assert_invalid(pointer);
    }
    server
        .post_raw("/v1/facts/batch", "{\"facts\":[{\"text\":\"x\"}")
        .await?
        .assert_error(400, "invalid_request");
    assert_eq!(server.export().await?, "");
    Ok(())
}

/// Sixteen facts of the largest size fit a body; the sandbox sees them in pieces.
#[tokio::test]
async fn a_batch_of_the_largest_facts_is_stored() -> Result<()> {
    let server = Server::start().await?;
    let text = "x".repeat(256 * 1024);
    let metadata = json!({ "m": "y".repeat(60 * 1024) });
    let facts: Vec<Value> =
        (0..16).map(|_| json!({ "text": text, "metadata": metadata })).collect();
    let answer = server.post("/v1/facts/batch", json!({ "facts": facts })).await?;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let results = answer.json["results"].as_array().map(Vec::as_slice).unwrap_or_default();
    assert_eq!(results.iter().filter(|result| result["status"] == "success").count(), 16);
    assert_eq!(server.get("/v1/stats").await?.json["facts"], 16);
    Ok(())
}
