//! Servers with a far embedder, and what they say while it fails.

use anyhow::Result;
use kenning_tests::{Answer, Backend, Caller, FakeEmbedder, Server, Setup, until};
use serde_json::{Value, json};

pub(super) const MODEL: &str = "fake-model";

/// A patient server, and its far embedder.
pub(super) fn setup(backend: &Backend, fake: &FakeEmbedder) -> Setup {
    fake.embeds_for(backend.setup(), "openai", MODEL)
}

/// The same with these lines of `[limits]`.
pub(super) fn setup_with(backend: &Backend, fake: &FakeEmbedder, limits: &str) -> Setup {
    Setup { config: Setup::patient_but(limits).config, ..setup(backend, fake) }
}

/// A server on embedded storage of its own.
pub(super) async fn serve(fake: &FakeEmbedder) -> Result<Server> {
    Server::start_with(fake.embeds_for(Setup::patient(), "openai", MODEL)).await
}

/// Stores a fact; gives whether its vector was there in time.
pub(super) async fn store(caller: &Caller, id: &str, text: &str) -> Result<bool> {
    let answer = caller.post("/v1/facts", json!({ "fact_id": id, "text": text })).await?;
    assert_eq!(answer.status, 201, "{}", answer.text);
    assert_eq!(answer.json["fact_id"], id);
    Ok(answer.json["indexed"] == true)
}

pub(super) async fn search(caller: &Caller, query: &str, mode: &str) -> Result<Answer> {
    caller.post("/v1/search", json!({ "query": query, "mode": mode, "top_k": 1 })).await
}

/// The best hit, which must be there.
pub(super) async fn best(caller: &Caller, query: &str, mode: &str) -> Result<String> {
    let ids = caller.search(json!({ "query": query, "mode": mode, "top_k": 1 })).await?;
    Ok(ids.into_iter().next().unwrap_or_default())
}

/// By words, and by both halves with the one named that is missing.
pub(super) async fn assert_found_by_words(caller: &Caller, query: &str, id: &str) -> Result<()> {
    assert_eq!(best(caller, query, "text").await?, id);
    let both = search(caller, query, "hybrid").await?;
    assert_eq!((both.status, &both.json["results"][0]["doc_id"]), (200, &json!(id)));
    let degraded = both.json["degraded"][0].as_str().unwrap_or_default();
    assert!(degraded.starts_with("vector: "), "{}", both.text);
    Ok(())
}

#[track_caller]
pub(super) fn assert_unavailable(answer: &Answer) {
    answer.assert_error(503, "embedding_unavailable");
    assert_backend(answer, "Embedding not available: ");
}

#[track_caller]
pub(super) fn assert_backend(answer: &Answer, begins: &str) {
    let message = answer.json["message"].as_str().unwrap_or_default();
    assert!(message.starts_with(begins), "{message}");
    assert!(!message.contains("127.0.0.1"), "no host is named: {message}");
    let (retryable, blame) = (&answer.json["retryable"], &answer.json["blame"]);
    assert_eq!((retryable, blame), (&json!(true), &json!("backend")));
}

/// An embedder that fails takes neither the process nor its readiness with it.
pub(super) async fn assert_ready(caller: &Caller) -> Result<()> {
    for path in ["/livez", "/readyz"] {
        let answer = caller.get(path).await?;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
    }
    Ok(())
}

/// Waits until so many facts can be found by meaning.
pub(super) async fn indexed(caller: &Caller, count: u64) -> Result<Value> {
    until("so many facts are indexed", async || {
        let stats = caller.get("/v1/stats").await?.json;
        Ok((stats["indexed"] == count).then_some(stats))
    })
    .await
}
