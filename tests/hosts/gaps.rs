//! Changes that a host can no longer read one by one: it reads the whole tenant again.

use std::collections::BTreeSet;

use anyhow::Result;
use kenning_tests::{Caller, RedisServer, until};
use serde_json::{Value, json};

use super::{host, ids, search};

/// Waits until the host's index agrees with storage, fact by fact: each is found by its own word
/// and nothing else is.
async fn until_agreed(host: &Caller, wanted: &BTreeSet<String>) -> Result<()> {
    until("the index agrees with storage", async || {
        let query = json!({ "query": "common", "mode": "text", "top_k": 1000 });
        let answer = search(host, query, None).await?;
        if answer.status != 200 || ids(&answer)?.into_iter().collect::<BTreeSet<_>>() != *wanted {
            return Ok(None);
        }
        let hits = answer.json["results"].as_array().cloned().unwrap_or_default();
        for hit in &hits {
            let (id, content) = (hit["doc_id"].as_str(), hit["content"].as_str());
            let own = content.and_then(|content| content.split(' ').next()).unwrap_or_default();
            let found = search(host, json!({ "query": own, "mode": "text" }), None).await?;
            if ids(&found)?.first().map(String::as_str) != id {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
    .await
}

fn fact(n: usize, word: &str) -> Value {
    json!({ "fact_id": format!("f{n}"), "text": format!("{word}{n} common") })
}

#[tokio::test]
async fn after_a_cut_stream_all_indexes_agree_with_storage() -> Result<()> {
    let redis = RedisServer::start();
    let (one, two) = (host(&redis).await?, host(&redis).await?);
    let mut wanted = BTreeSet::new();
    for n in 0..20 {
        wanted.insert(one.store(fact(n, "old")).await?);
    }
    until_agreed(&two, &wanted).await?;
    // A script of the test writes many changes and cuts the stream before anybody can read it.
    let cut = "for n = 0, 9 do redis.call('HSET', 'kenning:{default}:fact:f' .. n, 'content', \
               'new' .. n .. ' common') redis.call('INCR', 'kenning:{default}:revision') end \
               redis.call('DEL', 'kenning:{default}:fact:f10') \
               redis.call('ZREM', 'kenning:{default}:order', 'f10') \
               redis.call('XTRIM', 'kenning:{default}:stream', 'MAXLEN', 0) return 1";
    assert_eq!(redis.command(&["EVAL", cut, "0"]), ":1\r\n");
    wanted.remove("f10");
    for host in [&one, &two] {
        until("the changed facts are found", async || {
            let found = search(host, json!({ "query": "new7", "mode": "text" }), None).await?;
            Ok((ids(&found)?.first().is_some_and(|id| id == "f7")).then_some(()))
        })
        .await?;
        until_agreed(host, &wanted).await?;
    }
    wanted.insert(two.store(fact(30, "later")).await?);
    until_agreed(&one, &wanted).await
}

#[tokio::test]
async fn after_a_restart_of_redis_hosts_follow_again() -> Result<()> {
    let mut redis = RedisServer::start();
    let (one, two) = (host(&redis).await?, host(&redis).await?);
    let mut wanted = BTreeSet::new();
    wanted.insert(one.store(fact(0, "before")).await?);
    redis.kill();
    redis.restart();
    until("a store", async || {
        Ok((one.post("/v1/facts", fact(1, "after")).await?.status == 201).then_some(()))
    })
    .await?;
    wanted.insert("f1".into());
    until_agreed(&two, &wanted).await?;
    until_agreed(&one, &wanted).await?;
    for host in [&one, &two] {
        until("no longer behind", async || {
            Ok((host.get("/readyz").await?.status == 200).then_some(()))
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_host_that_cannot_read_changes_says_so_until_it_can() -> Result<()> {
    let redis = RedisServer::start();
    let (one, two) = (host(&redis).await?, host(&redis).await?);
    let mut wanted = BTreeSet::from([one.store(fact(0, "before")).await?]);
    until_agreed(&two, &wanted).await?;
    redis.command(&["SET", "kenning:{default}:stream", "of another program"]);
    until("it says so", async || {
        let answer = search(&two, json!({ "query": "common", "mode": "text" }), None).await?;
        let says = answer.json["degraded"].to_string().contains("changes of other hosts");
        Ok((says && two.get("/readyz").await?.status == 503).then_some(()))
    })
    .await?;
    // The next write replaces what is there.
    wanted.insert(one.store(fact(1, "after")).await?);
    until_agreed(&two, &wanted).await?;
    until("it is ready", async || Ok((two.get("/readyz").await?.status == 200).then_some(()))).await
}

#[tokio::test]
async fn when_a_tenant_begins_anew_hosts_forget_what_it_had() -> Result<()> {
    let redis = RedisServer::start();
    let (one, two) = (host(&redis).await?, host(&redis).await?);
    let mut wanted = BTreeSet::new();
    for n in 0..5 {
        wanted.insert(one.store(fact(n, "before")).await?);
    }
    until_agreed(&two, &wanted).await?;
    let keys = ["fact:f0", "fact:f1", "fact:f2", "fact:f3", "fact:f4", "order", "pending"];
    let keys = keys.into_iter().chain(["revision", "bytes", "stream"]);
    let keys: Vec<String> = keys.map(|key| format!("kenning:{{default}}:{key}")).collect();
    let delete = ["DEL", "kenning:tenants"].into_iter().chain(keys.iter().map(String::as_str));
    redis.command(&delete.collect::<Vec<_>>());
    let again = BTreeSet::from([two.store(fact(9, "again")).await?]);
    for host in [&one, &two] {
        until("the index holds the new fact alone", async || {
            // It may have been dropped, and is loaded for a search.
            search(host, json!({ "query": "common", "mode": "text" }), None).await?;
            let stats = host.get("/v1/stats").await?;
            Ok((stats.json["index"]["facts"] == 1).then_some(()))
        })
        .await?;
        until_agreed(host, &again).await?;
    }
    Ok(())
}

/// A host serves while it builds its indexes at its start, one tenant after the other.
#[tokio::test]
async fn what_another_host_deletes_while_a_host_starts_is_in_no_index() -> Result<()> {
    let redis = RedisServer::start();
    let one = host(&redis).await?;
    // Read first.
    let lines = (0..4_000).map(|n| format!("{{\"fact_id\":\"i{n}\",\"text\":\"imported {n}\"}}"));
    let lines = lines.collect::<Vec<_>>().join("\n");
    let imported = one.tenant("a").post_raw("/v1/import", lines).await?;
    assert_eq!(imported.status, 200, "{}", imported.text);
    let here = one.tenant("z");
    let mut wanted = BTreeSet::from([here.store(fact(0, "before")).await?]);
    let two = host(&redis).await?;
    let there = two.tenant("z");
    for n in 1..20 {
        let id = there.store(fact(n, "meanwhile")).await?;
        assert_eq!(here.delete(&format!("/v1/facts/{id}")).await?.status, 200);
    }
    wanted.insert(here.store(fact(30, "after")).await?);
    until("it is ready", async || Ok((two.get("/readyz").await?.status == 200).then_some(())))
        .await?;
    until_agreed(&there, &wanted).await?;
    until("nothing else is in the index", async || {
        Ok((there.get("/v1/stats").await?.json["index"]["facts"] == wanted.len()).then_some(()))
    })
    .await
}
