//! How a stream ends: always cleanly, so that clients connect again.

use anyhow::{Context, Result};
use kenning_tests::{Backend, ChangeStream, Server, Setup, Wire, on_both_backends, until};
use reqwest::Method;
use serde_json::{Value, json};

const ADMIN: &str = "an-admin-key-for-tests-only";

on_both_backends!(
    streams_end_cleanly_when_the_server_stops,
    a_revoked_key_ends_its_streams_and_no_others,
    a_deleted_tenant_ends_its_streams,
);

async fn streams_end_cleanly_when_the_server_stops(backend: &Backend) -> Result<()> {
    let server = backend.serve().await?;
    let mut stream = ChangeStream::open(&server, "").await?;
    server.store(json!({ "text": "x", "fact_id": "a" })).await?;
    assert_eq!(stream.take(1).await?.len(), 1);
    server.terminate().await?;
    assert_eq!(stream.rest().await?, []);
    assert_eq!(server.ended().await?, Some(0));
    Ok(())
}

async fn a_revoked_key_ends_its_streams_and_no_others(backend: &Backend) -> Result<()> {
    let server = Server::start_with(Setup { admin_key: Some(ADMIN), ..backend.setup() }).await?;
    let admin = server.key(ADMIN);
    let created = admin.post("/v1/admin/tenants", json!({ "name": "acme" })).await?.json;
    let rotated = admin.post("/v1/admin/tenants/acme/rotate-key", json!({})).await?.json;
    let key = |answer: &Value| answer["key"].as_str().map(str::to_owned).context("no key");
    let (old, new) = (server.key(&key(&created)?), server.key(&key(&rotated)?));
    server.get("/v1/changes").await?.assert_error(401, "unauthorized");
    admin.get("/v1/changes").await?.assert_error(403, "forbidden");
    let (mut first, mut second) =
        (ChangeStream::open(&old, "").await?, ChangeStream::open(&new, "").await?);
    old.store(json!({ "text": "x", "fact_id": "a" })).await?;
    assert_eq!((first.take(1).await?.len(), second.take(1).await?.len()), (1, 1));
    let revoke = json!({ "key_id": created["key_id"] });
    let revoked = admin.post("/v1/admin/tenants/acme/revoke-key", revoke).await?;
    assert_eq!(revoked.status, 200, "{}", revoked.text);
    new.store(json!({ "text": "y", "fact_id": "b" })).await?;
    assert_eq!(first.rest().await?, [], "nothing more after its key was revoked");
    assert_eq!(second.take(1).await?.len(), 1);
    Ok(())
}

async fn a_deleted_tenant_ends_its_streams(backend: &Backend) -> Result<()> {
    let server = backend.serve().await?;
    let acme = server.tenant("acme");
    acme.store(json!({ "text": "x", "fact_id": "a" })).await?;
    let mut stream = ChangeStream::open(&acme, "?after=0").await?;
    assert_eq!(stream.take(1).await?.len(), 1);
    // One that does not read must not keep the tenant.
    let mut deaf = Wire::open_narrow(server.url()).await?;
    deaf.send(
        b"GET /v1/changes?after=0 HTTP/1.1\r\nhost: localhost\r\nx-kenning-tenant: acme\r\n\r\n",
    )
    .await?;
    let deleted = server.delete("/v1/admin/tenants/acme").await?;
    assert_eq!(deleted.status, 200, "{}", deleted.text);
    assert_eq!(stream.rest().await?, []);
    Ok(())
}

#[tokio::test]
async fn a_caller_may_say_how_long_it_listens() -> Result<()> {
    let server = Server::start().await?;
    let request = server.request(Method::GET, "/v1/changes");
    let mut stream =
        ChangeStream::of(request.header("x-kenning-timeout-ms", 300).send().await?).await?;
    assert_eq!(stream.rest().await?, []);
    Ok(())
}

#[tokio::test]
async fn a_caller_that_leaves_frees_its_place() -> Result<()> {
    let server = Server::start_with(Setup::patient_but("subscribers_per_tenant = 1")).await?;
    for _ in 0..3 {
        let stream =
            until("a place is free", async || Ok(ChangeStream::open(&server, "").await.ok()));
        drop(stream.await?);
    }
    Ok(())
}
