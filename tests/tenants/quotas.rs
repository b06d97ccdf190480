//! Each quota, obeyed and violated.

use anyhow::{Context, Result};
use bytes::Bytes;
use futures::{StreamExt, stream};
use http::Method;
use kenning_tests::{Backend, Caller, component, on_both_backends, send, until};
use serde_json::{Value, json};

use super::support::{assert_exceeded, serve, serve_hostile, tenant};

on_both_backends!(
    facts_obeyed_and_violated,
    an_import_stores_what_fits_into_a_quota,
    bytes_obeyed_and_violated,
    what_is_kept_is_counted_across_a_restart,
);

async fn facts_obeyed_and_violated(backend: &Backend) -> Result<()> {
    let (_server, admin) = serve(backend).await?;
    let acme = tenant(&admin, "acme", json!({ "facts": 3 })).await?;
    let other = tenant(&admin, "other", json!({})).await?;
    for id in ["a", "b"] {
        acme.store(json!({ "text": id, "fact_id": id })).await?;
    }
    let two = json!({ "facts": [{ "text": "c", "fact_id": "c" }, { "text": "d" }] });
    assert_exceeded(&acme.post("/v1/facts/batch", two).await?, "facts", 3);
    acme.get("/v1/facts/c").await?.assert_error(404, "not_found");
    acme.store(json!({ "text": "c", "fact_id": "c" })).await?;
    assert_exceeded(&acme.post("/v1/facts", json!({ "text": "d" })).await?, "facts", 3);
    acme.store(json!({ "text": "c", "fact_id": "c" })).await.context("it is there already")?;
    let imported = acme.post_raw("/v1/import", "{\"text\": \"d\"}\n").await?;
    assert!(imported.text.contains("quota_exceeded"), "{}", imported.text);
    let quota = &acme.get("/v1/stats").await?.json["quotas"]["facts"];
    assert_eq!(*quota, json!({ "value": 3, "used": 3, "unit": "facts" }));

    assert_eq!(acme.patch("/v1/facts/a", json!({ "text": "changed" })).await?.status, 200);
    assert_eq!(acme.delete("/v1/facts/a").await?.status, 200);
    acme.store(json!({ "text": "d" })).await.context("there is room again")?;
    other.store(json!({ "text": "x" })).await.context("another's quota is another's")?;

    let lifted = json!({ "limits": { "facts": null } });
    assert_eq!(admin.patch("/v1/admin/tenants/acme", lifted).await?.status, 200);
    acme.store(json!({ "text": "e" })).await.context("a changed limit holds at once")?;
    Ok(())
}

async fn an_import_stores_what_fits_into_a_quota(backend: &Backend) -> Result<()> {
    let (_server, admin) = serve(backend).await?;
    let acme = tenant(&admin, "acme", json!({ "facts": 49 })).await?;
    let line = |n: usize| format!("{{\"text\":\"fact {n}\",\"fact_id\":\"f{n}\"}}\n");
    let lines: String = (1..=336).map(line).collect();
    let answer = acme.post_raw("/v1/import", lines.clone()).await?;
    assert_exceeded(&answer, "facts", 49);
    let counts = ["imported", "failed", "first_refused_line", "last_line", "lines"];
    let counts = counts.map(|name| answer.json[name].clone());
    assert_eq!(counts, [49, 287, 50, 49, 336].map(Value::from), "{}", answer.text);
    assert_eq!(answer.json["errors"].as_array().map(Vec::len), Some(1));
    assert_eq!(answer.json["errors"][0]["line"], 50);
    assert_eq!(acme.export().await?.lines().count(), 49);
    acme.get("/v1/facts/f49").await?;
    let again = acme.post_raw("/v1/import", lines).await?;
    assert_eq!(again.json["imported"], 49, "they are there already: {}", again.text);

    let small = tenant(&admin, "small", json!({ "bytes": 20_000 })).await?;
    let line = |n: usize| format!("{{\"text\":\"{}\",\"fact_id\":\"f{n}\"}}\n", "x".repeat(1_000));
    let answer = small.post_raw("/v1/import", (1..=60).map(line).collect::<String>()).await?;
    assert_exceeded(&answer, "bytes", 20_000);
    let stored = small.export().await?.lines().count() as u64;
    assert!((15..20).contains(&stored), "{stored}");
    assert_eq!(answer.json["imported"], stored);
    assert_eq!(answer.json["first_refused_line"], stored + 1);
    Ok(())
}

async fn bytes_obeyed_and_violated(backend: &Backend) -> Result<()> {
    let (_server, admin) = serve(backend).await?;
    let acme = tenant(&admin, "acme", json!({ "bytes": 1_000 })).await?;
    acme.store(json!({ "text": "x".repeat(500), "fact_id": "a" })).await?;
    let second = json!({ "text": "x".repeat(500), "fact_id": "b" });
    assert_exceeded(&acme.post("/v1/facts", second.clone()).await?, "bytes", 1_000);
    let longer = json!({ "text": "x".repeat(1_000) });
    assert_exceeded(&acme.patch("/v1/facts/a", longer).await?, "bytes", 1_000);
    assert_eq!(acme.patch("/v1/facts/a", json!({ "text": "short" })).await?.status, 200);
    acme.store(second).await.context("there is room again")?;
    let used = acme.get("/v1/stats").await?.json["quotas"]["bytes"]["used"].clone();
    assert!(used.as_u64().is_some_and(|used| (500..=1_000).contains(&used)), "{used}");
    Ok(())
}

async fn what_is_kept_is_counted_across_a_restart(backend: &Backend) -> Result<()> {
    let (server, admin) = serve(backend).await?;
    let acme = tenant(&admin, "acme", json!({ "facts": 2 })).await?;
    acme.store(json!({ "text": "a" })).await?;
    acme.store(json!({ "text": "b" })).await?;
    let before = acme.get("/v1/stats").await?.json["quotas"]["bytes"].clone();
    server.kill().await?;
    let (server, admin) = serve(backend).await?;
    let answer = admin.post("/v1/admin/tenants/acme/rotate-key", json!({})).await?;
    let acme = server.key(answer.json["key"].as_str().context("a key")?);
    assert_eq!(acme.get("/v1/stats").await?.json["quotas"]["bytes"], before);
    assert_exceeded(&acme.post("/v1/facts", json!({ "text": "c" })).await?, "facts", 2);
    Ok(())
}

#[tokio::test]
async fn requests_per_second_obeyed() -> Result<()> {
    let (_server, admin) = serve(&Backend::embedded()?).await?;
    let acme = tenant(&admin, "acme", json!({ "requests_per_second": 1_000_000 })).await?;
    for answer in many(&acme, 50).await? {
        assert_eq!(answer, 200);
    }
    Ok(())
}

#[tokio::test]
async fn requests_per_second_violated() -> Result<()> {
    let (_server, admin) = serve(&Backend::embedded()?).await?;
    let acme = tenant(&admin, "acme", json!({ "requests_per_second": 1 })).await?;
    until("too many requests at once", async || {
        Ok(many(&acme, 20).await?.contains(&429).then_some(()))
    })
    .await?;
    let none = json!({ "limits": { "requests_per_second": 0 } });
    admin.patch("/v1/admin/tenants/acme", none).await?;
    assert_exceeded(&acme.get("/v1/stats").await?, "requests_per_second", 0);
    Ok(())
}

/// So many requests at once; their statuses.
async fn many(caller: &Caller, requests: usize) -> Result<Vec<u16>> {
    let asked = (0..requests).map(|_| async { Ok(caller.get("/v1/stats").await?.status) });
    futures::future::try_join_all(asked).await
}

#[tokio::test]
async fn concurrent_calls_obeyed_and_violated() -> Result<()> {
    let (_server, admin) = serve(&Backend::embedded()?).await?;
    let acme = tenant(&admin, "acme", json!({ "concurrent_calls": 1 })).await?;
    assert_eq!(acme.get("/v1/stats").await?.status, 200);
    // An import is under way until its body ends.
    let body = stream::iter([Ok::<_, std::io::Error>(Bytes::from("{\"text\": \"x\"}\n"))]);
    let body = reqwest::Body::wrap_stream(body.chain(stream::pending()));
    let import = tokio::spawn(send(acme.request(Method::POST, "/v1/import").body(body)));
    // Asked of the operator's route, as a call of the tenant's own would take the place.
    until("it is under way", async || {
        let usage = admin.get("/v1/admin/tenants/acme").await?.json["usage"].clone();
        Ok((usage["concurrent_calls"]["used"] == 1).then_some(()))
    })
    .await?;
    assert_exceeded(&acme.get("/v1/stats").await?, "concurrent_calls", 1);
    import.abort();
    until("its place is free", async || {
        Ok((acme.get("/v1/stats").await?.status == 200).then_some(()))
    })
    .await
}

/// What is used of one of the tenant's quotas.
async fn used(admin: &Caller, quota: &str) -> Result<u64> {
    let answer = admin.get("/v1/admin/tenants/acme").await?;
    answer.json["usage"][quota]["used"].as_u64().context("a count")
}

#[tokio::test]
async fn fuel_per_minute_obeyed_and_violated() -> Result<()> {
    let (_server, admin) = serve(&Backend::embedded()?).await?;
    let acme = tenant(&admin, "acme", json!({ "fuel_per_minute": 1 })).await?;
    acme.store(json!({ "text": "x", "fact_id": "f" })).await.context("while some is left")?;
    assert!(used(&admin, "fuel_per_minute").await? > 1);
    assert_exceeded(&acme.get("/v1/facts/f").await?, "fuel_per_minute", 1);
    assert_eq!(acme.get("/v1/stats").await?.status, 200, "it runs no guest");
    let much = json!({ "limits": { "fuel_per_minute": 1_000_000_000_000_u64 } });
    admin.patch("/v1/admin/tenants/acme", much).await?;
    assert_eq!(acme.get("/v1/facts/f").await?.status, 200);
    Ok(())
}

/// Otherwise going away would be a way to work for nothing.
#[tokio::test]
async fn work_for_a_caller_who_went_away_is_charged() -> Result<()> {
    let (_server, admin) = serve_hostile(&Backend::embedded()?).await?;
    let acme = tenant(&admin, "acme", json!({})).await?;
    let spinning = tokio::spawn({
        let acme = acme.clone();
        async move { acme.post("/v1/search", json!({ "query": "spin" })).await }
    });
    until("a call under way", async || {
        Ok((used(&admin, "concurrent_calls").await? == 1).then_some(()))
    })
    .await?;
    assert_eq!(used(&admin, "fuel_per_minute").await?, 0);
    spinning.abort();
    until("its work is charged", async || {
        Ok((used(&admin, "fuel_per_minute").await? > 0).then_some(()))
    })
    .await
}

#[tokio::test]
async fn embedding_tokens_per_minute_obeyed_and_violated() -> Result<()> {
    let (_server, admin) = serve(&Backend::embedded()?).await?;
    let acme = tenant(&admin, "acme", json!({ "embedding_tokens_per_minute": 4 })).await?;
    acme.store(json!({ "text": "nine byte", "fact_id": "f" })).await?;
    assert_eq!(used(&admin, "embedding_tokens_per_minute").await?, 3);
    let query: Value = json!({ "query": "nine" });
    acme.search(query.clone()).await.context("while some are left")?;
    let refused = acme.post("/v1/search", query).await?;
    assert_exceeded(&refused, "embedding_tokens_per_minute", 4);
    let refused = acme.post("/v1/facts", json!({ "text": "more" })).await?;
    assert_exceeded(&refused, "embedding_tokens_per_minute", 4);
    assert_eq!(acme.get("/v1/facts/f").await?.status, 200, "it embeds nothing");
    Ok(())
}

/// What is embedded twice counts twice, and what is beyond the last window does not count.
#[tokio::test]
async fn the_windows_of_a_long_fact_count_in_embedding_tokens_per_minute() -> Result<()> {
    let (_server, admin) = serve(&Backend::embedded()?).await?;
    let acme = tenant(&admin, "acme", json!({})).await?;
    acme.store(json!({ "text": "word ".repeat(4_000) })).await?;
    let used_by_all = used(&admin, "embedding_tokens_per_minute").await?;
    assert!((5_200..6_200).contains(&used_by_all), "{used_by_all}");
    acme.store(json!({ "text": "other ".repeat(40_000) })).await?;
    let used_by_part = used(&admin, "embedding_tokens_per_minute").await? - used_by_all;
    assert!((38_000..43_000).contains(&used_by_part), "160 windows of 1 KiB: {used_by_part}");
    Ok(())
}

#[tokio::test]
async fn a_tenant_whose_requests_are_not_to_be_kept_is_asked_none_again() -> Result<()> {
    let (_server, admin) = serve(&Backend::embedded()?).await?;
    let acme = tenant(&admin, "acme", json!({})).await?;
    acme.store(json!({ "text": "tea" })).await?;
    assert_eq!(used(&admin, "proof_requests").await?, 1);
    let none = json!({ "limits": { "proof_requests": 0 } });
    assert_eq!(admin.patch("/v1/admin/tenants/acme", none).await?.status, 200);
    assert_eq!(used(&admin, "proof_requests").await?, 0, "what was kept is dropped");
    acme.store(json!({ "text": "coffee" })).await?;
    assert_eq!(used(&admin, "proof_requests").await?, 0);
    Ok(())
}

#[tokio::test]
async fn extensions_obeyed_and_violated() -> Result<()> {
    // Its directory, where components are compiled to, lasts as long as this.
    let backend = Backend::embedded()?;
    let (_server, admin) = serve(&backend).await?;
    let acme = tenant(&admin, "acme", json!({ "extensions": 1 })).await?;
    tenant(&admin, "other", json!({})).await?;
    let hooks = std::fs::read(component("hooks")?)?;
    let install =
        async |tenant: &str, name: &str| admin.install(tenant, name, hooks.clone(), "").await;
    assert_eq!(install("acme", "one").await?.status, 200);
    assert_exceeded(&install("acme", "two").await?, "extensions", 1);
    assert_eq!(used(&admin, "extensions").await?, 1);
    let fact = acme.get("/v1/facts").await?;
    assert_eq!(fact.header("x-kenning-extensions"), "one=1", "the first goes on");
    assert_eq!(install("acme", "one").await?.status, 200, "a new version is no new extension");
    for name in ["one", "two"] {
        assert_eq!(install("other", name).await?.status, 200, "another's quota is another's");
    }
    let removed = admin.delete("/v1/admin/tenants/acme/extensions/one").await?;
    assert_eq!(removed.status, 200, "{}", removed.text);
    assert_eq!(install("acme", "two").await?.status, 200, "there is room again");
    let none = json!({ "limits": { "extensions": 0 } });
    assert_eq!(admin.patch("/v1/admin/tenants/acme", none).await?.status, 200);
    assert_exceeded(&install("acme", "three").await?, "extensions", 0);
    let fact = acme.get("/v1/facts").await?;
    assert_eq!(fact.header("x-kenning-extensions"), "two=1", "what is there stays");
    Ok(())
}
