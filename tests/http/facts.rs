//! `/v1/facts`: one at a time.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use kenning_tests::{Backend, all_indexed, on_both_backends, spelled};
use serde_json::json;

on_both_backends!(
    a_stored_fact_is_read_back_as_it_was_sent,
    a_fact_without_an_id_gets_one_of_its_own,
    the_callers_id_is_kept_and_repeating_the_store_changes_nothing,
    every_legal_id_works_on_every_route,
    the_same_id_with_other_content_is_a_conflict,
    a_patch_changes_what_it_names_and_nothing_else,
    a_patched_fact_is_found_by_its_new_text_only,
    a_deleted_fact_is_gone_from_every_route,
    what_is_not_there_is_not_found,
    many_stores_at_once_are_all_kept,
    changes_at_once_leave_what_is_stored_and_what_is_found_the_same,
);

/// Texts that some layer could take for syntax.
const TEXTS: [&str; 7] = [
    "plain",
    " kept as it is, with its spaces \n",
    "quotes \" ' and a \\ backslash, {braces} and [brackets], a \u{7f} and a tab \t",
    "日本語のテキスト, Ελληνικά, עברית, 🦀 and e\u{301}",
    "a NUL \u{0} inside",
    "<script>alert(1)</script> %00 %s ${x} ; DROP TABLE facts; --",
    "\r\n*1\r\n$8\r\nFLUSHALL\r\n",
];

async fn a_stored_fact_is_read_back_as_it_was_sent(backend: &Backend) -> Result<()> {
    let server = backend.serve().await?;
    for text in TEXTS {
        let metadata = json!({ "text": text, "list": [1, null, true, { text: [] }], "f": 0.1 });
        let id = server.store(json!({ "text": text, "metadata": metadata })).await?;
        let fact = server.get(&format!("/v1/facts/{id}")).await?;
        assert_eq!(fact.status, 200, "{}", fact.text);
        assert_eq!(fact.json["id"], id);
        assert_eq!(fact.json["content"], text);
        assert_eq!(fact.json["metadata"], metadata);
    }
    let body = r#"{"text":"x","fact_id":"n","metadata":{"n":12345678901234567890123,"x":1.10}}"#;
    assert_eq!(server.post_raw("/v1/facts", body).await?.status, 201);
    let fact = server.get("/v1/facts/n").await?;
    let metadata = r#""metadata":{"n":12345678901234567890123,"x":1.10}"#;
    assert!(fact.text.contains(metadata), "no digit is lost: {}", fact.text);
    Ok(())
}

async fn a_fact_without_an_id_gets_one_of_its_own(backend: &Backend) -> Result<()> {
    let server = backend.serve().await?;
    let one = server.post("/v1/facts", json!({ "text": "Tea is hot." })).await?;
    let two = server.post("/v1/facts", json!({ "text": "Tea is hot." })).await?;
    assert_eq!(one.status, 201);
    assert_eq!(one.json["status"], "success");
    assert_eq!(one.json["message"], "Fact stored successfully");
    assert_eq!(one.json["indexed"], true);
    let id = one.json["fact_id"].as_str().unwrap_or_default();
    assert!(id.len() == 36 && id.split('-').count() == 5, "a UUID: {id}");
    assert_ne!(one.json["fact_id"], two.json["fact_id"]);
    let fact = server.get(&format!("/v1/facts/{id}")).await?;
    assert_eq!(fact.json["metadata"], json!({}));
    let timestamp = fact.json["timestamp"].as_str().unwrap_or_default();
    assert!(timestamp.starts_with("20") && timestamp.ends_with("+00:00"), "{timestamp}");
    Ok(())
}

async fn the_callers_id_is_kept_and_repeating_the_store_changes_nothing(
    backend: &Backend,
) -> Result<()> {
    let server = backend.serve().await?;
    let longest = "_".repeat(128);
    for id in ["a", "A.b_c-9", "_", &longest] {
        let fact = json!({ "text": id, "metadata": { "a": 1, "b": 2 }, "fact_id": id });
        assert_eq!(server.store(fact.clone()).await?, id);
        let before = server.export().await?;
        assert_eq!(server.store(fact).await?, id);
        let reordered = json!({ "fact_id": id, "metadata": { "b": 2, "a": 1 }, "text": id });
        assert_eq!(server.store(reordered).await?, id);
        assert_eq!(server.export().await?, before);
    }
    Ok(())
}

/// Also the words that routes are made of.
async fn every_legal_id_works_on_every_route(backend: &Backend) -> Result<()> {
    let server = backend.serve().await?;
    let document = server.get("/openapi.json").await?.json;
    let paths = document["paths"].as_object().context("paths")?.keys();
    let words = paths.flat_map(|path| path.split('/')).filter(|word| !word.contains('{'));
    let long = "x".repeat(128);
    let edges = ["_", "0", "a..b", "A-.", "%62atch", &long];
    let ids: BTreeSet<&str> = words.filter(|word| !word.is_empty()).chain(edges).collect();
    assert!(ids.contains("batch"), "{ids:?}");
    for id in ids {
        let (path, named) = (format!("/v1/facts/{id}"), id.replace("%62", "b"));
        server.store(json!({ "text": "said once", "fact_id": named })).await?;
        let fact = server.get(&path).await?;
        assert_eq!((fact.status, &fact.json["id"]), (200, &json!(named)), "{}", fact.text);
        let changed = server.patch(&path, json!({ "text": "said twice" })).await?;
        assert_eq!((changed.status, &changed.json["fact_id"]), (200, &json!(named)), "{id}");
        assert_eq!(server.get(&path).await?.json["content"], "said twice");
        assert_eq!(server.delete(&path).await?.status, 200, "{id}");
        assert_eq!(server.get(&path).await?.status, 404, "{id}");
    }
    Ok(())
}

async fn the_same_id_with_other_content_is_a_conflict(backend: &Backend) -> Result<()> {
    let server = backend.serve().await?;
    server.store(json!({ "text": "one", "metadata": { "n": 1 }, "fact_id": "a" })).await?;
    let before = server.export().await?;
    for other in [
        json!({ "text": "two", "metadata": { "n": 1 }, "fact_id": "a" }),
        json!({ "text": "one", "metadata": { "n": 2 }, "fact_id": "a" }),
        json!({ "text": "one", "fact_id": "a" }),
    ] {
        let answer = server.post("/v1/facts", other).await?;
        answer.assert_error(409, "conflict");
        assert!(answer.json["message"].as_str().unwrap_or_default().contains("\"a\""));
        assert_eq!(answer.json["retryable"], false);
    }
    assert_eq!(server.export().await?, before);
    Ok(())
}

async fn a_patch_changes_what_it_names_and_nothing_else(backend: &Backend) -> Result<()> {
    let server = backend.serve().await?;
    server.store(json!({ "text": "older", "fact_id": "older" })).await?;
    server.store(json!({ "text": "one", "metadata": { "n": 1 }, "fact_id": "a" })).await?;
    let before = server.get("/v1/facts/a").await?.json;

    let answer = server.patch("/v1/facts/a", json!({ "text": "two" })).await?;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.json["status"], "success");
    assert_eq!(answer.json["fact_id"], "a");
    let mut expected = before.clone();
    expected["content"] = "two".into();
    assert_eq!(server.get("/v1/facts/a").await?.json, expected);

    server.patch("/v1/facts/a", json!({ "metadata": { "m": [2] } })).await?;
    expected["metadata"] = json!({ "m": [2] });
    assert_eq!(server.get("/v1/facts/a").await?.json, expected, "the whole object is replaced");

    server.patch("/v1/facts/a", json!({ "text": "three", "metadata": {} })).await?;
    expected["content"] = "three".into();
    expected["metadata"] = json!({});
    assert_eq!(server.get("/v1/facts/a").await?.json, expected);
    let list = server.get("/v1/facts").await?;
    assert_eq!(list.json["facts"][0], expected, "its place stays");
    Ok(())
}

async fn a_patched_fact_is_found_by_its_new_text_only(backend: &Backend) -> Result<()> {
    let server = backend.serve().await?;
    server.store(json!({ "text": "zanzibar", "metadata": { "k": "old" }, "fact_id": "a" })).await?;
    server.store(json!({ "text": "filler words", "fact_id": "b" })).await?;
    server.patch("/v1/facts/a", json!({ "text": "quito", "metadata": { "k": "new" } })).await?;
    all_indexed(&server).await?;
    let found = async |query| server.search(query).await;
    assert_eq!(found(json!({ "query": "quito", "mode": "text" })).await?, ["a"]);
    assert_eq!(found(json!({ "query": "quito", "mode": "vector", "top_k": 1 })).await?, ["a"]);
    assert!(found(json!({ "query": "zanzibar", "mode": "text" })).await?.is_empty());
    let by_metadata = |k: &str| json!({ "query": "quito", "filter": { "k": k } });
    assert_eq!(found(by_metadata("new")).await?, ["a"]);
    assert!(found(by_metadata("old")).await?.is_empty());
    let hit = server.post("/v1/search", json!({ "query": "quito", "top_k": 1 })).await?;
    assert_eq!(hit.json["results"][0]["content"], "quito");
    Ok(())
}

async fn a_deleted_fact_is_gone_from_every_route(backend: &Backend) -> Result<()> {
    let server = backend.serve().await?;
    for id in ["a", "b"] {
        server.store(json!({ "text": "the same words", "fact_id": id })).await?;
    }
    let answer = server.delete("/v1/facts/a").await?;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!((&answer.json["status"], &answer.json["fact_id"]), (&json!("success"), &json!("a")));
    server.get("/v1/facts/a").await?.assert_error(404, "not_found");
    server.delete("/v1/facts/a").await?.assert_error(404, "not_found");
    server.patch("/v1/facts/a", json!({ "text": "x" })).await?.assert_error(404, "not_found");
    let list = server.get("/v1/facts").await?;
    assert_eq!(list.json["facts"].as_array().map(Vec::len), Some(1));
    assert!(!server.export().await?.contains("\"id\":\"a\""));
    for mode in ["hybrid", "vector", "text"] {
        assert_eq!(server.search(json!({ "query": "the same words", "mode": mode })).await?, ["b"]);
    }
    assert_eq!(all_indexed(&server).await?["facts"], 1);
    server.store(json!({ "text": "a new one", "fact_id": "a" })).await?;
    assert_eq!(server.get("/v1/facts/a").await?.json["content"], "a new one");
    assert_eq!(server.search(json!({ "query": "new", "mode": "text" })).await?, ["a"]);
    Ok(())
}

async fn what_is_not_there_is_not_found(backend: &Backend) -> Result<()> {
    let server = backend.serve().await?;
    for id in ["nothing", "7f6c1f0e-5a0b-4c38-9a55-0d6e7a3f2b11"] {
        let path = format!("/v1/facts/{id}");
        for answer in [
            server.get(&path).await?,
            server.delete(&path).await?,
            server.patch(&path, json!({ "text": "x" })).await?,
        ] {
            answer.assert_error(404, "not_found");
            assert!(answer.json["message"].as_str().unwrap_or_default().contains(id));
            assert_eq!(answer.json["blame"], "caller");
        }
    }
    assert_eq!(server.export().await?, "");
    Ok(())
}

async fn many_stores_at_once_are_all_kept(backend: &Backend) -> Result<()> {
    let server = backend.serve().await?;
    let mut storing = tokio::task::JoinSet::new();
    for number in 0..60 {
        let caller = server.clone();
        let text = format!("fact number {number}");
        storing.spawn(async move {
            Ok::<_, anyhow::Error>((caller.store(json!({ "text": text })).await?, text))
        });
    }
    for stored in storing.join_all().await {
        let (id, text) = stored?;
        assert_eq!(server.get(&format!("/v1/facts/{id}")).await?.json["content"], text);
    }
    let stats = all_indexed(&server).await?;
    assert_eq!((&stats["facts"], &stats["indexed"]), (&json!(60), &json!(60)));
    Ok(())
}

/// Each change reaches storage and the index on its own way; their order must agree.
async fn changes_at_once_leave_what_is_stored_and_what_is_found_the_same(
    backend: &Backend,
) -> Result<()> {
    let server = backend.serve().await?;
    server.store(json!({ "text": "word", "fact_id": "a" })).await?;
    for round in 0..5 {
        let mut changing = tokio::task::JoinSet::new();
        for number in 0..12 {
            let caller = server.clone();
            let change = json!({ "text": spelled("round", 100 * round + number) });
            changing.spawn(async move { caller.patch("/v1/facts/a", change).await });
        }
        for answer in changing.join_all().await {
            assert_eq!(answer?.status, 200);
        }
        let text = server.get("/v1/facts/a").await?.json["content"].clone();
        all_indexed(&server).await?;
        for number in 0..12 {
            let word = spelled("round", 100 * round + number);
            let found = server.search(json!({ "query": word, "mode": "text" })).await?;
            assert_eq!(found.len(), usize::from(text == word), "{word}, stored: {text}");
        }
        let query = json!({ "query": text, "mode": "vector", "explain": true });
        let answer = server.post("/v1/search", query).await?.json;
        let score = answer["results"][0]["score"].as_f64().unwrap_or_default();
        assert!(score > 0.999, "its vector is the stored text's: {answer}");
    }
    Ok(())
}
