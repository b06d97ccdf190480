//! Texts of which the model knows no token: it gives all of them about the same vector.

use anyhow::Result;
use serde_json::json;

use super::serve;

const SENTENCE: &str = "vector: the embedding model knows none of the query's words";

#[tokio::test]
async fn a_query_of_unknown_tokens_is_searched_for_by_words_and_says_so() -> Result<()> {
    let server = serve(&[
        json!({ "fact_id": "ko", "text": "오늘 도서관에서 숨바꼭질 놀이를 했다." }),
        json!({ "fact_id": "th", "text": "ฉันชอบดื่มชาเย็นมาก" }),
        json!({ "fact_id": "en", "text": "Bread is baked at dawn." }),
        json!({ "fact_id": "ja", "text": "朝にパンを焼く。" }),
    ])
    .await?;
    for fusion in ["score", "rank"] {
        let query = json!({ "query": "숨바꼭질", "fusion": fusion, "explain": true });
        let answer = server.post("/v1/search", query).await?;
        assert_eq!(answer.json["degraded"], json!([SENTENCE]), "{}", answer.text);
        assert_eq!(answer.json["results"].as_array().map(Vec::len), Some(1), "{}", answer.text);
        assert_eq!(answer.json["results"][0]["doc_id"], "ko");
    }
    for query in ["숨바꼭질", "\u{1f600}", "\u{1f600}\u{1f680}?"] {
        let query = json!({ "query": query, "mode": "vector" });
        let answer = server.post("/v1/search", query).await?;
        assert_eq!((answer.status, &answer.json["results"]), (200, &json!([])), "{}", answer.text);
        assert_eq!(answer.json["degraded"], json!([SENTENCE]), "{}", answer.text);
    }
    Ok(())
}

#[tokio::test]
async fn a_fact_of_unknown_tokens_is_near_to_nothing_and_not_pending() -> Result<()> {
    let server = serve(&[
        json!({ "fact_id": "emoji", "text": "\u{1f600} \u{1f680}" }),
        json!({ "fact_id": "hangul", "text": "숨바꼭질" }),
        json!({ "fact_id": "bread", "text": "Bread is baked at dawn." }),
    ])
    .await?;
    for query in ["bread", "\u{1f600} bread", "\u{1f680} \u{1f600} \u{1f388} dawn"] {
        let answer = server.search(json!({ "query": query, "mode": "vector" })).await?;
        assert_eq!(answer, ["bread"], "{query}");
    }
    let late = json!({ "fact_id": "late", "text": "\u{1f388} \u{1f389}" });
    let stored = server.post("/v1/facts", late).await?;
    assert_eq!(stored.json["indexed"], true, "{}", stored.text);
    let stats = server.get("/v1/stats").await?.json;
    assert_eq!((&stats["pending"], &stats["indexed"]), (&json!(0), &json!(4)), "{stats}");

    // A text that means something takes part again.
    let changed = json!({ "text": "Rolls are baked at night." });
    assert_eq!(server.patch("/v1/facts/emoji", changed).await?.status, 200);
    let found = server.search(json!({ "query": "rolls", "mode": "vector" })).await?;
    assert_eq!(found, ["emoji", "bread"]);
    Ok(())
}
