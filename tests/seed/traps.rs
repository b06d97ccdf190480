//! What the seed's users lost time to. Each test fails if it comes back.
//!
//! | the seed | here |
//! |---|---|
//! | the first get finds nothing: nobody connected | the first call works, whatever it is |
//! | a failed start is remembered for ever | the next call tries again |
//! | first calls at once each make a connection | they share what there is |
//! | `SCAN` is under no timeout | every listing ends |
//! | `fact:*` matches side keys | only facts are facts |
//! | an id is cut at its first `:` | such ids are refused, and nothing else is touched |
//! | a listing is any 100 facts, in any order | newest first, page by page, each once |
//! | a query reads fact by fact | in a few round trips |
//! | what timed out goes on in a thread | it ends with its answer |
//! | a store that timed out is stored twice | its id or its key makes it one |
//! | a timestamp is local time, nobody knows where | it carries its offset |
//! | metadata cannot be asked for | a search filters by it |

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use futures::future::try_join_all;
use http::Method;
use kenning_tests::{Answer, Caller, RedisServer, Setup, all_indexed, component, send, until};
use serde_json::{Value, json};

use super::monitor::{Command, Monitor};
use super::support::{
    Seed, assert_in_doubt, assert_timeout, assert_unavailable, ids, listed, patient, ready,
};

async fn search_within(caller: &Caller, timeout_ms: u32, query: &str) -> Result<Answer> {
    let request = caller.request(Method::POST, "/v1/search").json(&json!({ "query": query }));
    send(request.header("x-kenning-timeout-ms", timeout_ms)).await
}

#[tokio::test]
async fn the_first_call_works_whatever_it_is() -> Result<()> {
    let mut seed = Seed::start().await?;
    seed.store(json!({ "text": "known before", "fact_id": "a" })).await?;
    seed.settled().await?;
    seed = seed.restart_server().await?;
    assert_eq!(seed.get("/v1/facts/a").await?.json["content"], "known before");
    seed = seed.restart_server().await?;
    assert_eq!(ids(&listed(&seed, "").await?), ["a"].into());
    seed = seed.restart_server().await?;
    assert_eq!(ids(&listed(&seed, "?query=KNOWN").await?), ["a"].into());
    seed = seed.restart_server().await?;
    assert_eq!(seed.search(json!({ "query": "known" })).await?, ["a"]);
    seed = seed.restart_server().await?;
    assert_eq!(seed.delete("/v1/facts/a").await?.status, 200);
    Ok(())
}

/// What the Python service wrote, too, once the server says that it is ready.
#[tokio::test]
async fn the_first_listing_has_the_facts_that_were_there_before() -> Result<()> {
    let redis = RedisServer::start();
    for n in 0..150 {
        let (key, content) = (format!("fact:f{n}"), format!("fact {n}"));
        let timestamp = format!("2025-10-10T12:{:02}:{:02}.5", n / 60, n % 60);
        let words = ["HSET", &key, "content", &content, "metadata", "{}", "timestamp", &timestamp];
        assert_eq!(redis.command(&words), ":3\r\n");
    }
    let seed = Seed::on(redis).await?;
    ready(&seed).await?;
    let list = listed(&seed, "?limit=1000").await?;
    let expected: Vec<Value> = (0..150).rev().map(|n| json!(format!("f{n}"))).collect();
    assert_eq!(list.iter().map(|fact| fact["id"].clone()).collect::<Vec<_>>(), expected);
    Ok(())
}

#[tokio::test]
async fn a_start_without_redis_is_not_remembered() -> Result<()> {
    let mut seed = Seed::without_redis().await?;
    assert_unavailable(&seed.get("/v1/facts").await?);
    seed.redis.restart();
    let answer = seed.post("/v1/facts", json!({ "text": "stored at once" })).await?;
    assert_eq!(answer.status, 201, "{}", answer.text);
    assert_eq!(listed(&seed, "").await?.len(), 1);
    ready(&seed).await
}

#[tokio::test]
async fn first_calls_at_once_all_work() -> Result<()> {
    let mut seed = Seed::start().await?;
    for round in 1..=3 {
        let taken = seed.connections_taken()?;
        let store = |n: usize| seed.store(json!({ "text": format!("round {round} fact {n}") }));
        let stored = try_join_all((0..32).map(store)).await?;
        assert_eq!(stored.iter().collect::<BTreeSet<_>>().len(), 32);
        seed.assert_shared_connections(taken)?;
        assert_eq!(seed.fact_keys().len(), 32 * round);
        seed = seed.restart_server().await?;
    }
    Ok(())
}

#[tokio::test]
async fn every_listing_ends_when_redis_hangs() -> Result<()> {
    let seed = Seed::hasty(RedisServer::start()).await?;
    for id in ["a", "b", "c"] {
        seed.store_surely(id, "fact").await?;
    }
    let next = until("there is a next page", async || {
        let page = seed.get("/v1/facts?limit=1").await?.json;
        Ok(page["next_cursor"].as_str().map(|cursor| format!("/v1/facts?cursor={cursor}")))
    })
    .await?;
    seed.redis.stop();
    let paths = ["/v1/facts", "/v1/facts?query=fact", &next, "/v1/export"];
    for answer in try_join_all(paths.map(|path| seed.get(path))).await? {
        assert_timeout(&answer);
    }
    Ok(())
}

#[tokio::test]
async fn side_keys_are_ignored() -> Result<()> {
    let seed = Seed::start().await?;
    seed.store(json!({ "text": "a fact", "fact_id": "ours" })).await?;
    for command in [
        &["HSET", "fact:origin:session:x", "content", "a side hash", "id", "x"][..],
        &["HSET", "fact:versions:ours", "content", "a side hash"],
        &["SADD", "fact:members", "ours"],
        &["SET", "fact:count", "1"],
        // Found in the same look as those before it.
        &["HSET", "fact:theirs", "content", "a fact"],
    ] {
        seed.redis.command(command);
    }
    let keys = seed.fact_keys();
    until("the fact among them is found", async || {
        Ok((listed(&seed, "").await?.len() > 1).then_some(()))
    })
    .await?;
    all_indexed(&seed).await?;
    let expected: BTreeSet<&str> = ["ours", "theirs"].into();
    assert_eq!(ids(&listed(&seed, "").await?), expected);
    assert_eq!(listed(&seed, "?query=side").await?, [json!(null); 0]);
    assert_eq!(seed.search(json!({ "query": "side", "mode": "text" })).await?, [""; 0]);
    assert_eq!(seed.export().await?.lines().count(), 2);
    assert_eq!(seed.get("/v1/stats").await?.json["facts"], 2);
    assert_eq!(seed.fact_keys(), keys, "they are left as they are");
    Ok(())
}

#[tokio::test]
async fn an_id_with_a_colon_is_refused_and_nothing_else_is_touched() -> Result<()> {
    let seed = Seed::start().await?;
    seed.store(json!({ "text": "the fact a", "fact_id": "a" })).await?;
    seed.redis.command(&["HSET", "fact:a:b", "content", "not the fact a"]);
    let before = seed.get("/v1/facts/a").await?.json;
    for id in ["a:b", "a:", ":a", "fact:a", "origin:session:x"] {
        let path = format!("/v1/facts/{id}");
        let fact = json!({ "text": "text", "fact_id": id });
        seed.post("/v1/facts", fact).await?.assert_invalid("/fact_id");
        seed.get(&path).await?.assert_invalid("/fact_id");
        seed.patch(&path, json!({ "text": "changed" })).await?.assert_invalid("/fact_id");
        seed.delete(&path).await?.assert_invalid("/fact_id");
    }
    assert_eq!(seed.get("/v1/facts/a").await?.json, before);
    assert_eq!(seed.fact_keys(), ["fact:a".to_string(), "fact:a:b".to_string()].into());
    assert_eq!(seed.redis.command(&["HGET", "fact:a:b", "content"]), "$14\r\nnot the fact a\r\n");
    Ok(())
}

#[tokio::test]
async fn a_listing_is_newest_first_and_each_fact_once_page_by_page() -> Result<()> {
    let seed = Seed::start().await?;
    for n in 0..25 {
        seed.store(json!({ "text": "x", "fact_id": format!("f{n:02}") })).await?;
    }
    let mut order = Vec::new();
    let mut cursor = String::new();
    for page in 0..3 {
        let answer = seed.get(&format!("/v1/facts?limit=10{cursor}")).await?;
        let facts = answer.json["facts"].as_array().context("facts")?;
        order.extend(facts.iter().map(|fact| fact["id"].as_str().unwrap_or_default().to_string()));
        cursor = match answer.json["next_cursor"].as_str() {
            Some(next) => format!("&cursor={next}"),
            None => String::new(),
        };
        // Neither must move what is still to come.
        seed.store(json!({ "text": "x", "fact_id": format!("new{page}") })).await?;
        seed.delete(&format!("/v1/facts/{}", order[0])).await?;
    }
    let expected: Vec<String> = (0..25).rev().map(|n| format!("f{n:02}")).collect();
    assert_eq!(order, expected);
    assert_eq!(cursor, "");
    Ok(())
}

#[tokio::test]
async fn a_query_takes_a_few_round_trips_however_many_facts_there_are() -> Result<()> {
    // The flat layout has its background look, whose commands are not the query's.
    let seed = Seed::with(RedisServer::start(), patient()).await?;
    let mut sent = Vec::new();
    for count in [10, 90] {
        let lines: String =
            (0..count).map(|n| format!("{{\"text\":\"needle {count} {n}\"}}\n")).collect();
        seed.post_raw("/v1/import", lines).await?;
        seed.settled().await?;
        // Redis is told the scripts with their first call.
        listed(&seed, "?query=needle").await?;
        let monitor = Monitor::begin(&seed.redis).await?;
        listed(&seed, "?query=needle").await?;
        let commands = monitor.end(&seed.redis).await?;
        // Hosts look for what other hosts changed ten times a second.
        let of_query = |command: &&Command| command.is_sent() && !command.is_of_all_tenants();
        sent.push(commands.iter().filter(of_query).count());
    }
    assert_eq!(listed(&seed, "?query=needle").await?.len(), 100);
    assert_eq!(sent[0], sent[1], "commands for 10 facts and for 100");
    assert!(sent[1] <= 4, "{sent:?}");
    Ok(())
}

/// One place for calls, which whatever goes on after its answer would hold for as long
/// as these limits let it: longer than anyone waits for the place.
const ONE_PLACE: &str = "[limits]\nguests = 1\nguest_wait_ms = 60000\nsearch_ms = 600000\n\
                         call_ms = 600000\nstorage_operation_ms = 600000\n\
                         fuel_base = 1000000000000000\nfuel_max = 1000000000000000\n";

/// Searches that are given up one after the other.
async fn give_up(caller: &Caller, query: &str) -> Result<()> {
    for timeout_ms in [100, 1, 1, 1, 1].repeat(4) {
        let answer = search_within(caller, timeout_ms, query).await?;
        // A busy machine may take longer than the next one waits to clear the place.
        assert!(["timeout", "overloaded"].contains(&answer.code()), "{}", answer.text);
    }
    Ok(())
}

#[tokio::test]
async fn searches_that_time_out_while_they_wait_leave_nothing_behind() -> Result<()> {
    let setup = Setup { config: Some(ONE_PLACE.into()), ..Setup::default() };
    let seed = Seed::with(RedisServer::start(), setup).await?;
    seed.store(json!({ "text": "needle", "fact_id": "a" })).await?;
    // Reading facts for the index takes the place, too.
    seed.settled().await?;
    seed.redis.stop();
    give_up(&seed, "needle").await?;
    // It has the place to itself, and waits for Redis.
    search_within(&seed, 3_000, "needle").await?.assert_error(504, "timeout");
    seed.redis.cont();
    assert_eq!(seed.search(json!({ "query": "needle" })).await?, ["a"]);
    Ok(())
}

/// The same of searches that compute: here the logic is one that spins on request.
#[tokio::test]
async fn searches_that_time_out_while_they_compute_leave_nothing_behind() -> Result<()> {
    let (config, logic) = (Some(ONE_PLACE.into()), Some(component("hostile")?));
    let setup = Setup { config, logic, ..Setup::default() };
    let seed = Seed::with(RedisServer::start(), setup).await?;
    seed.store(json!({ "text": "needle", "fact_id": "a" })).await?;
    give_up(&seed, "spin").await?;
    assert_eq!(seed.search(json!({ "query": "needle", "mode": "text" })).await?, ["a"]);
    Ok(())
}

/// Stores while Redis hangs, by `request`, which is sent again when it is back.
async fn store_in_doubt_and_again(
    seed: &Seed,
    request: impl Fn() -> reqwest::RequestBuilder,
) -> Result<Answer> {
    seed.store_surely("before", "before").await?;
    seed.settled().await?;
    // What is sent, Redis does when it goes on.
    seed.connected().await?;
    seed.redis.stop();
    assert_in_doubt(&send(request()).await?);
    seed.redis.cont();
    until("the store in doubt has happened", async || {
        Ok((seed.fact_keys().len() == 2).then_some(()))
    })
    .await?;
    until("it is acknowledged", async || {
        let answer = send(request()).await?;
        Ok((answer.status == 201).then_some(answer))
    })
    .await
}

#[tokio::test]
async fn a_store_in_doubt_is_one_fact_when_repeated_with_its_key() -> Result<()> {
    let seed = Seed::hasty(RedisServer::start()).await?;
    let request = || {
        let request = seed.request(Method::POST, "/v1/facts").header("idempotency-key", "order-7");
        request.json(&json!({ "text": "during", "metadata": { "n": 1 } }))
    };
    let answer = store_in_doubt_and_again(&seed, request).await?;
    let id = answer.json["fact_id"].as_str().context("an id")?;
    assert_one_fact(&seed, id).await
}

#[tokio::test]
async fn a_store_in_doubt_is_one_fact_when_repeated_with_its_id() -> Result<()> {
    let seed = Seed::hasty(RedisServer::start()).await?;
    let request = || {
        let fact = json!({ "text": "during", "metadata": { "n": 1 }, "fact_id": "chosen" });
        seed.request(Method::POST, "/v1/facts").json(&fact)
    };
    let answer = store_in_doubt_and_again(&seed, request).await?;
    assert_eq!(answer.json["fact_id"], "chosen");
    assert_one_fact(&seed, "chosen").await
}

async fn assert_one_fact(seed: &Seed, id: &str) -> Result<()> {
    assert_eq!(seed.fact_keys(), [format!("fact:{id}"), "fact:before".to_string()].into());
    assert_eq!(ids(&listed(seed, "?query=during").await?), [id].into());
    all_indexed(seed).await?;
    assert_eq!(seed.search(json!({ "query": "during", "mode": "text" })).await?, [id]);
    Ok(())
}

#[tokio::test]
async fn timestamps_carry_an_offset() -> Result<()> {
    let seed = Seed::start().await?;
    let id = seed.store(json!({ "text": "now" })).await?;
    let fact = seed.get(&format!("/v1/facts/{id}")).await?.json;
    let timestamp = fact["timestamp"].as_str().context("a timestamp")?;
    // 2026-11-23T17:48:43.123456+00:00
    let (time, offset) = timestamp.split_at_checked(26).context("microseconds")?;
    assert_eq!((&time[10..11], offset), ("T", "+00:00"), "{timestamp}");
    assert_eq!(seed.field(&id, "timestamp")?, timestamp, "in the hash, too");
    Ok(())
}

#[tokio::test]
async fn metadata_can_be_asked_for() -> Result<()> {
    let seed = Seed::start().await?;
    for (id, metadata) in [
        ("a", json!({ "source": "guide", "priority": 3 })),
        ("b", json!({ "source": "guide", "priority": 1 })),
        ("c", json!({ "source": "chat", "priority": 3 })),
    ] {
        seed.store(json!({ "text": "the same", "metadata": metadata, "fact_id": id })).await?;
    }
    let filter = json!({ "source": "guide", "priority": { "gte": 2 } });
    for mode in ["text", "vector", "hybrid"] {
        let query = json!({ "query": "the same", "filter": filter, "mode": mode });
        assert_eq!(seed.search(query).await?, ["a"], "{mode}");
    }
    Ok(())
}
