//! Extensions that refuse everything, or fail at some of what they are given.

use std::collections::BTreeSet;

use anyhow::Result;
use kenning_tests::{Server, Setup, component, noted, send};
use reqwest::Method;
use serde_json::{Value, json};

use super::{hooks, installed, serve_with};

/// So little that a loop soon has it all, and enough for whatever ends.
const LITTLE_FUEL: &str = "extension_fuel_base = 50000000\nfuel_per_unit = 1000";

/// So much that only time ends a loop.
const MUCH_FUEL: &str =
    "extension_fuel_base = 1000000000000000\nfuel_max = 1000000000000000\nfuel_per_unit = 1000";

fn refuser() -> Result<Vec<u8>> {
    Ok(std::fs::read(component("refuser")?)?)
}

#[tokio::test]
async fn one_that_refuses_everything_is_obeyed_and_never_counts_as_failing() -> Result<()> {
    let server = Server::start().await?;
    server.store(json!({ "text": "tea", "fact_id": "before" })).await?;
    let answer = server.install("default", "refuser", refuser()?, "").await?;
    assert_eq!(answer.status, 200, "a new one is there to refuse: {}", answer.text);
    for _ in 0..20 {
        let stored = server.post("/v1/facts", json!({ "text": "tea" })).await?;
        let searched = server.post("/v1/search", json!({ "query": "tea" })).await?;
        for (answer, input) in [(stored, "draft"), (searched, "query")] {
            answer.assert_error(422, "rejected");
            assert_eq!(answer.json["message"], format!("this extension rejects every {input}"));
        }
    }
    let lines = "{\"text\":\"one\"}\n{\"text\":\"two\"}\n";
    let imported = server.post_raw("/v1/import", lines).await?;
    let refused = imported.text.matches("this extension rejects every draft").count();
    assert_eq!((imported.status, refused), (422, 2), "{}", imported.text);
    // It reads nothing, so what was stored before is there; nor is it in another's way.
    assert_eq!(server.get("/v1/facts/before").await?.status, 200);
    server.tenant("other").store(json!({ "text": "tea" })).await?;
    let path = "/v1/admin/tenants/default/extensions";
    let listed = server.get(path).await?;
    let live = &listed.json["extensions"][0]["live"];
    assert_eq!((&live["failures"], &live["quarantined_for_ms"]), (&json!(0), &Value::Null));
    assert_eq!(server.delete(&format!("{path}/refuser")).await?.status, 200);
    server.store(json!({ "text": "tea again" })).await?;
    Ok(())
}

#[tokio::test]
async fn a_new_version_that_refuses_what_its_live_one_takes_is_not_promoted() -> Result<()> {
    let server = serve_with(Setup::patient(), "").await?;
    server.store(json!({ "text": "tea", "fact_id": "a" })).await?;
    let answer = server.install("default", "hooks", refuser()?, "").await?;
    answer.assert_error(422, "incompatible_component");
    assert!(answer.text.contains("this extension rejects every draft"), "{}", answer.text);
    server.store(json!({ "text": "tea", "fact_id": "b" })).await?;
    let rest = noted(&hooks()?, "a better one");
    let answer = server.install("default", "hooks", rest, "?max_time_percent=1000000").await?;
    assert_eq!((answer.status, &answer.json["generation"]), (200, &json!(2)), "{}", answer.text);
    Ok(())
}

#[tokio::test]
async fn one_that_loops_on_some_inputs_serves_their_neighbours() -> Result<()> {
    // More often than it takes to be quarantined, but never in a row.
    loops_between_neighbours(LITTLE_FUEL, None, 8, (502, "guest_out_of_fuel")).await?;
    // Its deadline leaves a busy machine the time to begin the call.
    loops_between_neighbours(MUCH_FUEL, Some(2_000), 6, (504, "timeout")).await
}

/// Stores a text on which the extension loops, `times` times, and one that it marks after each.
async fn loops_between_neighbours(
    fuel: &str,
    timeout_ms: Option<u32>,
    times: usize,
    (status, code): (u16, &str),
) -> Result<()> {
    let server = serve_with(Setup::patient_but(fuel), "").await?;
    for number in 0..times {
        let mut request = server.request(Method::POST, "/v1/facts");
        if let Some(timeout) = timeout_ms {
            request = request.header("x-kenning-timeout-ms", timeout);
        }
        let ended = send(request.json(&json!({ "text": "spin-on-store" }))).await?;
        ended.assert_error(status, code);
        assert_eq!(ended.json["blame"], "guest", "{}", ended.text);
        server.store(json!({ "text": "mark", "fact_id": format!("{number}") })).await?;
    }
    let listed = server.get("/v1/admin/tenants/default/extensions").await?;
    let live = &listed.json["extensions"][0]["live"];
    assert_eq!((&live["failures"], &live["quarantined_for_ms"]), (&json!(times), &Value::Null));
    assert_eq!(server.export().await?.matches("\"marked\":true").count(), times);
    Ok(())
}

#[tokio::test]
async fn one_that_loops_on_some_drafts_of_a_batch_takes_the_others() -> Result<()> {
    let server = serve_with(Setup::patient_but(LITTLE_FUEL), "").await?;
    let draft = |number: usize| {
        let text = if number % 3 == 1 { "spin-on-store" } else { "mark" };
        json!({ "text": text, "fact_id": number.to_string() })
    };
    let drafts: Vec<Value> = (0..9).map(draft).collect();
    let answer = server.post("/v1/facts/batch", json!({ "facts": drafts })).await?;
    let results = answer.json["results"].as_array().cloned().unwrap_or_default();
    let failed = results.iter().enumerate().filter(|(_, one)| one["code"] == "guest_out_of_fuel");
    let failed: BTreeSet<usize> = failed.map(|(number, _)| number).collect();
    assert_eq!(failed, BTreeSet::from([1, 4, 7]), "{}", answer.text);
    assert_eq!(results.iter().filter(|one| one["status"] == "success").count(), 6);
    let lines: String = drafts.iter().map(|draft| format!("{draft}\n")).collect();
    installed(&server, "importing", "hooks", "").await?;
    let importing = server.tenant("importing");
    let said = importing.post_raw("/v1/import", lines).await?;
    assert_eq!(said.text.matches("guest_out_of_fuel").count(), 3, "{}", said.text);
    assert_eq!(importing.export().await?.lines().count(), 6);
    Ok(())
}
