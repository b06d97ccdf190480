//! Deleting a tenant: at once for its callers, and with all that it has.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use http::Method;
use kenning_storage::{
    Condition, DocumentName, FactId, Layout, StorageLimits, TenantId, Write, open,
};
use kenning_tests::{
    Backend, RedisServer, Server, Setup, all_indexed, component, on_both_backends, send, until,
};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::support::{ADMIN, assert_unauthorized, create, serve, serve_hostile, setup, tenant};

on_both_backends!(
    a_deleted_tenant_is_gone_at_once,
    calls_under_way_end,
    an_import_under_way_ends,
    failures_recordings_and_metrics_go_with_their_tenant,
);

async fn a_deleted_tenant_is_gone_at_once(backend: &Backend) -> Result<()> {
    let (_server, admin) = serve(backend).await?;
    let acme = tenant(&admin, "acme", json!({})).await?;
    let other = tenant(&admin, "other", json!({})).await?;
    for caller in [&acme, &other] {
        for n in 0..20 {
            caller
                .store(json!({ "text": format!("fact {n}"), "fact_id": format!("f{n}") }))
                .await?;
        }
        all_indexed(caller).await?;
    }
    let before = other.export().await?;
    let deleted = admin.delete("/v1/admin/tenants/acme").await?;
    assert_eq!((deleted.status, &deleted.json["status"]), (200, &json!("success")));
    assert_unauthorized(&acme.get("/v1/facts/f1").await?);
    assert_unauthorized(&acme.post("/v1/search", json!({ "query": "fact" })).await?);
    admin.get("/v1/admin/tenants/acme").await?.assert_error(404, "not_found");
    let listed = admin.get("/v1/admin/tenants").await?.json;
    let names: Vec<_> = listed["tenants"].as_array().into_iter().flatten().collect();
    assert_eq!(names.len(), 1, "{listed}");
    assert_eq!(other.export().await?, before, "another's facts are another's");
    Ok(())
}

async fn calls_under_way_end(backend: &Backend) -> Result<()> {
    let (_server, admin) = serve_hostile(backend).await?;
    let acme = tenant(&admin, "acme", json!({})).await?;
    let spinning = tokio::spawn({
        let acme = acme.clone();
        async move { acme.post("/v1/search", json!({ "query": "spin" })).await }
    });
    until("a call under way", async || {
        let usage = admin.get("/v1/admin/tenants/acme").await?.json["usage"].clone();
        Ok((usage["concurrent_calls"]["used"] == 1).then_some(()))
    })
    .await?;
    assert_eq!(admin.delete("/v1/admin/tenants/acme").await?.status, 200);
    assert_unauthorized(&spinning.await??);
    Ok(())
}

async fn an_import_under_way_ends(backend: &Backend) -> Result<()> {
    let (_server, admin) = serve(backend).await?;
    let acme = tenant(&admin, "acme", json!({})).await?;
    let (lines, body) = mpsc::channel::<Result<Bytes, std::io::Error>>(1);
    let body = futures::stream::unfold(body, |mut body| async {
        body.recv().await.map(|line| (line, body))
    });
    let body = reqwest::Body::wrap_stream(body);
    let import = tokio::spawn(send(acme.request(Method::POST, "/v1/import").body(body)));
    // One group of facts, so that it is stored.
    let group: String = (0..50).map(|n| format!("{{\"text\": \"{n}\"}}\n")).collect();
    lines.send(Ok(group.clone().into())).await?;
    until("facts are imported", async || {
        let usage = admin.get("/v1/admin/tenants/acme").await?.json["usage"].clone();
        Ok((usage["facts"]["used"] == 50).then_some(()))
    })
    .await?;
    assert_eq!(admin.delete("/v1/admin/tenants/acme").await?.status, 200);
    lines.send(Ok(group.into())).await?;
    drop(lines);
    let answer = import.await??;
    answer.assert_error(401, "unauthorized");
    assert!(answer.text.contains("the import stopped after line"), "{}", answer.text);
    let listed = admin.get("/v1/admin/tenants").await?;
    assert_eq!(listed.json, json!({ "tenants": [] }), "nothing was stored under its name");
    Ok(())
}

async fn failures_recordings_and_metrics_go_with_their_tenant(backend: &Backend) -> Result<()> {
    let environment = vec![("KENNING_METRICS_BY_TENANT", "true".into())];
    let logic = Some(component("hostile")?);
    let config = Setup::patient().config;
    let server = Server::start_with(Setup { config, logic, environment, ..setup(backend) }).await?;
    let admin = server.key(ADMIN);
    let mut failed = Vec::new();
    for name in ["acme", "other"] {
        let tenant = tenant(&admin, name, json!({})).await?;
        let answer = tenant.post("/v1/search", json!({ "query": "trap" })).await?;
        answer.assert_error(502, "guest_trapped");
        failed.push(answer.header("x-request-id").to_owned());
    }
    let tenants_of_failures = async || {
        let listed = admin.get("/v1/admin/requests").await?.json;
        let requests = listed["requests"].as_array().context("no list")?;
        let tenant = |request: &Value| Some(request["call"]["tenant"].as_str()?.to_owned());
        let mut tenants: Vec<_> = requests.iter().filter_map(tenant).collect();
        tenants.sort();
        Ok::<_, anyhow::Error>(tenants)
    };
    assert_eq!(tenants_of_failures().await?, ["acme", "other"]);
    let series = |name: &str| format!("kenning_tenant_requests_total{{tenant=\"{name}\"");
    let metrics = admin.get("/metrics").await?.text;
    assert!(metrics.contains(&series("acme")) && metrics.contains(&series("other")), "{metrics}");

    assert_eq!(admin.delete("/v1/admin/tenants/acme").await?.status, 200);
    assert_eq!(tenants_of_failures().await?, ["other"]);
    for (request, is_known) in failed.iter().zip([false, true]) {
        for path in ["", "/replay"] {
            let known = admin.get(&format!("/v1/admin/requests/{request}{path}")).await?;
            assert_eq!(known.status, if is_known { 200 } else { 404 }, "{}", known.text);
        }
    }
    let metrics = admin.get("/metrics").await?.text;
    assert!(!metrics.contains("tenant=\"acme\"") && metrics.contains(&series("other")));
    Ok(())
}

#[tokio::test]
async fn a_tenant_of_the_same_name_begins_anew() -> Result<()> {
    let (_server, admin) = serve(&Backend::embedded()?).await?;
    let old = tenant(&admin, "acme", json!({ "facts": 5 })).await?;
    let fact = json!({ "text": "the old secret", "fact_id": "f" });
    old.store(fact).await?;
    all_indexed(&old).await?;
    assert_eq!(admin.delete("/v1/admin/tenants/acme").await?.status, 200);

    let new = tenant(&admin, "acme", json!({})).await?;
    assert_unauthorized(&old.get("/v1/stats").await?);
    new.get("/v1/facts/f").await?.assert_error(404, "not_found");
    assert!(new.search(json!({ "query": "the old secret" })).await?.is_empty());
    let stats = new.get("/v1/stats").await?.json;
    assert_eq!((&stats["facts"], &stats["index"]["facts"]), (&json!(0), &json!(0)));
    assert_eq!(stats["quotas"]["facts"]["value"], json!(null));
    new.store(json!({ "text": "the new secret", "fact_id": "f" })).await?;
    assert_eq!(new.search(json!({ "query": "the new secret" })).await?, ["f"]);
    Ok(())
}

/// What a deleted tenant had is gone from Redis, once no other host can still write to it.
#[tokio::test]
async fn nothing_of_a_deleted_tenant_stays_in_redis() -> Result<()> {
    let redis = RedisServer::start();
    let setup = Setup {
        storage: Some(redis.url()),
        admin_key: Some(ADMIN),
        // The name is kept for as long as a call may last.
        config: Some("[limits]\ncall_ms = 1000\nsearch_ms = 1000\n".into()),
        ..Setup::default()
    };
    let server = Server::start_with(setup).await?;
    let admin = server.key(ADMIN);
    let acme = tenant(&admin, "acme", json!({})).await?;
    until("a first fact", async || {
        let stored = acme.post("/v1/facts", json!({ "text": "x", "fact_id": "f" })).await?;
        Ok((stored.status == 201).then_some(()))
    })
    .await?;
    all_indexed(&acme).await?;
    assert_ne!(redis.command(&["KEYS", "*acme*"]), "*0\r\n");
    let deleted = admin.delete("/v1/admin/tenants/acme").await?;
    assert_eq!(deleted.status, 200, "{}", deleted.text);
    // Only the number by which storage refuses hosts that do not know of it.
    let left = redis.command(&["KEYS", "kenning:{acme}*"]);
    assert_eq!(left, "*1\r\n$23\r\nkenning:{acme}:registry\r\n");
    until("nothing is left", async || {
        Ok((redis.command(&["KEYS", "kenning:{acme}*"]) == "*0\r\n").then_some(()))
    })
    .await?;
    until("its name is free", async || {
        let created = admin.post("/v1/admin/tenants", json!({ "name": "acme" })).await?;
        if created.status == 409 {
            created.assert_error(409, "conflict");
            assert!(created.text.contains("still being deleted"), "{}", created.text);
        }
        Ok((created.status == 201).then_some(()))
    })
    .await
}

/// A deletion that was cut off, as it lies in storage: the record says deleted, the facts are
/// there, and so is what hangs on the tenant by name.
#[tokio::test]
async fn a_deletion_that_was_cut_off_is_finished_after_the_next_start() -> Result<()> {
    let backend = Backend::embedded()?;
    let directory = backend.setup().data_dir.context("a data directory")?.join("facts");
    let url = format!("embedded:{}", directory.display());
    let storage = open(&url, Layout::Tenant, StorageLimits::default()).await?;
    let later = || Instant::now() + Duration::from_secs(60);
    let acme = TenantId::parse("acme")?;
    let facts = [Write {
        id: FactId::parse("f")?,
        fields: vec![("content".into(), "x".into())],
        condition: Condition::Absent,
        expected: Vec::new(),
        order: 1,
    }];
    storage.write(&acme, &facts, later()).await?;
    let record = json!({ "created": 1, "deleted": 2, "keys": [], "limits": {} }).to_string();
    for (name, bytes) in
        [("tenant/acme", record.as_str()), ("extensions/acme", "{}"), ("extensions/acme2", "{}")]
    {
        storage
            .write_document(&DocumentName::parse(name)?, bytes.as_bytes(), None, later())
            .await?;
    }
    storage.close().await;
    drop(storage);

    let (server, admin) = serve(&backend).await?;
    until("its name is free", async || {
        let created = admin.post("/v1/admin/tenants", json!({ "name": "acme" })).await?;
        Ok((created.status == 201).then_some(()))
    })
    .await?;
    server.stop().await?;
    let storage = open(&url, Layout::Tenant, StorageLimits::default()).await?;
    assert_eq!(storage.count(&acme, later()).await?, 0);
    let left = storage.list_documents("extensions/", later()).await?;
    let left: Vec<_> = left.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(left, ["extensions/acme2"], "another tenant's name begins alike");
    Ok(())
}

#[tokio::test]
async fn deleting_again_is_not_found() -> Result<()> {
    let (_server, admin) = serve(&Backend::embedded()?).await?;
    create(&admin, "acme", json!({})).await?;
    assert_eq!(admin.delete("/v1/admin/tenants/acme").await?.status, 200);
    admin.delete("/v1/admin/tenants/acme").await?.assert_error(404, "not_found");
    Ok(())
}
