//! What an extension is granted, where it runs and how it fails: across generations, removals and
//! changes.

use anyhow::Result;
use kenning_tests::{Server, component, noted, until};
use serde_json::{Value, json};

use super::{hooks, installed, serve};

const PATH: &str = "/v1/admin/tenants/default/extensions/x";

fn dedupe() -> Result<Vec<u8>> {
    Ok(std::fs::read(component("dedupe")?)?)
}

/// The extension as it is listed.
async fn listed(server: &Server) -> Result<Value> {
    let answer = server.get("/v1/admin/tenants/default/extensions").await?;
    Ok(answer.json["extensions"][0].clone())
}

#[tokio::test]
async fn a_rollback_gives_no_grant_back_unless_the_generation_is_named() -> Result<()> {
    let server = Server::start().await?;
    let grants = "?grant=index,storage&order=4&on_failure=leave-out";
    assert_eq!(server.install("default", "x", dedupe()?, grants).await?.status, 200);
    let closed = server.install("default", "x", hooks()?, "?order=9&on_failure=close").await?;
    assert_eq!(closed.status, 200, "{}", closed.text);
    let answer = server.post(&format!("{PATH}/rollback"), json!({})).await?;
    answer.assert_error(409, "conflict");
    assert_eq!(answer.json["details"]["grants"], json!(["index", "storage"]), "{}", answer.text);
    assert_eq!(listed(&server).await?["active"], 2);

    let answer = server.post(&format!("{PATH}/rollback?generation=1"), json!({})).await?;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let said = &answer.json;
    assert_eq!((&said["from"], &said["to"]), (&json!(2), &json!(1)), "{said}");
    assert_eq!(said["grants"], json!(["index", "storage"]), "{said}");
    assert_eq!(said["settings"], json!({ "order": 4, "on_failure": "leave-out" }), "{said}");
    let one = listed(&server).await?;
    assert_eq!((&one["order"], &one["hooks"]["on-store"]), (&json!(4), &json!("leave-out")));
    Ok(())
}

#[tokio::test]
async fn a_removal_clears_order_policy_and_grants() -> Result<()> {
    let server = Server::start().await?;
    installed(&server, "default", "x", "?order=4&on_failure=leave-out").await?;
    assert_eq!(server.delete(PATH).await?.status, 200);
    installed(&server, "default", "x", "").await?;
    let one = listed(&server).await?;
    assert_eq!((&one["order"], &one["hooks"]["on-store"]), (&json!(0), &json!("close")), "{one}");
    Ok(())
}

#[tokio::test]
async fn bytes_that_are_live_already_make_no_generation() -> Result<()> {
    let server = serve().await?;
    let one = installed(&server, "default", "x", "").await?;
    let again = installed(&server, "default", "x", "").await?.json;
    let said = (&again["promoted"], &again["unchanged"], &again["generation"], &again["digest"]);
    assert_eq!(said, (&json!(false), &json!(true), &json!(1), &one.json["digest"]), "{again}");
    let changed = installed(&server, "default", "x", "?order=3").await?.json;
    assert_eq!((&changed["unchanged"], &changed["generation"]), (&json!(true), &json!(1)));
    assert!(changed.to_string().contains("order: 0 → 3"), "{changed}");

    let logic = noted(&std::fs::read(component("logic")?)?, "once");
    for promoted in [true, false] {
        let report = server.swap_logic(logic.clone(), "").await?.json;
        let said = (&report["promoted"], &report["generation"]);
        assert_eq!(said, (&json!(promoted), &json!(2)), "{report}");
    }
    let listed = server.get("/v1/admin/logic").await?.json;
    assert_eq!(listed["generations"].as_array().map(Vec::len), Some(1), "{listed}");
    Ok(())
}

#[tokio::test]
async fn settings_change_without_the_component_and_grants_it_needs_stay() -> Result<()> {
    let server = Server::start().await?;
    let answer = server.install("default", "x", dedupe()?, "?grant=index,storage").await?;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let change = json!({ "order": 7, "on_failure": "leave-out" });
    let state = server.patch(PATH, change).await?;
    assert_eq!(state.status, 200, "{}", state.text);
    assert_eq!((&state.json["order"], &state.json["generation"]), (&json!(7), &json!(1)));
    assert_eq!(state.json["grants"], json!(["index", "storage"]));
    let refused = server.patch(PATH, json!({ "grants": ["index"] })).await?;
    refused.assert_error(422, "incompatible_component");
    let default = server.patch(PATH, json!({ "on_failure": null })).await?;
    assert_eq!(default.json["on_failure"], json!(null), "{}", default.text);
    server.patch(PATH, json!({ "ordre": 1 })).await?.assert_error(400, "invalid_request");
    let one = listed(&server).await?;
    assert_eq!((&one["order"], &one["hooks"]["on-store"]), (&json!(7), &json!("close")), "{one}");
    let last = one["events"].as_array().and_then(|events| events.last()).cloned();
    assert_eq!(last.unwrap_or_default()["what"], "settings_changed", "{one}");
    Ok(())
}

#[tokio::test]
async fn a_paused_extension_is_skipped_until_it_is_resumed() -> Result<()> {
    let server = Server::start().await?;
    installed(&server, "default", "x", "").await?;
    for (paused, metadata) in [(true, json!({})), (false, json!({ "marked": true }))] {
        let state = server.patch(PATH, json!({ "paused": paused })).await?;
        assert_eq!(state.json["paused"], paused, "{}", state.text);
        let id = format!("paused-{paused}");
        server.store(json!({ "text": "mark this", "fact_id": id })).await?;
        let fact = server.get(&format!("/v1/facts/{id}")).await?.json;
        assert_eq!(fact["metadata"], metadata, "{fact}");
        assert_eq!(listed(&server).await?["paused"], paused);
    }
    Ok(())
}

/// Nobody watches any more.
#[tokio::test]
async fn an_extension_that_turns_bad_after_its_watch_is_rolled_back() -> Result<()> {
    let server = Server::start_with(kenning_tests::Setup::patient_but("watch_ms = 1")).await?;
    for note in ["good", "bad"] {
        let answer = server.install("default", "x", noted(&hooks()?, note), "").await?;
        assert_eq!(answer.json["promoted"], true, "{}", answer.text);
    }
    server.store(json!({ "text": "harmless", "fact_id": "a" })).await?;
    until("it is rolled back", async || {
        server.post("/v1/facts", json!({ "text": "trap-on-store" })).await?;
        // Another hook still works.
        let read = server.get("/v1/facts/a").await?;
        Ok((read.header("x-kenning-extensions") == "x=1").then_some(()))
    })
    .await?;
    let one = listed(&server).await?;
    let rolled = one["events"].as_array().into_iter().flatten().find(|event| event["to"] == 1);
    let rolled = rolled.cloned().unwrap_or_default();
    assert_eq!(rolled["what"], "rolled_back_by_itself", "{one}");
    server.post(&format!("{PATH}/rollback"), json!({})).await?.assert_error(409, "conflict");
    Ok(())
}
