//! The 7 tests that the seed's guide shows.
//!
//! | `async-migration-guide.md` | ours, where it differs |
//! |---|---|
//! | `test_store_fact_success` | |
//! | `test_store_fact_timeout` | error `timeout`, and `outcome` `unknown` |
//! | `test_get_fact_by_id` | an object, not a list of one |
//! | `test_concurrent_operations` | |
//! | `test_full_knowledge_base_workflow` | |
//! | `test_redis_connection_pooling` | two tenants' callers share one server's connections |
//! | `test_timeout_protection_under_load` | at least 45 of 50 end before a deadline of 10 s |

use std::collections::BTreeSet;

use anyhow::Result;
use futures::future::try_join_all;
use kenning_tests::{Caller, RedisServer, until};
use serde_json::json;

use super::support::{Seed, assert_all, assert_in_doubt, ids, in_time, listed, store_within};

#[tokio::test]
async fn store_fact_success() -> Result<()> {
    let seed = Seed::start().await?;
    let fact = json!({ "text": "Test fact", "metadata": { "source": "test" } });
    let answer = seed.post("/v1/facts", fact).await?;
    assert_eq!((answer.status, &answer.json["status"]), (201, &json!("success")));
    let id = answer.json["fact_id"].as_str().unwrap_or_default();
    assert_eq!(id.len(), 36, "{id}");
    Ok(())
}

#[tokio::test]
async fn store_fact_timeout() -> Result<()> {
    let seed = Seed::hasty(RedisServer::start()).await?;
    seed.store_surely("a", "It works until now").await?;
    seed.connected().await?;
    seed.redis.stop();
    assert_in_doubt(&seed.post("/v1/facts", json!({ "text": "Test" })).await?);
    seed.redis.cont();
    seed.store_surely("b", "It works again").await
}

#[tokio::test]
async fn get_fact_by_id() -> Result<()> {
    let seed = Seed::start().await?;
    let id = seed.store(json!({ "text": "Test fact", "metadata": { "key": "value" } })).await?;
    let fact = seed.get(&format!("/v1/facts/{id}")).await?;
    assert_eq!((fact.status, &fact.json["content"]), (200, &json!("Test fact")));
    assert_eq!(fact.json["metadata"]["key"], "value");
    Ok(())
}

#[tokio::test]
async fn concurrent_operations() -> Result<()> {
    let seed = Seed::start().await?;
    let fact = |n: usize| json!({ "text": format!("Fact {n}"), "metadata": { "index": n } });
    let stored = try_join_all((0..10).map(|n| seed.store(fact(n)))).await?;
    assert_eq!(stored.iter().collect::<BTreeSet<_>>().len(), 10, "{stored:?}");
    Ok(())
}

#[tokio::test]
async fn full_knowledge_base_workflow() -> Result<()> {
    let seed = Seed::start().await?;
    for n in 0..5 {
        let metadata = json!({ "test_id": format!("int_test_{n}") });
        let fact = json!({ "text": format!("Integration test fact {n}"), "metadata": metadata });
        seed.store(fact).await?;
    }
    let all = listed(&seed, "").await?;
    assert_eq!(all.len(), 5);
    let found = listed(&seed, "?query=Integration%20test").await?;
    assert_eq!(found, all);
    let hits = seed.search(json!({ "query": "Integration test" })).await?;
    assert_eq!(hits.iter().map(String::as_str).collect::<BTreeSet<_>>(), ids(&all));
    Ok(())
}

#[tokio::test]
async fn redis_connection_pooling() -> Result<()> {
    let seed = Seed::start().await?;
    let callers = [seed.tenant("one"), seed.tenant("two")];
    let calls = |caller: &Caller| {
        let caller = caller.clone();
        async move {
            let id = caller.store(json!({ "text": "Test fact" })).await?;
            listed(&caller, "").await?;
            caller.get(&format!("/v1/facts/{id}")).await
        }
    };
    let taken = seed.connections_taken()?;
    assert_all(&try_join_all(callers.iter().cycle().take(80).map(calls)).await?, 200);
    seed.assert_shared_connections(taken)
}

#[tokio::test]
async fn timeout_protection_under_load() -> Result<()> {
    let seed = Seed::start().await?;
    until("45 of 50 are in time", async || {
        let stores = (0..50).map(|n| store_within(&seed, 10_000, format!("Load test {n}")));
        Ok((in_time(&try_join_all(stores).await?, 201) >= 45).then_some(()))
    })
    .await
}
