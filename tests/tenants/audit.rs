//! What operators did is on record.

use anyhow::{Context, Result};
use http::Method;
use kenning_tests::{
    Backend, Caller, Fault, FaultProxy, RedisServer, Server, Setup, command, on_both_backends, run,
    send, until,
};
use serde_json::{Value, json};

use super::support::{ADMIN, assert_unauthorized, create, key_in, serve};

on_both_backends!(
    every_route_that_changes_something_leaves_a_record,
    a_record_says_who_did_what_and_how_it_ended,
);

/// The newest records first.
async fn records(admin: &Caller, parameters: &str) -> Result<Vec<Value>> {
    let listed = admin.get(&format!("/v1/admin/audit{parameters}")).await?;
    assert_eq!(listed.status, 200, "{}", listed.text);
    Ok(listed.json["records"].as_array().context("records")?.clone())
}

/// A search, which changes nothing.
const ONLY_READS: &str = "/v1/admin/tenants/{t}/preview";

/// Also of routes that are added later: they are read from the server's description.
async fn every_route_that_changes_something_leaves_a_record(backend: &Backend) -> Result<()> {
    let (server, admin) = serve(backend).await?;
    let document = server.get("/openapi.json").await?.json;
    let mut acts = 0;
    for (route, operations) in document["paths"].as_object().context("paths")? {
        if !route.starts_with("/v1/admin") || route == ONLY_READS {
            continue;
        }
        let path = route.replace("{t}", "acme").replace("{", "").replace("}", "");
        for method in ["post", "put", "patch", "delete"] {
            if operations.get(method).is_none() {
                continue;
            }
            let method = Method::from_bytes(method.to_uppercase().as_bytes())?;
            let request = |caller: &Caller| caller.request(method.clone(), &path);
            let json = |caller: &Caller| request(caller).json(&json!({}));
            assert_unauthorized(&send(json(&server)).await?);
            assert_eq!(records(&admin, "?limit=1000").await?.len(), acts, "{route} without a key");
            let answer = send(json(&admin)).await?;
            acts += 1;
            let all = records(&admin, "?limit=1000").await?;
            assert_eq!(all.len(), acts, "{method} {route}: {}", answer.text);
            let newest = &all[0];
            assert_eq!(
                (&newest["route"], &newest["method"]),
                (&json!(route), &json!(method.as_str()))
            );
            assert_eq!(newest["result"]["status"], answer.status, "{newest}");
            assert_eq!(newest["request_id"], answer.header("x-request-id"), "{newest}");
        }
    }
    assert!(acts >= 8, "routes were read");
    let [newest, next] = [&records(&admin, "?limit=1").await?[0], &records(&admin, "").await?[1]];
    let older = format!("?limit=1&before={}", newest["id"].as_str().unwrap_or_default());
    assert_eq!(&records(&admin, &older).await?[0], next);
    Ok(())
}

async fn a_record_says_who_did_what_and_how_it_ended(backend: &Backend) -> Result<()> {
    let (_server, admin) = serve(backend).await?;
    let key = create(&admin, "acme", json!({ "facts": 7 })).await?;
    let remove = "/v1/admin/tenants/acme/extensions/none?force=true&key=hidden";
    admin.delete(remove).await?.assert_error(400, "invalid_request");
    let all = records(&admin, "").await?;
    let [removed, created] = [&all[0], &all[1]];
    assert_eq!(created["who"], "the admin key");
    assert_eq!(created["key_id"].as_str().map(str::len), Some(12), "{created}");
    assert_eq!(created["from"], "127.0.0.1");
    let result = &created["result"];
    assert_eq!((&result["status"], &result["code"]), (&json!(201), &json!(null)), "{created}");
    assert_eq!(result["sent"], json!({ "name": "acme", "limits": { "facts": 7 } }), "{created}");
    let id = key.split('_').nth(1).unwrap_or_default();
    assert_eq!((&result["answered"]["key_id"]), (&json!(id)), "{created}");
    assert_eq!(removed["path"], "/v1/admin/tenants/acme/extensions/none");
    assert_eq!(removed["parameters"], json!({ "force": "true" }), "{removed}");
    assert_eq!(removed["result"]["code"], "invalid_request", "{removed}");
    let text = Value::from(all).to_string();
    assert!(!text.contains(&key) && !text.contains(ADMIN) && !text.contains("hidden"), "{text}");
    Ok(())
}

#[tokio::test]
async fn a_tenant_reads_what_was_done_to_it_and_nothing_else() -> Result<()> {
    const OWN: &str = "/v1/admin/tenants/acme/audit";
    let (server, admin) = serve(&Backend::embedded()?).await?;
    let tenant = async || {
        create(&admin, "acme", json!({})).await?;
        let terms = json!({ "scopes": ["admin"] });
        key_in(&admin.post("/v1/admin/tenants/acme/rotate-key", terms).await?)
    };
    let key = tenant().await?;
    let acme = server.key(&key);
    create(&admin, "other", json!({})).await?;
    admin.patch("/v1/admin/tenants/other", json!({ "limits": { "facts": 5 } })).await?;
    admin.post("/v1/admin/logic/rollback?tenant=acme", json!({})).await?;
    acme.delete("/v1/admin/tenants/acme/extensions/none").await?;
    let of = async |caller: &Caller| {
        let listed = caller.get(OWN).await?;
        assert_eq!(listed.status, 200, "{}", listed.text);
        Ok::<_, anyhow::Error>(listed.json["records"].as_array().context("records")?.clone())
    };
    let known = of(&acme).await?;
    let about: Vec<_> = known.iter().filter_map(|record| record["path"].as_str()).collect();
    let expected = [
        "/v1/admin/tenants/acme/extensions/none",
        "/v1/admin/logic/rollback",
        "/v1/admin/tenants/acme/rotate-key",
    ];
    assert_eq!(about, expected, "{known:?}");
    assert_eq!(known[0]["who"], "a key of the tenant acme");
    assert_eq!(known[0]["key_id"].as_str(), key.split('_').nth(1));
    assert_eq!(known[0]["from"], "127.0.0.1");
    for act in &known[1..] {
        let told = [&act["who"], &act["key_id"], &act["from"]];
        assert_eq!(told, [&json!("the admin key"), &json!(null), &json!(null)], "{act}");
    }
    let to_operator = of(&admin).await?;
    assert_eq!(to_operator.len(), known.len());
    assert_eq!(to_operator[1]["from"], "127.0.0.1");
    for path in ["/v1/admin/audit", "/v1/admin/tenants/other/audit"] {
        acme.get(path).await?.assert_error(403, "forbidden");
    }
    acme.get(&format!("{OWN}?limit=0")).await?.assert_invalid("/limit");
    // What was done to an earlier tenant of this name is not the later one's to read.
    assert_eq!(admin.delete("/v1/admin/tenants/acme").await?.status, 200);
    let anew = of(&server.key(&tenant().await?)).await?;
    let about: Vec<_> = anew.iter().filter_map(|record| record["path"].as_str()).collect();
    assert_eq!(about, ["/v1/admin/tenants/acme/rotate-key"], "{anew:?}");
    Ok(())
}

#[tokio::test]
async fn an_act_that_cannot_be_put_on_record_is_not_done() -> Result<()> {
    let redis = RedisServer::start();
    let proxy = FaultProxy::start(redis.port()).await?;
    let config = Some("[limits]\nstorage_operation_ms = 500\n".to_string());
    let storage = Some(proxy.url());
    let setup = Setup { storage, config, admin_key: Some(ADMIN), ..Setup::default() };
    let server = Server::start_with(setup).await?;
    let admin = server.key(ADMIN);
    create(&admin, "acme", json!({})).await?;
    proxy.set(Fault::HangUp);
    let answer = admin.post("/v1/admin/tenants", json!({ "name": "other" })).await?;
    assert!([503, 504].contains(&answer.status), "{}", answer.text);
    assert!(answer.text.contains("could not be put on record"), "{}", answer.text);
    proxy.set(Fault::None);
    until("storage is back", async || {
        let answer = admin.get("/v1/admin/tenants/other").await?;
        Ok((answer.status == 404).then_some(()))
    })
    .await
}

#[tokio::test]
async fn the_command_line_shows_what_operators_did() -> Result<()> {
    let server = Server::start().await?;
    server.post("/v1/admin/tenants", json!({ "name": "acme" })).await?;
    let home = tempfile::tempdir()?;
    let mut audit = command(home.path(), &["audit", "--limit", "1"])?;
    audit.env("KENNING_SERVER", server.url());
    let shown = run(audit, b"").await?;
    let fields: Vec<&str> = shown.out.trim_end().split('\t').collect();
    assert_eq!(
        fields[1..],
        ["anyone on this machine", "", "127.0.0.1", "POST", "/v1/admin/tenants", "", "201"]
    );
    server.patch("/v1/admin/tenants/acme", json!({ "limits": { "facts": 5 } })).await?;
    let mut audit = command(home.path(), &["audit", "--of", "acme"])?;
    audit.env("KENNING_SERVER", server.url());
    let shown = run(audit, b"").await?;
    assert_eq!(shown.out.lines().count(), 1, "{shown:?}");
    assert!(shown.out.contains("\tPATCH\t/v1/admin/tenants/acme\t"), "{shown:?}");
    Ok(())
}
