//! Hosts on one Redis follow each other, and do without it for a while.

use anyhow::Result;
use kenning_tests::{Caller, RedisServer, Server, Setup, until};
use serde_json::json;

use super::support::{ADMIN, assert_unauthorized, create, tenant};

async fn host(redis: &RedisServer) -> Result<Server> {
    let storage = Some(redis.url());
    Server::start_with(Setup { storage, admin_key: Some(ADMIN), ..Setup::patient() }).await
}

async fn until_answered(caller: &Caller, status: u16) -> Result<()> {
    until(&format!("an answer {status}"), async || {
        Ok((caller.get("/v1/stats").await?.status == status).then_some(()))
    })
    .await
}

#[tokio::test]
async fn hosts_on_one_redis_follow_each_others_changes() -> Result<()> {
    let redis = RedisServer::start();
    let (one, two) = (host(&redis).await?, host(&redis).await?);
    let key = create(&one.key(ADMIN), "acme", json!({})).await?;
    until_answered(&two.key(&key), 200).await?;
    let none = json!({ "limits": { "requests_per_second": 0 } });
    two.key(ADMIN).patch("/v1/admin/tenants/acme", none).await?;
    until_answered(&one.key(&key), 429).await?;
    assert_eq!(two.key(ADMIN).delete("/v1/admin/tenants/acme").await?.status, 200);
    assert_unauthorized(&two.key(&key).get("/v1/stats").await?);
    until_answered(&one.key(&key), 401).await
}

#[tokio::test]
async fn the_last_known_keys_stay_good_while_storage_is_away() -> Result<()> {
    let mut redis = RedisServer::start();
    let server = host(&redis).await?;
    let acme = tenant(&server.key(ADMIN), "acme", json!({})).await?;
    redis.kill();
    until("an outage", async || {
        let answer = acme.get("/v1/facts/f").await?;
        assert_ne!(answer.status, 401, "{}", answer.text);
        Ok((answer.code() == "storage_unavailable").then_some(()))
    })
    .await?;
    assert_unauthorized(&server.key("kng_0123_4567").get("/v1/facts/f").await?);
    let created = server.key(ADMIN).post("/v1/admin/tenants", json!({ "name": "b" })).await?;
    created.assert_error(503, "storage_unavailable");
    redis.restart();
    until_answered(&acme, 200).await
}

#[tokio::test]
async fn a_start_without_storage_says_that_it_knows_no_keys_yet() -> Result<()> {
    let mut redis = RedisServer::start();
    let key = {
        let server = host(&redis).await?;
        create(&server.key(ADMIN), "acme", json!({})).await?
    };
    redis.kill();
    let server = host(&redis).await?;
    server.key(&key).get("/v1/stats").await?.assert_error(503, "storage_unavailable");
    redis.restart();
    until_answered(&server.key(&key), 200).await
}
