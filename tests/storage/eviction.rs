//! A Redis that evicts keys when its memory is full.

use anyhow::{Context, Result};
use kenning_tests::{RedisServer, Server, Setup, command, run, until};
use serde_json::{Value, json};

use super::unreadable::listed;

fn evicting(policy: &str) -> RedisServer {
    RedisServer::start_with_options(&["--maxmemory-policy", policy])
}

fn setup(redis: &RedisServer) -> Setup {
    Setup { storage: Some(redis.url()), ..Setup::patient() }
}

#[tokio::test]
async fn a_server_does_not_start_on_a_redis_that_evicts_and_names_the_policy() -> Result<()> {
    let (redis, home) = (evicting("allkeys-lru"), tempfile::tempdir()?);
    let url = redis.url();
    let arguments =
        ["serve", "--listen", "127.0.0.1:0", "--embedder", "hash", "--storage", url.as_str()];
    let ran = run(command(home.path(), &arguments)?, b"").await?;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.err.contains("allkeys-lru") && ran.err.contains("--allow-eviction"), "{ran:?}");

    redis.command(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    redis.command(&["SET", "kenning:control:{control}:format", "9"]);
    let ran = run(command(home.path(), &arguments)?, b"").await?;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.err.contains("version 9") && ran.err.contains("newer Kenning"), "{ran:?}");
    Ok(())
}

#[tokio::test]
async fn what_redis_evicted_is_counted_and_not_found() -> Result<()> {
    // It evicts what is used least, and so facts rather than their listing, without which nothing
    // names them.
    let redis = evicting("allkeys-lfu");
    let directory = tempfile::tempdir()?;
    let log = directory.path().join("log");
    let allowed = vec![("KENNING_ALLOW_EVICTION", "true".to_string())];
    let setup = Setup { log: Some((log.clone(), "warn")), environment: allowed, ..setup(&redis) };
    let server = Server::start_with(setup).await?;
    let line = |n: usize| {
        json!({ "fact_id": format!("m{n}"), "text": format!("m{n} {}", "x".repeat(1_200)) })
            .to_string()
            + "\n"
    };
    let lines = |range: std::ops::Range<usize>| range.map(line).collect::<String>();
    server.post_raw("/v1/import", lines(0..1_000)).await?;
    kenning_tests::all_indexed(&server).await?;
    let info = redis.command(&["INFO", "memory"]);
    let used = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
    let used: u64 = used.context("Redis says what it uses")?.parse()?;
    redis.command(&["CONFIG", "SET", "maxmemory", &(used - 600_000).to_string()]);
    server.store(json!({ "text": "the last straw", "fact_id": "last" })).await?;

    let kept = until("stats and listing agree", async || {
        let kept = listed(&server).await?;
        let stats = server.get("/v1/stats").await?.json;
        Ok((stats["facts"] == kept.len() && stats["pending"] == 0).then_some(kept))
    })
    .await?;
    let stats = server.get("/v1/stats").await?.json;
    assert_eq!(stats["lost"].as_u64(), Some(1_001 - kept.len() as u64), "{stats}");
    assert!(kept.len() < 1_001, "some facts are gone");
    for n in (0..1_000).step_by(100) {
        let id = format!("m{n}");
        let found = server.search(json!({ "query": id, "mode": "text", "top_k": 1 })).await?;
        assert!(found.iter().all(|found| kept.contains(found)), "{found:?}");
    }
    let said = std::fs::read_to_string(log)?;
    assert!(said.contains("Redis evicts facts") && said.contains("allkeys-lfu"), "{said}");
    assert!(said.contains("storage has lost facts"), "{said}");
    Ok(())
}

#[tokio::test]
async fn a_redis_that_was_away_at_the_start_is_checked_before_the_first_write() -> Result<()> {
    let mut redis = evicting("allkeys-random");
    redis.kill();
    let config = Some("[limits]\nguest_wait_ms = 60000\n".to_string());
    let server = Server::start_with(Setup { config, ..setup(&redis) }).await?;
    redis.restart();
    let fact = || json!({ "text": "a fact", "fact_id": "f" });
    let refused = until("Redis is back", async || {
        let answer = server.post("/v1/facts", fact()).await?;
        Ok(answer.text.contains("allkeys-random").then_some(answer))
    })
    .await?;
    refused.assert_error(503, "storage_unavailable");
    assert_eq!(refused.json["retryable"], false, "{}", refused.text);
    assert_eq!(refused.json["details"], Value::Null, "nothing happened: {}", refused.text);
    server.get("/v1/facts/f").await?.assert_error(404, "not_found");
    let ready = server.get("/readyz").await?;
    assert_eq!(ready.status, 503, "{}", ready.text);
    assert!(ready.text.contains("allkeys-random"), "{}", ready.text);

    redis.command(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    assert_eq!(server.post("/v1/facts", fact()).await?.status, 201);
    Ok(())
}

#[tokio::test]
async fn a_policy_that_may_evict_or_cannot_be_asked_for_only_warns() -> Result<()> {
    let redis = evicting("volatile-lru");
    let directory = tempfile::tempdir()?;
    for (name, words) in [("volatile", "volatile-lru"), ("forbidden", "CONFIG GET")] {
        let mut storage = redis.url();
        if name == "forbidden" {
            let rules = ["on", ">secret", "~*", "&*", "+@all", "-config"];
            redis.command(&[&["ACL", "SETUSER", "kenning"], &rules[..]].concat());
            storage = format!("redis://kenning:secret@127.0.0.1:{}", redis.port());
        }
        let log = directory.path().join(name);
        let storage = Some(storage);
        let setup = Setup { storage, log: Some((log.clone(), "warn")), ..Setup::patient() };
        let server = Server::start_with(setup).await?;
        server.store(json!({ "text": "a fact" })).await?;
        let said = std::fs::read_to_string(log)?;
        assert!(said.contains(words) && said.contains("noeviction"), "{name}: {said}");
    }
    Ok(())
}
