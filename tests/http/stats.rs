//! `GET /v1/stats`.

use anyhow::Result;
use kenning_tests::{Backend, Server, Setup, all_indexed, on_both_backends};
use serde_json::json;

on_both_backends!(counts_follow_the_facts);

async fn counts_follow_the_facts(backend: &Backend) -> Result<()> {
    let server = backend.serve().await?;
    let count = async || Ok::<_, anyhow::Error>(all_indexed(&server).await?["facts"].clone());
    assert_eq!(count().await?, 0);
    for id in ["a", "b", "c"] {
        server.store(json!({ "text": id, "fact_id": id })).await?;
    }
    assert_eq!(count().await?, 3);
    server.store(json!({ "text": "a", "fact_id": "a" })).await?;
    server.patch("/v1/facts/b", json!({ "text": "changed" })).await?;
    assert_eq!(count().await?, 3, "a repeated store and a change add nothing");
    server.delete("/v1/facts/c").await?;
    assert_eq!(count().await?, 2);
    let stats = all_indexed(&server).await?;
    assert_eq!(stats["index"]["facts"], 2);
    assert_eq!(stats["index"]["vectors"], 2);
    assert_eq!(stats["index"]["ready"], true);
    let other = server.tenant("other").get("/v1/stats").await?;
    assert_eq!((&other.json["tenant"], &other.json["facts"]), (&json!("other"), &json!(0)));
    Ok(())
}

#[tokio::test]
async fn stats_say_what_serves() -> Result<()> {
    let server = Server::start().await?;
    let stats = server.get("/v1/stats").await?;
    assert_eq!(stats.status, 200, "{}", stats.text);
    let stats = stats.json;
    assert_eq!(stats["tenant"], "default");
    assert_eq!((&stats["model"], &stats["dimensions"]), (&json!("hash"), &json!(384)));
    assert_eq!(stats["embedding"]["kind"], "hash", "it says that it is for tests");
    assert_eq!(stats["storage"]["backend"], "embedded");
    assert_eq!(stats["generation"], 1);
    assert!(stats["digest"].as_str().is_some_and(|digest| digest.starts_with("sha256:")));
    assert_eq!(stats["version"], env!("CARGO_PKG_VERSION"));
    Ok(())
}

/// Every number that can stop a caller can be read.
#[tokio::test]
async fn limits_are_named_with_their_value_and_unit() -> Result<()> {
    let config = Some("[limits]\nbatch_facts = 7\nsearch_ms = 4321\n".to_string());
    let server = Server::start_with(Setup { config, ..Setup::default() }).await?;
    let limits = &server.get("/v1/stats").await?.json["limits"];
    assert_eq!(limits["batch_facts"], json!({ "value": 7, "unit": "count" }));
    assert_eq!(limits["search_ms"], json!({ "value": 4321, "unit": "milliseconds" }));
    assert_eq!(limits["fact_text_bytes"], json!({ "value": 262_144, "unit": "bytes" }));
    assert_eq!(limits["fact_metadata_bytes"], json!({ "value": 65_536, "unit": "bytes" }));
    assert_eq!(limits["storage_operation_ms"], json!({ "value": 2_000, "unit": "milliseconds" }));
    assert_eq!(limits["fuel_base"]["unit"], "fuel");
    for (name, limit) in limits.as_object().into_iter().flatten() {
        assert!(limit["value"].is_u64() && limit["unit"].is_string(), "{name}");
    }
    Ok(())
}
