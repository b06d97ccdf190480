//! A tenant's quotas hold over all hosts together, and none of them wastes what it does not use.

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, ensure};
use kenning_tests::{Caller, RedisServer, Server, until};
use serde_json::{Value, json};

use super::host;

/// Ten embedding tokens.
const QUERY: &str = "a query of exactly forty bytes, so long.";

const TOKENS: u64 = 10;

/// In seconds: what is used is forgotten after so many, or up to one more.
const MINUTE: f64 = 59.0;

const REQUESTS: &str = "requests_per_second";

const EMBEDDING: &str = "embedding_tokens_per_minute";

/// Hosts that know a tenant with these quotas, and its callers.
async fn hosts(
    redis: &RedisServer,
    count: usize,
    quotas: Value,
) -> Result<(Vec<Server>, Vec<Caller>)> {
    let mut hosts = Vec::new();
    for _ in 0..count {
        hosts.push(host(redis).await?);
    }
    let body = json!({ "name": "acme", "limits": quotas });
    let created = hosts[0].post("/v1/admin/tenants", body).await?;
    ensure!(created.status == 201, "{}", created.text);
    for host in &hosts {
        until("the host knows the tenant", async || {
            let listed = host.get("/v1/admin/tenants/acme").await?;
            Ok((listed.json["limits"] == created.json["limits"]).then_some(()))
        })
        .await?;
    }
    let callers = hosts.iter().map(|host| host.tenant("acme")).collect();
    Ok((hosts, callers))
}

/// Redis's clock, in seconds.
fn time(redis: &RedisServer) -> Result<f64> {
    let reply = redis.command(&["TIME"]);
    let numbers: Vec<f64> = reply.split("\r\n").filter_map(|line| line.parse().ok()).collect();
    let [seconds, microseconds] = numbers[..] else { anyhow::bail!("no time: {reply}") };
    Ok(seconds + microseconds / 1e6)
}

/// Whether a quota admits a search that embeds its query.
async fn searches(caller: &Caller) -> Result<bool> {
    let answer = caller.post("/v1/search", json!({ "query": QUERY, "mode": "vector" })).await?;
    admitted(&answer, EMBEDDING)
}

/// Whether it does not name `quota` as exceeded.
fn admitted(answer: &kenning_tests::Answer, quota: &str) -> Result<bool> {
    if answer.status == 429 {
        let details = &answer.json["details"];
        ensure!(details["limit"] == quota && details["used"].is_u64(), "{}", answer.text);
        let after: u64 = answer.header("retry-after").parse().context("Retry-After")?;
        ensure!((1..=60).contains(&after), "{after}");
    } else {
        ensure!(matches!(answer.status, 200 | 404), "{}", answer.text);
    }
    Ok(answer.status != 429)
}

/// What is used of a quota, as one host shows it.
async fn used(caller: &Caller, quota: &str) -> Result<u64> {
    let stats = caller.get("/v1/stats").await?;
    stats.json["quotas"][quota]["used"].as_u64().with_context(|| stats.text.clone())
}

#[tokio::test]
async fn three_hosts_together_never_admit_more_than_a_small_quota() -> Result<()> {
    let redis = RedisServer::start();
    let (_hosts, callers) = hosts(&redis, 3, json!({ REQUESTS: 3 })).await?;
    let (begun, count) = (time(&redis)?, AtomicU64::new(0));
    let calling = callers.iter().flat_map(|caller| [caller, caller, caller]).map(async |caller| {
        while count.load(Ordering::Relaxed) < 12 {
            if admitted(&caller.get("/v1/facts/none").await?, REQUESTS)? {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok::<_, anyhow::Error>(())
    });
    futures::future::try_join_all(calling).await?;
    let (count, span) = (count.into_inner(), time(&redis)? - begun);
    assert!(count as f64 <= 3.0 + 3.0 * span, "{count} requests in {span} s");
    Ok(())
}

#[tokio::test]
async fn three_hosts_together_use_a_minutes_quota_up_and_hardly_exceed_it() -> Result<()> {
    let redis = RedisServer::start();
    let (_hosts, callers) = hosts(&redis, 3, json!({ EMBEDDING: 300 * TOKENS })).await?;
    let (begun, count) = (time(&redis)?, AtomicU64::new(1));
    callers[0].store(json!({ "text": QUERY })).await?;
    let calling = callers.iter().flat_map(|caller| [caller, caller]).map(async |caller| {
        loop {
            if searches(caller).await? {
                count.fetch_add(1, Ordering::Relaxed);
            } else if count.load(Ordering::Relaxed) >= 270 {
                return Ok::<_, anyhow::Error>(());
            }
        }
    });
    futures::future::try_join_all(calling).await?;
    let (count, span) = (count.into_inner(), time(&redis)? - begun);
    if span < MINUTE {
        assert!((270..=330).contains(&count), "{count} searches in {span} s");
        until("every host shows what all used", async || {
            let shown = [used(&callers[0], EMBEDDING).await?, used(&callers[2], EMBEDDING).await?];
            let is_late = time(&redis)? - begun > MINUTE;
            let is_shown = shown.iter().all(|used| *used == count * TOKENS);
            Ok((is_late || is_shown).then_some(()))
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_host_alone_uses_all_that_others_leave_or_had_when_they_were_killed() -> Result<()> {
    let redis = RedisServer::start();
    let quotas = json!({ EMBEDDING: 300 * TOKENS });
    let (mut hosts, callers) = hosts(&redis, 3, quotas).await?;
    let (begun, mut count) = (time(&redis)?, 1);
    callers[0].store(json!({ "text": QUERY })).await?;
    for caller in &callers {
        for _ in 0..5 {
            assert!(searches(caller).await?);
            count += 1;
        }
    }
    hosts.remove(2).kill().await?;
    let is_over = until("the quota is used up, but for what the killed host had", async || {
        count += u64::from(searches(&callers[0]).await?);
        let is_late = time(&redis)? - begun > MINUTE;
        Ok((is_late || count >= 280).then_some(is_late))
    })
    .await?;
    assert!(is_over || count <= 300, "{count}");
    Ok(())
}

#[tokio::test]
async fn a_call_within_its_quotas_pays_no_round_trip_for_them() -> Result<()> {
    let redis = RedisServer::start();
    let much = 1_000_000_000_000_000_u64;
    let quotas = json!({ REQUESTS: 1_000_000, "fuel_per_minute": much, EMBEDDING: much });
    let (hosts, callers) = hosts(&redis, 1, quotas).await?;
    let body = json!({ "name": "free" });
    assert_eq!(hosts[0].post("/v1/admin/tenants", body).await?.status, 201);
    let scripts = || -> Result<u64> {
        let stats = redis.command(&["INFO", "commandstats"]);
        let (_, calls) = stats.split_once("cmdstat_evalsha:calls=").context("no scripts")?;
        Ok(calls.split(',').next().context("no number")?.parse()?)
    };
    let mut ran = Vec::new();
    for caller in [&hosts[0].tenant("free"), &callers[0]] {
        caller.store(json!({ "fact_id": "f", "text": "a fact" })).await?;
        let before = scripts()?;
        for _ in 0..400 {
            assert_eq!(caller.get("/v1/facts/f").await?.status, 200);
        }
        ran.push(scripts()? - before);
    }
    assert!(ran[0] >= 400 && ran[1] < ran[0] + 200, "scripts without and with quotas: {ran:?}");
    Ok(())
}

#[tokio::test]
async fn while_storage_is_away_callers_are_told_that_and_not_of_quotas() -> Result<()> {
    let mut redis = RedisServer::start();
    let quotas = json!({ REQUESTS: 1_000, "fuel_per_minute": 1_000_000_000_000_u64 });
    let (_hosts, callers) = hosts(&redis, 2, quotas).await?;
    for caller in &callers {
        caller.get("/v1/facts/none").await?.assert_error(404, "not_found");
    }
    redis.kill();
    for _ in 0..20 {
        for caller in &callers {
            assert_eq!(caller.get("/v1/facts/none").await?.status, 503);
        }
    }
    redis.restart();
    for caller in &callers {
        until("it answers again", async || {
            Ok((caller.get("/v1/facts/none").await?.status == 404).then_some(()))
        })
        .await?;
    }
    Ok(())
}
