//! The options of a search do not show what `on-read` hides.

use anyhow::Result;
use kenning_tests::all_indexed;
use serde_json::{Value, json};

use super::serve;

#[tokio::test]
async fn highlights_are_made_of_what_on_read_shows() -> Result<()> {
    let server = serve().await?;
    server.store(json!({ "text": "the secret has escaped", "fact_id": "a" })).await?;
    all_indexed(&server).await?;
    let search = json!({ "query": "secret escaped", "mode": "text", "highlights": true });
    let answer = server.post("/v1/search", search).await?;
    assert!(!answer.text.contains("secret"), "{}", answer.text);
    let passage = &answer.json["results"][0]["highlights"][0];
    assert_eq!(passage["text"], "the [hidden] has escaped");
    assert_eq!(passage["matches"], json!([{ "start": 17, "end": 24 }]));
    Ok(())
}

#[tokio::test]
async fn facets_are_refused_by_the_name_of_the_extension_that_hides() -> Result<()> {
    let server = serve().await?;
    let fact = json!({ "text": "withheld tea", "metadata": { "salary": 90_000 } });
    server.store(fact).await?;
    let answer = server.post("/v1/search", json!({ "query": "tea", "facets": ["salary"] })).await?;
    answer.assert_invalid("/facets");
    let message = answer.json["message"].as_str().unwrap_or_default();
    assert!(message.contains("hooks") && message.contains("on-read"), "{message}");
    let other = server.tenant("other");
    let answer = other.post("/v1/search", json!({ "query": "tea", "facets": ["salary"] })).await?;
    assert_eq!(answer.status, 200, "it is the other tenant's extension: {}", answer.text);
    Ok(())
}

#[tokio::test]
async fn pages_go_past_what_is_hidden_and_their_cursors_do_not_name_it() -> Result<()> {
    let server = serve().await?;
    for number in 0..12 {
        let text = if number % 3 == 0 { "shown tea" } else { "withheld tea" };
        server.store(json!({ "text": text, "fact_id": format!("f{number}") })).await?;
    }
    all_indexed(&server).await?;
    // A hook may ask for more hits than the caller.
    for query in ["tea", "tea more"] {
        let mut search = json!({ "query": query, "mode": "text", "top_k": 2 });
        let (mut found, mut lengths) = (Vec::new(), Vec::new());
        loop {
            let answer = server.post("/v1/search", search.clone()).await?;
            let results = answer.json["results"].as_array().cloned().unwrap_or_default();
            assert!(results.len() <= 2, "{}", answer.text);
            found.extend(results.iter().map(|hit| hit["id"].as_str().unwrap_or("?").to_string()));
            match &answer.json["next_cursor"] {
                Value::String(cursor) => {
                    // Eleven bytes, and eight for each fact that was shown.
                    lengths.push((cursor.len(), (11 + 8 * found.len()) * 4));
                    search["cursor"] = json!(cursor);
                }
                _ => break,
            }
        }
        found.sort();
        assert_eq!(found, ["f0", "f3", "f6", "f9"], "{query}");
        assert!(
            !lengths.is_empty() && lengths.iter().all(|(length, bytes)| length * 3 <= bytes + 4)
        );
    }
    Ok(())
}
