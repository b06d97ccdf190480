//! What a caller sends.

use anyhow::Result;
use kenning_tests::Wire;
use serde_json::{Value, json};

use super::support::{assert_limit, assert_too_large, limited, serves_on};

const SMALL_FACTS: &str = "fact_text_bytes = 64\nfact_metadata_bytes = 32";

/// Facts of at most 2 KiB, and bodies and lines of the same size.
const SMALL_BODIES: &str = "fact_text_bytes = 1024\nfact_metadata_bytes = 1024\n\
                            body_bytes = 2048\nimport_line_bytes = 2048";

#[tokio::test]
async fn fact_text_bytes_is_obeyed() -> Result<()> {
    let server = limited(SMALL_FACTS).await?;
    let id = server.store(json!({ "text": "ä".repeat(32) })).await?;
    let change = json!({ "text": "b".repeat(64) });
    assert_eq!(server.patch(&format!("/v1/facts/{id}"), change).await?.status, 200);
    Ok(())
}

#[tokio::test]
async fn fact_text_bytes_violated() -> Result<()> {
    let server = limited(SMALL_FACTS).await?;
    // Bytes count, not letters.
    let large = json!({ "fact_id": "large", "text": "ä".repeat(33) });
    assert_too_large(&server.post("/v1/facts", large.clone()).await?, "fact_text_bytes", 64, 66);
    assert_eq!(server.get("/v1/facts/large").await?.status, 404);

    let id = server.store(json!({ "text": "small" })).await?;
    let change = json!({ "text": "b".repeat(65) });
    let answer = server.patch(&format!("/v1/facts/{id}"), change).await?;
    assert_too_large(&answer, "fact_text_bytes", 64, 65);

    let batch = json!({ "facts": [large, { "text": "small, too" }] });
    let answer = server.post("/v1/facts/batch", batch).await?;
    assert_eq!(answer.json["results"][0]["code"], "too_large", "{}", answer.text);
    assert_eq!(answer.json["results"][1]["status"], "success", "{}", answer.text);
    serves_on(&server).await
}

#[tokio::test]
async fn fact_metadata_bytes_is_obeyed() -> Result<()> {
    let server = limited(SMALL_FACTS).await?;
    server.store(json!({ "text": "a", "metadata": { "k": "v".repeat(24) } })).await?;
    Ok(())
}

#[tokio::test]
async fn fact_metadata_bytes_violated() -> Result<()> {
    let server = limited(SMALL_FACTS).await?;
    let metadata = json!({ "k": "v".repeat(25) });
    let answer = server.post("/v1/facts", json!({ "text": "a", "metadata": metadata })).await?;
    assert_too_large(&answer, "fact_metadata_bytes", 32, 33);

    let id = server.store(json!({ "text": "small" })).await?;
    let change = json!({ "metadata": metadata });
    let answer = server.patch(&format!("/v1/facts/{id}"), change).await?;
    assert_too_large(&answer, "fact_metadata_bytes", 32, 33);
    serves_on(&server).await
}

fn batch(facts: usize) -> Value {
    let facts: Vec<Value> = (0..facts).map(|n| json!({ "text": format!("fact {n}") })).collect();
    json!({ "facts": facts })
}

#[tokio::test]
async fn batch_facts_is_obeyed() -> Result<()> {
    let server = limited("batch_facts = 3").await?;
    let answer = server.post("/v1/facts/batch", batch(3)).await?;
    let results = answer.json["results"].as_array().map(Vec::as_slice).unwrap_or_default();
    assert_eq!(results.len(), 3, "{}", answer.text);
    assert!(results.iter().all(|result| result["status"] == "success"), "{}", answer.text);
    Ok(())
}

#[tokio::test]
async fn batch_facts_violated() -> Result<()> {
    let server = limited("batch_facts = 3").await?;
    let answer = server.post("/v1/facts/batch", batch(4)).await?;
    assert_too_large(&answer, "batch_facts", 3, 4);
    assert_eq!(server.get("/v1/facts").await?.json["facts"], json!([]));
    serves_on(&server).await
}

#[tokio::test]
async fn page_facts_is_obeyed() -> Result<()> {
    let server = limited("page_facts = 2").await?;
    server.post("/v1/facts/batch", batch(3)).await?;
    for path in ["/v1/facts?limit=2", "/v1/facts"] {
        let answer = server.get(path).await?;
        assert_eq!(answer.json["facts"].as_array().map(Vec::len), Some(2), "{}", answer.text);
    }
    Ok(())
}

#[tokio::test]
async fn page_facts_violated() -> Result<()> {
    let server = limited("page_facts = 2").await?;
    for limit in ["3", "0", "18446744073709551616"] {
        server.get(&format!("/v1/facts?limit={limit}")).await?.assert_invalid("/limit");
    }
    serves_on(&server).await
}

#[tokio::test]
async fn search_hits_is_obeyed() -> Result<()> {
    let server = limited("search_hits = 2").await?;
    server.post("/v1/facts/batch", batch(3)).await?;
    for query in [json!({ "query": "fact", "top_k": 2 }), json!({ "query": "fact" })] {
        assert_eq!(server.search(query).await?.len(), 2);
    }
    Ok(())
}

#[tokio::test]
async fn search_hits_violated() -> Result<()> {
    let server = limited("search_hits = 2").await?;
    for top_k in [3_i64, 0, -1, i64::MAX] {
        let query = json!({ "query": "fact", "top_k": top_k });
        server.post("/v1/search", query).await?.assert_invalid("/top_k");
    }
    serves_on(&server).await
}

#[tokio::test]
async fn query_bytes_is_obeyed() -> Result<()> {
    let server = limited("query_bytes = 16").await?;
    server.search(json!({ "query": "q".repeat(16) })).await?;
    Ok(())
}

#[tokio::test]
async fn query_bytes_violated() -> Result<()> {
    let server = limited("query_bytes = 16").await?;
    let answer = server.post("/v1/search", json!({ "query": "q".repeat(17) })).await?;
    assert_too_large(&answer, "query_bytes", 16, 17);
    serves_on(&server).await
}

/// A fact of so many bytes, with white space where JSON allows it.
fn padded_fact(id: &str, bytes: usize) -> String {
    let fact = json!({ "fact_id": id, "text": "small" }).to_string();
    format!("{fact}{}", " ".repeat(bytes - fact.len()))
}

#[tokio::test]
async fn body_bytes_is_obeyed() -> Result<()> {
    let server = limited(SMALL_BODIES).await?;
    let answer = server.post_raw("/v1/facts", padded_fact("padded", 2_048)).await?;
    assert_eq!(answer.status, 201, "{}", answer.text);
    Ok(())
}

#[tokio::test]
async fn body_bytes_violated() -> Result<()> {
    let server = limited(SMALL_BODIES).await?;
    let answer = server.post_raw("/v1/facts", padded_fact("padded", 2_049)).await?;
    answer.assert_error(413, "too_large");
    assert_eq!(answer.json["blame"], "caller");
    assert_limit(&answer, "body_bytes", 2_048);
    assert_eq!(server.get("/v1/facts/padded").await?.status, 404);
    serves_on(&server).await
}

#[tokio::test]
async fn import_line_bytes_is_obeyed() -> Result<()> {
    let server = limited(SMALL_BODIES).await?;
    let answer = server.post_raw("/v1/import", padded_fact("padded", 2_048)).await?;
    let summary: Value = answer.text.trim().parse()?;
    assert_eq!((&summary["imported"], &summary["failed"]), (&json!(1), &json!(0)));
    Ok(())
}

#[tokio::test]
async fn import_line_bytes_violated() -> Result<()> {
    let server = limited(SMALL_BODIES).await?;
    let lines = [padded_fact("first", 90), padded_fact("large", 2_049), padded_fact("last", 90)];
    let answer = server.post_raw("/v1/import", lines.join("\n")).await?;
    let summary = &answer.json;
    let error = &summary["errors"][0];
    assert_eq!((&error["code"], &error["line"]), (&json!("too_large"), &json!(2)), "{error}");
    let details = json!({ "limit": "import_line_bytes", "allowed": 2_048, "used": 2_049 });
    assert_eq!(error["details"], details);
    assert_eq!((&summary["imported"], &summary["failed"]), (&json!(2), &json!(1)), "{summary}");
    serves_on(&server).await
}

#[tokio::test]
async fn request_ms_is_obeyed() -> Result<()> {
    let server = limited("request_ms = 60000").await?;
    let fact = padded_fact("in-pieces", 90);
    let mut wire = Wire::open(server.url()).await?;
    wire.begin_post("/v1/facts", fact.len()).await?;
    for piece in fact.as_bytes().chunks(30) {
        wire.send(piece).await?;
    }
    let answer = wire.rest().await?;
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    Ok(())
}

#[tokio::test]
async fn request_ms_violated() -> Result<()> {
    let server = limited("request_ms = 100").await?;
    let mut slow_body = Wire::open(server.url()).await?;
    slow_body.begin_post("/v1/facts", 90).await?;
    slow_body.send(b"{").await?;
    let answer = slow_body.rest().await?;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert!(answer.contains("did not arrive within 0.1 s"), "{answer}");

    let mut slow_head = Wire::open(server.url()).await?;
    slow_head.send(b"GET /livez HTTP/1.1\r\n").await?;
    let answer = slow_head.rest().await?;
    assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
    serves_on(&server).await
}
