//! A Redis that is full of other programs' keys.

use anyhow::{Result, ensure};
use kenning_tests::{RedisServer, Server, Setup, all_indexed, until};
use serde_json::{Value, json};

use super::support::World;

/// Keys of other programs: far from anything, and such as look like facts and are texts.
const FAR: &str = "200000";
const NEAR: &str = "5000";

fn full() -> RedisServer {
    let redis = RedisServer::start_with_options(&["--enable-debug-command", "yes"]);
    for (count, prefix) in [(FAR, "session"), (NEAR, "fact")] {
        assert_eq!(redis.command(&["DEBUG", "POPULATE", count, prefix]), "+OK\r\n");
    }
    redis
}

#[tokio::test]
async fn serving_among_them() -> Result<()> {
    let mut world = World::with(full(), Setup::patient(), |redis, _| redis.url()).await?;
    world.works().await?;
    world.recovers().await?;
    assert_eq!(world.redis.command(&["EXISTS", "session:7", "fact:7"]), ":2\r\n");
    Ok(())
}

/// The flat layout looks through all of them for facts.
#[tokio::test]
async fn serving_among_them_where_some_are_facts() -> Result<()> {
    let redis = full();
    for n in 0..120 {
        let (key, content) = (format!("fact:python{n}"), format!("written by python {n}"));
        redis.command(&["HSET", &key, "content", &content, "metadata", "{}"]);
    }
    let setup = Setup { layout: Some("flat"), ..Setup::patient() };
    let mut world = World::with(redis, setup, |redis, _| redis.url()).await?;
    let server = &world.server;
    server.store(json!({ "fact_id": "ours", "text": "written by kenning" })).await?;
    until("all has been looked through", async || {
        Ok((server.get("/readyz").await?.status == 200).then_some(()))
    })
    .await?;
    all_indexed(server).await?;
    assert_eq!(server.get("/v1/stats").await?.json["facts"], 121);
    assert_eq!(server.export().await?.lines().count(), 121);
    let query = json!({ "query": "ours written by kenning", "mode": "text", "top_k": 200 });
    assert_eq!(server.search(query).await?.len(), 121);
    server.get("/v1/facts/session:7").await?.assert_error(400, "invalid_request");
    world.works().await?;
    world.recovers().await?;
    assert_eq!(world.redis.command(&["EXISTS", "session:7", "fact:7"]), ":2\r\n");
    Ok(())
}

/// A fact larger than one answer of Redis may be.
async fn with_a_huge_fact() -> Result<(RedisServer, Server)> {
    let redis = RedisServer::start();
    let script = "redis.call('HSET', 'fact:huge', 'metadata', '{}', 'content', \
                  string.rep('huge ', 1048576))";
    redis.command(&["EVAL", script, "0"]);
    redis.command(&["HSET", "fact:small", "content", "small", "metadata", "{}"]);
    let setup = Setup { storage: Some(redis.url()), layout: Some("flat"), ..Setup::patient() };
    Ok((redis, Server::start_with(setup).await?))
}

#[tokio::test]
async fn a_fact_larger_than_an_answer_may_be_is_said_and_stops_nothing_else() -> Result<()> {
    let (_redis, server) = with_a_huge_fact().await?;
    until("both are taken in", async || {
        Ok((server.get("/v1/stats").await?.json["facts"] == 2).then_some(()))
    })
    .await?;
    let huge = server.get("/v1/facts/huge").await?;
    huge.assert_error(413, "too_large");
    let details = &huge.json["details"];
    ensure!(details["used"].as_u64() > details["allowed"].as_u64(), "{}", huge.text);
    assert_eq!(server.get("/v1/facts/small").await?.json["content"], "small");
    let list = server.get("/v1/facts").await?;
    let ids = list.json["facts"].as_array().cloned().unwrap_or_default();
    let ids: Vec<&Value> = ids.iter().map(|fact| &fact["id"]).collect();
    assert_eq!((list.status, ids), (200, vec![&json!("small")]), "{:.500}", list.text);
    assert_eq!(server.search(json!({ "query": "small", "mode": "text" })).await?, ["small"]);
    assert_eq!(server.delete("/v1/facts/huge").await?.status, 200);
    Ok(())
}
