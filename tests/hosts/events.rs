//! An extension is told of each change by one host, whichever host made the change.

use anyhow::{Context, Result};
use kenning_tests::{RedisServer, component, until};
use serde_json::json;

use super::host;

#[tokio::test]
async fn three_hosts_tell_each_change_once() -> Result<()> {
    let redis = RedisServer::start();
    let hosts = [host(&redis).await?, host(&redis).await?, host(&redis).await?];
    let keeping = std::fs::read(component("keeping")?)?;
    let installed = hosts[0].install("default", "keeping", keeping, "?grant=state").await?;
    assert_eq!(installed.status, 200, "{}", installed.text);
    for n in 0..30 {
        hosts[n % 3].store(json!({ "text": "tea", "id": format!("f{n}") })).await?;
    }
    let said = async |asked: serde_json::Value| {
        let query = json!({ "query": asked.to_string() });
        let said = hosts[1].post("/v1/search", query).await?;
        let said = said.json["message"].as_str().context("a message")?.to_string();
        Ok::<_, anyhow::Error>(serde_json::from_str::<serde_json::Value>(&said)?["ok"].clone())
    };
    until("all are told", async || {
        let told = said(json!({ "do": "list", "key": "told/" })).await?;
        Ok((told.as_array().map(Vec::len) == Some(30)).then_some(()))
    })
    .await?;
    let counted = said(json!({ "do": "get", "key": "told" })).await?;
    assert_eq!(counted["value"], "30", "none was told twice");
    Ok(())
}
