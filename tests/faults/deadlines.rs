//! Time that runs out: what is left of the caller's reaches each import and the guest, a search
//! answers with what it has, and nobody works for a caller who has left.

use std::time::Duration;

use anyhow::{Context, Result};
use http::Method;
use kenning_tests::{
    Answer, Caller, FakeEmbedder, Fault, FaultProxy, Mood, RedisServer, Server, Setup, component,
    send, until,
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// What only commands for the facts of `default` hold.
const FACTS: &str = "kenning:{default}:";

/// So late that it is never.
const NEVER: Fault = Fault::Delay(Duration::from_secs(3_600));

async fn search_within(caller: &Caller, ms: u32, query: Value) -> Result<Answer> {
    let request = caller.request(Method::POST, "/v1/search").json(&query);
    send(request.header("x-kenning-timeout-ms", ms)).await
}

/// Tells the hostile logic to ask `command`, and gives what it was answered.
async fn told(caller: &Caller, ms: u32, command: &str) -> Result<Option<String>> {
    let answer = search_within(caller, ms, json!({ "query": command })).await?;
    Ok(answer.json["degraded"][0].as_str().map(str::to_string))
}

async fn hostile(setup: Setup) -> Result<Server> {
    Server::start_with(Setup { logic: Some(component("hostile")?), ..setup }).await
}

/// What `budget` said of the time left.
fn milliseconds(note: &str) -> Result<u64> {
    let (_, rest) = note.split_once("milliseconds: ").context("a time")?;
    Ok(rest.split(',').next().unwrap_or_default().trim().parse()?)
}

#[tokio::test]
async fn the_guest_sees_what_the_caller_left_it() -> Result<()> {
    let server = hostile(Setup::patient()).await?;
    for (given, at_least) in [(50_000, 30_000), (25_000, 5_000)] {
        let note = told(&server, given, "ask-budget 1").await?.context("a note")?;
        let left = milliseconds(&note)?;
        assert!((at_least..=given.into()).contains(&left), "{note}");
    }
    // More than the server gives is no more.
    let note = told(&server, 3_600_000, "ask-budget 1").await?.context("a note")?;
    assert!(milliseconds(&note)? <= 60_000, "{note}");
    Ok(())
}

/// An import has its own bound where that is shorter, and else a little less than the call: the
/// guest lives to see that it was too long.
#[tokio::test]
async fn an_import_ends_before_its_call_does() -> Result<()> {
    let redis = RedisServer::start();
    let proxy = FaultProxy::start(redis.port()).await?;
    for (limits, given) in [("", 3_000), ("storage_operation_ms = 100", 60_000)] {
        let storage = Some(proxy.url());
        let server = hostile(Setup { storage, ..Setup::patient_but(limits) }).await?;
        until("calls run", async || told(&server, given, "page 1").await).await?;
        proxy.set(NEVER);
        // On a busy machine the guest may come too late all the same.
        let note = until("the guest is told", async || told(&server, given, "page 1").await);
        let note = note.await?;
        assert!(note.contains("Timeout"), "{note}");
        renew(&proxy);
    }
    Ok(())
}

/// Facts that are read in two round trips, of which the second is never answered.
#[tokio::test]
async fn a_search_answers_with_what_it_has() -> Result<()> {
    let redis = RedisServer::start();
    let proxy = FaultProxy::start(redis.port()).await?;
    proxy.count_only(FACTS);
    let setup = Setup { storage: Some(proxy.url()), ..Setup::patient() };
    let server = Server::start_with(setup).await?;
    let line = |n: usize| format!("{{\"text\":\"needle {n}\"}}\n");
    server.post_raw("/v1/import", (0..150).map(line).collect::<String>()).await?;
    let query = json!({ "query": "needle", "mode": "text", "top_k": 150 });
    assert_eq!(server.search(query.clone()).await?.len(), 150);

    let answer = until("a part is answered", async || {
        proxy.set_for(NEVER, 1..usize::MAX);
        let answer = search_within(&server, 3_000, query.clone()).await?;
        renew(&proxy);
        Ok((answer.status == 200).then_some(answer))
    })
    .await?;
    assert_eq!(answer.json["results"].as_array().map(Vec::len), Some(100), "{:.300}", answer.text);
    let degraded = answer.json["degraded"][0].as_str().unwrap_or_default();
    assert!(degraded.starts_with("hits: 100 of at most 150"), "{degraded}");

    proxy.set(NEVER);
    search_within(&server, 1_000, query.clone()).await?.assert_error(504, "timeout");
    renew(&proxy);
    let answer = until("all is answered again", async || {
        let answer = server.post("/v1/search", query.clone()).await?;
        Ok((answer.status == 200).then_some(answer))
    })
    .await?;
    assert_eq!(answer.json["results"].as_array().map(Vec::len), Some(150));
    Ok(())
}

/// The embedding never comes, and what the words found takes its time to be read: for that there
/// is enough left.
#[tokio::test]
async fn a_search_answers_by_words_when_its_embedding_does_not_come() -> Result<()> {
    let (redis, embedder) = (RedisServer::start(), FakeEmbedder::start()?);
    let proxy = FaultProxy::start(redis.port()).await?;
    let setup = Setup { storage: Some(proxy.url()), ..Setup::patient_but("embedding_ms = 60000") };
    let server = Server::start_with(embedder.embeds_for(setup, "openai", "fake-model")).await?;
    let id = server.store(json!({ "text": "needle" })).await?;
    embedder.be(Mood::Silent);
    proxy.set(Fault::Delay(Duration::from_millis(400)));
    let answer = until("words are answered", async || {
        let answer = search_within(&server, 4_000, json!({ "query": "a needle" })).await?;
        Ok((answer.status == 200).then_some(answer))
    })
    .await?;
    assert_eq!(answer.json["results"][0]["doc_id"], *id, "{}", answer.text);
    let degraded = answer.json["degraded"][0].as_str().unwrap_or_default();
    assert!(degraded.starts_with("vector: "), "{degraded}");
    Ok(())
}

/// New connections in place of those whose replies never come.
fn renew(proxy: &FaultProxy) {
    proxy.set(Fault::HangUp);
    proxy.heal();
}

/// A listing that would read on through all facts stops when its caller does.
#[tokio::test]
async fn reading_stops_when_the_caller_leaves() -> Result<()> {
    let redis = RedisServer::start();
    let proxy = FaultProxy::start(redis.port()).await?;
    // The server follows the tenant's changes all the while, which is no reading of facts.
    proxy.count_only("kenning:{default}:fact:");
    let setup = Setup { storage: Some(proxy.url()), ..Setup::patient_but("guests = 1") };
    let server = Server::start_with(setup).await?;
    let line = |n: usize| format!("{{\"fact_id\":\"f{n}\",\"text\":\"fact {n}\"}}\n");
    server.post_raw("/v1/import", (0..3_000).map(line).collect::<String>()).await?;
    kenning_tests::all_indexed(&server).await?;
    until("every vector is stored", async || {
        let pending = redis.command(&["ZCARD", "kenning:{default}:pending"]);
        Ok((pending == ":0\r\n").then_some(()))
    })
    .await?;

    proxy.set(Fault::Delay(Duration::from_millis(100)));
    let before = proxy.commands();
    let caller = (*server).clone();
    let listing = tokio::spawn(async move { caller.get("/v1/facts?query=nowhere").await });
    until("it reads", async || Ok((proxy.commands() > before).then_some(()))).await?;
    listing.abort();
    // It had the only place.
    assert_eq!(server.get("/v1/facts/f1").await?.status, 200);
    let left_at = proxy.commands();
    for _ in 0..5 {
        assert_eq!(server.get("/v1/facts/f1").await?.status, 200);
    }
    assert_eq!(proxy.commands() - left_at, 5, "nothing is read but for those who are here");
    let whole = proxy.commands();
    assert_eq!(server.get("/v1/facts?query=nowhere").await?.status, 200);
    assert!(proxy.commands() - whole > 10, "and it would have been much");
    Ok(())
}

/// Queries that wait for the model are not embedded once nobody wants them.
#[tokio::test]
async fn queued_embeddings_are_dropped_when_their_callers_leave() -> Result<()> {
    const CALLERS: usize = 100;
    let setup = Setup { embedder: Some("local"), ..Setup::patient() };
    let server = Server::start_with(setup).await?;
    let mut callers = JoinSet::new();
    for n in 0..CALLERS {
        let (caller, text) =
            ((*server).clone(), format!("query {n} {}", "of many words ".repeat(700)));
        let query = json!({ "query": text, "mode": "vector" });
        callers.spawn(async move { caller.post("/v1/search", query).await });
    }
    until("the first are embedded", async || Ok((embedded(&server).await? > 0).then_some(())))
        .await?;
    callers.shutdown().await;
    // One that comes after them is embedded after them.
    let last = json!({ "query": "the last", "mode": "vector" });
    assert_eq!(server.post("/v1/search", last).await?.status, 200);
    let embedded = embedded(&server).await?;
    assert!(embedded < CALLERS, "{embedded} were embedded, one of them for somebody");
    Ok(())
}

async fn embedded(server: &Caller) -> Result<usize> {
    let metrics = server.get("/metrics").await?.text;
    let count = metrics.lines().find_map(|line| line.strip_prefix("kenning_embedded_texts_total "));
    Ok(count.map_or(Ok(0), str::parse)?)
}
