//! A key that was revoked, and a tenant that was deleted, on one host are so on all of them once
//! that was answered.

use std::time::Instant;

use anyhow::{Context, Result};
use kenning_tests::{Answer, Caller, RedisServer, Server, Setup, until};
use serde_json::json;

use super::{host_with, search, words};

const ADMIN: &str = "an-admin-key-for-tests-only";

async fn host(redis: &RedisServer) -> Result<Server> {
    host_with(redis, Setup { admin_key: Some(ADMIN), ..Setup::patient() }).await
}

/// Creates a tenant on one host, and waits until the other knows its key.
async fn tenant(one: &Server, two: &Server, name: &str) -> Result<(Caller, String)> {
    let created = one.key(ADMIN).post("/v1/admin/tenants", json!({ "name": name })).await?;
    let key = created.json["key"].as_str().with_context(|| created.text.clone())?;
    let there = two.key(key);
    until("the key is known", async || {
        Ok((there.get("/v1/stats").await?.status == 200).then_some(()))
    })
    .await?;
    Ok((there, created.json["key_id"].as_str().context("no key_id")?.to_owned()))
}

/// One of the requests that a tenant's key permits.
async fn request(caller: &Caller, which: usize) -> Result<Answer> {
    match which % 7 {
        0 => caller.get("/v1/facts/f").await,
        1 => caller.post("/v1/facts", json!({ "text": "later" })).await,
        2 => search(caller, words("fact"), None).await,
        3 => search(caller, words("nowhere"), None).await,
        4 => caller.get("/v1/stats").await,
        5 => caller.get("/v1/export").await,
        _ => caller.get("/v1/imports/none").await,
    }
}

#[tokio::test]
async fn a_key_revoked_on_one_host_is_refused_on_the_other() -> Result<()> {
    let redis = RedisServer::start();
    let (one, two) = (host(&redis).await?, host(&redis).await?);
    for round in 0..14 {
        let name = format!("t{round}");
        let (there, key_id) = tenant(&one, &two, &name).await?;
        there.store(json!({ "fact_id": "f", "text": "a fact" })).await?;
        let path = format!("/v1/admin/tenants/{name}/revoke-key");
        let revoked = one.key(ADMIN).post(&path, json!({ "key_id": key_id })).await?;
        assert_eq!(revoked.status, 200, "{}", revoked.text);
        assert_eq!(revoked.json.get("behind"), None, "{}", revoked.text);
        for which in round..round + 7 {
            request(&there, which).await?.assert_error(401, "unauthorized");
        }
    }
    Ok(())
}

/// Storage refuses it, whether or not the other host has followed by then.
#[tokio::test]
async fn a_host_that_was_stopped_refuses_a_key_that_was_revoked_meanwhile() -> Result<()> {
    let redis = RedisServer::start();
    let no_wait = Setup::patient_but("follow_ms = 0");
    let one = host_with(&redis, Setup { admin_key: Some(ADMIN), ..no_wait }).await?;
    let two = host(&redis).await?;
    for round in 0..7 {
        let name = format!("t{round}");
        let (there, key_id) = tenant(&one, &two, &name).await?;
        there.store(json!({ "fact_id": "f", "text": "a fact" })).await?;
        two.pause().await?;
        let path = format!("/v1/admin/tenants/{name}/revoke-key");
        let revoked = one.key(ADMIN).post(&path, json!({ "key_id": key_id })).await?;
        assert_eq!(revoked.status, 200, "{}", revoked.text);
        assert_eq!(revoked.json["behind"].as_array().map(Vec::len), Some(1), "{}", revoked.text);
        let late = tokio::spawn({
            let there = there.clone();
            async move { request(&there, round).await }
        });
        two.resume().await?;
        late.await??.assert_error(401, "unauthorized");
    }
    Ok(())
}

#[tokio::test]
async fn a_tenant_deleted_on_one_host_takes_no_store_on_the_other() -> Result<()> {
    let redis = RedisServer::start();
    let (one, two) = (host(&redis).await?, host(&redis).await?);
    for round in 0..8 {
        let name = format!("t{round}");
        let (there, _) = tenant(&one, &two, &name).await?;
        let storing = tokio::spawn(async move {
            let mut refused = 0;
            let mut last_stored = None;
            for number in 0.. {
                let fact = json!({ "fact_id": format!("f{number}"), "text": "a fact" });
                let began = Instant::now();
                let answer = there.post("/v1/facts", fact).await?;
                match answer.status {
                    201 => last_stored = Some(began),
                    401 => refused += 1,
                    _ => anyhow::bail!("{}", answer.text),
                }
                if refused == 10 {
                    break;
                }
            }
            Ok(last_stored)
        });
        let facts = format!("kenning:{{{name}}}:fact:*");
        until("a store", async || Ok((redis.command(&["KEYS", &facts]) != "*0\r\n").then_some(())))
            .await?;
        let deleted = one.key(ADMIN).delete(&format!("/v1/admin/tenants/{name}")).await?;
        let answered = Instant::now();
        assert_eq!(deleted.status, 200, "{}", deleted.text);
        assert_eq!(deleted.json.get("behind"), None, "{}", deleted.text);
        assert!(storing.await??.is_none_or(|last| last < answered));
        let left = redis.command(&["KEYS", &format!("kenning:{{{name}}}:*")]);
        assert!(left.starts_with("*1\r\n") && left.contains(":registry"), "{left}");
    }
    Ok(())
}
