//! A component that is refused everywhere.

use anyhow::Result;
use kenning_tests::{Server, component, noted};
use serde_json::json;

use super::hooks;

#[tokio::test]
async fn a_revoked_digest_is_replaced_where_it_is_live_and_accepted_no_more() -> Result<()> {
    let server = Server::start().await?;
    let bad = noted(&hooks()?, "bad");
    server.install("one", "x", noted(&hooks()?, "good"), "").await?;
    let digest = server.install("one", "x", bad.clone(), "").await?.json["digest"].clone();
    server.install("two", "y", bad.clone(), "").await?;
    let path = format!("/v1/admin/digests/{}", digest.as_str().unwrap_or_default());
    let found = server.get(&path).await?;
    let expected = json!([
        { "tenant": "one", "extension": "x", "generation": 2, "active": true },
        { "tenant": "two", "extension": "y", "generation": 1, "active": true },
    ]);
    assert_eq!((&found.json["uses"], &found.json["revoked"]), (&expected, &json!(null)));

    let revoked = server.post(&format!("{path}/revoke?reason=leaks"), json!({})).await?;
    assert_eq!(revoked.status, 200, "{}", revoked.text);
    let replaced = json!([
        { "tenant": "one", "extension": "x", "from": 2, "to": 1 },
        { "tenant": "two", "extension": "y", "from": 1, "to": null },
    ]);
    assert_eq!(revoked.json["replaced"], replaced, "{}", revoked.text);
    let refused = server.install("two", "y", bad.clone(), "").await?;
    refused.assert_error(422, "incompatible_component");
    assert!(refused.text.contains("revoked") && refused.text.contains("leaks"), "{}", refused.text);
    let back = "/v1/admin/tenants/one/extensions/x/rollback?generation=2";
    server.post(back, json!({})).await?.assert_error(422, "incompatible_component");

    assert_eq!(server.delete(&format!("{path}/revoke")).await?.status, 200);
    assert_eq!(server.install("two", "y", bad, "").await?.status, 200);
    server.get("/v1/admin/digests/sha256:00").await?.assert_invalid("/digest");
    Ok(())
}

#[tokio::test]
async fn a_revoked_logic_is_rolled_back_and_the_built_in_one_cannot_be_revoked() -> Result<()> {
    let server = Server::start().await?;
    let logic = std::fs::read(component("logic")?)?;
    let digest = server.swap_logic(noted(&logic, "bad"), "").await?.json["digest"].clone();
    let path = format!("/v1/admin/digests/{}/revoke", digest.as_str().unwrap_or_default());
    let revoked = server.post(&path, json!({})).await?;
    let replaced = json!([{ "tenant": null, "extension": null, "from": 2, "to": 1 }]);
    assert_eq!(revoked.json["replaced"], replaced, "{}", revoked.text);
    let built_in = server.get("/v1/admin/logic").await?.json["built_in"]["digest"].clone();
    let path = format!("/v1/admin/digests/{}/revoke", built_in.as_str().unwrap_or_default());
    server.post(&path, json!({})).await?.assert_error(409, "conflict");
    Ok(())
}
