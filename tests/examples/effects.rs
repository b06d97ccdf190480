//! Each example on a real server, installed over HTTP with the grants that it needs,
//! and seen as a user sees it.

use anyhow::{Context, Result};
use http::Method;
use kenning_tests::{Server, component, send, spelled, until};
use serde_json::{Value, json};

use super::EXAMPLES;

/// A server whose tenant `default` has the example.
async fn serve(example: &str) -> Result<Server> {
    let server = Server::start().await?;
    install(&server, example).await?;
    Ok(server)
}

async fn install(server: &Server, example: &str) -> Result<()> {
    let (.., grants, _) = EXAMPLES.iter().find(|one| one.0 == example).context("an example")?;
    let grants: Vec<&str> = grants.iter().map(|grant| grant.name()).collect();
    let parameters = format!("?grant={}", grants.join(","));
    let bytes = std::fs::read(component(example)?)?;
    let answer = server.install("default", example, bytes, &parameters).await?;
    assert_eq!(answer.status, 200, "{example}: {}", answer.text);
    assert_eq!(answer.json["generation"], 1, "{example}: {}", answer.text);
    Ok(())
}

/// A stored fact as it leaves.
async fn stored(server: &Server, fact: Value) -> Result<Value> {
    let id = server.store(fact).await?;
    Ok(server.get(&format!("/v1/facts/{id}")).await?.json)
}

fn words(query: &str) -> Value {
    json!({ "query": query, "mode": "text" })
}

#[tokio::test]
async fn chunk_makes_a_long_text_findable_by_each_part() -> Result<()> {
    let server = serve("chunk").await?;
    let sentence = |number| format!("Sentence {number} is of {}. ", spelled("topic", number));
    let text: String = (0..60).map(sentence).collect();
    let answer = server.post("/v1/facts", json!({ "text": text, "fact_id": "book" })).await?;
    let parts = answer.json["fact_ids"].as_array().context("parts")?.len();
    assert!(parts > 1, "{}", answer.text);
    let last = format!("book.{parts}");
    let hits =
        server.post("/v1/search", words(&spelled("topic", 59))).await?.json["results"].clone();
    assert_eq!((&hits[0]["doc_id"], hits.as_array().map(Vec::len)), (&json!(last), Some(1)));
    let chunk = json!({ "of": "book", "part": parts, "parts": parts });
    assert_eq!(hits[0]["metadata"], json!({ "chunk": chunk }));
    let whole = json!({ "query": "sentence", "mode": "text", "filter": { "chunk.of": "book" } });
    assert_eq!(server.search(whole).await?.len(), parts);
    assert_eq!(stored(&server, json!({ "text": "Short." })).await?["metadata"], json!({}));
    Ok(())
}

#[tokio::test]
async fn dedupe_refuses_a_copy_and_marks_what_is_nearly_one() -> Result<()> {
    let server = serve("dedupe").await?;
    let text = "The staging database listens on port 7171 in Frankfurt.";
    for _ in 0..2 {
        // Repeated, it is no copy of itself.
        server.store(json!({ "text": text, "fact_id": "port" })).await?;
    }
    let copy = json!({ "text": text.to_uppercase() });
    let answer = server.post("/v1/facts", copy).await?;
    answer.assert_error(422, "rejected");
    assert!(answer.text.contains("the fact port already says this"), "{}", answer.text);
    let near = json!({ "text": text.replace("7171", "7172"), "fact_id": "near" });
    let marked = stored(&server, near).await?;
    assert_eq!(marked["metadata"], json!({ "near_duplicate_of": "port" }));
    let other = stored(&server, json!({ "text": "Ada prefers tea." })).await?;
    assert_eq!(other["metadata"], json!({}));
    Ok(())
}

#[tokio::test]
async fn recency_boost_lets_the_newer_of_two_equal_facts_win() -> Result<()> {
    let server = Server::start().await?;
    let lines = concat!(
        r#"{"id":"a-old","content":"Tea is hot.","timestamp":"2001-02-03T04:05:06+00:00"}"#,
        "\n",
        r#"{"id":"b-older","content":"Tea is hot.","timestamp":"2000-02-03T04:05:06+00:00"}"#,
        "\n",
    );
    server.post_raw("/v1/import", lines).await?;
    server.store(json!({ "text": "Tea is hot.", "fact_id": "c-new" })).await?;
    let before = server.search(words("tea")).await?;
    install(&server, "recency-boost").await?;
    let after = server.search(words("tea")).await?;
    assert_eq!((before.len(), after.len()), (3, 3));
    assert_eq!(after[0], "c-new");
    assert_ne!(before[0], "c-new", "equal facts stand in the order of their ids");
    Ok(())
}

#[tokio::test]
async fn redact_pii_takes_personal_data_out_before_it_is_stored() -> Result<()> {
    let server = serve("redact-pii").await?;
    let fact = stored(
        &server,
        json!({
            "text": "Write to ada@example.com or call +44 20 7946 0958.",
            "metadata": { "card": "4111 1111 1111 1111", "from": "192.0.2.7" },
        }),
    )
    .await?;
    assert_eq!(fact["content"], "Write to [email] or call [phone].");
    assert_eq!(fact["metadata"], json!({ "card": "[card]", "from": "[ip]" }));
    assert!(server.search(words("ada@example.com")).await?.is_empty(), "nor is it in the index");
    Ok(())
}

#[tokio::test]
async fn row_access_lets_out_what_is_labelled_and_nothing_else() -> Result<()> {
    let server = Server::start().await?;
    for (id, metadata) in [
        ("open", json!({ "visibility": "public" })),
        ("internal", json!({ "visibility": "internal" })),
        ("unlabelled", json!({})),
    ] {
        server.store(json!({ "text": "tea", "fact_id": id, "metadata": metadata })).await?;
    }
    install(&server, "row-access").await?;
    assert_eq!(server.search(words("tea")).await?, ["open"]);
    assert_eq!(server.get("/v1/facts/open").await?.status, 200);
    for id in ["internal", "unlabelled"] {
        server.get(&format!("/v1/facts/{id}")).await?.assert_error(404, "not_found");
    }
    for out in [server.export().await?, server.get("/v1/facts").await?.text] {
        assert!(out.contains("\"open\"") && !out.contains("internal"), "{out}");
        assert!(!out.contains("unlabelled"), "{out}");
    }
    Ok(())
}

/// By what the caller asks for, within what the operator allows.
#[tokio::test]
async fn boost_by_option_ranks_higher_what_the_caller_prefers() -> Result<()> {
    let server = Server::start().await?;
    for (id, text, team) in [("web", "tea tea", "web"), ("search", "tea", "search")] {
        let metadata = json!({ "team": team });
        server.store(json!({ "text": text, "fact_id": id, "metadata": metadata })).await?;
    }
    install(&server, "boost-by-option").await?;
    let prefer = json!({ "boost-by-option": { "prefer": { "team": "search" }, "weight": 2 } });
    let mut query = words("tea");
    assert_eq!(server.search(query.clone()).await?, ["web", "search"]);
    query["extension_options"] = prefer;
    let mut wrong = words("tea");
    wrong["extension_options"] = json!({ "boost-by-option": { "prefer": {}, "weight": "much" } });
    let refused = server.post("/v1/search", wrong).await?;
    refused.assert_invalid("/extension_options/boost-by-option/weight");
    let path = "/v1/admin/tenants/default/extensions/boost-by-option/settings";
    for (settings, order) in [
        (json!({ "most": 2 }), ["search", "web"]),
        (json!({ "most": 2, "fields": ["topic"] }), ["web", "search"]),
    ] {
        let set = send(server.request(Method::PUT, path).json(&settings)).await?;
        assert_eq!(set.status, 200, "{}", set.text);
        assert_eq!(server.search(query.clone()).await?, order, "{settings}");
    }
    Ok(())
}

/// In the background, so the fact has its summary a moment later.
#[tokio::test]
async fn budgeted_summaries_shows_the_first_sentence_of_a_long_fact() -> Result<()> {
    let server = serve("budgeted-summaries").await?;
    server.store(json!({ "text": "Ada prefers tea. Never after six.", "fact_id": "a" })).await?;
    until("it has its summary", async || {
        let metadata = server.get("/v1/facts/a").await?.json["metadata"].clone();
        Ok((metadata == json!({ "summary": "Ada prefers tea." })).then_some(()))
    })
    .await
}

/// In JavaScript.
#[tokio::test]
async fn synonyms_find_what_is_called_otherwise() -> Result<()> {
    let server = Server::start().await?;
    server.store(json!({ "text": "Kubernetes runs in Frankfurt.", "fact_id": "k" })).await?;
    assert!(server.search(words("k8s")).await?.is_empty());
    install(&server, "synonyms").await?;
    assert_eq!(server.search(words("k8s")).await?, ["k"]);
    assert!(server.search(words("k9s")).await?.is_empty());
    Ok(())
}

/// In Python.
#[tokio::test]
async fn tag_rules_tag_facts_by_what_they_say() -> Result<()> {
    let server = serve("tag-rules").await?;
    let text = "After the outage we decided to move, see OPS-17.";
    let tagged = json!({ "text": text, "fact_id": "a", "metadata": { "tags": ["own"] } });
    let fact = stored(&server, tagged).await?;
    assert_eq!(fact["metadata"]["tags"], json!(["own", "incident", "decision", "ticket"]));
    let plain = stored(&server, json!({ "text": "Tea is hot." })).await?;
    assert_eq!(plain["metadata"], json!({}));
    let query = json!({ "query": "tea outage", "filter": { "tags": { "contains": "ticket" } } });
    assert_eq!(server.search(query).await?, ["a"]);
    Ok(())
}
