//! Which key opens what.

use anyhow::{Context, Result};
use http::Method;
use kenning_tests::{Backend, Caller, Server, Setup, on_both_backends, send};
use serde_json::{Value, json};

use super::support::{ADMIN, assert_unauthorized, create, key_in, serve, setup, tenant};

on_both_backends!(
    every_route_asks_for_the_right_key,
    tenants_with_keys_see_their_own_facts_only,
    keys_survive_a_restart,
);

/// What tells an operator's tools how the server is, and nothing of any tenant.
const OPEN: [&str; 5] = ["/healthz", "/livez", "/readyz", "/metrics", "/openapi.json"];

/// Every route that the server describes, as a method and a path.
async fn routes(server: &Caller) -> Result<Vec<(Method, String)>> {
    let document = server.get("/openapi.json").await?.json;
    let mut routes = Vec::new();
    for (path, operations) in document["paths"].as_object().context("paths")? {
        if OPEN.contains(&path.as_str()) || path == "/" {
            continue;
        }
        let path = path.replace("{id}", "f").replace("{t}", "acme").replace("{name}", "x");
        for method in ["get", "post", "put", "patch", "delete"] {
            if operations.get(method).is_some() {
                let method = Method::from_bytes(method.to_uppercase().as_bytes())?;
                routes.push((method, path.clone()));
            }
        }
    }
    assert!(routes.len() >= 18, "routes were read: {routes:?}");
    Ok(routes)
}

async fn every_route_asks_for_the_right_key(backend: &Backend) -> Result<()> {
    let (server, admin) = serve(backend).await?;
    let acme = create(&admin, "acme", json!({})).await?;
    admin.key(&acme).store(json!({ "text": "x", "fact_id": "f" })).await?;
    let gone = create(&admin, "gone", json!({})).await?;
    assert_eq!(admin.delete("/v1/admin/tenants/gone").await?.status, 200);
    // Right but for its last digit.
    let digit = if acme.ends_with('0') { "1" } else { "0" };
    let wrong = format!("{}{digit}", &acme[..acme.len() - 1]);
    for (method, path) in routes(&server).await? {
        let ask =
            async |caller: Caller| send(caller.request(method.clone(), &path).body("{}")).await;
        assert_unauthorized(&ask(server.clone()).await?);
        for bad in [wrong.as_str(), "", "kng_", &acme[..16], &gone, "an-admin-key"] {
            assert_unauthorized(&ask(server.key(bad)).await?);
        }
        let other = if path.starts_with("/v1/admin") { acme.as_str() } else { ADMIN };
        ask(server.key(other)).await?.assert_error(403, "forbidden");
    }
    let fact = admin.key(&acme).get("/v1/facts/f").await?;
    assert_eq!(fact.status, 200, "nothing of this touched the tenant: {}", fact.text);
    for path in OPEN {
        assert_eq!(server.get(path).await?.status, 200, "{path}");
    }
    Ok(())
}

async fn tenants_with_keys_see_their_own_facts_only(backend: &Backend) -> Result<()> {
    let (server, admin) = serve(backend).await?;
    let keys = [create(&admin, "one", json!({})).await?, create(&admin, "two", json!({})).await?];
    let [one, two] = keys.each_ref().map(|key| server.key(key));
    for (caller, word) in [(&one, "alphaword"), (&two, "betaword")] {
        let text = format!("the secret is {word}");
        caller.store(json!({ "text": text, "fact_id": "shared" })).await?;
    }
    for (caller, own, others) in [(&one, "alphaword", "betaword"), (&two, "betaword", "alphaword")]
    {
        let mut seen = String::new();
        for path in ["/v1/facts", "/v1/facts/shared", "/v1/export", "/v1/stats"] {
            seen += &caller.get(path).await?.text;
        }
        let query = json!({ "query": "the secret", "mode": "text", "top_k": 100 });
        seen += &caller.post("/v1/search", query).await?.text;
        assert!(seen.contains(own) && !seen.contains(others), "{seen}");
    }
    // The key says who it is; a header cannot say otherwise.
    two.tenant("one").get("/v1/facts/shared").await?.assert_error(403, "forbidden");
    assert_eq!(two.tenant("two").get("/v1/facts/shared").await?.status, 200);
    let api_key = server.request(Method::GET, "/v1/facts/shared").header("x-api-key", &keys[0]);
    assert!(send(api_key).await?.text.contains("alphaword"));
    let both = one.request(Method::GET, "/v1/facts/shared").header("x-api-key", &keys[1]);
    assert_unauthorized(&send(both).await?);
    Ok(())
}

async fn keys_survive_a_restart(backend: &Backend) -> Result<()> {
    let (server, admin) = serve(backend).await?;
    let acme = tenant(&admin, "acme", json!({})).await?;
    acme.store(json!({ "text": "x", "fact_id": "f" })).await?;
    let key = key_in(&admin.post("/v1/admin/tenants/acme/rotate-key", json!({})).await?)?;
    server.kill().await?;
    let (server, _) = serve(backend).await?;
    assert_eq!(server.key(&key).get("/v1/facts/f").await?.status, 200);
    assert_unauthorized(&server.get("/v1/facts/f").await?);
    Ok(())
}

#[tokio::test]
async fn a_key_is_good_until_it_is_revoked_or_its_grace_ends() -> Result<()> {
    let (server, admin) = serve(&Backend::embedded()?).await?;
    let first = create(&admin, "acme", json!({})).await?;
    let stats = async |key: &str| server.key(key).get("/v1/stats").await;
    let rotate =
        async |body: Value| key_in(&admin.post("/v1/admin/tenants/acme/rotate-key", body).await?);
    let second = rotate(json!({})).await?;
    assert_eq!((stats(&first).await?.status, stats(&second).await?.status), (200, 200));
    let third = rotate(json!({ "grace_seconds": 86_400 })).await?;
    assert_eq!((stats(&first).await?.status, stats(&third).await?.status), (200, 200));

    let id = first.split('_').nth(1).context("an id")?;
    let revoked = admin.post("/v1/admin/tenants/acme/revoke-key", json!({ "key_id": id })).await?;
    assert_eq!(revoked.json["keys"].as_array().map(Vec::len), Some(2), "{}", revoked.text);
    assert_unauthorized(&stats(&first).await?);
    assert_eq!(stats(&second).await?.status, 200);
    let again = admin.post("/v1/admin/tenants/acme/revoke-key", json!({ "key_id": id })).await?;
    again.assert_error(404, "not_found");

    let last = rotate(json!({ "grace_seconds": 0 })).await?;
    assert_unauthorized(&stats(&second).await?);
    assert_unauthorized(&stats(&third).await?);
    assert_eq!(stats(&last).await?.status, 200);
    Ok(())
}

/// A key is shown once: not in any later answer, not in the log, not on disk.
#[tokio::test]
async fn a_key_is_shown_once_and_kept_nowhere() -> Result<()> {
    let backend = Backend::embedded()?;
    let directory = tempfile::tempdir()?;
    let log = directory.path().join("log");
    let setup = Setup { log: Some((log.clone(), "trace")), ..setup(&backend) };
    let server = Server::start_with(setup).await?;
    let admin = server.key(ADMIN);
    let key = create(&admin, "acme", json!({})).await?;
    let secret = key.rsplit('_').next().context("a secret")?.to_string();
    server.key(&key).store(json!({ "text": "x" })).await?;
    let mut said = String::new();
    said += &server.key(&format!("{key}0")).get("/v1/stats").await?.text;
    said += &admin.get("/v1/admin/tenants").await?.text;
    said += &admin.get("/v1/admin/tenants/acme").await?.text;
    said += &server.key(&key).get("/v1/stats").await?.text;
    said += &server.get("/metrics").await?.text;
    let data_dir = backend.setup().data_dir.context("a data directory")?;
    server.stop().await?;
    said += &std::fs::read_to_string(log)?;
    assert!(said.contains("acme"), "something was read");
    assert!(!said.contains(&secret) && !said.contains(ADMIN), "a key was shown again");
    let file = std::fs::read(data_dir.join("facts/facts.redb"))?;
    let holds = |text: &str| file.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds("tenant/acme") && !holds(&secret), "a key is on disk");
    Ok(())
}

/// As it always was: any name, and the operator's routes for whoever reaches the server.
#[tokio::test]
async fn without_an_admin_key_nobody_needs_one() -> Result<()> {
    let server = Server::start().await?;
    server.tenant("anyone").store(json!({ "text": "x", "fact_id": "f" })).await?;
    let listed = server.get("/v1/admin/tenants").await?;
    assert_eq!(listed.json["tenants"][0]["name"], "anyone");
    assert_eq!(listed.json["tenants"][0]["created"], Value::Null);
    create(&server, "made", json!({ "facts": 1 })).await?;
    let made = server.tenant("made");
    made.store(json!({ "text": "x" })).await?;
    made.post("/v1/facts", json!({ "text": "y" })).await?.assert_error(429, "quota_exceeded");
    // A key that nobody asks for hurts nobody.
    assert_eq!(server.key("whatever").get("/v1/stats").await?.status, 200);
    assert_eq!(server.delete("/v1/admin/tenants/anyone").await?.status, 200);
    server.tenant("anyone").get("/v1/facts/f").await?.assert_error(404, "not_found");
    Ok(())
}

#[tokio::test]
async fn what_an_operator_gets_wrong_is_said() -> Result<()> {
    let (_server, admin) = serve(&Backend::embedded()?).await?;
    create(&admin, "acme", json!({})).await?;
    let create = async |body: Value| admin.post("/v1/admin/tenants", body).await;
    create(json!({ "name": "acme" })).await?.assert_error(409, "conflict");
    create(json!({})).await?.assert_invalid("/name");
    create(json!({ "name": "a/b" })).await?.assert_invalid("/name");
    create(json!({ "name": "b", "limits": { "factz": 1 } })).await?.assert_invalid("/limits/factz");
    let negative = create(json!({ "name": "b", "limits": { "facts": -1 } })).await?;
    negative.assert_invalid("/limits/facts");
    create(json!({ "name": "b", "lmits": {} })).await?.assert_error(400, "invalid_request");
    let path = "/v1/admin/tenants/nobody";
    admin.get(path).await?.assert_error(404, "not_found");
    admin.patch(path, json!({ "limits": {} })).await?.assert_error(404, "not_found");
    admin.delete(path).await?.assert_error(404, "not_found");
    let rotate = format!("{path}/rotate-key");
    admin.post(&rotate, json!({})).await?.assert_error(404, "not_found");
    admin.get("/v1/admin/tenants/a%2Fb").await?.assert_invalid("/tenant");
    Ok(())
}
