//! Filters of lists, exports, counts and deletions see what `on-read` returns, and nothing else.

use anyhow::Result;
use serde_json::{Value, json};

use super::{installed, serve};
use kenning_tests::Server;

/// Whether any way of reading by `filter` has a fact.
async fn found(server: &Server, filter: &str) -> Result<bool> {
    let page = server.get(&format!("/v1/facts?filter={filter}")).await?;
    let count = server.get(&format!("/v1/count?filter={filter}")).await?;
    let export = server.get(&format!("/v1/export?filter={filter}")).await?;
    assert_eq!((page.status, count.status, export.status), (200, 200, 200), "{}", page.text);
    let listed = page.json["facts"].as_array().is_some_and(|facts| !facts.is_empty());
    assert_eq!(count.json["count"] != 0, listed, "{filter}: {}", count.text);
    assert_eq!(export.text.contains("\"id\""), listed, "{filter}: {}", export.text);
    Ok(listed)
}

#[tokio::test]
async fn a_filter_does_not_tell_what_on_read_hides() -> Result<()> {
    let server = serve().await?;
    let metadata = json!({ "pay": 7, "open": true });
    let veiled = json!({ "text": "veil this", "fact_id": "veiled", "metadata": metadata });
    let hidden = json!({ "text": "withheld here", "fact_id": "hidden", "metadata": metadata });
    server.store(veiled).await?;
    server.store(hidden).await?;
    assert_eq!(server.get("/v1/facts/veiled").await?.json["metadata"], json!({}));
    for filter in [r#"{"pay":7}"#, r#"{"pay":{"exists":true}}"#, r#"{"open":true}"#] {
        assert!(!found(&server, filter).await?, "{filter}");
    }
    for filter in [r#"{"pay":{"ne":7}}"#, r#"{"pay":{"exists":false}}"#, "{}"] {
        assert!(found(&server, filter).await?, "{filter}");
    }
    assert_eq!(server.get("/v1/count").await?.json["count"], 1, "what is shown is counted");
    let answer = server.get("/v1/count").await?;
    assert_eq!(answer.header("x-kenning-extensions"), "hooks=1");
    Ok(())
}

#[tokio::test]
async fn a_deletion_by_filter_keeps_what_on_read_hides_or_spoils() -> Result<()> {
    let server = serve().await?;
    for (id, text) in
        [("plain", "a fact"), ("veiled", "veil it"), ("hidden", "withheld"), ("spoilt", "broken")]
    {
        let fact = json!({ "text": text, "fact_id": id, "metadata": { "pay": 7 } });
        server.store(fact).await?;
    }
    let deletion = server.delete(r#"/v1/facts?filter={"pay":7}"#).await?;
    let done = json!({ "deleted": 1, "complete": true, "next_cursor": null, "withheld": 1 });
    assert_eq!(deletion.json, done, "{}", deletion.text);
    let removed = server.delete("/v1/admin/tenants/default/extensions/hooks").await?;
    assert_eq!(removed.status, 200, "{}", removed.text);
    let page = server.get(r#"/v1/facts?filter={"pay":7}"#).await?;
    let ids: Vec<&Value> =
        page.json["facts"].as_array().into_iter().flatten().map(|fact| &fact["id"]).collect();
    assert_eq!(ids, ["spoilt", "hidden", "veiled"]);
    Ok(())
}

/// A hook that failed and was left out is named as for a listing without a filter.
#[tokio::test]
async fn a_filtered_export_names_the_hooks_that_were_left_out() -> Result<()> {
    let server = serve().await?;
    server.store(json!({ "text": "trap-on-read", "metadata": { "n": 1 } })).await?;
    let path = r#"/v1/export?filter={"n":1}"#;
    server.get(path).await?.assert_error(502, "guest_trapped");
    installed(&server, "default", "hooks", "?on_failure=leave-out").await?;
    let export = server.get(path).await?;
    assert_eq!(export.header("x-kenning-left-out"), "hooks=on-read");
    assert_eq!(export.text.lines().count(), 1);
    Ok(())
}
