//! Each text is embedded once, by the host that took it; when that host is gone, by another.

use std::collections::HashMap;

use anyhow::Result;
use kenning_tests::{FakeEmbedder, Mood, RedisServer, Server, Setup, all_indexed, until};
use serde_json::json;

use super::{host_with, ids, search};

async fn host(redis: &RedisServer, fake: &FakeEmbedder) -> Result<Server> {
    let setup = Setup::patient_but("store_embedding_ms = 500");
    host_with(redis, fake.embeds_for(setup, "openai", "m")).await
}

/// How often each text of a fact was to be embedded.
fn counts(fake: &FakeEmbedder) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    for text in fake.asked().into_iter().flat_map(|asked| asked.texts) {
        if text.contains("number") {
            *counts.entry(text).or_default() += 1;
        }
    }
    counts
}

#[tokio::test]
async fn two_hosts_embed_each_text_once() -> Result<()> {
    let (redis, fake) = (RedisServer::start(), FakeEmbedder::start()?);
    let hosts = [host(&redis, &fake).await?, host(&redis, &fake).await?];
    for n in 0..60 {
        hosts[n % 2].store(json!({ "text": format!("fact number {n}") })).await?;
    }
    for host in &hosts {
        all_indexed(host).await?;
    }
    let counts = counts(&fake);
    assert_eq!(counts.len(), 60);
    let twice: Vec<_> = counts.iter().filter(|(_, count)| **count != 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    Ok(())
}

#[tokio::test]
async fn what_a_killed_host_did_not_embed_another_does() -> Result<()> {
    let (redis, fake) = (RedisServer::start(), FakeEmbedder::start()?);
    let (one, two) = (host(&redis, &fake).await?, host(&redis, &fake).await?);
    one.store(json!({ "text": "fact number 1" })).await?;
    all_indexed(&two).await?;
    fake.be(Mood::Slow);
    let stored = one.post("/v1/facts", json!({ "fact_id": "late", "text": "number 2" })).await?;
    assert_eq!((stored.status, &stored.json["indexed"]), (201, &json!(false)));
    one.kill().await?;
    until("its text is found", async || {
        let found = search(&two, json!({ "query": "2", "mode": "text" }), None).await?;
        Ok((ids(&found)? == ["late"]).then_some(()))
    })
    .await?;
    fake.be(Mood::Well);
    all_indexed(&two).await?;
    Ok(())
}
