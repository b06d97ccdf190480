//! A record that cannot be read costs only itself.

use anyhow::Result;
use kenning_tests::{Caller, RedisServer, Server, Setup, until};
use serde_json::{Value, json};

async fn ready(server: &Server) -> Result<()> {
    until("the server is ready", async || {
        Ok((server.get("/readyz").await?.status == 200).then_some(()))
    })
    .await
}

/// The ids of all facts, sorted.
pub(super) async fn listed(caller: &Caller) -> Result<Vec<String>> {
    let exported = caller.export().await?;
    let mut ids = Vec::new();
    for line in exported.lines() {
        let fact: Value = serde_json::from_str(line)?;
        ids.push(fact["id"].as_str().unwrap_or_default().to_string());
    }
    ids.sort();
    Ok(ids)
}

async fn by_words(server: &Server, words: &str) -> Result<Vec<String>> {
    let query = json!({ "query": words, "mode": "text", "top_k": 100 });
    let mut found = server.search(query).await?;
    found.sort();
    Ok(found)
}

#[tokio::test]
async fn a_hash_without_the_known_fields_in_the_flat_layout_costs_only_itself() -> Result<()> {
    let redis = RedisServer::start();
    for id in ["ok0", "ok1", "ok2"] {
        let key = format!("fact:{id}");
        let fields = ["content", "a fact about rivers", "metadata", "{}", "timestamp", "bad"];
        redis.command(&[&["HSET", &key], &fields[..]].concat());
    }
    redis.command(&["HSET", "fact:stats", "hits", "3"]);
    redis.command(&["SET", "fact:text", "not a hash"]);
    let setup = Setup { storage: Some(redis.url()), layout: Some("flat"), ..Setup::patient() };
    let server = Server::start_with(setup).await?;
    ready(&server).await?;
    until("all are found", async || {
        Ok((by_words(&server, "rivers").await? == ["ok0", "ok1", "ok2"]).then_some(()))
    })
    .await?;
    let stats = server.get("/v1/stats").await?.json;
    assert_eq!((&stats["facts"], &stats["unreadable"]), (&json!(3), &json!(1)));
    for id in ["stats", "text"] {
        let path = format!("/v1/facts/{id}");
        server.get(&path).await?.assert_error(404, "not_found");
        server.patch(&path, json!({ "text": "x" })).await?.assert_error(404, "not_found");
        let fact = json!({ "text": "x", "fact_id": id });
        let taken = server.post("/v1/facts", fact).await?;
        taken.assert_error(409, "conflict");
        assert!(taken.text.contains("a record that is no fact"), "{}", taken.text);
    }
    let fact = json!({ "text": "x", "fact_id": "ok0" });
    let taken = server.post("/v1/facts", fact).await?;
    assert!(taken.text.contains("exists with other content"), "{}", taken.text);
    assert_eq!(redis.command(&["HLEN", "fact:stats"]), ":1\r\n");
    assert_eq!(redis.command(&["GET", "fact:text"]), "$10\r\nnot a hash\r\n");
    Ok(())
}

/// Every way in which one record of the tenant layout can be spoiled, in one tenant.
#[tokio::test]
async fn spoiled_records_of_the_tenant_layout_are_left_out_and_counted() -> Result<()> {
    let redis = RedisServer::start();
    let setup = || Setup { storage: Some(redis.url()), ..Setup::patient() };
    let server = Server::start_with(setup()).await?;
    let ids = ["fields", "json", "deep", "time", "type", "vector", "vectors-type", "well"];
    for id in ids {
        server.store(json!({ "text": format!("{id} about rivers"), "fact_id": id })).await?;
    }
    kenning_tests::all_indexed(&server).await?;
    server.stop().await?;
    let fact = |id: &str| format!("kenning:{{default}}:fact:{id}");
    let vector = |id: &str| format!("kenning:{{default}}:vector:{id}");
    redis.command(&["HDEL", &fact("fields"), "content", "metadata", "timestamp", "id"]);
    redis.command(&["HSET", &fact("fields"), "hits", "3"]);
    redis.command(&["HSET", &fact("json"), "metadata", "{\"a\": 1e999}"]);
    redis.command(&["HSET", &fact("deep"), "metadata", &"[".repeat(100_000)]);
    redis.command(&["HSET", &fact("time"), "timestamp", "yesterday"]);
    redis.command(&["SET", &fact("type"), "a text"]);
    redis.command(&["HSET", &vector("vector"), "values", "abc"]);
    redis.command(&["SET", &vector("vectors-type"), "a text"]);
    redis.command(&["SADD", "kenning:tenants", "not a tenant: at all"]);

    let server = Server::start_with(setup()).await?;
    ready(&server).await?;
    let readable = ["deep", "json", "time", "vector", "vectors-type", "well"];
    assert_eq!(by_words(&server, "rivers").await?, readable);
    assert_eq!(listed(&server).await?, readable);
    until("broken vectors are made again", async || {
        let stats = server.get("/v1/stats").await?.json;
        Ok((stats["indexed"] == 6 && stats["pending"] == 0).then_some(()))
    })
    .await?;
    let stats = server.get("/v1/stats").await?.json;
    assert_eq!((&stats["facts"], &stats["unreadable"]), (&json!(6), &json!(2)));
    for id in ["fields", "type"] {
        server.get(&format!("/v1/facts/{id}")).await?.assert_error(404, "not_found");
    }
    assert_eq!(redis.command(&["GET", &fact("type")]), "$6\r\na text\r\n");
    server.store(json!({ "text": "another about rivers", "fact_id": "another" })).await?;
    assert_eq!(by_words(&server, "another").await?, ["another"]);
    Ok(())
}
