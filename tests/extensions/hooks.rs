//! What each hook does.

use anyhow::Result;
use kenning_tests::{all_indexed, until};
use serde_json::{Value, json};

use super::{installed, serve};

#[tokio::test]
async fn on_store_changes_a_draft_however_it_comes() -> Result<()> {
    let server = serve().await?;
    let marked = json!({ "marked": true });
    server.store(json!({ "text": "mark one", "fact_id": "one" })).await?;
    let batch = json!({ "facts": [{ "text": "mark two", "fact_id": "two" }] });
    server.post("/v1/facts/batch", batch).await?;
    server.post_raw("/v1/import", "{\"text\":\"mark three\",\"fact_id\":\"three\"}\n").await?;
    server.store(json!({ "text": "plain", "fact_id": "four" })).await?;
    server.patch("/v1/facts/four", json!({ "text": "mark four" })).await?;
    for id in ["one", "two", "three", "four"] {
        let fact = server.get(&format!("/v1/facts/{id}")).await?;
        assert_eq!(fact.json["metadata"], marked, "{}", fact.text);
    }
    let query = json!({ "query": "mark", "mode": "text", "filter": { "marked": true } });
    assert_eq!(server.search(query).await?.len(), 4, "the index has what the hook gave");
    Ok(())
}

#[tokio::test]
async fn on_store_splits_a_draft_and_the_answer_names_all_its_facts() -> Result<()> {
    let server = serve().await?;
    let fact = json!({ "text": "split first\nsecond\nthird", "fact_id": "whole" });
    let answer = server.post("/v1/facts", fact).await?;
    assert_eq!(answer.status, 201, "{}", answer.text);
    assert_eq!(answer.json["fact_ids"], json!(["whole-0", "whole-1", "whole-2"]));
    assert_eq!(answer.json["fact_id"], "whole-0");
    assert_eq!(server.search(json!({ "query": "second", "mode": "text" })).await?, ["whole-1"]);
    let change = server.patch("/v1/facts/whole-0", json!({ "text": "split a\nb" })).await?;
    change.assert_invalid("/text");
    Ok(())
}

#[tokio::test]
async fn what_an_extension_refuses_is_rejected_with_its_words() -> Result<()> {
    let server = serve().await?;
    let refused = [
        server.post("/v1/facts", json!({ "text": "please refuse this" })).await?,
        server.post("/v1/search", json!({ "query": "refuse" })).await?,
    ];
    for answer in &refused {
        answer.assert_error(422, "rejected");
        assert_eq!(answer.json["message"], "this extension rejects it");
        assert_eq!(answer.json["details"]["extension"], "hooks");
        assert_eq!(answer.json["retryable"], false);
    }
    let batch = json!({ "facts": [{ "text": "refuse" }, { "text": "kept", "fact_id": "kept" }] });
    let results = server.post("/v1/facts/batch", batch).await?.json["results"].clone();
    assert_eq!((&results[0]["code"], &results[1]["fact_id"]), (&json!("rejected"), &json!("kept")));
    assert_eq!(server.export().await?.lines().count(), 1);
    Ok(())
}

#[tokio::test]
async fn on_query_rewrites_a_query() -> Result<()> {
    let server = serve().await?;
    server.store(json!({ "text": "renamed thing", "fact_id": "a" })).await?;
    assert_eq!(server.search(json!({ "query": "alias", "mode": "text" })).await?, ["a"]);
    Ok(())
}

#[tokio::test]
async fn on_read_hides_what_it_hides_on_every_way_out() -> Result<()> {
    let server = serve().await?;
    server.store(json!({ "text": "the secret is out", "fact_id": "hidden" })).await?;
    server.store(json!({ "text": "withheld entirely", "fact_id": "withheld" })).await?;
    all_indexed(&server).await?;
    assert_eq!(server.get("/v1/facts/hidden").await?.json["content"], "the [hidden] is out");
    server.get("/v1/facts/withheld").await?.assert_error(404, "not_found");
    let ways = [
        server.get("/v1/facts").await?.text,
        server.get("/v1/facts?query=out").await?.text,
        server.get("/v1/facts?query=withheld").await?.text,
        server.export().await?,
        server.post("/v1/search", json!({ "query": "secret out", "mode": "text" })).await?.text,
        server.post("/v1/search", json!({ "query": "withheld entirely" })).await?.text,
    ];
    for out in &ways {
        assert!(!out.contains("secret") && !out.contains("entirely"), "{out}");
    }
    assert!(ways[0].contains("[hidden]") && ways[3].contains("[hidden]"));
    Ok(())
}

#[tokio::test]
async fn rerank_orders_hits_and_cannot_invent_any() -> Result<()> {
    let server = serve().await?;
    for (id, text) in [
        ("a", "tea tea tea"),
        ("b", "tea and much else"),
        ("c", "tea with a great many other things besides"),
    ] {
        server.store(json!({ "text": text, "fact_id": id })).await?;
    }
    let order = async |query: &str| server.search(json!({ "query": query, "mode": "text" })).await;
    let mut straight = order("tea").await?;
    assert_eq!(straight.len(), 3);
    let reversed = order("tea reverse").await?;
    straight.reverse();
    assert_eq!(reversed, straight);
    assert_eq!(order("tea invent").await?.len(), 3);
    Ok(())
}

#[tokio::test]
async fn extensions_run_in_the_operators_order() -> Result<()> {
    let server = serve().await?;
    server.store(json!({ "text": "plain" })).await?;
    // A second one before it; both split lines, and only one finds the word in a line.
    installed(&server, "default", "earlier", "?order=-1").await?;
    let answer = server.get("/v1/facts").await?;
    assert_eq!(answer.header("x-kenning-extensions"), "earlier=1,hooks=1");
    installed(&server, "default", "earlier", "?order=5").await?;
    let answer = server.get("/v1/facts").await?;
    assert_eq!(answer.header("x-kenning-extensions"), "hooks=1,earlier=1");
    let listed = server.get("/v1/admin/tenants/default/extensions").await?;
    let names: Vec<&Value> = listed.json["extensions"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|one| &one["name"])
        .collect();
    assert_eq!(names, ["hooks", "earlier"]);
    Ok(())
}

#[tokio::test]
async fn what_an_extension_says_is_in_its_log() -> Result<()> {
    let server = serve().await?;
    server.store(json!({ "text": "say it" })).await?;
    server.search(json!({ "query": "say", "filter": { "no": "fact" } })).await?;
    let path = "/v1/admin/tenants/default/extensions/hooks/logs";
    let lines = until("both lines are there", async || {
        let lines = server.get(path).await?.json["lines"].clone();
        Ok((lines.as_array().map(Vec::len) == Some(2)).then_some(lines))
    })
    .await?;
    let said = |n: usize| (&lines[n]["message"], &lines[n]["level"], &lines[n]["generation"]);
    assert_eq!(said(0), (&json!("said in on-store"), &json!("info"), &json!(1)));
    assert_eq!(said(1).0, "said in on-query");
    let after = server.get(&format!("{path}?after={}", lines[0]["number"])).await?;
    assert_eq!(after.json["lines"].as_array().map(Vec::len), Some(1));
    Ok(())
}

#[tokio::test]
async fn one_tenants_extension_is_nothing_to_another() -> Result<()> {
    let server = serve().await?;
    let other = server.tenant("other");
    other.store(json!({ "text": "mark the secret", "fact_id": "a" })).await?;
    let fact = other.get("/v1/facts/a").await?;
    assert_eq!(fact.json["content"], "mark the secret");
    assert_eq!(fact.json["metadata"], json!({}));
    assert_eq!(fact.header("x-kenning-extensions"), "");
    let listed = server.get("/v1/admin/tenants/other/extensions").await?;
    assert_eq!(listed.json["extensions"], json!([]));
    let logs = server.get("/v1/admin/tenants/other/extensions/hooks/logs").await?;
    logs.assert_error(404, "not_found");
    Ok(())
}
