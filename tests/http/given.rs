//! Tenants whose callers give the vectors.

use anyhow::{Result, ensure};
use kenning_tests::{Answer, Backend, Caller, component, on_both_backends, until};
use serde_json::{Value, json};
use tokio::task::JoinSet;

on_both_backends!(
    facts_are_found_by_the_vectors_that_their_callers_gave,
    a_vector_that_does_not_fit_is_refused_by_name,
    a_change_keeps_the_vector_or_brings_a_new_one,
    a_change_of_metadata_takes_no_vector_of_another_text,
    given_vectors_outlive_a_restart,
    the_same_content_with_another_vector_is_a_conflict,
    an_extension_that_splits_a_fact_is_refused,
);

/// A tenant of its own, whose vectors have three numbers.
async fn tenant(server: &Caller) -> Result<Caller> {
    let tenant = json!({ "name": "acme", "embedder": "given", "dimensions": 3 });
    let created = server.post("/v1/admin/tenants", tenant).await?;
    ensure!(created.status == 201, "{}", created.text);
    assert_eq!(
        (&created.json["embedder"], &created.json["dimensions"]),
        (&json!("given"), &json!(3))
    );
    Ok(server.tenant("acme"))
}

async fn near(caller: &Caller, vector: [f32; 3]) -> Result<Answer> {
    caller.post("/v1/search", json!({ "vector": vector, "top_k": 3 })).await
}

fn ids(answer: &Answer) -> Vec<&str> {
    let hits = answer.json["results"].as_array().into_iter().flatten();
    hits.filter_map(|hit| hit["id"].as_str()).collect()
}

fn fact(id: &str, text: &str, vector: Value) -> Value {
    json!({ "id": id, "text": text, "vector": vector })
}

async fn facts_are_found_by_the_vectors_that_their_callers_gave(backend: &Backend) -> Result<()> {
    let server = backend.serve().await?;
    let acme = tenant(&server).await?;
    let stored = acme.post("/v1/facts", fact("x", "one", json!([10, 0, 0]))).await?;
    assert_eq!((stored.status, &stored.json["indexed"]), (201, &json!(true)), "{}", stored.text);
    // Equal texts with different vectors, in one batch.
    let batch = json!({ "facts": [
        fact("y", "one", json!([0, 0.5, 0])),
        fact("z", "one", json!([0, 0, 1e-20])),
    ] });
    let batch = acme.post("/v1/facts/batch", batch).await?;
    assert_eq!(batch.json["results"][1]["indexed"], true, "{}", batch.text);
    let line = fact("xy", "two", json!([1, 1, 0])).to_string();
    assert_eq!(acme.post_raw("/v1/import", line).await?.status, 200);
    let found = near(&acme, [1.0, 0.1, 0.0]).await?;
    assert_eq!(ids(&found), ["x", "xy", "y"], "{}", found.text);
    assert_eq!(found.json["degraded"], json!([]));
    let similarity = found.json["results"][0]["similarity"].as_f64().unwrap_or_default();
    assert!((similarity - 1.0 / 1.01_f64.sqrt()).abs() < 1e-3, "{}", found.text);
    let hybrid = json!({ "query": "two", "vector": [0, 0, 1], "top_k": 2 });
    let hybrid = acme.post("/v1/search", hybrid).await?;
    let mut both = ids(&hybrid);
    both.sort_unstable();
    assert_eq!(both, ["xy", "z"], "{}", hybrid.text);
    let words = acme.post("/v1/search", json!({ "query": "two", "mode": "text" })).await?;
    assert_eq!(ids(&words), ["xy"]);
    let without = acme.post("/v1/search", json!({ "query": "two" })).await?;
    assert_eq!(ids(&without), ["xy"], "by words alone");
    let degraded = without.json["degraded"].to_string();
    assert!(degraded.contains("given by its callers"), "and it says so: {degraded}");
    let stats = acme.get("/v1/stats").await?.json;
    assert_eq!((&stats["embedding"]["kind"], &stats["dimensions"]), (&json!("given"), &json!(3)));
    assert_eq!((&stats["indexed"], &stats["pending"]), (&json!(4), &json!(0)));
    Ok(())
}

async fn a_vector_that_does_not_fit_is_refused_by_name(backend: &Backend) -> Result<()> {
    let server = backend.serve().await?;
    let acme = tenant(&server).await?;
    for vector in [json!(null), json!([1, 2]), json!([1, 2, 3, 4]), json!([0, 0, 0])] {
        let refused = acme.post("/v1/facts", fact("a", "t", vector.clone())).await?;
        refused.assert_invalid("/vector");
        let refused = acme.post("/v1/search", json!({ "query": "t", "vector": vector })).await?;
        if vector.is_null() {
            assert_eq!(refused.status, 200, "{}", refused.text);
        } else {
            refused.assert_invalid("/vector");
        }
    }
    let huge = acme.post("/v1/facts", fact("a", "t", json!([1e39, 0, 0]))).await?;
    assert_eq!(huge.status, 400, "{}", huge.text);
    let blind = json!({ "query": "t", "mode": "vector" });
    acme.post("/v1/search", blind).await?.assert_invalid("/vector");
    acme.post("/v1/search", json!({})).await?.assert_invalid("/query");
    let elsewhere = server.post("/v1/facts", fact("a", "t", json!([1, 2, 3]))).await?;
    elsewhere.assert_invalid("/vector");
    for (tenant, pointer) in [
        (json!({ "name": "b", "embedder": "given" }), "/dimensions"),
        (json!({ "name": "b", "embedder": "given", "dimensions": 0 }), "/dimensions"),
        (json!({ "name": "b", "embedder": "given", "dimensions": 4097 }), "/dimensions"),
        (json!({ "name": "b", "dimensions": 3 }), "/dimensions"),
        (json!({ "name": "b", "embedder": "mine" }), "/embedder"),
    ] {
        server.post("/v1/admin/tenants", tenant).await?.assert_invalid(pointer);
    }
    server.tenant("full").store(json!({ "text": "t" })).await?;
    let full = json!({ "name": "full", "embedder": "given", "dimensions": 3 });
    server.post("/v1/admin/tenants", full).await?.assert_error(409, "conflict");
    Ok(())
}

async fn a_change_keeps_the_vector_or_brings_a_new_one(backend: &Backend) -> Result<()> {
    let server = backend.serve().await?;
    let acme = tenant(&server).await?;
    for (id, vector) in [("x", json!([1, 0, 0])), ("y", json!([0, 1, 0]))] {
        assert_eq!(acme.post("/v1/facts", fact(id, "t", vector)).await?.status, 201);
    }
    let changed = acme.patch("/v1/facts/x", json!({ "metadata": { "n": 1 } })).await?;
    assert_eq!((changed.status, &changed.json["indexed"]), (200, &json!(true)), "{}", changed.text);
    assert_eq!(ids(&near(&acme, [1.0, 0.0, 0.0]).await?)[0], "x");
    acme.patch("/v1/facts/x", json!({ "text": "u" })).await?.assert_invalid("/vector");
    let moved = json!({ "text": "u", "vector": [0, 0, 1] });
    assert_eq!(acme.patch("/v1/facts/x", moved).await?.status, 200);
    assert_eq!(ids(&near(&acme, [0.0, 0.0, 1.0]).await?)[0], "x");
    assert_eq!(ids(&near(&acme, [1.0, 0.1, 0.0]).await?)[0], "y");
    let upsert = json!({ "id": "x", "text": "u", "vector": [1, 0, 0], "mode": "upsert" });
    let upserted = acme.post("/v1/facts", upsert).await?;
    assert_eq!(upserted.json["indexed"], true, "{}", upserted.text);
    assert_eq!(ids(&near(&acme, [1.0, 0.0, 0.0]).await?)[0], "x", "the same text, moved");
    Ok(())
}

/// Between a new text and its vector, the fact has the vector of the old text.
async fn a_change_of_metadata_takes_no_vector_of_another_text(backend: &Backend) -> Result<()> {
    const FACTS: usize = 12;
    let server = backend.serve().await?;
    let acme = tenant(&server).await?;
    let mut changing = JoinSet::new();
    for number in 0..FACTS {
        let id = format!("f{number}");
        acme.post("/v1/facts", fact(&id, "old", json!([1, 0, 0]))).await?;
        let path = format!("/v1/facts/{id}");
        let (caller, at) = (acme.clone(), path.clone());
        let moved = json!({ "text": "new", "vector": [0, 1, 0] });
        changing.spawn(async move { caller.patch(&at, moved).await });
        let caller = acme.clone();
        let note = json!({ "metadata": { "n": number } });
        changing.spawn(async move { caller.patch(&path, note).await });
    }
    for answer in changing.join_all().await {
        let answer = answer?;
        assert_eq!(
            (answer.status, &answer.json["indexed"]),
            (200, &json!(true)),
            "{}",
            answer.text
        );
    }
    let query = json!({ "vector": [0, 1, 0], "top_k": FACTS });
    let found = acme.post("/v1/search", query).await?;
    let hits = found.json["results"].as_array().cloned().unwrap_or_default();
    let moved = hits.iter().filter(|hit| hit["similarity"] == json!(1.0)).count();
    assert_eq!(moved, FACTS, "{}", found.text);
    Ok(())
}

async fn given_vectors_outlive_a_restart(backend: &Backend) -> Result<()> {
    let server = backend.serve().await?;
    let acme = tenant(&server).await?;
    acme.post("/v1/facts", fact("x", "one", json!([1, 0, 0]))).await?;
    acme.post("/v1/facts", fact("y", "two", json!([0, 1, 0]))).await?;
    server.kill().await?;
    let server = backend.serve().await?;
    let acme = server.tenant("acme");
    until("the index is whole again", async || {
        let found = near(&acme, [0.1, 1.0, 0.0]).await?;
        Ok((ids(&found) == ["y", "x"] && found.json["degraded"] == json!([])).then_some(()))
    })
    .await?;
    acme.post("/v1/facts", json!({ "text": "three" })).await?.assert_invalid("/vector");
    Ok(())
}

async fn the_same_content_with_another_vector_is_a_conflict(backend: &Backend) -> Result<()> {
    let server = backend.serve().await?;
    let acme = tenant(&server).await?;
    let one = fact("x", "one", json!([1, 0, 0]));
    assert_eq!(acme.post("/v1/facts", one.clone()).await?.status, 201);
    assert_eq!(acme.post("/v1/facts", one).await?.status, 201, "a store can be repeated");
    let other = fact("x", "one", json!([0, 1, 0]));
    acme.post("/v1/facts", other).await?.assert_error(409, "conflict");
    assert_eq!(near(&acme, [1.0, 0.0, 0.0]).await?.json["results"][0]["similarity"], json!(1.0));
    Ok(())
}

async fn an_extension_that_splits_a_fact_is_refused(backend: &Backend) -> Result<()> {
    let server = backend.serve().await?;
    let acme = tenant(&server).await?;
    let chunk = std::fs::read(component("chunk")?)?;
    assert_eq!(server.install("acme", "chunk", chunk, "").await?.status, 200);
    let long = "A sentence of a long text. ".repeat(200);
    acme.post("/v1/facts", fact("x", &long, json!([1, 0, 0]))).await?.assert_invalid("/vector");
    let short = acme.post("/v1/facts", fact("y", "short", json!([1, 0, 0]))).await?;
    assert_eq!(short.status, 201, "{}", short.text);
    Ok(())
}
