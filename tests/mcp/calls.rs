//! Calls that fail, that are cancelled, and that are many.

use anyhow::{Context, Result};
use futures::future::try_join_all;
use kenning_tests::{FakeEmbedder, Mood, Server, Setup, component, until};
use serde_json::{Value, json};

use super::agent::{Agent, KINDS, Kind, NEWEST};
use super::{ADMIN, call, error_in, open, post, result};

#[tokio::test]
async fn an_error_says_what_to_do() -> Result<()> {
    let server = Server::start().await?;
    let mut agent = Agent::over_http(Kind::Python(NEWEST), &server).await?;
    agent.call("store_fact", json!({ "content": "first", "id": "a" })).await?.ok()?;
    for (tool, arguments, code, pointer) in [
        ("store_fact", json!({}), "invalid_request", "/content"),
        ("store_fact", json!({ "content": 7 }), "invalid_request", "/content"),
        ("store_fact", json!({ "content": " " }), "invalid_request", "/content"),
        ("store_fact", json!({ "content": "x", "metadata": [] }), "invalid_request", "/metadata"),
        ("store_fact", json!({ "content": "x", "tags": [] }), "invalid_request", "/tags"),
        ("store_fact", json!({ "content": "x".repeat(300_000) }), "too_large", ""),
        ("store_fact", json!({ "content": "second", "id": "a" }), "conflict", ""),
        ("get_fact", json!({}), "invalid_request", "/id"),
        ("get_fact", json!({ "id": "none" }), "not_found", ""),
        ("search_facts", json!({ "query": "x", "top_k": 0 }), "invalid_request", "/top_k"),
        (
            "search_facts",
            json!({ "query": "x", "filter": { "a": { "near": 1 } } }),
            "invalid_filter",
            "",
        ),
        ("list_facts", json!({ "limit": 1_001 }), "invalid_request", "/limit"),
        ("list_facts", json!({ "cursor": "?" }), "invalid_request", ""),
        ("update_fact", json!({ "id": "none", "content": "x" }), "not_found", ""),
        ("update_fact", json!({ "id": "a" }), "invalid_request", ""),
        ("delete_fact", json!({ "id": "none" }), "not_found", ""),
        ("kb_stats", json!({ "all": true }), "invalid_request", "/all"),
    ] {
        let error = agent.call(tool, arguments).await?.error()?;
        assert_eq!(error["code"], code, "{tool}: {error}");
        if !pointer.is_empty() {
            assert_eq!(error["details"]["pointer"], pointer, "{tool}: {error}");
        }
    }
    let unknown = agent.call("launch", json!({})).await;
    assert!(unknown.is_err_and(|error| error.to_string().contains("there is no tool `launch`")));
    Ok(())
}

#[tokio::test]
async fn a_failure_is_on_record_like_any_other() -> Result<()> {
    let embedder = FakeEmbedder::start()?;
    let server = Server::start_with(embedder.embeds_for(Setup::default(), "openai", "m")).await?;
    embedder.be(Mood::Status(500, None));
    let session = open(&server).await?;
    let query = json!({ "query": "anything", "mode": "vector" });
    let failed = post(&server, Some(&session), call("search_facts", query)).await?;
    assert_eq!(error_in(&failed)?["code"], "embedding_unavailable");
    let id = failed.header("x-request-id");
    let record = server.get(&format!("/v1/admin/requests/{id}")).await?;
    assert_eq!((record.status, &record.json["code"]), (200, &json!("embedding_unavailable")));
    Ok(())
}

#[tokio::test]
async fn an_answer_names_the_guests_and_the_revision() -> Result<()> {
    let server = Server::start().await?;
    let session = open(&server).await?;
    let stored =
        post(&server, Some(&session), call("store_fact", json!({ "content": "a" }))).await?;
    result(&stored)?;
    assert_eq!(stored.header("x-kenning-generation"), "1");
    assert_ne!(stored.header("x-kenning-revision"), "");
    Ok(())
}

/// A call that goes on holds one of the tenant's places for longer than the test waits, and more
/// are cancelled than there are places.
#[tokio::test]
async fn a_cancelled_call_ends_and_the_client_goes_on() -> Result<()> {
    let embedder = FakeEmbedder::start()?;
    let limits = "search_ms = 600000\nembedding_ms = 600000";
    let setup = Setup { admin_key: Some(ADMIN), ..Setup::patient_but(limits) };
    let server = Server::start_with(embedder.embeds_for(setup, "openai", "m")).await?;
    let admin = server.key(ADMIN);
    let limits = json!({ "concurrent_calls": 4 });
    let created = admin.post("/v1/admin/tenants", json!({ "name": "acme", "limits": limits }));
    let key = created.await?.json["key"].as_str().context("no key")?.to_owned();
    let (url, bearer) = (format!("{}/mcp", server.url()), format!("Bearer {key}"));
    for kind in KINDS {
        let mut direct = Agent::to(kind, &url, &[("authorization", &bearer)]).await?;
        cancel(&mut direct, &embedder).await.with_context(|| format!("{kind:?} over HTTP"))?;
        let bridge = ["--server", server.url(), "--key", &key];
        let mut bridged = Agent::over_stdio(kind, &bridge).await?;
        cancel(&mut bridged, &embedder).await.with_context(|| format!("{kind:?} over stdio"))?;
    }
    Ok(())
}

async fn cancel(agent: &mut Agent, embedder: &FakeEmbedder) -> Result<()> {
    embedder.be(Mood::Slow);
    for number in 0..3 {
        let query = json!({ "query": format!("slow {number}"), "mode": "vector" });
        let slow =
            json!({ "tool": "search_facts", "arguments": query, "after": 0.3, "do": "cancel" });
        assert_eq!(agent.act(slow).await?, json!({ "cancelled": true }));
    }
    until("the cancelled calls have ended", async || {
        let called = agent.call("kb_stats", json!({})).await?;
        Ok((!called.is_error).then_some(()))
    })
    .await?;
    embedder.be(Mood::Well);
    agent.call("search_facts", json!({ "query": "tea" })).await?.ok().map(drop)
}

#[tokio::test]
async fn many_clients_at_once_are_served() -> Result<()> {
    let server = Server::start().await?;
    let serving = (0..12).map(|number| {
        let (kind, server) = (KINDS[number % KINDS.len()], &server);
        async move {
            let mut agent = Agent::over_http(kind, server).await?;
            let prefix = format!("client {number}");
            let many = json!({ "do": "stores", "prefix": prefix, "count": 50, "at_once": 8 });
            assert_eq!(agent.act(many).await?, json!({ "failed": [] }));
            agent.close().await
        }
    });
    try_join_all(serving).await?;
    assert_eq!(server.get("/v1/count").await?.json["count"], 600);
    Ok(())
}

#[tokio::test]
async fn what_a_hook_hides_is_hidden_from_agents() -> Result<()> {
    let server = Server::start().await?;
    let hooks = std::fs::read(component("hooks")?)?;
    server.store(json!({ "text": "withheld entirely", "fact_id": "withheld" })).await?;
    server.store(json!({ "text": "the secret is out", "fact_id": "hidden" })).await?;
    let installed = server.install("default", "hooks", hooks, "").await?;
    assert_eq!(installed.status, 200, "{}", installed.text);
    let mut agent = Agent::over_http(Kind::TypeScript, &server).await?;
    let read = agent.call("get_fact", json!({ "id": "withheld" })).await?.error()?;
    assert_eq!(read["code"], "not_found");
    let question = json!({ "question": "secret withheld entirely" });
    let prompt = json!({ "do": "prompt", "prompt": "recall", "arguments": question });
    for seen in [
        agent.call("list_facts", json!({})).await?.ok()?,
        agent.call("search_facts", json!({ "query": "secret withheld entirely" })).await?.ok()?,
        Value::from(agent.list("resources").await?),
        agent.act(prompt).await?,
        agent.act(json!({ "do": "read", "uri": "kenning://facts/hidden" })).await?,
    ] {
        let seen = seen.to_string();
        assert!(seen.contains("[hidden] is out"), "{seen}");
        assert!(
            !seen.contains("the secret") && !seen.contains("kenning://facts/withheld"),
            "{seen}"
        );
    }
    let refused = agent.call("store_fact", json!({ "content": "please refuse this" })).await?;
    assert_eq!(refused.error()?["code"], "rejected");
    Ok(())
}
