//! What a misbehaving guest can do to the host and to others: fail its own call.

use anyhow::Result;
use kenning_tests::{Backend, Server, Setup, all_indexed, component, on_both_backends, spelled};
use serde_json::json;

async fn hostile() -> Result<Server> {
    let logic = Some(component("hostile")?);
    Server::start_with(Setup { logic, ..Setup::default() }).await
}

/// What the guest says that came of a command.
async fn note(server: &Server, command: &str) -> Result<String> {
    let answer = server.post("/v1/search", json!({ "query": command })).await?;
    assert_eq!(answer.status, 200, "{command}: {}", answer.text);
    Ok(answer.json["degraded"][0].as_str().unwrap_or_default().to_string())
}

#[tokio::test]
async fn a_guest_that_traps_panics_or_exits_fails_its_own_call_only() -> Result<()> {
    let server = hostile().await?;
    server.store(json!({ "fact_id": "kept", "text": "kept through all of it" })).await?;
    for command in ["trap", "panic", "abort-in-drop", "exit 0", "exit 1", "random 65537"] {
        let answer = server.post("/v1/search", json!({ "query": command })).await?;
        answer.assert_error(502, "guest_trapped");
        assert_eq!(answer.json["blame"], "guest", "{}", answer.text);
        assert_eq!(answer.header("x-kenning-generation"), "1");
        assert_eq!(server.search(json!({ "query": "kept" })).await?, ["kept"], "after {command}");
    }
    Ok(())
}

#[tokio::test]
async fn a_guest_that_fails_after_it_wrote_leaves_the_outcome_unknown() -> Result<()> {
    let server = hostile().await?;
    for (command, code) in [("trap", "guest_trapped"), ("spin", "guest_out_of_fuel")] {
        let answer =
            server.post("/v1/facts", json!({ "fact_id": command, "text": command })).await?;
        answer.assert_error(502, code);
        assert_eq!(answer.json["details"]["outcome"], "unknown", "{}", answer.text);
        assert_eq!(server.get(&format!("/v1/facts/{command}")).await?.status, 200);
    }
    let answer = server.post("/v1/search", json!({ "query": "trap" })).await?;
    let outcome = &answer.json["details"]["outcome"];
    assert_eq!(*outcome, json!(null), "nothing was written: {}", answer.text);
    Ok(())
}

/// It wrote one fact of two, did not index it, and trapped.
async fn half_a_batch_is_whole_facts(backend: &Backend) -> Result<()> {
    let logic = Some(component("hostile")?);
    let server = Server::start_with(Setup { logic, ..backend.setup() }).await?;
    let drafts = json!({ "facts": [
        { "fact_id": "written", "text": "write-one-then-trap", "metadata": { "whole": true } },
        { "fact_id": "unwritten", "text": "never reached" },
    ] });
    let answer = server.post("/v1/facts/batch", drafts).await?;
    answer.assert_error(502, "guest_trapped");
    assert_eq!(answer.json["details"]["outcome"], "unknown", "{}", answer.text);
    let fact = server.get("/v1/facts/written").await?;
    assert_eq!(fact.json["content"], "write-one-then-trap", "{}", fact.text);
    assert_eq!(fact.json["metadata"], json!({ "whole": true }), "{}", fact.text);
    assert_eq!(server.get("/v1/facts/unwritten").await?.status, 404);
    // What the guest left undone, the host does.
    let stats = all_indexed(&server).await?;
    assert_eq!((&stats["facts"], &stats["indexed"]), (&json!(1), &json!(1)), "{stats}");
    let query = json!({ "query": "one trap write", "mode": "text" });
    assert_eq!(server.search(query).await?, ["written"]);
    Ok(())
}

on_both_backends!(half_a_batch_is_whole_facts);

#[tokio::test]
async fn a_guest_finds_no_files_no_network_and_no_environment() -> Result<()> {
    let seen = note(&hostile().await?, "look-around").await?;
    let nothing = "files false, writes false, connects Some(PermissionDenied), names false, \
                   variables 0, arguments 0";
    assert_eq!(seen, nothing);
    Ok(())
}

#[tokio::test]
async fn a_guest_cannot_index_or_remove_what_it_did_not_write() -> Result<()> {
    let server = hostile().await?;
    for command in ["upsert-unwritten", "remove-unwritten"] {
        let answered = note(&server, command).await?;
        assert!(answered.contains("Error::Invalid") && answered.contains("/id"), "{answered}");
    }
    Ok(())
}

#[tokio::test]
async fn a_vector_of_another_profile_or_of_another_size_is_refused() -> Result<()> {
    let server = hostile().await?;
    let answered = note(&server, "nearest-of-other-profile").await?;
    assert!(answered.contains("Error::ProfileMismatch"), "{answered}");
    assert!(answered.contains("other/384/1") && answered.contains("hash/384/1"), "{answered}");
    let answered = note(&server, "nearest-too-short").await?;
    assert!(answered.contains("Error::Invalid") && answered.contains("/values"), "{answered}");
    Ok(())
}

#[tokio::test]
async fn a_filter_that_nests_without_end_is_refused() -> Result<()> {
    let answered = note(&hostile().await?, "filter 1000000").await?;
    assert!(answered.contains("Error::InvalidFilter"), "{answered}");
    Ok(())
}

#[tokio::test]
async fn one_tenants_hostile_calls_do_not_fail_anothers() -> Result<()> {
    let server = hostile().await?;
    let (hostile, honest) = (server.tenant("hostile"), server.tenant("honest"));
    let mut commands = tokio::task::JoinSet::new();
    for command in ["spin", "grow", "recurse", "ask-budget", "page", "answer-bytes 20000000"] {
        let hostile = hostile.clone();
        commands
            .spawn(async move { hostile.post("/v1/search", json!({ "query": command })).await });
    }
    for number in 0..20 {
        let word = spelled("word", number);
        honest.store(json!({ "fact_id": word, "text": word })).await?;
        assert_eq!(honest.search(json!({ "query": word })).await?, [word]);
    }
    while let Some(answer) = commands.join_next().await {
        assert_eq!(answer??.status, 502);
    }
    assert_eq!(hostile.get("/v1/facts").await?.json["facts"], json!([]));
    Ok(())
}
