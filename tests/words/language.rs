//! The language of a tenant: what it changes, and how it is changed.

use anyhow::Result;
use kenning_tests::{Caller, RedisServer, Server, Setup, until};
use serde_json::json;

use super::{by_words, import, serve};

const TENANTS: &str = "/v1/admin/tenants";

/// Waits until the tenant's facts are all indexed for `language`.
async fn until_read_for(caller: &Caller, language: &str) -> Result<()> {
    until(&format!("the facts are indexed for {language}"), async || {
        let stats = caller.get("/v1/stats").await?.json;
        let done = stats["language"] == language && stats["index"]["outdated"] == 0;
        Ok(done.then_some(()))
    })
    .await
}

#[tokio::test]
async fn a_change_of_language_indexes_the_facts_again_while_they_are_found() -> Result<()> {
    let server = serve().await?;
    let facts = [("f".to_string(), "Alte Häuser stehen am Fluss.".to_string())];
    // Without keys, the default tenant is created like any other.
    assert_eq!(server.post(TENANTS, json!({ "name": "default" })).await?.status, 201);
    import(&server, &facts).await?;
    assert_eq!(by_words(&server, "Häusern").await?, [""; 0], "English has no such ending");

    let path = &format!("{TENANTS}/default");
    let changed = server.patch(path, json!({ "language": "de" })).await?;
    assert_eq!((changed.status, &changed.json["language"]), (200, &json!("de")));
    assert_eq!(by_words(&server, "Häuser").await?, ["f"], "found at any time");
    until_read_for(&server, "de").await?;
    assert_eq!(by_words(&server, "Häusern").await?, ["f"]);
    // Stop words are those of the language.
    assert_eq!(by_words(&server, "am Berg").await?, [""; 0]);
    assert_eq!(by_words(&server, "am").await?, ["f"], "a query of only stop words keeps them");

    server.patch(path, json!({ "language": "none" })).await?;
    until_read_for(&server, "none").await?;
    assert_eq!(by_words(&server, "Häusern").await?, [""; 0]);
    assert_eq!(by_words(&server, "am Berg").await?, ["f"]);
    Ok(())
}

#[tokio::test]
async fn an_unknown_language_is_refused_with_the_known_ones() -> Result<()> {
    let server = serve().await?;
    let refused = server.post(TENANTS, json!({ "name": "acme", "language": "xx" })).await?;
    refused.assert_invalid("/language");
    assert!(refused.text.contains("en, none, ar"), "{}", refused.text);
    assert_eq!(server.get(&format!("{TENANTS}/acme")).await?.status, 404, "not created");
    server.post(TENANTS, json!({ "name": "acme", "language": "fr" })).await?;
    let path = &format!("{TENANTS}/acme");
    server.patch(path, json!({ "language": "English" })).await?.assert_invalid("/language");
    assert_eq!(server.get(path).await?.json["language"], "fr");
    let listed = server.get(TENANTS).await?.json;
    assert_eq!(listed["tenants"][0]["language"], "fr", "{listed}");
    Ok(())
}

#[tokio::test]
async fn another_host_follows_the_language() -> Result<()> {
    let redis = RedisServer::start();
    let host = async || {
        let (storage, embedder) = (Some(redis.url()), Some("hash"));
        Server::start_with(Setup { storage, embedder, ..Setup::patient() }).await
    };
    let one = host().await?;
    one.post(TENANTS, json!({ "name": "acme" })).await?;
    let facts = [("f".to_string(), "Alte Häuser stehen am Fluss.".to_string())];
    import(&one.tenant("acme"), &facts).await?;
    let two = host().await?;
    until("the other host has the fact", async || {
        Ok((by_words(&two.tenant("acme"), "Häuser").await? == ["f"]).then_some(()))
    })
    .await?;
    one.patch(&format!("{TENANTS}/acme"), json!({ "language": "de" })).await?;
    until_read_for(&two.tenant("acme"), "de").await?;
    assert_eq!(by_words(&two.tenant("acme"), "Häusern").await?, ["f"]);
    Ok(())
}
