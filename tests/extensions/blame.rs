//! Who is blamed for what an extension returns, and what becomes of the call.

use anyhow::{Context, Result};
use kenning_tests::{Answer, Setup, noted};
use serde_json::json;
use tempfile::tempdir;

use super::{hooks, installed, serve, serve_with};

/// A tenant whose extension is left out where it fails.
const LENIENT: &str = "lenient";

#[track_caller]
fn assert_blamed(answer: &Answer) {
    answer.assert_error(502, "guest_invalid");
    assert_eq!(answer.json["blame"], "guest", "{}", answer.text);
    let details = &answer.json["details"];
    assert_eq!((&details["component"], &details["generation"]), (&json!("hooks"), &json!(1)));
    assert!(details["pointer"].is_null(), "the request is not wrong: {}", answer.text);
}

#[tokio::test]
async fn what_an_extension_makes_of_a_draft_is_not_blamed_on_the_caller() -> Result<()> {
    let server = serve().await?;
    installed(&server, LENIENT, "hooks", "?on_failure=leave-out").await?;
    let lenient = server.tenant(LENIENT);
    server.store(json!({ "text": "plain", "fact_id": "plain" })).await?;
    for command in ["bad-metadata", "bad-id", "bad-text", "bad-time"] {
        let draft = json!({ "text": command, "fact_id": command });
        assert_blamed(&server.post("/v1/facts", draft.clone()).await?);
        server.get(&format!("/v1/facts/{command}")).await?.assert_error(404, "not_found");
        lenient.store(draft).await?;
        let kept = lenient.get(&format!("/v1/facts/{command}")).await?;
        assert_eq!(kept.json["content"], command, "it is stored as it was sent");
    }
    assert_blamed(&server.patch("/v1/facts/plain", json!({ "text": "bad-metadata" })).await?);
    assert_eq!(server.get("/v1/facts/plain").await?.json["content"], "plain");
    let batch = json!({ "facts": [{ "text": "bad-id" }, { "text": "good" }] });
    let results = server.post("/v1/facts/batch", batch).await?.json["results"].clone();
    let first = (&results[0]["code"], &results[0]["blame"]);
    assert_eq!(first, (&json!("guest_invalid"), &json!("guest")));
    assert_eq!(results[1]["status"], "success");
    // What the caller sent wrong, and the extension passed on, is still the caller's.
    server.post("/v1/facts", json!({ "text": " " })).await?.assert_invalid("/text");
    Ok(())
}

#[tokio::test]
async fn what_an_extension_makes_of_a_query_is_not_blamed_on_the_caller() -> Result<()> {
    let server = serve().await?;
    installed(&server, LENIENT, "hooks", "?on_failure=leave-out").await?;
    let lenient = server.tenant(LENIENT);
    lenient.store(json!({ "text": "tea", "fact_id": "a" })).await?;
    for command in ["bad-text", "bad-filter", "bad-top-k"] {
        let query = json!({ "query": format!("tea {command}"), "mode": "text" });
        assert_blamed(&server.post("/v1/search", query.clone()).await?);
        assert_eq!(lenient.search(query).await?, ["a"], "it is searched as it was asked");
    }
    let wrong = json!({ "query": "tea", "filter": { "a": { "near": 1 } } });
    server.post("/v1/search", wrong).await?.assert_error(400, "invalid_filter");
    Ok(())
}

#[tokio::test]
async fn a_caller_gets_as_many_hits_as_it_asked_for() -> Result<()> {
    let server = serve().await?;
    for number in 0..5 {
        server.store(json!({ "text": format!("tea number {number}") })).await?;
    }
    let query = json!({ "query": "tea more", "mode": "text", "top_k": 2 });
    assert_eq!(server.search(query).await?.len(), 2);
    Ok(())
}

/// Nested 100,000 deep, broken, or larger than a fact may be.
#[tokio::test]
async fn only_the_facts_that_an_extension_spoils_are_withheld() -> Result<()> {
    let server = serve().await?;
    for word in ["deep", "broken", "huge", "good"] {
        server.store(json!({ "text": format!("tea {word}"), "fact_id": word })).await?;
    }
    let page = server.get("/v1/facts").await?;
    assert_eq!((page.status, &page.json["withheld"]), (200, &json!(3)), "{}", page.text);
    assert_eq!(page.json["facts"].as_array().map(Vec::len), Some(1));
    let found = server.post("/v1/search", json!({ "query": "tea", "mode": "text" })).await?;
    assert_eq!((found.status, &found.json["withheld"]), (200, &json!(3)), "{}", found.text);
    assert_eq!(found.json["results"][0]["doc_id"], "good");
    for (id, code) in
        [("deep", "guest_invalid"), ("broken", "guest_invalid"), ("huge", "guest_limit")]
    {
        let answer = server.get(&format!("/v1/facts/{id}")).await?;
        answer.assert_error(502, code);
        assert_eq!(answer.json["details"]["component"], "hooks", "{}", answer.text);
    }
    let export = server.export().await?;
    let lines: Vec<&str> = export.lines().collect();
    assert_eq!((lines.len(), lines[1]), (2, "{\"withheld\":3}"), "{export}");
    let other = server.tenant("other");
    other.post_raw("/v1/import", export.clone()).await?;
    assert_eq!(other.export().await?, format!("{}\n", lines[0]), "the line is no fact");
    let metrics = server.get("/metrics").await?.text;
    assert!(metrics.contains("kenning_withheld_facts_total{component=\"extension\"}"));
    Ok(())
}

/// The stack is in the log, on one line with the request's id, and the record has where time and
/// fuel went; neither has a word of the fact.
#[tokio::test]
async fn an_operator_can_ask_why_a_call_failed() -> Result<()> {
    let folder = tempdir()?;
    let log = folder.path().join("log");
    let setup = Setup { log: Some((log.clone(), "error")), ..Setup::patient() };
    let server = serve_with(setup, "").await?;
    let draft = json!({ "text": "confidential panic-on-store" });
    let answer = server.post("/v1/facts", draft).await?;
    answer.assert_error(502, "guest_trapped");
    let id = answer.header("x-request-id");
    let known = server.get(&format!("/v1/admin/requests/{id}")).await?;
    assert_eq!(known.status, 200, "{}", known.text);
    let code = (&known.json["code"], &known.json["status"]);
    assert_eq!(code, (&json!("guest_trapped"), &json!(502)));
    let call = &known.json["call"];
    assert_eq!(call["tenant"], "default");
    assert!(call["allowed_ms"].as_u64() > Some(50_000), "{call}");
    let guest = &call["guests"][0];
    assert_eq!((&guest["component"], &guest["operation"]), (&json!("hooks"), &json!("on-store")));
    assert!(guest["fuel_used"].as_u64() > Some(0), "{guest}");
    let place = guest["stack"][0].as_str().context("a place")?;
    assert!(place.contains("lib.rs:"), "{guest}");
    let said = std::fs::read_to_string(&log)?;
    let line = said.lines().find(|line| line.contains(place)).context("a line with the stack")?;
    assert!(line.contains(id) && line.contains("ERROR"), "{line}");
    assert!(!known.text.contains("confidential") && !said.contains("confidential"), "{said}");
    server.get("/v1/admin/requests/unknown").await?.assert_error(404, "not_found");
    Ok(())
}

/// A proof replays what was asked: its lines are marked, kept apart and counted nowhere.
#[tokio::test]
async fn what_an_extension_says_in_a_replay_is_not_mixed_with_what_it_said() -> Result<()> {
    let server = serve().await?;
    server.store(json!({ "text": "say something" })).await?;
    let counted = async || {
        let metrics = server.get("/metrics").await?.text;
        let of_on_store = "kenning_guest_seconds_count{operation=\"on-store\"";
        let line = metrics.lines().find(|line| line.starts_with(of_on_store));
        Ok::<_, anyhow::Error>(line.context("calls of on-store are counted")?.to_string())
    };
    let before = counted().await?;
    let path = "/v1/admin/tenants/default/extensions/hooks";
    let other = noted(&hooks()?, "other");
    let proved = server.install("default", "hooks", other, "?max_time_percent=100000").await?;
    assert!(proved.json["proof"]["requests"].as_u64() > Some(0), "{}", proved.text);
    let lines = server.get(&format!("{path}/logs")).await?.json["lines"].clone();
    assert_eq!(lines.as_array().map(Vec::len), Some(1), "{lines}");
    let all = server.get(&format!("{path}/logs?replays=true")).await?.json["lines"].clone();
    let marked = all.as_array().into_iter().flatten().filter(|line| line["replay"] == true);
    assert_eq!(marked.count(), 2, "of the live generation and of the candidate: {all}");
    assert_eq!(counted().await?, before);
    Ok(())
}
