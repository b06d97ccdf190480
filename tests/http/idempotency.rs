//! `Idempotency-Key`: one fact, however often it is sent.

use anyhow::Result;
use http::Method;
use kenning_tests::{Answer, Backend, Caller, Server, on_both_backends, send};
use serde_json::{Value, json};

on_both_backends!(
    a_repeated_key_stores_one_fact,
    a_key_with_other_content_is_a_conflict,
    sixteen_at_once_with_one_key_store_one_fact,
    sixteen_at_once_with_one_id_and_their_own_content_store_one_fact,
    keys_and_ids_hold_after_a_restart,
);

async fn store(caller: &Caller, key: &str, fact: Value) -> Result<Answer> {
    let request = caller.request(Method::POST, "/v1/facts").json(&fact);
    send(request.header("idempotency-key", key)).await
}

async fn a_repeated_key_stores_one_fact(backend: &Backend) -> Result<()> {
    let server = backend.serve().await?;
    let fact = json!({ "text": "once", "metadata": { "n": 1 } });
    let first = store(&server, "k", fact.clone()).await?;
    assert_eq!(first.status, 201, "{}", first.text);
    let again = store(&server, "k", fact.clone()).await?;
    assert_eq!((again.status, &again.json), (201, &first.json));
    assert_eq!(server.export().await?.lines().count(), 1);
    let other_key = store(&server, "other", fact.clone()).await?;
    assert_ne!(other_key.json["fact_id"], first.json["fact_id"]);
    let other_tenant = server.tenant("other");
    assert_eq!(store(&other_tenant, "k", json!({ "text": "theirs" })).await?.status, 201);
    assert_eq!(other_tenant.export().await?.lines().count(), 1, "a key is its tenant's own");
    Ok(())
}

async fn a_key_with_other_content_is_a_conflict(backend: &Backend) -> Result<()> {
    let server = backend.serve().await?;
    store(&server, "k", json!({ "text": "once" })).await?;
    let before = server.export().await?;
    store(&server, "k", json!({ "text": "twice" })).await?.assert_error(409, "conflict");
    let with_metadata = json!({ "text": "once", "metadata": { "n": 1 } });
    store(&server, "k", with_metadata).await?.assert_error(409, "conflict");
    assert_eq!(server.export().await?, before);
    Ok(())
}

async fn sixteen_at_once_with_one_key_store_one_fact(backend: &Backend) -> Result<()> {
    let server = backend.serve().await?;
    for round in 0..5 {
        let mut storing = tokio::task::JoinSet::new();
        for _ in 0..16 {
            let caller = server.clone();
            let fact = json!({ "text": format!("round {round}") });
            storing.spawn(async move { store(&caller, &format!("k{round}"), fact).await });
        }
        let answers = storing.join_all().await.into_iter().collect::<Result<Vec<_>>>()?;
        for answer in &answers {
            assert_eq!(answer.status, 201, "{}", answer.text);
            assert_eq!(answer.json["fact_id"], answers[0].json["fact_id"]);
        }
        assert_eq!(server.export().await?.lines().count(), round + 1);
    }
    Ok(())
}

async fn sixteen_at_once_with_one_id_and_their_own_content_store_one_fact(
    backend: &Backend,
) -> Result<()> {
    let server = backend.serve().await?;
    let mut storing = tokio::task::JoinSet::new();
    for number in 0..16 {
        let caller = server.clone();
        let fact = json!({ "text": format!("number{number}"), "fact_id": "a" });
        storing
            .spawn(async move { caller.post("/v1/facts", fact.clone()).await.map(|a| (a, fact)) });
    }
    let answers = storing.join_all().await.into_iter().collect::<Result<Vec<_>>>()?;
    let stored: Vec<_> = answers.iter().filter(|(answer, _)| answer.status == 201).collect();
    let refused: Vec<_> = answers.iter().filter(|(answer, _)| answer.status != 201).collect();
    assert_eq!((stored.len(), refused.len()), (1, 15));
    refused.iter().for_each(|(answer, _)| answer.assert_error(409, "conflict"));
    let text = &stored[0].1["text"];
    assert_eq!(server.get("/v1/facts/a").await?.json["content"], *text);
    assert_eq!(server.search(json!({ "query": text, "mode": "text" })).await?, ["a"]);
    Ok(())
}

async fn keys_and_ids_hold_after_a_restart(backend: &Backend) -> Result<()> {
    let server = backend.serve().await?;
    let first = store(&server, "k", json!({ "text": "once" })).await?;
    server.kill().await?;
    let server = backend.serve().await?;
    let again = store(&server, "k", json!({ "text": "once" })).await?;
    assert_eq!(again.json["fact_id"], first.json["fact_id"]);
    assert_eq!(server.export().await?.lines().count(), 1);
    Ok(())
}

#[tokio::test]
async fn a_key_within_its_bounds_obeyed() -> Result<()> {
    let server = Server::start().await?;
    for key in ["k", "a b:c/d", &"k".repeat(255)] {
        assert_eq!(store(&server, key, json!({ "text": "x" })).await?.status, 201, "{key}");
    }
    Ok(())
}

#[tokio::test]
async fn a_key_within_its_bounds_violated() -> Result<()> {
    let server = Server::start().await?;
    for key in ["", &"k".repeat(256)] {
        let answer = store(&server, key, json!({ "text": "x" })).await?;
        answer.assert_invalid("/headers/idempotency-key");
    }
    assert_eq!(server.export().await?, "");
    Ok(())
}
