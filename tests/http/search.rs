//! `POST /v1/search`.

use anyhow::Result;
use kenning_tests::{Backend, Caller, Server, on_both_backends};
use serde_json::{Value, json};

on_both_backends!(
    each_mode_finds_a_fact_by_its_own_words,
    a_search_of_nothing_finds_nothing,
    an_explanation_adds_up,
    every_operator_of_a_filter_selects,
    filters_compare_what_users_mean,
);

async fn store_animals(caller: &Caller) -> Result<()> {
    for (id, text, metadata) in [
        ("cat", "the cat sleeps on the windowsill", json!({ "legs": 4, "tags": ["Pet", "fur"] })),
        ("dog", "the dog guards the yard", json!({ "legs": 4, "tags": ["Pet"], "big": true })),
        ("bird", "the bird sings at dawn", json!({ "legs": 2, "note": null })),
        ("worm", "the worm digs in wet soil", json!({ "legs": 0, "where": { "deep": 3 } })),
        ("rock", "the rock does not move", json!({})),
    ] {
        caller.store(json!({ "text": text, "metadata": metadata, "fact_id": id })).await?;
    }
    Ok(())
}

async fn each_mode_finds_a_fact_by_its_own_words(backend: &Backend) -> Result<()> {
    let server = backend.serve().await?;
    store_animals(&server).await?;
    for mode in ["hybrid", "vector", "text"] {
        let query = json!({ "query": "the bird sings at dawn", "mode": mode });
        let answer = server.post("/v1/search", query).await?;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let results = answer.json["results"].as_array().map(Vec::as_slice).unwrap_or_default();
        let first = &results[0];
        assert_eq!(first["doc_id"], "bird", "{mode}");
        assert_eq!(first["content"], "the bird sings at dawn");
        assert_eq!(first["metadata"], json!({ "legs": 2, "note": null }));
        assert!(first.get("explain").is_none(), "only when asked for");
        let scores: Vec<f64> = results.iter().filter_map(|hit| hit["score"].as_f64()).collect();
        assert!(scores.len() == results.len() && scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
        assert_eq!(answer.json["degraded"], json!([]));
        assert!(answer.json["took_ms"].as_f64().is_some_and(|took| took > 0.0));
    }
    let by_default = server.post("/v1/search", json!({ "query": "bird" })).await?;
    let hybrid = server.post("/v1/search", json!({ "query": "bird", "mode": "hybrid" })).await?;
    assert_eq!(by_default.json["results"], hybrid.json["results"]);
    Ok(())
}

async fn a_search_of_nothing_finds_nothing(backend: &Backend) -> Result<()> {
    let server = backend.serve().await?;
    for mode in ["hybrid", "vector", "text"] {
        let answer =
            server.post("/v1/search", json!({ "query": "anything", "mode": mode })).await?;
        assert_eq!((answer.status, &answer.json["results"]), (200, &json!([])), "{}", answer.text);
        assert_eq!(answer.json["degraded"], json!([]));
    }
    Ok(())
}

async fn an_explanation_adds_up(backend: &Backend) -> Result<()> {
    let server = backend.serve().await?;
    store_animals(&server).await?;
    for fusion in ["score", "rank"] {
        let query = json!({ "query": "the dog guards", "explain": true, "fusion": fusion });
        let answer = server.post("/v1/search", query).await?;
        let hits = answer.json["results"].as_array().map(Vec::as_slice).unwrap_or_default();
        assert_eq!(hits[0]["doc_id"], "dog", "{}", answer.text);
        assert_eq!(hits[0]["explain"]["text"]["rank"], 1);
        for hit in hits {
            let legs = hit["explain"].as_object().map(|legs| legs.values().collect::<Vec<_>>());
            let shares =
                legs.unwrap_or_default().into_iter().filter_map(|leg| leg["share"].as_f64());
            let (sum, score) = (shares.sum::<f64>(), hit["score"].as_f64().unwrap_or(f64::NAN));
            assert!((sum - score).abs() < 1e-9, "{fusion}: {hit}");
        }
    }
    let text = json!({ "query": "the dog guards", "explain": true, "mode": "text" });
    let answer = server.post("/v1/search", text).await?;
    let explain = &answer.json["results"][0]["explain"];
    assert!(explain["text"].is_object() && explain["vector"].is_null(), "{explain}");
    Ok(())
}

/// Each operator once, from HTTP to the index and back.
async fn every_operator_of_a_filter_selects(backend: &Backend) -> Result<()> {
    let server = backend.serve().await?;
    store_animals(&server).await?;
    for (filter, expected) in [
        (json!({}), "bird cat dog rock worm"),
        (json!({ "legs": 4 }), "cat dog"),
        (json!({ "legs": { "eq": 2 } }), "bird"),
        (json!({ "legs": { "ne": 4 } }), "bird rock worm"),
        (json!({ "legs": { "gt": 2 } }), "cat dog"),
        (json!({ "legs": { "gte": 2 } }), "bird cat dog"),
        (json!({ "legs": { "lt": 2 } }), "worm"),
        (json!({ "legs": { "lte": 2 } }), "bird worm"),
        (json!({ "legs": { "in": [0, 2] } }), "bird worm"),
        (json!({ "legs": { "nin": [0, 2] } }), "cat dog rock"),
        (json!({ "legs": { "between": [1, 3] } }), "bird"),
        (json!({ "tags": { "contains": "fur" } }), "cat"),
        (json!({ "tags": { "contains": "pet" } }), ""),
        (json!({ "tags": { "icontains": "pET" } }), "cat dog"),
        (json!({ "note": { "exists": true } }), "bird"),
        (json!({ "legs": { "exists": false } }), "rock"),
        (json!({ "where.deep": { "gte": 3 } }), "worm"),
        (json!({ "AND": [{ "legs": 4 }, { "big": true }] }), "dog"),
        (json!({ "OR": [{ "legs": 2 }, { "legs": 0 }] }), "bird worm"),
        (json!({ "NOT": { "legs": { "exists": true } } }), "rock"),
        (json!({ "legs": 4, "NOT": { "big": true } }), "cat"),
    ] {
        for mode in ["hybrid", "vector", "text"] {
            let query = json!({ "query": "the", "mode": mode, "filter": filter });
            let mut found = server.search(query).await?;
            found.sort();
            assert_eq!(found.join(" "), expected, "{mode} {filter}");
        }
    }
    Ok(())
}

/// Times are instants, also the fact's own, and a list of objects is each of them.
async fn filters_compare_what_users_mean(backend: &Backend) -> Result<()> {
    let server = backend.serve().await?;
    for (id, stored, at, item) in [
        ("a", "2025-03-01T10:00:00Z", "2025-03-01T10:00:00Z", "Straße"),
        ("b", "2025-03-01T18:30:00+09:00", "2025-03-01T18:30:00+09:00", "Red"),
        ("c", "2025-03-01T10:00:00.25Z", "2025-03-01T05:00:00-07:00", "Blue"),
    ] {
        let items = json!([{ "name": "other" }, { "name": item, "at": at }]);
        let metadata = json!({ "at": at, "items": items, "timestamp": "mine" });
        let line = json!({ "id": id, "text": "event", "metadata": metadata, "timestamp": stored });
        let answer = server.post_raw("/v1/import", line.to_string()).await?;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    server.patch("/v1/facts/c", json!({ "text": "changed event" })).await?;
    for (filter, expected) in [
        (json!({ "at": { "gte": "2025-03-01T10:00:00Z" } }), "a c"),
        (json!({ "at": "2025-03-01T12:00:00.0+00:00" }), "c"),
        (json!({ "items.at": { "lt": "2025-03-01T11:00:00+01:00" } }), "b"),
        (json!({ "items.name": "Red" }), "b"),
        (json!({ "items.name": { "in": ["Red", "Blue"] } }), "b c"),
        (json!({ "items.name": { "icontains": "STRASSE" } }), "a"),
        (json!({ "$timestamp": { "gt": "2025-03-01T10:00:00Z" } }), "c"),
        (json!({ "$timestamp": { "lte": "2025-03-01T10:00:00Z" } }), "a b"),
        (json!({ "$timestamp": { "gt": "2025-03-02" } }), ""),
        (json!({ "timestamp": "mine" }), "a b c"),
        (json!({ "timestamp": { "lt": "2026-01-01T00:00:00Z" } }), ""),
    ] {
        let mut found = server.search(json!({ "query": "event", "filter": filter })).await?;
        found.sort();
        assert_eq!(found.join(" "), expected, "{filter}");
    }
    let hit = server.post("/v1/search", json!({ "query": "changed", "top_k": 1 })).await?;
    assert_eq!(hit.json["results"][0]["metadata"].get("$timestamp"), None, "{}", hit.text);
    for (filter, pointer) in
        [(r#"{"a":1,"a":2}"#, "/filter/a"), (r#"{"a":{"gt":1,"gt":2}}"#, "/filter/a/gt")]
    {
        let body = format!(r#"{{"query":"event","filter":{filter}}}"#);
        let answer = server.post_raw("/v1/search", body).await?;
        answer.assert_error(400, "invalid_filter");
        assert_eq!(answer.pointer(), pointer, "{}", answer.text);
    }
    Ok(())
}

#[tokio::test]
async fn top_k_bounds_the_hits() -> Result<()> {
    let server = Server::start().await?;
    let lines: String = (0..30).map(|n| format!("{{\"text\":\"same word {n}\"}}\n")).collect();
    server.post_raw("/v1/import", lines).await?;
    for mode in ["hybrid", "vector", "text"] {
        let hits = async |top_k: Value| {
            let query = json!({ "query": "same word", "mode": mode, "top_k": top_k });
            Ok::<_, anyhow::Error>(server.search(query).await?.len())
        };
        assert_eq!(hits(json!(1)).await?, 1);
        assert_eq!(hits(json!(29)).await?, 29);
        assert_eq!(hits(json!(1000)).await?, 30);
        assert_eq!(hits(Value::Null).await?, 10, "ten unless asked otherwise");
    }
    Ok(())
}

#[tokio::test]
async fn a_wrong_query_is_refused_in_its_place() -> Result<()> {
    let server = Server::start().await?;
    store_animals(&server).await?;
    for (query, pointer) in [
        (json!({}), "/query"),
        (json!({ "query": null }), "/query"),
        (json!({ "query": 5 }), "/query"),
        (json!({ "query": "" }), "/query"),
        (json!({ "query": " \t\n\u{3000}" }), "/query"),
        (json!({ "query": "x", "top_k": 0 }), "/top_k"),
        (json!({ "query": "x", "top_k": -1 }), "/top_k"),
        (json!({ "query": "x", "top_k": 1001 }), "/top_k"),
        (json!({ "query": "x", "top_k": 1_000_000_000 }), "/top_k"),
        (json!({ "query": "x", "top_k": u64::MAX }), "/top_k"),
        (json!({ "query": "x", "top_k": "ten" }), "/top_k"),
        (json!({ "query": "x", "top_k": 1.5 }), "/top_k"),
        (json!({ "query": "x", "top_k": [1] }), "/top_k"),
        (json!({ "query": "x", "mode": "magic" }), "/mode"),
        (json!({ "query": "x", "mode": 1 }), "/mode"),
        (json!({ "query": "x", "fusion": "cold" }), "/fusion"),
        (json!({ "query": "x", "explain": "yes" }), "/explain"),
        (json!({ "query": "x", "limit": 1 }), "/limit"),
        (json!(["x", 1]), ""),
        (json!("x"), ""),
    ] {
        server.post("/v1/search", query).await?.assert_invalid(pointer);
    }
    let huge = format!("{{\"query\":\"x\",\"top_k\":1{}}}", "0".repeat(100));
    server.post_raw("/v1/search", huge).await?.assert_invalid("/top_k");
    Ok(())
}

#[tokio::test]
async fn a_wrong_filter_is_refused_in_its_place() -> Result<()> {
    let server = Server::start().await?;
    store_animals(&server).await?;
    let deep = (0..17).fold(json!({ "a": 1 }), |filter, _| json!({ "NOT": filter }));
    let pointer_of_deep = format!("/filter{}", "/NOT".repeat(17));
    for (filter, pointer) in [
        (json!({ "legs": { "near": 4 } }), "/filter/legs/near"),
        (json!({ "legs": { "$gt": 4 } }), "/filter/legs/$gt"),
        (json!({ "legs": { "EQ": 4 } }), "/filter/legs/EQ"),
        (json!({ "a/b~c": { "near": 4 } }), "/filter/a~1b~0c/near"),
        (json!({ "AND": [{ "legs": 4 }, { "legs": { "near": 4 } }] }), "/filter/AND/1/legs/near"),
        (json!({ "legs": { "between": [1] } }), "/filter/legs/between"),
        (json!({ "legs": { "in": 4 } }), "/filter/legs/in"),
        (json!({ "legs": { "exists": "yes" } }), "/filter/legs/exists"),
        (json!({ "tags": { "icontains": 5 } }), "/filter/tags/icontains"),
        (json!({ "legs": [4] }), "/filter/legs"),
        (json!("legs"), "/filter"),
        (json!([{ "legs": 4 }]), "/filter"),
        (json!(5), "/filter"),
        (deep, pointer_of_deep.as_str()),
    ] {
        for mode in ["hybrid", "vector", "text"] {
            let query = json!({ "query": "the", "filter": filter, "mode": mode });
            let answer = server.post("/v1/search", query).await?;
            answer.assert_error(400, "invalid_filter");
            assert_eq!(answer.pointer(), pointer, "{mode} {}", answer.text);
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_query_of_any_letters_is_answered() -> Result<()> {
    let server = Server::start().await?;
    store_animals(&server).await?;
    let long = "cat ".repeat(64 * 1024 / 4);
    for query in ["\u{0}", "🦀🦀🦀", "\"AND\" OR ( NOT", "*", "?", "a\u{301}\u{301}", &long] {
        for mode in ["hybrid", "vector", "text"] {
            let answer = server.post("/v1/search", json!({ "query": query, "mode": mode })).await?;
            assert_eq!(answer.status, 200, "{query:.20} {}", answer.text);
            // The model knows no text without letters and digits.
            let is_known = query.contains(char::is_alphanumeric) || mode == "text";
            assert_eq!(answer.json["degraded"] == json!([]), is_known, "{query:.20}");
        }
    }
    let longer = format!("{long}x");
    let answer = server.post("/v1/search", json!({ "query": longer })).await?;
    answer.assert_error(413, "too_large");
    let details = json!({ "limit": "query_bytes", "allowed": 65_536, "used": 65_537 });
    assert_eq!(answer.json["details"], details);
    Ok(())
}
