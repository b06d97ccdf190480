//! What happens to a call when a hook of it fails.

use anyhow::Result;
use kenning_tests::{Answer, Setup, until};
use serde_json::json;

use super::{serve, serve_with};

const LITTLE_FUEL: &str = "extension_fuel_base = 50000000\nfuel_per_unit = 1000";

#[tokio::test]
async fn what_protects_fails_closed() -> Result<()> {
    let server = serve().await?;
    let answer =
        server.post("/v1/facts", json!({ "text": "trap-on-store", "fact_id": "a" })).await?;
    answer.assert_error(502, "guest_trapped");
    assert_eq!(answer.json["details"]["component"], "hooks");
    assert_eq!(answer.json["details"]["generation"], 1);
    server.get("/v1/facts/a").await?.assert_error(404, "not_found");
    let answer = server.post("/v1/search", json!({ "query": "trap-on-query" })).await?;
    answer.assert_error(502, "guest_trapped");
    server.store(json!({ "text": "trap-on-read", "fact_id": "b" })).await?;
    for path in ["/v1/facts/b", "/v1/facts", "/v1/export"] {
        let answer = server.get(path).await?;
        answer.assert_error(502, "guest_trapped");
        assert!(!answer.text.contains("trap-on-read\""), "the fact is withheld: {}", answer.text);
    }
    Ok(())
}

#[tokio::test]
async fn what_improves_is_left_out_and_the_answer_says_so() -> Result<()> {
    let server = serve().await?;
    server.store(json!({ "text": "tea", "fact_id": "a" })).await?;
    for query in ["tea trap-rerank", "tea nan"] {
        let answer = server.post("/v1/search", json!({ "query": query, "mode": "text" })).await?;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(answer.json["results"][0]["doc_id"], "a");
        let degraded = answer.json["degraded"][0].as_str().unwrap_or_default();
        assert!(degraded.starts_with("extension hooks: "), "{}", answer.text);
    }
    Ok(())
}

#[tokio::test]
async fn what_is_left_out_is_named_and_not_among_what_ran() -> Result<()> {
    let server = serve_with(Setup::patient(), "?on_failure=leave-out").await?;
    let named = |answer: &Answer| {
        let header = |name| answer.header(name).to_string();
        (header("x-kenning-extensions"), header("x-kenning-left-out"))
    };
    let is = |ran: &str, left_out: &str| (ran.to_string(), left_out.to_string());
    let fact = json!({ "text": "trap-on-store", "fact_id": "a" });
    let stored = server.post("/v1/facts", fact).await?;
    assert_eq!((stored.status, named(&stored)), (201, is("", "hooks=on-store")));
    let fact = json!({ "text": "tea trap-on-read", "fact_id": "b" });
    let stored = server.post("/v1/facts", fact).await?;
    assert_eq!(named(&stored), is("hooks=1", ""));
    let read = server.get("/v1/facts/b").await?;
    assert_eq!((read.status, named(&read)), (200, is("", "hooks=on-read")));

    let query = json!({ "query": "tea trap-on-query", "mode": "text" });
    let found = server.post("/v1/search", query).await?;
    assert_eq!(named(&found), is("hooks=1", "hooks=on-query,hooks=on-read"), "rerank ran");
    let degraded = found.json["degraded"].as_array().map(Vec::as_slice).unwrap_or_default();
    assert_eq!(degraded.len(), 2, "{}", found.text);
    for (sentence, hook) in degraded.iter().zip(["on-query", "on-read"]) {
        let begins = format!("extension hooks: {hook} was left out: the extension hooks trapped");
        assert!(sentence.as_str().is_some_and(|it| it.starts_with(&begins)), "{sentence}");
    }
    let metrics = server.get("/metrics").await?.text;
    let counted = "kenning_hooks_left_out_total{hook=\"on-store\"} 1";
    assert!(metrics.contains(counted), "{metrics}");
    Ok(())
}

#[tokio::test]
async fn a_hook_has_limits_of_its_own() -> Result<()> {
    let server = serve_with(Setup::patient_but(LITTLE_FUEL), "").await?;
    let answer = server.post("/v1/facts", json!({ "text": "spin-on-store" })).await?;
    answer.assert_error(502, "guest_out_of_fuel");
    assert_eq!(answer.json["details"]["component"], "hooks");
    assert_eq!(answer.json["blame"], "guest");
    server.store(json!({ "text": "tea", "fact_id": "a" })).await?;
    let search = json!({ "query": "tea spin-rerank", "mode": "text" });
    let answer = server.post("/v1/search", search).await?;
    assert_eq!(answer.json["results"][0]["doc_id"], "a", "{}", answer.text);
    assert!(answer.text.contains("fuel"), "{}", answer.text);
    Ok(())
}

#[tokio::test]
async fn an_answer_of_no_draft_is_the_extensions_fault() -> Result<()> {
    let server = serve().await?;
    let answer = server.post("/v1/facts", json!({ "text": "nothing" })).await?;
    answer.assert_error(502, "guest_invalid");
    assert!(answer.text.contains("the extension hooks gave no draft"), "{}", answer.text);
    Ok(())
}

#[tokio::test]
async fn an_operator_decides_what_a_failure_does() -> Result<()> {
    let server = serve_with(Setup::patient(), "?on_failure=leave-out").await?;
    server.store(json!({ "text": "trap-on-store", "fact_id": "a" })).await?;
    assert_eq!(server.get("/v1/facts/a").await?.json["content"], "trap-on-store");
    let server = serve_with(Setup::patient(), "?on_failure=close").await?;
    server.store(json!({ "text": "tea", "fact_id": "a" })).await?;
    let search = json!({ "query": "tea trap-rerank", "mode": "text" });
    server.post("/v1/search", search).await?.assert_error(502, "guest_trapped");
    Ok(())
}

/// An extension that fails again and again rests, by its policy, and comes back.
#[tokio::test]
async fn an_extension_that_keeps_trapping_is_quarantined_and_returns() -> Result<()> {
    let server = serve().await?;
    let path = "/v1/admin/tenants/default/extensions";
    let mut number = 0;
    until("it is in quarantine", async || {
        number += 1;
        let text = format!("trap-on-store {number}");
        let answer = server.post("/v1/facts", json!({ "text": text })).await?;
        answer.assert_error(502, "guest_trapped");
        Ok(answer.text.contains("quarantine").then_some(answer))
    })
    .await?;
    let answer = server.post("/v1/facts", json!({ "text": "harmless" })).await?;
    if answer.status != 201 {
        answer.assert_error(502, "guest_trapped");
        assert_ne!(answer.header("retry-after"), "", "{}", answer.text);
    }
    until("it is tried again", async || {
        let answer = server.post("/v1/facts", json!({ "text": "harmless" })).await?;
        Ok((answer.status == 201).then_some(()))
    })
    .await?;
    let listed = server.get(path).await?;
    let one = &listed.json["extensions"][0];
    let live = &one["live"];
    assert_eq!(live["quarantined_for_ms"], json!(null), "{}", listed.text);
    assert!(live["failures"].as_u64() >= Some(5), "{}", listed.text);
    let event = &one["events"][1];
    assert_eq!((&event["what"], &event["generation"]), (&json!("quarantined"), &json!(1)), "{one}");
    let metrics = server.get("/metrics").await?.text;
    let counted = "kenning_quarantines_total{component=\"extension\"} ";
    assert!(metrics.contains(counted), "{metrics}");
    Ok(())
}

/// A caller who repeats what an extension fails on keeps nobody else from it.
#[tokio::test]
async fn one_bad_input_that_is_repeated_puts_no_extension_into_quarantine() -> Result<()> {
    let server = serve().await?;
    for _ in 0..12 {
        let answer = server.post("/v1/facts", json!({ "text": "trap-on-store" })).await?;
        answer.assert_error(502, "guest_trapped");
        assert!(!answer.text.contains("quarantine"), "{}", answer.text);
    }
    server.store(json!({ "text": "harmless" })).await?;
    Ok(())
}
