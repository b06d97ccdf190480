//! Time: the deadline of a call, and the bounds of what it waits for. What is late
//! here is very late or stands still, so that no test depends on a fast machine.

use anyhow::Result;
use kenning_tests::{Answer, RedisServer, Server, Setup, all_indexed, until};
use serde_json::json;

use super::support::{assert_done, hostile, limits_of, serves_on, tell};

/// A second for a call, and fuel for hours.
const LITTLE_TIME: &str = "call_ms = 1000\nsearch_ms = 1000\n\
                           fuel_base = 1000000000000000\nfuel_max = 1000000000000000";

/// Nothing that is embedded can be there in time.
const NO_TIME_TO_EMBED: &str = "embedding_ms = 0\nstore_embedding_ms = 0";

/// Time to embed on the slowest machine.
const MUCH_TIME: &str = "embedding_ms = 60000\nstore_embedding_ms = 60000\n\
                         search_ms = 60000\ncall_ms = 60000";

#[track_caller]
fn assert_timeout(answer: &Answer, blame: &str, message: &str) {
    answer.assert_error(504, "timeout");
    assert_eq!(answer.json["blame"], blame, "{}", answer.text);
    assert_eq!(answer.json["retryable"], true, "{}", answer.text);
    let said = answer.json["message"].as_str().unwrap_or_default();
    assert!(said.starts_with(message), "{said}");
    assert_eq!(answer.header("x-kenning-generation"), "1");
}

#[tokio::test]
async fn search_ms_and_call_ms_are_obeyed() -> Result<()> {
    let server = hostile(MUCH_TIME).await?;
    assert_done(&tell(&server, "sleep 1").await?);
    assert_done(&server.get("/v1/facts?query=sleep+1").await?);
    Ok(())
}

#[tokio::test]
async fn search_ms_violated_by_a_guest_that_spins() -> Result<()> {
    let server = hostile(LITTLE_TIME).await?;
    assert_timeout(&tell(&server, "spin").await?, "guest", "Search timeout");
    serves_on(&server).await
}

#[tokio::test]
async fn search_ms_violated_by_a_guest_that_sleeps() -> Result<()> {
    let server = hostile(LITTLE_TIME).await?;
    assert_timeout(&tell(&server, "sleep 600").await?, "guest", "Search timeout");
    serves_on(&server).await
}

#[tokio::test]
async fn call_ms_violated_by_a_guest_that_spins() -> Result<()> {
    let server = hostile(LITTLE_TIME).await?;
    let answer = server.get("/v1/facts?query=spin").await?;
    assert_timeout(&answer, "guest", "Call timeout");
    serves_on(&server).await
}

#[tokio::test]
async fn call_ms_violated_after_a_write_leaves_the_outcome_unknown() -> Result<()> {
    let server = hostile(LITTLE_TIME).await?;
    let draft = json!({ "fact_id": "written", "text": "sleep 600" });
    let answer = server.post("/v1/facts", draft).await?;
    assert_timeout(&answer, "guest", "Call timeout");
    assert_eq!(answer.json["details"]["outcome"], "unknown", "{}", answer.text);
    assert_eq!(server.get("/v1/facts/written").await?.status, 200);
    serves_on(&server).await
}

fn on_redis(redis: &RedisServer, limits: &str) -> Setup {
    Setup { storage: Some(redis.url()), ..limits_of(limits) }
}

#[tokio::test]
async fn storage_operation_ms_is_obeyed() -> Result<()> {
    let redis = RedisServer::start();
    serves_on(&*Server::start_with(on_redis(&redis, "")).await?).await
}

#[tokio::test]
async fn storage_operation_ms_violated() -> Result<()> {
    let redis = RedisServer::start();
    let server = Server::start_with(on_redis(&redis, "storage_operation_ms = 500")).await?;
    let draft = json!({ "fact_id": "during", "text": "stored or not" });
    server.store(json!({ "fact_id": "before", "text": "stored" })).await?;
    // Only what is sent can be in doubt: over each connection, calls have gone.
    for _ in 0..8 {
        server.get("/v1/facts/before").await?;
    }
    redis.stop();
    let written = server.post("/v1/facts", draft.clone()).await?;
    let read = server.get("/v1/facts/before").await?;
    redis.cont();
    assert_timeout(&read, "backend", "Redis operation timeout");
    assert_eq!(read.json["details"]["outcome"], json!(null), "{}", read.text);
    assert_timeout(&written, "backend", "Redis operation timeout");
    assert_eq!(written.json["details"]["outcome"], "unknown", "{}", written.text);
    // The connection may still be busy with what was asked meanwhile.
    until("Redis is used again", async || {
        let answer = server.post("/v1/facts", draft.clone()).await?;
        Ok((answer.status == 201).then_some(()))
    })
    .await?;
    serves_on(&server).await
}

async fn embedding_for_real(limits: &str) -> Result<Server> {
    Server::start_with(Setup { embedder: Some("local"), ..limits_of(limits) }).await
}

#[tokio::test]
async fn store_embedding_ms_is_obeyed() -> Result<()> {
    let server = embedding_for_real(MUCH_TIME).await?;
    let answer = server.post("/v1/facts", json!({ "text": "Cats purr." })).await?;
    assert_eq!((answer.status, &answer.json["indexed"]), (201, &json!(true)), "{}", answer.text);
    Ok(())
}

#[tokio::test]
async fn store_embedding_ms_violated_leaves_the_vector_for_later() -> Result<()> {
    let limits = "store_embedding_ms = 0\nembedding_ms = 60000\nsearch_ms = 60000";
    let server = embedding_for_real(limits).await?;
    let answer = server.post("/v1/facts", json!({ "text": "Cats purr." })).await?;
    assert_eq!((answer.status, &answer.json["indexed"]), (201, &json!(false)), "{}", answer.text);
    all_indexed(&server).await?;
    let found = server.search(json!({ "query": "a pet's sound", "mode": "vector" })).await?;
    assert_eq!(found, [answer.json["fact_id"].as_str().unwrap_or_default()]);
    Ok(())
}

#[tokio::test]
async fn embedding_ms_is_obeyed() -> Result<()> {
    let server = embedding_for_real(MUCH_TIME).await?;
    let id = server.store(json!({ "text": "Cats purr." })).await?;
    let query = json!({ "query": "a pet's sound", "mode": "vector" });
    assert_eq!(server.search(query).await?, [id]);
    Ok(())
}

#[tokio::test]
async fn embedding_ms_violated_leaves_the_search_to_words() -> Result<()> {
    let server = embedding_for_real(NO_TIME_TO_EMBED).await?;
    let id = server.store(json!({ "text": "Cats purr." })).await?;
    let answer = server.post("/v1/search", json!({ "query": "cats" })).await?;
    assert_done(&answer);
    assert_eq!(answer.json["results"][0]["doc_id"], *id, "{}", answer.text);
    let degraded = answer.json["degraded"][0].as_str().unwrap_or_default();
    assert!(degraded.starts_with("vector: "), "{}", answer.text);

    let query = json!({ "query": "cats", "mode": "vector" });
    let answer = server.post("/v1/search", query).await?;
    assert_timeout(&answer, "backend", "Embedding timeout");
    serves_on(&server).await
}
