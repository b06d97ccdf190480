//! What a store does where the id is taken, the names of its members, and merged metadata.

use anyhow::{Result, ensure};
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use kenning_tests::{Answer, Backend, Caller, all_indexed, component, on_both_backends, send};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

on_both_backends!(
    every_name_of_a_member_is_taken_and_differing_ones_are_refused,
    an_upsert_stores_or_replaces,
    an_update_changes_only_what_is_there,
    an_idempotency_key_stands_for_one_fact_in_every_mode,
    the_drafts_of_a_batch_are_stored_in_their_order,
    of_many_upserts_at_once_one_wins_whole,
    merges_at_once_are_all_kept,
    a_merge_patch_removes_what_is_null,
    a_change_seen_by_an_extension_loses_no_other_change,
    an_import_upserts_the_lines_that_say_nothing_else,
);

async fn merge(caller: &Caller, id: &str, patch: Value) -> Result<Answer> {
    let request = caller.request(Method::PATCH, &format!("/v1/facts/{id}"));
    // In place of the type that every request of a caller has.
    let merge_patch = HeaderValue::from_static("application/merge-patch+json; charset=utf-8");
    let request = request.headers(HeaderMap::from_iter([(CONTENT_TYPE, merge_patch)]));
    send(request.body(patch.to_string())).await
}

async fn fact(caller: &Caller, id: &str) -> Result<(Value, Value)> {
    let fact = caller.get(&format!("/v1/facts/{id}")).await?;
    ensure!(fact.status == 200, "{}", fact.text);
    Ok((fact.json["content"].clone(), fact.json["metadata"].clone()))
}

async fn every_name_of_a_member_is_taken_and_differing_ones_are_refused(
    backend: &Backend,
) -> Result<()> {
    let server = backend.serve().await?;
    let names = [("text", "fact_id"), ("content", "id"), ("content", "doc_id")];
    for (number, (text, id)) in names.into_iter().enumerate() {
        let own = format!("a{number}");
        let stored = server.post("/v1/facts", json!({ text: "one", id: own })).await?;
        assert_eq!(stored.status, 201, "{}", stored.text);
        assert_eq!((&stored.json["id"], &stored.json["fact_id"]), (&json!(own), &json!(own)));
        let line = json!({ text: "two", id: format!("b{number}") }).to_string();
        let imported = server.post_raw("/v1/import", line).await?;
        assert_eq!(imported.status, 200, "{}", imported.text);
        let changed = server.patch(&format!("/v1/facts/{own}"), json!({ text: "three" })).await?;
        assert_eq!(changed.json["id"], json!(own), "{}", changed.text);
        assert_eq!(fact(&server, &own).await?.0, "three");
    }
    let both = json!({ "text": "one", "content": "one", "id": "c", "fact_id": "c" });
    assert_eq!(server.post("/v1/facts", both).await?.status, 201);
    for (body, pointer) in [
        (json!({ "text": "one", "content": "two" }), "/content"),
        (json!({ "text": "one", "fact_id": "c", "id": "d" }), "/id"),
        (json!({ "text": "one", "id": "c", "doc_id": "d" }), "/doc_id"),
        (json!({ "fact_id": "c" }), "/text"),
    ] {
        server.post("/v1/facts", body).await?.assert_invalid(pointer);
    }
    let differing = json!({ "text": "one", "content": "two" });
    server.patch("/v1/facts/c", differing).await?.assert_invalid("/content");
    Ok(())
}

async fn an_upsert_stores_or_replaces(backend: &Backend) -> Result<()> {
    let server = backend.serve().await?;
    let draft = |text: &str, number: u32| {
        let metadata = json!({ "n": number });
        json!({ "text": text, "id": "a", "metadata": metadata, "mode": "upsert" })
    };
    let first = server.post("/v1/facts", draft("zanzibar", 1)).await?;
    assert_eq!(first.status, 201, "{}", first.text);
    let stored = server.get("/v1/facts/a").await?.json;
    let second = server.post("/v1/facts", draft("quito", 2)).await?;
    assert_eq!(second.status, 200, "{}", second.text);
    assert_eq!(second.json["message"], "Fact updated successfully");
    let revisions = [&first, &second].map(|one| one.header("x-kenning-revision").parse::<u64>());
    assert!(revisions[0].clone()? < revisions[1].clone()?);
    let replaced = server.get("/v1/facts/a").await?.json;
    assert_eq!(
        (&replaced["content"], &replaced["metadata"]),
        (&json!("quito"), &json!({ "n": 2 }))
    );
    assert_eq!(replaced["timestamp"], stored["timestamp"], "when it was first stored");
    all_indexed(&server).await?;
    let found = async |query: &str| server.search(json!({ "query": query, "mode": "text" })).await;
    assert_eq!(found("quito").await?, ["a"]);
    assert!(found("zanzibar").await?.is_empty());
    let inserted = json!({ "text": "lima", "id": "a", "mode": "insert" });
    server.post("/v1/facts", inserted).await?.assert_error(409, "conflict");
    let unknown = json!({ "text": "lima", "id": "a", "mode": "replace" });
    server.post("/v1/facts", unknown).await?.assert_invalid("/mode");
    Ok(())
}

async fn an_idempotency_key_stands_for_one_fact_in_every_mode(backend: &Backend) -> Result<()> {
    let server = backend.serve().await?;
    let keyed = async |body: Value| {
        let request = server.request(Method::POST, "/v1/facts").header("idempotency-key", "k");
        send(request.body(body.to_string())).await
    };
    let first = keyed(json!({ "text": "one", "mode": "upsert" })).await?;
    let again = keyed(json!({ "text": "one", "mode": "upsert" })).await?;
    assert_eq!((first.status, again.status), (201, 201), "{}", again.text);
    assert_eq!(first.json["id"], again.json["id"]);
    keyed(json!({ "text": "two", "mode": "upsert" })).await?.assert_error(409, "conflict");
    keyed(json!({ "text": "two", "mode": "update" })).await?.assert_invalid("/fact_id");
    Ok(())
}

async fn an_update_changes_only_what_is_there(backend: &Backend) -> Result<()> {
    let server = backend.serve().await?;
    let update = |text: &str| json!({ "text": text, "id": "a", "mode": "update" });
    server.post("/v1/facts", update("one")).await?.assert_error(404, "not_found");
    let nameless = json!({ "text": "one", "mode": "update" });
    server.post("/v1/facts", nameless).await?.assert_invalid("/fact_id");
    server.store(json!({ "text": "one", "id": "a", "metadata": { "n": 1 } })).await?;
    let updated = server.post("/v1/facts", update("two")).await?;
    assert_eq!(updated.status, 200, "{}", updated.text);
    assert_eq!(fact(&server, "a").await?, (json!("two"), json!({})));
    Ok(())
}

async fn the_drafts_of_a_batch_are_stored_in_their_order(backend: &Backend) -> Result<()> {
    let server = backend.serve().await?;
    let draft = |id: &str, text: &str, mode: &str| json!({ "id": id, "text": text, "mode": mode });
    let batch = json!({ "facts": [
        draft("a", "one", "upsert"),
        draft("a", "two", "upsert"),
        draft("a", "one", "upsert"),
        draft("b", "one", "update"),
        draft("b", "two", "insert"),
        draft("b", "three", "update"),
        draft("b", "four", "insert"),
    ] });
    let answer = server.post("/v1/facts/batch", batch).await?;
    let codes: Vec<_> = answer.json["results"].as_array().into_iter().flatten().collect();
    let codes: Vec<_> = codes.iter().map(|one| one["code"].as_str().unwrap_or("")).collect();
    assert_eq!(codes, ["", "", "", "not_found", "", "", "conflict"], "{}", answer.text);
    assert_eq!(fact(&server, "a").await?.0, "one");
    assert_eq!(fact(&server, "b").await?.0, "three");
    Ok(())
}

/// Some of them delete, so that an upsert finds the fact taken and then gone.
async fn of_many_upserts_at_once_one_wins_whole(backend: &Backend) -> Result<()> {
    let server = backend.serve().await?;
    let mut storing = JoinSet::new();
    for number in 0..40 {
        let caller = server.clone();
        storing.spawn(async move {
            if number % 5 == 4 {
                caller.delete("/v1/facts/a").await?;
            }
            let metadata = json!({ "number": number });
            let text = format!("number {number}");
            let draft = json!({ "id": "a", "text": text, "metadata": metadata, "mode": "upsert" });
            caller.post("/v1/facts", draft).await
        });
    }
    for answer in storing.join_all().await {
        let answer = answer?;
        assert!(matches!(answer.status, 200 | 201), "{}", answer.text);
    }
    let (text, metadata) = fact(&server, "a").await?;
    assert_eq!(text, format!("number {}", metadata["number"]));
    Ok(())
}

async fn merges_at_once_are_all_kept(backend: &Backend) -> Result<()> {
    let server = backend.serve().await?;
    let first = r#"{"text":"t","id":"a","metadata":{"kept":1.10}}"#;
    assert_eq!(server.post_raw("/v1/facts", first).await?.status, 201);
    let mut merging = JoinSet::new();
    for number in 0..12 {
        let caller = server.clone();
        let patch = json!({ "metadata": { format!("m{number}"): number } });
        merging.spawn(async move { merge(&caller, "a", patch).await });
    }
    for answer in merging.join_all().await {
        let answer = answer?;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    let fact = server.get("/v1/facts/a").await?;
    assert!(fact.text.contains("1.10"), "its digits are kept: {}", fact.text);
    for number in 0..12 {
        assert_eq!(fact.json["metadata"][format!("m{number}")], number, "{}", fact.text);
    }
    Ok(())
}

async fn a_merge_patch_removes_what_is_null(backend: &Backend) -> Result<()> {
    let server = backend.serve().await?;
    let metadata = json!({ "a": 1, "b": { "c": 2, "d": 3 } });
    server.store(json!({ "text": "t", "id": "a", "metadata": metadata })).await?;
    let patch = json!({ "content": "u", "metadata": { "a": null, "b": { "d": null, "e": 4 } } });
    assert_eq!(merge(&server, "a", patch).await?.status, 200);
    assert_eq!(fact(&server, "a").await?, (json!("u"), json!({ "b": { "c": 2, "e": 4 } })));
    all_indexed(&server).await?;
    let query = json!({ "query": "u", "filter": { "b.e": 4 } });
    assert_eq!(server.search(query).await?, ["a"], "filters see what was merged");
    merge(&server, "none", json!({ "metadata": {} })).await?.assert_error(404, "not_found");
    merge(&server, "a", json!({ "metadata": [] })).await?.assert_invalid("/metadata");
    merge(&server, "a", json!({})).await?.assert_error(400, "invalid_request");
    let whole = server.patch("/v1/facts/a", json!({ "metadata": { "n": 1 } })).await?;
    assert_eq!(whole.status, 200);
    assert_eq!(fact(&server, "a").await?.1, json!({ "n": 1 }), "JSON replaces the whole object");
    Ok(())
}

/// The extension gets the whole fact and gives a whole one back, made of what was read before.
async fn a_change_seen_by_an_extension_loses_no_other_change(backend: &Backend) -> Result<()> {
    let server = backend.serve().await?;
    let component = std::fs::read(component("redact-pii")?)?;
    let installed = server.install("default", "redact-pii", component, "").await?;
    assert_eq!(installed.status, 200, "{}", installed.text);
    server.store(json!({ "text": "t", "id": "a" })).await?;
    let mut changing = JoinSet::new();
    for number in 0..8 {
        let caller = server.clone();
        changing.spawn(async move {
            if number == 0 {
                let text = json!({ "text": "write to ada@example.org" });
                caller.patch("/v1/facts/a", text).await
            } else {
                merge(&caller, "a", json!({ "metadata": { format!("m{number}"): 1 } })).await
            }
        });
    }
    for answer in changing.join_all().await {
        let answer = answer?;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    let (text, metadata) = fact(&server, "a").await?;
    let text = text.as_str().unwrap_or_default();
    assert!(text.starts_with("write to") && !text.contains("ada@"), "{text}");
    for number in 1..8 {
        assert_eq!(metadata[format!("m{number}")], 1, "{metadata}");
    }
    Ok(())
}

async fn an_import_upserts_the_lines_that_say_nothing_else(backend: &Backend) -> Result<()> {
    let server = backend.serve().await?;
    for id in ["a", "b"] {
        server.store(json!({ "text": "old", "id": id })).await?;
    }
    let lines = [
        json!({ "id": "a", "content": "new", "timestamp": "2026-01-01T00:00:00Z" }),
        json!({ "id": "b", "content": "new", "mode": "insert" }),
        json!({ "id": "c", "content": "new" }),
    ];
    let lines: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let imported = server.post_raw("/v1/import?mode=upsert", lines).await?;
    assert_eq!(imported.status, 422, "{}", imported.text);
    assert_eq!((&imported.json["imported"], &imported.json["failed"]), (&json!(2), &json!(1)));
    assert_eq!(imported.json["first_refused_line"], 2);
    let texts = [fact(&server, "a").await?.0, fact(&server, "b").await?.0];
    assert_eq!(texts, ["new", "old"]);
    assert_eq!(fact(&server, "c").await?.0, "new");
    Ok(())
}
