//! The embedder takes its time, or for ever.

use anyhow::Result;
use http::Method;
use kenning_tests::{
    Backend, FakeEmbedder, Mood, Server, all_indexed, on_both_backends, send, until,
};
use serde_json::json;

use super::support::{
    assert_backend, assert_found_by_words, assert_ready, best, search, serve, setup_with, store,
};

on_both_backends!(an_embedder_that_never_answers_costs_its_bound_and_no_more);

/// Each wait has a bound, and behind it the embedder is silent for ever.
const BOUNDS: &str = "store_embedding_ms = 100\nembedding_ms = 200";

async fn an_embedder_that_never_answers_costs_its_bound_and_no_more(
    backend: &Backend,
) -> Result<()> {
    let fake = FakeEmbedder::start()?;
    fake.be(Mood::Silent);
    let server = Server::start_with(setup_with(backend, &fake, BOUNDS)).await?;
    assert_ready(&server).await?;
    for id in ["red", "blue"] {
        assert!(!store(&server, id, &format!("the colour {id}")).await?);
        assert_found_by_words(&server, id, id).await?;
    }
    let vector = search(&server, "red", "vector").await?;
    vector.assert_error(504, "timeout");
    assert_backend(&vector, "Embedding timeout: ");
    server.kill().await?;
    let server = Server::start_with(setup_with(backend, &fake, BOUNDS)).await?;
    assert_found_by_words(&server, "blue", "blue").await?;
    server.kill().await?;
    fake.be(Mood::Well);
    let server = Server::start_with(setup_with(backend, &fake, "")).await?;
    all_indexed(&server).await?;
    assert_eq!(best(&server, "the colour red", "vector").await?, "red");
    Ok(())
}

#[tokio::test]
async fn a_store_waits_for_a_vector_that_comes_in_time() -> Result<()> {
    let fake = FakeEmbedder::start()?;
    let server = serve(&fake).await?;
    fake.be(Mood::Slow);
    let caller = server.clone();
    let storing = tokio::spawn(async move { store(&caller, "tea", "Tea is hot.").await });
    until("the embedder is asked", async || Ok(fake.was_asked_for("Tea").then_some(()))).await?;
    assert_eq!(best(&server, "anything else", "text").await?, "", "nothing else waits");
    fake.be(Mood::Well);
    assert!(storing.await??, "its vector was there");
    assert_eq!(best(&server, "Tea is hot.", "vector").await?, "tea");
    Ok(())
}

/// The caller's own bound is the shorter one.
#[tokio::test]
async fn a_callers_timeout_ends_a_wait_for_the_embedder() -> Result<()> {
    let fake = FakeEmbedder::start()?;
    let server = serve(&fake).await?;
    assert!(store(&server, "tea", "Tea is hot.").await?);
    fake.be(Mood::Silent);
    let ask = |mode: &str| {
        let body = json!({ "query": "tea", "mode": mode });
        let request = server.request(Method::POST, "/v1/search").json(&body);
        send(request.header("x-kenning-timeout-ms", "300"))
    };
    ask("vector").await?.assert_error(504, "timeout");
    let both = ask("hybrid").await?;
    assert_eq!((both.status, &both.json["results"][0]["doc_id"]), (200, &json!("tea")));
    Ok(())
}
