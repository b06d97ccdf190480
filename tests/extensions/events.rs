//! Hooks around what happens to facts: `on-delete` before a deletion, `on-change` after a change.

use anyhow::{Context, Result};
use http::Method;
use kenning_tests::{Answer, Backend, Caller, Server, Setup, on_both_backends, send, until};
use serde_json::{Value, json};

use super::keeping::{ask, install};

on_both_backends!(
    an_extension_keeps_facts_that_may_not_be_deleted,
    every_change_is_told_in_order_and_what_is_not_taken_is_set_aside,
);

const LETTERS: &str = "/v1/admin/tenants/default/extensions/keeping/dead-letters";

async fn delete(server: &Caller, path: &str) -> Result<Answer> {
    send(server.request(Method::DELETE, path)).await
}

async fn an_extension_keeps_facts_that_may_not_be_deleted(backend: &Backend) -> Result<()> {
    let server = backend.serve().await?;
    install(&server, "default", "?grant=state").await?;
    let held = json!({ "text": "tea", "id": "held", "metadata": { "hold": "a case" } });
    server.store(held).await?;
    for id in ["a", "b"] {
        server.store(json!({ "text": "tea", "id": id, "metadata": { "free": true } })).await?;
    }
    let refused = delete(&server, "/v1/facts/held").await?;
    refused.assert_error(422, "rejected");
    assert_eq!(refused.json["message"], "held is held: a case");
    let details = &refused.json["details"];
    assert_eq!(details["extension"], "keeping");
    assert_eq!(
        (&details["reason"], &details["pointer"]),
        (&json!("legal-hold"), &json!("/metadata/hold"))
    );
    assert_eq!(server.get("/v1/facts/held").await?.status, 200);
    delete(&server, "/v1/facts/none").await?.assert_error(404, "not_found");
    assert_eq!(delete(&server, "/v1/facts/a").await?.status, 200);
    let of_free = delete(&server, "/v1/facts?filter=%7B%22free%22%3A%7B%22eq%22%3Atrue%7D%7D");
    assert_eq!(of_free.await?.status, 200);
    let all = "/v1/facts?filter=%7B%22$timestamp%22%3A%7B%22exists%22%3Atrue%7D%7D";
    let of_all = delete(&server, all).await?;
    of_all.assert_error(422, "rejected");
    assert_eq!(server.get("/v1/count").await?.json["count"], 1, "the one that is held");
    Ok(())
}

/// What the extension was told, in its order.
pub(crate) async fn told(server: &Caller) -> Result<Vec<Value>> {
    let keys = ask(server, json!({ "do": "list", "key": "told/" })).await?;
    let mut told = Vec::new();
    for key in keys["ok"].as_array().context("keys")? {
        let read = ask(server, json!({ "do": "get", "key": key })).await?;
        let value = read["ok"]["value"].as_str().context("a value")?;
        told.push(serde_json::from_str(value)?);
    }
    Ok(told)
}

pub(crate) async fn until_told(server: &Caller, last: Value) -> Result<Vec<Value>> {
    until(&format!("{last} is told"), async || {
        let told = told(server).await?;
        Ok(told.contains(&last).then_some(told))
    })
    .await
}

async fn letters(server: &Caller) -> Result<Vec<Value>> {
    let answer = server.get(LETTERS).await?;
    assert_eq!(answer.status, 200, "{}", answer.text);
    Ok(answer.json["dead_letters"].as_array().context("letters")?.clone())
}

async fn every_change_is_told_in_order_and_what_is_not_taken_is_set_aside(
    backend: &Backend,
) -> Result<()> {
    let server = backend.serve().await?;
    server.store(json!({ "text": "before", "id": "before" })).await?;
    install(&server, "default", "?grant=state").await?;
    server.store(json!({ "text": "tea", "id": "a" })).await?;
    delete(&server, "/v1/facts/before").await?;
    let first = until_told(&server, json!(["before", "Deleted", null])).await?;
    let expected = [json!(["a", "Stored", "tea"]), json!(["before", "Deleted", null])];
    assert_eq!(first, expected, "from its installation on");

    for (id, text) in [("p", "poison"), ("t", "a trap"), ("z", "after")] {
        server.store(json!({ "text": text, "id": id })).await?;
    }
    until_told(&server, json!(["z", "Stored", "after"])).await?;
    let dead = letters(&server).await?;
    let facts: Vec<_> = dead.iter().map(|letter| &letter["fact_id"]).collect();
    assert_eq!(facts, ["p", "t"], "{dead:?}");
    assert_eq!((&dead[0]["attempts"], &dead[0]["kind"]), (&json!(5), &json!("stored")));
    assert_eq!(dead[0]["error"], "attempt 5: p is poisoned");

    // Where it was is kept over a restart.
    server.kill().await?;
    let server = backend.serve().await?;
    server.store(json!({ "text": "again", "id": "a2" })).await?;
    let again = json!(["a2", "Stored", "again"]);
    let told_so_far = until_told(&server, again.clone()).await?;
    let expected = [&expected[..], &[json!(["z", "Stored", "after"]), again]].concat();
    assert_eq!(told_so_far, expected, "each that it took, in order");
    // Whether the last one before the end was told may not have been noted yet.
    let counted = ask(&server, json!({ "do": "get", "key": "told" })).await?["ok"]["value"].clone();
    assert!(counted == "4" || counted == "5", "{counted}: only the last may be told twice");

    ask(&server, json!({ "do": "set", "key": "antidote" })).await?;
    let replayed = server.post(&format!("{LETTERS}/replay"), json!({})).await?;
    assert_eq!(replayed.json, json!({ "taken": 1, "failed": 1, "more": false }));
    assert!(told(&server).await?.contains(&json!(["p", "Stored", "poison"])));
    let dead = letters(&server).await?;
    assert_eq!((dead.len(), &dead[0]["attempts"]), (1, &json!(6)), "{dead:?}");
    let none = server.post(&format!("{LETTERS}/replay?revision=1"), json!({})).await?;
    none.assert_error(404, "not_found");
    assert_eq!(delete(&server, LETTERS).await?.json, json!({ "dropped": 1 }));
    assert_eq!(letters(&server).await?, Vec::<Value>::new());
    Ok(())
}

#[tokio::test]
async fn letters_of_an_extension_that_is_not_there_are_not_found() -> Result<()> {
    let server = Server::start_with(Setup::patient()).await?;
    server.get(LETTERS).await?.assert_error(404, "not_found");
    install(&server, "default", "?grant=state").await?;
    assert_eq!(letters(&server).await?, Vec::<Value>::new());
    server.get(&format!("{LETTERS}?before=1")).await?.assert_error(400, "invalid_request");
    Ok(())
}
