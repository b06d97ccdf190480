//! Where a hook decides who sees a fact, the stream tells no more than a list does.

use anyhow::Result;
use kenning_tests::{Backend, ChangeStream, Server, Setup, component, on_both_backends};
use serde_json::json;

use super::told;

on_both_backends!(what_on_read_hides_is_left_out);

async fn install(server: &Server, parameters: &str) -> Result<()> {
    let hooks = std::fs::read(component("hooks")?)?;
    let installed = server.install("default", "hooks", hooks, parameters).await?;
    assert_eq!(installed.status, 200, "{}", installed.text);
    Ok(())
}

async fn what_on_read_hides_is_left_out(backend: &Backend) -> Result<()> {
    let server = backend.serve().await?;
    let store = async |id: &str, text: &str| {
        server.store(json!({ "text": text, "fact_id": id })).await.map(drop)
    };
    store("early", "withheld before there was a hook").await?;
    let mut stream = ChangeStream::open(&server, "?after=0").await?;
    assert_eq!(told(&stream.take(1).await?), [("stored", "early")]);
    install(&server, "").await?;
    store("hidden", "withheld from everybody").await?;
    store("spoilt", "broken by the hook").await?;
    store("seen", "a fact").await?;
    store("gone", "soon").await?;
    assert_eq!(told(&stream.take(2).await?), [("stored", "seen"), ("stored", "gone")]);
    // What it hides now, it hides from those who come later, too.
    server.patch("/v1/facts/seen", json!({ "text": "withheld from now on" })).await?;
    server.delete("/v1/facts/gone").await?;
    server.delete("/v1/facts/hidden").await?;
    store("last", "a fact").await?;
    assert_eq!(told(&stream.take(1).await?), [("stored", "last")]);
    let mut second = ChangeStream::open(&server, "?after=0").await?;
    assert_eq!(told(&second.take(1).await?), [("stored", "last")]);
    drop((stream, second));
    let mut late = ChangeStream::open(&server, "?after=0&follow=false").await?;
    assert_eq!(told(&late.rest().await?), [("stored", "last")]);
    assert!(late.position >= late.revision()?, "and it comes to the end");
    // Without the hook nothing is hidden.
    server.delete("/v1/admin/tenants/default/extensions/hooks").await?;
    let all = ChangeStream::open(&server, "?after=0&follow=false").await?.rest().await?;
    assert_eq!(all.len(), 9, "{all:?}");
    assert!(told(&all).contains(&("deleted", "hidden")));
    Ok(())
}

/// A hook that fails closed ends the stream before the fact, and says why to whoever comes again.
#[tokio::test]
async fn a_hook_that_fails_tells_nobody() -> Result<()> {
    let server = Server::start().await?;
    install(&server, "").await?;
    let mut stream = ChangeStream::open(&server, "").await?;
    server.store(json!({ "text": "a fact", "fact_id": "a" })).await?;
    assert_eq!(told(&stream.take(1).await?), [("stored", "a")]);
    server.store(json!({ "text": "trap-on-read", "fact_id": "b" })).await?;
    assert_eq!(stream.rest().await?, []);
    let again = server.get(&format!("/v1/changes?after={}", stream.position)).await?;
    again.assert_error(502, "guest_trapped");
    install(&server, "?on_failure=leave-out").await?;
    let mut again = ChangeStream::resume(&server, "", stream.position).await?;
    assert_eq!(told(&again.take(1).await?), [("stored", "b")]);
    Ok(())
}

/// The fuel that the hook takes is the tenant's own.
#[tokio::test]
async fn a_tenant_without_fuel_waits_for_its_changes() -> Result<()> {
    let key = "an-admin-key-for-tests-only";
    let server = Server::start_with(Setup { admin_key: Some(key), ..Setup::patient() }).await?;
    let admin = server.key(key);
    let limits = json!({ "name": "acme", "limits": { "fuel_per_minute": 1 } });
    let created = admin.post("/v1/admin/tenants", limits).await?;
    let acme = server.key(created.json["key"].as_str().unwrap_or_default());
    let hooks = std::fs::read(component("hooks")?)?;
    let installed = admin.install("acme", "hooks", hooks, "").await?;
    assert_eq!(installed.status, 200, "{}", installed.text);
    acme.store(json!({ "text": "a fact", "fact_id": "a" })).await?;
    acme.get("/v1/changes?after=0").await?.assert_error(429, "quota_exceeded");
    let more = json!({ "limits": { "fuel_per_minute": null } });
    assert_eq!(admin.patch("/v1/admin/tenants/acme", more).await?.status, 200);
    let mut stream = ChangeStream::open(&acme, "?after=0").await?;
    assert_eq!(told(&stream.take(1).await?), [("stored", "a")]);
    Ok(())
}
