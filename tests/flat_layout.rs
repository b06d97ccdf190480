//! `--layout flat`: one database, shared with the Python service whose layout it is.

use anyhow::{Context, Result, ensure};
use kenning_tests::{Caller, RedisServer, Server, Setup, all_indexed, until};
use serde_json::{Value, json};
use tokio::process::Command;

fn setup(redis: &RedisServer) -> Setup {
    Setup { storage: Some(redis.url()), layout: Some("flat"), ..Setup::patient() }
}

/// A fact as the Python service writes it: `json.dumps`, and a local time without
/// an offset.
fn store_as_python(redis: &RedisServer, id: &str, content: &str, timestamp: &str) {
    let metadata = "{\"source\": \"python\", \"n\": 1, \"name\": \"Z\\u00fcrich\"}";
    let key = format!("fact:{id}");
    let fields = ["content", content, "metadata", metadata, "timestamp", timestamp, "id", id];
    let added = redis.command(&[&["HSET", &key], &fields[..]].concat());
    assert_eq!(added, ":4\r\n");
}

/// Waits until exactly `ids` are listed, in this order.
async fn listed(caller: &Caller, ids: &[&str]) -> Result<()> {
    until(&format!("the listing is {ids:?}"), async || {
        let list = caller.get("/v1/facts").await?.json;
        let facts = list["facts"].as_array().map(Vec::as_slice).unwrap_or_default();
        Ok((facts.iter().map(|fact| &fact["id"]).eq(ids)).then_some(()))
    })
    .await
}

/// Both halves of the search find `id` by its own words.
async fn found(caller: &Caller, id: &str, content: &str) -> Result<()> {
    all_indexed(caller).await?;
    for mode in ["text", "vector"] {
        let query = json!({ "query": content, "mode": mode, "top_k": 1 });
        assert_eq!(caller.search(query).await?, [id], "{mode}");
    }
    Ok(())
}

#[tokio::test]
async fn facts_that_were_there_before_the_server_are_served() -> Result<()> {
    let redis = RedisServer::start();
    let id = "7f6c1f0e-5a0b-4c38-9a55-0d6e7a3f2b11";
    store_as_python(&redis, id, "Redis is a database", "2025-10-10T12:30:00.123456");
    store_as_python(&redis, "older", "AutoBot uses tea", "2025-10-09T12:30:00");
    let server = Server::start_with(setup(&redis)).await?;
    let fact = server.get(&format!("/v1/facts/{id}")).await?;
    let expected = json!({
        "id": id,
        "content": "Redis is a database",
        "metadata": { "source": "python", "n": 1, "name": "Zürich" },
        "timestamp": "2025-10-10T12:30:00.123456",
    });
    assert_eq!(fact.json, expected);
    listed(&server, &[id, "older"]).await?;
    found(&server, id, "Redis is a database").await?;
    found(&server, "older", "AutoBot uses tea").await?;
    let filtered = json!({ "query": "tea", "filter": { "name": "Zürich" }, "mode": "text" });
    assert_eq!(server.search(filtered).await?, ["older"]);
    assert_eq!(server.export().await?.lines().count(), 2);
    until("the server is ready", async || {
        Ok((server.get("/readyz").await?.status == 200).then_some(()))
    })
    .await
}

#[tokio::test]
async fn facts_that_come_and_go_while_the_server_runs_are_followed() -> Result<()> {
    let redis = RedisServer::start();
    let server = Server::start_with(setup(&redis)).await?;
    server.store(json!({ "text": "ours", "fact_id": "ours" })).await?;
    store_as_python(&redis, "theirs", "python wrote this", "2025-10-10T12:30:00.5");
    let fact = server.get("/v1/facts/theirs").await?;
    assert_eq!(fact.json["content"], "python wrote this", "by its id at once");
    listed(&server, &["ours", "theirs"]).await?;
    found(&server, "theirs", "python wrote this").await?;

    assert_eq!(redis.command(&["DEL", "fact:theirs"]), ":1\r\n");
    server.get("/v1/facts/theirs").await?.assert_error(404, "not_found");
    listed(&server, &["ours"]).await?;
    let query = json!({ "query": "python wrote this", "mode": "text" });
    assert_eq!(server.search(query).await?, Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn facts_that_are_changed_in_place_are_found_by_what_they_say_now() -> Result<()> {
    let redis = RedisServer::start();
    store_as_python(&redis, "theirs", "python wrote about rivers", "2025-10-10T12:30:00.5");
    store_as_python(&redis, "other", "unrelated words", "2025-10-10T12:30:00.6");
    let server = Server::start_with(setup(&redis)).await?;
    found(&server, "theirs", "python wrote about rivers").await?;
    let stats = server.get("/v1/stats").await?.json;
    assert!(stats["foreign_changes_seen_within_ms"].as_u64().is_some(), "{stats}");

    let edited = ["HSET", "fact:theirs", "content", "now of mountains", "metadata", "{\"n\": 2}"];
    assert_eq!(redis.command(&edited), ":0\r\n");
    until("the new words are found", async || {
        let query = json!({ "query": "mountains", "mode": "text", "filter": { "n": 2 } });
        Ok((server.search(query).await? == ["theirs"]).then_some(()))
    })
    .await?;
    let query = json!({ "query": "rivers", "mode": "text" });
    assert_eq!(server.search(query).await?, Vec::<String>::new());
    found(&server, "theirs", "now of mountains").await
}

#[tokio::test]
async fn side_keys_are_no_facts() -> Result<()> {
    let redis = RedisServer::start();
    store_as_python(&redis, "real", "a real fact", "2025-10-10T12:30:00");
    redis.command(&["SADD", "fact:origin:session:x", "real"]);
    redis.command(&["HSET", "fact:origin:user:y", "content", "a side hash", "id", "y"]);
    redis.command(&["HSET", "fact:versions:real", "content", "a side hash"]);
    redis.command(&["SET", "fact:text", "not a hash"]);
    redis.command(&["RPUSH", "fact:list", "not a hash"]);
    redis.command(&["HSET", "other:real", "content", "a side hash"]);
    let server = Server::start_with(setup(&redis)).await?;
    until("the server is ready", async || {
        Ok((server.get("/readyz").await?.status == 200).then_some(()))
    })
    .await?;
    listed(&server, &["real"]).await?;
    found(&server, "real", "a real fact").await?;
    let query = json!({ "query": "side hash", "mode": "text" });
    assert_eq!(server.search(query).await?, Vec::<String>::new());
    for id in ["text", "list"] {
        let answer = server.get(&format!("/v1/facts/{id}")).await?;
        assert!(answer.status >= 400, "{id} is no fact: {}", answer.text);
        let stored = server.post("/v1/facts", json!({ "text": "x", "fact_id": id })).await?;
        assert!(stored.status >= 400, "{id} is not overwritten: {}", stored.text);
    }
    assert_eq!(redis.command(&["TYPE", "fact:origin:session:x"]), "+set\r\n");
    assert_eq!(redis.command(&["GET", "fact:text"]), "$10\r\nnot a hash\r\n");
    Ok(())
}

#[tokio::test]
async fn a_fact_of_ours_is_read_by_python() -> Result<()> {
    let redis = RedisServer::start();
    let server = Server::start_with(setup(&redis)).await?;
    let metadata = json!({ "name": "Zürich", "list": [1, null, { "deep": true }], "f": 0.1 });
    let text = "quotes \" and 🦀";
    server.store(json!({ "text": text, "metadata": metadata, "fact_id": "ours" })).await?;
    assert_eq!(redis.command(&["HLEN", "fact:ours"]), ":4\r\n", "these fields and no others");
    let field = |name| value(&redis.command(&["HGET", "fact:ours", name]));
    let script = "import sys, json, datetime\n\
                  content, metadata, timestamp, id = sys.argv[1:]\n\
                  parsed = datetime.datetime.fromisoformat(timestamp)\n\
                  fact = [content, json.loads(metadata), id, parsed.utcoffset() is not None]\n\
                  print(json.dumps(fact))";
    let fields = [field("content")?, field("metadata")?, field("timestamp")?, field("id")?];
    let python = Command::new("python3").arg("-c").arg(script).args(fields).output().await;
    let python = python.context("these tests need python3")?;
    let error = String::from_utf8_lossy(&python.stderr);
    ensure!(python.status.success(), "python3: {error}");
    let read: Value = serde_json::from_slice(&python.stdout)?;
    assert_eq!(read, json!([text, metadata, "ours", true]));
    Ok(())
}

/// The text of a bulk string in the Redis protocol.
fn value(answer: &str) -> Result<String> {
    let (length, rest) = answer.split_once("\r\n").context("a bulk string")?;
    let length: usize = length.trim_start_matches('$').parse()?;
    Ok(rest[..length].to_string())
}

#[tokio::test]
async fn a_foreign_fact_is_changed_and_deleted_like_any_other() -> Result<()> {
    let redis = RedisServer::start();
    store_as_python(&redis, "a", "python wrote this", "2025-10-10T12:30:00");
    store_as_python(&redis, "b", "and this", "2025-10-10T12:30:01");
    let server = Server::start_with(setup(&redis)).await?;
    listed(&server, &["b", "a"]).await?;
    let changed = server.patch("/v1/facts/a", json!({ "text": "kenning wrote that" })).await?;
    assert_eq!(changed.status, 200, "{}", changed.text);
    assert_eq!(value(&redis.command(&["HGET", "fact:a", "content"]))?, "kenning wrote that");
    assert_eq!(value(&redis.command(&["HGET", "fact:a", "timestamp"]))?, "2025-10-10T12:30:00");
    found(&server, "a", "kenning wrote that").await?;
    listed(&server, &["b", "a"]).await?;

    assert_eq!(server.delete("/v1/facts/b").await?.status, 200);
    assert_eq!(redis.command(&["EXISTS", "fact:b"]), ":0\r\n");
    listed(&server, &["a"]).await?;
    let query = json!({ "query": "and this", "mode": "vector" });
    assert_eq!(server.search(query).await?, ["a"], "only what is left");
    Ok(())
}

/// Only the tenant `default` is laid out flat.
#[tokio::test]
async fn other_tenants_facts_are_out_of_pythons_sight() -> Result<()> {
    let redis = RedisServer::start();
    let server = Server::start_with(setup(&redis)).await?;
    server.tenant("acme").store(json!({ "text": "theirs", "fact_id": "a" })).await?;
    assert_eq!(redis.command(&["EXISTS", "fact:a"]), ":0\r\n");
    server.get("/v1/facts/a").await?.assert_error(404, "not_found");
    assert_eq!(server.tenant("acme").get("/v1/facts/a").await?.json["content"], "theirs");
    Ok(())
}
