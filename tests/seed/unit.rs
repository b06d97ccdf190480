//! The seed's 16 unit tests. There Redis is a mock; here it is real, and what a mock
//! counts is counted by Redis itself.
//!
//! | `tests/unit/test_knowledge_base_async.py` | ours, where it differs |
//! |---|---|
//! | `test_redis_initialization_success` | ready without a first call; connections are made once |
//! | `test_redis_initialization_timeout` | starts, and is not ready until Redis answers |
//! | `test_redis_initialization_connection_failure` | the same |
//! | `test_store_fact_success` | one `HSET` of that key, within the script that stores |
//! | `test_store_fact_timeout` | error `timeout`, and `outcome` `unknown` |
//! | `test_store_fact_redis_unavailable` | error `storage_unavailable` |
//! | `test_get_fact_by_id_success` | an object, not a list of one; one `HGETALL`, one round trip |
//! | `test_get_fact_by_id_timeout` | error `timeout`; the seed: `[]` |
//! | `test_get_fact_by_id_not_found` | error `not_found`; the seed: `[]` |
//! | `test_get_fact_by_query_success` | |
//! | `test_get_fact_by_query_no_matches` | |
//! | `test_get_all_facts_with_pipeline` | one round trip reads all facts |
//! | `test_get_all_facts_timeout` | error `timeout`; the seed: `[]` |
//! | `test_get_all_facts_empty` | |
//! | `test_asyncio_wait_for_timeout_protection` | error `timeout` twice; the seed: one `[]` |
//! | `test_graceful_degradation_on_redis_failure` | error `storage_unavailable`; the seed: `[]` |

use anyhow::Result;
use kenning_tests::RedisServer;
use serde_json::{Value, json};

use super::monitor::{Command, Monitor};
use super::support::{
    Seed, assert_in_doubt, assert_not_ready, assert_timeout, assert_unavailable, ids, listed, ready,
};

#[tokio::test]
async fn redis_initialization_success() -> Result<()> {
    let seed = Seed::start().await?;
    ready(&seed).await?;
    let storage = &seed.get("/v1/stats").await?.json["storage"];
    assert_eq!((&storage["backend"], &storage["layout"]), (&json!("redis"), &json!("flat")));
    let before = seed.connections();
    assert!(!before.is_empty(), "it is connected before anyone calls");
    let taken = seed.connections_taken()?;
    for number in 0..10 {
        seed.store(json!({ "text": format!("Test fact {number}") })).await?;
        listed(&seed, "").await?;
    }
    seed.assert_shared_connections(taken)?;
    let after = seed.connections();
    assert!(after.is_superset(&before), "{before:?} became {after:?}");
    Ok(())
}

#[tokio::test]
async fn redis_initialization_timeout() -> Result<()> {
    let redis = RedisServer::start();
    redis.stop();
    let seed = Seed::hasty(redis).await?;
    assert_not_ready(&seed).await?;
    seed.redis.cont();
    ready(&seed).await
}

#[tokio::test]
async fn redis_initialization_connection_failure() -> Result<()> {
    let mut seed = Seed::without_redis().await?;
    assert_not_ready(&seed).await?;
    seed.redis.restart();
    ready(&seed).await
}

#[tokio::test]
async fn store_fact_success() -> Result<()> {
    let seed = Seed::start().await?;
    let monitor = Monitor::begin(&seed.redis).await?;
    let metadata = json!({ "source": "test", "priority": "high" });
    let fact = json!({ "text": "Test fact content", "metadata": metadata });
    let answer = seed.post("/v1/facts", fact).await?;
    let commands = monitor.end(&seed.redis).await?;
    assert_eq!((answer.status, &answer.json["status"]), (201, &json!("success")));
    assert_eq!(answer.json["message"], "Fact stored successfully");
    let id = answer.json["fact_id"].as_str().unwrap_or_default();
    let key = format!("fact:{id}");
    let written = |command: &&Command| command.is("HSET", &key);
    assert_eq!(commands.iter().filter(written).count(), 1, "{commands:?}");
    assert_eq!(seed.fact_keys(), [key.clone()].into());

    assert_eq!(seed.redis.command(&["HLEN", &key]), ":4\r\n", "these fields and no others");
    assert_eq!(seed.field(id, "content")?, "Test fact content");
    assert_eq!(seed.field(id, "metadata")?.parse::<Value>()?, metadata);
    assert_eq!(seed.field(id, "id")?, id);
    assert_ne!(seed.field(id, "timestamp")?, "");
    Ok(())
}

#[tokio::test]
async fn store_fact_timeout() -> Result<()> {
    let seed = Seed::hasty(RedisServer::start()).await?;
    seed.connected().await?;
    seed.redis.stop();
    let answer = seed.post("/v1/facts", json!({ "text": "Test fact" })).await?;
    assert_in_doubt(&answer);
    Ok(())
}

#[tokio::test]
async fn store_fact_redis_unavailable() -> Result<()> {
    let seed = Seed::without_redis().await?;
    let answer = seed.post("/v1/facts", json!({ "text": "Test fact" })).await?;
    assert_unavailable(&answer);
    Ok(())
}

#[tokio::test]
async fn get_fact_by_id_success() -> Result<()> {
    let seed = Seed::start().await?;
    let fact = json!({ "text": "Test content", "metadata": { "source": "test" } });
    let id = seed.store(fact).await?;
    seed.settled().await?;
    // Redis is told the scripts with their first call.
    seed.get(&format!("/v1/facts/{id}")).await?;
    let monitor = Monitor::begin(&seed.redis).await?;
    let answer = seed.get(&format!("/v1/facts/{id}")).await?;
    let commands = monitor.end(&seed.redis).await?;
    let expected = json!({
        "id": id,
        "content": "Test content",
        "metadata": { "source": "test" },
        "timestamp": seed.field(&id, "timestamp")?,
    });
    assert_eq!((answer.status, &answer.json), (200, &expected));
    let key = format!("fact:{id}");
    let read = |command: &&Command| command.is("HGETALL", &key);
    assert_eq!(commands.iter().filter(read).count(), 1, "{commands:?}");
    let calls = commands.iter().filter(|command| command.is_call());
    assert_eq!(calls.count(), 1, "{commands:?}");
    Ok(())
}

#[tokio::test]
async fn get_fact_by_id_timeout() -> Result<()> {
    let seed = Seed::hasty(RedisServer::start()).await?;
    seed.store_surely("a", "Test content").await?;
    seed.redis.stop();
    assert_timeout(&seed.get("/v1/facts/a").await?);
    Ok(())
}

#[tokio::test]
async fn get_fact_by_id_not_found() -> Result<()> {
    let seed = Seed::start().await?;
    let answer = seed.get("/v1/facts/nonexistent-fact-id").await?;
    answer.assert_error(404, "not_found");
    Ok(())
}

#[tokio::test]
async fn get_fact_by_query_success() -> Result<()> {
    let seed = Seed::start().await?;
    for (id, text) in [
        ("a", "Redis is a database"),
        ("b", "Python is a programming language"),
        ("c", "AutoBot uses Redis for storage"),
    ] {
        seed.store(json!({ "text": text, "fact_id": id })).await?;
    }
    for query in ["redis", "REDIS", "Redis"] {
        let found = listed(&seed, &format!("?query={query}")).await?;
        assert_eq!(ids(&found), ["a", "c"].into(), "{query}");
    }
    Ok(())
}

#[tokio::test]
async fn get_fact_by_query_no_matches() -> Result<()> {
    let seed = Seed::start().await?;
    seed.store(json!({ "text": "Python is a programming language" })).await?;
    assert_eq!(listed(&seed, "?query=redis").await?, [json!(null); 0]);
    Ok(())
}

#[tokio::test]
async fn get_all_facts_with_pipeline() -> Result<()> {
    let seed = Seed::start().await?;
    for id in ["a", "b", "c"] {
        seed.store(json!({ "text": format!("Fact {id}"), "fact_id": id })).await?;
    }
    seed.settled().await?;
    listed(&seed, "").await?;
    let monitor = Monitor::begin(&seed.redis).await?;
    let all = listed(&seed, "").await?;
    let commands = monitor.end(&seed.redis).await?;
    assert_eq!(ids(&all), ["a", "b", "c"].into());
    let calls: Vec<_> = commands.iter().filter(|command| command.is_call()).collect();
    let [page, read] = calls[..] else { panic!("not two calls: {commands:?}") };
    assert!(page.names("kenning:{default}:order"), "{page:?}");
    assert!(["fact:a", "fact:b", "fact:c"].iter().all(|key| read.names(key)), "{read:?}");
    Ok(())
}

#[tokio::test]
async fn get_all_facts_timeout() -> Result<()> {
    let seed = Seed::hasty(RedisServer::start()).await?;
    seed.store_surely("a", "Fact 1").await?;
    seed.redis.stop();
    assert_timeout(&seed.get("/v1/facts").await?);
    Ok(())
}

#[tokio::test]
async fn get_all_facts_empty() -> Result<()> {
    let seed = Seed::start().await?;
    let answer = seed.get("/v1/facts").await?;
    assert_eq!((answer.status, answer.json), (200, json!({ "facts": [], "next_cursor": null })));
    Ok(())
}

#[tokio::test]
async fn asyncio_wait_for_timeout_protection() -> Result<()> {
    let seed = Seed::hasty(RedisServer::start()).await?;
    seed.store_surely("a", "Test fact").await?;
    seed.connected().await?;
    seed.redis.stop();
    assert_in_doubt(&seed.post("/v1/facts", json!({ "text": "Another" })).await?);
    assert_timeout(&seed.get("/v1/facts/a").await?);
    Ok(())
}

#[tokio::test]
async fn graceful_degradation_on_redis_failure() -> Result<()> {
    let seed = Seed::without_redis().await?;
    assert_unavailable(&seed.post("/v1/facts", json!({ "text": "Test" })).await?);
    for path in ["/v1/facts/some-id", "/v1/facts?query=test", "/v1/facts"] {
        assert_unavailable(&seed.get(path).await?);
    }
    assert_not_ready(&seed).await
}
