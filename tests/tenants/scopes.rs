//! What a key or token may be used for.

use anyhow::{Context, Result};
use http::Method;
use kenning_tests::{Answer, Backend, Caller, Server, Setup, component, send};
use serde_json::{Value, json};

use super::issuer::{self, Pair};
use super::support::{ADMIN, assert_unauthorized, create, key_in, serve, setup};

const SCOPES: [&str; 3] = ["read", "write", "admin"];

/// What a route needs, judged anew by what it does, and not by the server's own table.
fn needed(method: &str, path: &str) -> &'static str {
    match (method, path) {
        (_, "/healthz" | "/livez" | "/readyz" | "/metrics" | "/openapi.json") => "none",
        (_, path) if path.starts_with("/v1/admin/tenants/{t}/extensions") => "admin",
        ("GET", "/v1/admin/tenants/{t}/audit") => "admin",
        (_, path) if path.starts_with("/v1/admin/") => "operator",
        ("POST", "/v1/search" | "/v1/search/batch") => "read",
        // Of one's own import.
        ("GET", "/v1/imports/{id}") => "write",
        ("GET", _) => "read",
        _ => "write",
    }
}

/// Another key of `acme`.
async fn key(admin: &Caller, terms: Value) -> Result<String> {
    key_in(&admin.post("/v1/admin/tenants/acme/rotate-key", terms).await?)
}

/// Every set of scopes, and those of a key that was given none.
fn sets() -> Vec<(Option<Vec<&'static str>>, Vec<&'static str>)> {
    let subset = |bits: usize| -> Vec<&'static str> {
        let named = SCOPES.iter().enumerate().filter(|(at, _)| bits & (1 << at) != 0);
        named.map(|(_, name)| *name).collect()
    };
    let given = (1..8).map(|bits| (Some(subset(bits)), subset(bits)));
    given.chain([(None, vec!["read", "write"])]).collect()
}

/// Routes come from the description, so that one that is added later is judged, too.
#[tokio::test]
async fn every_route_asks_for_its_scope_of_keys_and_tokens() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (jwks, pair) = (folder.path().join("jwks.json"), Pair::ec()?);
    std::fs::write(&jwks, json!({ "keys": [pair.public("k")] }).to_string())?;
    let backend = Backend::embedded()?;
    let plain = setup(&backend);
    let config = issuer::config(&jwks.display().to_string());
    let config = Some(plain.config.clone().unwrap_or_default() + &config);
    let server = Server::start_with(Setup { config, ..plain }).await?;
    let admin = server.key(ADMIN);
    create(&admin, "acme", json!({})).await?;
    create(&admin, "other", json!({})).await?;
    let mut callers = Vec::new();
    for (given, scopes) in sets() {
        let named = given.clone().unwrap_or_default().join(" ");
        let terms = given.map_or(json!({}), |given| json!({ "scopes": given }));
        callers.push((server.key(&key(&admin, terms).await?), scopes.clone()));
        if !named.is_empty() {
            let token = pair.token("k", &issuer::claims(json!({ "scope": named })))?;
            callers.push((server.key(&token), scopes));
        }
    }
    let nothing = pair.token("k", &issuer::claims(json!({ "scope": "openid" })))?;
    callers.push((server.key(&nothing), Vec::new()));
    let document = server.get("/openapi.json").await?.json;
    let (mut asked, mut refused) = (0, 0);
    for (path, operations) in document["paths"].as_object().context("paths")? {
        for (method, operation) in operations.as_object().context("operations")? {
            let method = method.to_uppercase();
            let needed = needed(&method, path);
            let said = operation["x-kenning-scope"].as_str().unwrap_or_default();
            assert_eq!(said, needed, "{method} {path} in the description");
            for (caller, scopes) in &callers {
                let answer = ask(caller, &method, path, "acme").await?;
                let may = needed == "none" || scopes.contains(&needed);
                let what = format!("{method} {path} with {scopes:?}: {}", answer.text);
                asked += 1;
                if may {
                    assert!(![401, 403].contains(&answer.status), "{what}");
                    continue;
                }
                refused += 1;
                answer.assert_error(403, "forbidden");
                let named = match needed {
                    "operator" => "needs the admin key".to_owned(),
                    scope => format!("needs the scope `{scope}`"),
                };
                assert!(answer.json["message"].to_string().contains(&named), "{what}");
                assert!(answer.text.contains(path), "{what}");
            }
            // No scope opens another tenant.
            if path.contains("{t}") {
                for (caller, _) in &callers {
                    ask(caller, &method, path, "other").await?.assert_error(403, "forbidden");
                }
            }
        }
    }
    assert!(asked > 500 && refused > 250, "{asked} and {refused}");
    Ok(())
}

async fn ask(caller: &Caller, method: &str, route: &str, tenant: &str) -> Result<Answer> {
    let path = route.replace("{t}", tenant).replace("{", "").replace("}", "");
    // A stream that ends.
    let path = if path == "/v1/changes" { path + "?follow=false" } else { path };
    send(caller.request(Method::from_bytes(method.as_bytes())?, &path).body("{}")).await
}

#[tokio::test]
async fn a_key_has_an_end_scopes_and_a_last_use_that_are_shown() -> Result<()> {
    let backend = Backend::embedded()?;
    let (server, admin) = serve(&backend).await?;
    create(&admin, "acme", json!({})).await?;
    let terms = json!({ "scopes": ["write", "read", "read"], "expires": "2099-01-31T00:00:00Z" });
    let used = key(&admin, terms).await?;
    let short = key(&admin, json!({ "expires": "1s" })).await?;
    let keys = async |admin: &Caller| {
        let tenant = admin.get("/v1/admin/tenants/acme").await?;
        anyhow::Ok(tenant.json["keys"].as_array().context(tenant.text)?.clone())
    };
    let shown = keys(&admin).await?;
    assert_eq!(shown[0].get("scopes"), None, "{shown:?}");
    assert_eq!(shown[1]["scopes"], json!(["read", "write"]));
    assert_eq!(shown[1]["expires"], "2099-01-31T00:00:00.000Z");
    assert!(shown.iter().all(|key| key.get("last_used").is_none()), "{shown:?}");
    assert_eq!(server.key(&used).get("/v1/stats").await?.status, 200);
    let last = keys(&admin).await?[1]["last_used"].clone();
    assert!(last.as_str().is_some_and(|last| last.starts_with("20")), "{last}");
    // It goes by the clock, so it is waited for.
    kenning_tests::until("the key expires", async || {
        let answer = server.key(&short).get("/v1/stats").await?;
        if answer.status == 200 {
            return Ok(None);
        }
        assert_unauthorized(&answer);
        assert!(answer.text.contains("this key has expired"), "{}", answer.text);
        Ok(Some(()))
    })
    .await?;
    server.stop().await?;
    let (_server, admin) = serve(&backend).await?;
    assert_eq!(keys(&admin).await?[1]["last_used"], last, "written when the server stopped");
    let rotate = async |terms| admin.post("/v1/admin/tenants/acme/rotate-key", terms).await;
    rotate(json!({ "scopes": [] })).await?.assert_invalid("/scopes");
    rotate(json!({ "scopes": ["root"] })).await?.assert_invalid("/scopes");
    rotate(json!({ "expires": "soon" })).await?.assert_invalid("/expires");
    rotate(json!({ "expires": "2020-01-01T00:00:00Z" })).await?.assert_invalid("/expires");
    rotate(json!({ "expires": "100000000d" })).await?.assert_invalid("/expires");
    Ok(())
}

#[tokio::test]
async fn a_tenant_manages_its_extensions_within_what_the_operator_lets_it_grant() -> Result<()> {
    let backend = Backend::embedded()?;
    // The operator keeps a secret for one extension.
    let secrets = "[secrets]\n\"acme/signed/key\" = \"env:OF_THE_OPERATOR\"\n";
    let plain = setup(&backend);
    let config = Some(plain.config.clone().unwrap_or_default() + secrets);
    let environment = vec![("OF_THE_OPERATOR", "a-secret-of-the-operator".to_owned())];
    let server = Server::start_with(Setup { config, environment, ..plain }).await?;
    let admin = server.key(ADMIN);
    create(&admin, "acme", json!({ "extensions": 2 })).await?;
    let text = key(&admin, json!({ "scopes": ["admin"] })).await?;
    let tenant = server.key(&text);
    let (passing, prying) = (read("passing")?, read("prying")?);
    let installed = tenant.install("acme", "one", passing.clone(), "?order=3").await?;
    assert_eq!(installed.status, 200, "{}", installed.text);
    // It takes what the operator has not let the tenant grant.
    let all = "?grant=storage,index,embedding";
    let refused = tenant.install("acme", "pry", prying.clone(), all).await?;
    refused.assert_error(403, "forbidden");
    assert!(refused.text.contains("may not grant `storage`"), "{}", refused.text);
    let extension = "/v1/admin/tenants/acme/extensions/pry";
    let settle = async |grants: Value| {
        let changed = admin.patch("/v1/admin/tenants/acme", json!({ "grants": grants })).await?;
        assert_eq!(changed.status, 200, "{}", changed.text);
        anyhow::Ok(changed.json["grants"].clone())
    };
    assert_eq!(
        settle(json!(["storage", "index", "embedding"])).await?.as_array().map(Vec::len),
        Some(3)
    );
    let installed = tenant.install("acme", "pry", prying.clone(), all).await?;
    assert_eq!(installed.status, 200, "{}", installed.text);
    let replaced = tenant.install("acme", "pry", passing.clone(), "").await?;
    assert_eq!(replaced.status, 200, "{}", replaced.text);
    // What was granted once is not the tenant's to grant again.
    assert_eq!(settle(json!([])).await?, Value::Null);
    let back = tenant.post(&format!("{extension}/rollback?generation=1"), json!({})).await?;
    back.assert_error(403, "forbidden");
    let more = tenant.patch(extension, json!({ "grants": ["index"] })).await?;
    more.assert_error(403, "forbidden");
    // Nor are the operator's secrets, and quotas hold.
    let signed = tenant.install("acme", "signed", passing.clone(), "").await?;
    signed.assert_error(403, "forbidden");
    assert!(signed.text.contains("secrets"), "{}", signed.text);
    let third = tenant.install("acme", "third", passing, "").await?;
    third.assert_error(429, "quota_exceeded");
    for (path, method) in [("logs", Method::GET), ("settings", Method::PUT)] {
        let path = format!("/v1/admin/tenants/acme/extensions/one/{path}");
        let answer = send(tenant.request(method, &path).json(&json!({}))).await?;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    assert_eq!(tenant.delete(extension).await?.status, 200);
    let listed = tenant.get("/v1/admin/tenants/acme/extensions").await?.json;
    assert_eq!(listed["extensions"].as_array().map(Vec::len), Some(1), "{listed}");
    // Who did it is on record, by the id of the key.
    let records = admin.get("/v1/admin/audit?limit=1").await?.json["records"].clone();
    assert_eq!(records[0]["who"], "a key of the tenant acme", "{records}");
    assert_eq!(records[0]["key_id"].as_str(), text.split('_').nth(1), "{records}");
    admin
        .patch("/v1/admin/tenants/acme", json!({ "grants": ["disk"] }))
        .await?
        .assert_invalid("/grants");
    Ok(())
}

fn read(name: &str) -> Result<Vec<u8>> {
    Ok(std::fs::read(component(name)?)?)
}

#[tokio::test]
async fn several_admin_keys_are_good_and_told_apart_in_the_records() -> Result<()> {
    const KEYS: &str = "an-admin-key-for-tests-only,another-admin-key-for-tests";
    let setup = Setup { admin_key: Some(KEYS), ..Setup::patient() };
    let server = Server::start_with(setup).await?;
    let (one, two) = KEYS.split_once(',').context("two keys")?;
    let mut ids = Vec::new();
    for (key, name) in [(one, "a"), (two, "b")] {
        let admin = server.key(key);
        create(&admin, name, json!({})).await?;
        let records = admin.get("/v1/admin/audit?limit=1").await?.json["records"].clone();
        ids.push(records[0]["key_id"].as_str().context("an id")?.to_owned());
    }
    assert!(ids[0] != ids[1] && ids.iter().all(|id| id.len() == 12), "{ids:?}");
    assert_unauthorized(&server.key(KEYS).get("/v1/admin/tenants").await?);
    Ok(())
}
