//! What is told of changes that are no longer kept.

use anyhow::Result;
use kenning_tests::{Backend, Caller, ChangeStream, Server, Setup, on_both_backends, until};
use serde_json::json;

use super::told;

on_both_backends!(
    a_caller_that_is_too_far_behind_is_told_which_changes_are_missing,
    a_position_beyond_the_last_is_a_gap,
);

async fn a_caller_that_is_too_far_behind_is_told_which_changes_are_missing(
    backend: &Backend,
) -> Result<()> {
    let limits = Setup::patient_but("stream_changes = 50");
    let setup = Setup { config: limits.config, ..backend.setup() };
    let server = Server::start_with(setup).await?;
    let facts: Vec<_> = (0..100).map(|n| json!({ "text": format!("fact {n}") })).collect();
    for _ in 0..5 {
        server.post("/v1/facts/batch", json!({ "facts": facts })).await?;
    }
    // Each fact has a revision, and so has its vector.
    until_revision(&server, 1_000).await?;
    server.store(json!({ "text": "the last", "fact_id": "last" })).await?;
    until_revision(&server, 1_002).await?;
    let mut stream = ChangeStream::open(&server, "?after=3&follow=false").await?;
    let events = stream.rest().await?;
    let (gap, kept) = (&events[0], &events[1..]);
    assert_eq!((&*gap.name, &gap.data["from"]), ("gap", &json!(3)));
    let to = gap.data["to"].as_u64().unwrap_or_default();
    assert!(to > 400, "{gap:?}");
    assert!(kept.iter().all(|event| event.id > to && event.name == "stored"), "{kept:?}");
    assert_eq!(kept.last().map(|event| event.told().1), Some("last"));
    // One that connects again after the gap has it behind it.
    let again = ChangeStream::resume(&server, "?after=3&follow=false", to).await?.rest().await?;
    assert_eq!(again, kept);
    Ok(())
}

async fn until_revision(server: &Caller, revision: u64) -> Result<()> {
    until("all vectors are stored", async || {
        let stream = ChangeStream::open(server, "?follow=false").await?;
        Ok((stream.revision()? >= revision).then_some(()))
    })
    .await
}

/// Of a tenant that was deleted and begun anew, for example.
async fn a_position_beyond_the_last_is_a_gap(backend: &Backend) -> Result<()> {
    let server = backend.serve().await?;
    server.store(json!({ "text": "x", "fact_id": "a" })).await?;
    let mut stream = ChangeStream::open(&server, "?after=1000000").await?;
    let gap = stream.take(1).await?.remove(0);
    assert_eq!((&*gap.name, &gap.data["from"]), ("gap", &json!(1_000_000)));
    assert!(gap.id < 100, "{gap:?}");
    server.store(json!({ "text": "y", "fact_id": "b" })).await?;
    assert_eq!(told(&stream.take(1).await?), [("stored", "b")]);
    Ok(())
}

/// Revisions begin anew under callers that are listening.
#[tokio::test]
async fn when_redis_loses_everything_callers_are_told() -> Result<()> {
    let backend = Backend::redis()?;
    let server = backend.serve().await?;
    let facts: Vec<_> = (0..20).map(|n| json!({ "text": format!("fact {n}") })).collect();
    server.post("/v1/facts/batch", json!({ "facts": facts })).await?;
    let mut stream = ChangeStream::open(&server, "").await?;
    let redis = backend.redis_server().expect("a Redis");
    redis.command(&["FLUSHALL"]);
    let gap = stream.take(1).await?.remove(0);
    assert_eq!((&*gap.name, gap.id), ("gap", 0));
    server.store(json!({ "text": "again", "fact_id": "again" })).await?;
    assert_eq!(told(&stream.take(1).await?), [("stored", "again")]);
    Ok(())
}

#[tokio::test]
async fn while_redis_is_away_callers_wait_and_miss_nothing() -> Result<()> {
    let mut backend = Backend::redis()?;
    let server = backend.serve().await?;
    server.store(json!({ "text": "x", "fact_id": "a" })).await?;
    let mut stream = ChangeStream::open(&server, "").await?;
    let redis = backend.redis_server_mut().expect("a Redis");
    redis.kill();
    let away = server.get("/v1/changes").await?;
    assert_eq!((away.status, away.code()), (503, "storage_unavailable"), "{}", away.text);
    redis.restart();
    until("a store", async || {
        let fact = json!({ "text": "y", "fact_id": "b" });
        let stored = server.post("/v1/facts", fact).await?;
        Ok(matches!(stored.status, 200 | 201).then_some(()))
    })
    .await?;
    assert_eq!(told(&stream.take(1).await?), [("stored", "b")]);
    Ok(())
}
