//! Who is let in: keys, pages, quotas, and connections that only read.

use anyhow::{Context, Result};
use kenning_tests::{Caller, Server, Setup, component, send};
use reqwest::Method;
use serde_json::{Value, json};

use super::agent::{Agent, Kind, NEWEST};
use super::{ADMIN, SESSION, call, error_in, initialize, open, post, post_to, result};

async fn keyed() -> Result<(Server, Caller)> {
    let server = Server::start_with(Setup { admin_key: Some(ADMIN), ..Setup::patient() }).await?;
    let admin = server.key(ADMIN);
    Ok((server, admin))
}

async fn tenant(admin: &Caller, name: &str, limits: Value) -> Result<Caller> {
    let body = json!({ "name": name, "limits": limits });
    let created = admin.post("/v1/admin/tenants", body).await?;
    Ok(admin.key(created.json["key"].as_str().with_context(|| created.text.clone())?))
}

#[tokio::test]
async fn without_a_key_nobody_is_let_in() -> Result<()> {
    let (server, admin) = keyed().await?;
    let acme = tenant(&admin, "acme", json!({})).await?;
    post(&server, None, initialize(NEWEST)).await?.assert_error(401, "unauthorized");
    let wrong = server.key("kenning_wrong");
    post(&wrong, None, initialize(NEWEST)).await?.assert_error(401, "unauthorized");
    post(&admin, None, initialize(NEWEST)).await?.assert_error(403, "forbidden");
    let session = open(&acme).await?;
    post(&server, Some(&session), call("kb_stats", json!({})))
        .await?
        .assert_error(401, "unauthorized");
    let stats = post(&acme, Some(&session), call("kb_stats", json!({}))).await?;
    assert_eq!(result(&stats)?["structuredContent"]["tenant"], "acme");
    Ok(())
}

#[tokio::test]
async fn clients_use_their_keys() -> Result<()> {
    let (server, admin) = keyed().await?;
    let created = admin.post("/v1/admin/tenants", json!({ "name": "acme" })).await?;
    let key = created.json["key"].as_str().context("no key")?;
    let (url, bearer) = (format!("{}/mcp", server.url()), format!("Bearer {key}"));
    for kind in [Kind::Python(NEWEST), Kind::TypeScript] {
        let mut agent = Agent::to(kind, &url, &[("authorization", &bearer)]).await?;
        let stats = agent.call("kb_stats", json!({})).await?.ok()?;
        assert_eq!(stats["tenant"], "acme");
        let refused = Agent::to(kind, &url, &[("authorization", "Bearer wrong")]).await;
        assert!(refused.is_err());
        let mut bridge = Agent::over_stdio(kind, &["--server", &url, "--key", key]).await?;
        assert_eq!(bridge.call("kb_stats", json!({})).await?.ok()?["tenant"], "acme");
    }
    Ok(())
}

/// An extension that asks who calls is told at this door, too.
#[tokio::test]
async fn an_agents_tools_show_what_its_key_may_see() -> Result<()> {
    let (server, admin) = keyed().await?;
    admin.post("/v1/admin/tenants", json!({ "name": "acme" })).await?;
    let rule = std::fs::read(component("row-access")?)?;
    assert_eq!(admin.install("acme", "row-access", rule, "").await?.status, 200);
    let mut seen = Vec::new();
    for group in ["board", "staff"] {
        let body = json!({ "attributes": { "groups": [group] } });
        let made = admin.post("/v1/admin/tenants/acme/rotate-key", body).await?;
        let key = made.json["key"].as_str().context("no key")?.to_string();
        let fact = json!({ "text": "tea", "id": "secret", "metadata": { "readers": ["board"] } });
        if group == "board" {
            admin.key(&key).store(fact).await?;
        }
        let (url, bearer) = (format!("{}/mcp", server.url()), format!("Bearer {key}"));
        let headers = [("authorization", bearer.as_str())];
        let mut agent = Agent::to(Kind::Python(NEWEST), &url, &headers).await?;
        let got = agent.call("get_fact", json!({ "id": "secret" })).await?;
        let found = agent.call("search_facts", json!({ "query": "tea" })).await?;
        seen.push((!got.is_error, found.text.contains("secret")));
    }
    assert_eq!(seen, [(true, true), (false, false)]);
    Ok(())
}

#[tokio::test]
async fn a_page_of_another_origin_is_refused() -> Result<()> {
    let server = Server::start().await?;
    for (name, value) in
        [("origin", "http://attacker.example"), ("host", "attacker.example"), ("origin", "null")]
    {
        let request = server
            .request(Method::POST, "/mcp")
            .header("accept", "application/json, text/event-stream")
            .header(name, value)
            .json(&initialize(NEWEST));
        send(request).await?.assert_error(403, "forbidden");
    }
    let plain = server.request(Method::POST, "/mcp").header("content-type", "text/plain");
    send(plain.body("{}")).await?.assert_error(415, "invalid_request");
    Ok(())
}

#[tokio::test]
async fn there_is_no_stream_to_get_and_nonsense_is_refused() -> Result<()> {
    let server = Server::start().await?;
    let got = server.get("/mcp").await?;
    got.assert_error(405, "invalid_request");
    assert!(got.header("allow").contains("POST"), "{:?}", got.headers);
    let stream = server.request(Method::GET, "/mcp").header("accept", "text/event-stream");
    assert_eq!(send(stream).await?.status, 405);
    let only_json = server.request(Method::POST, "/mcp").header("accept", "application/json");
    assert_eq!(send(only_json.json(&initialize(NEWEST))).await?.status, 406);
    for message in [json!([]), json!("x"), json!({ "jsonrpc": "2.0" }), json!([initialize(NEWEST)])]
    {
        let refused = post(&server, None, message).await?;
        assert!((400..500).contains(&refused.status), "{}: {}", refused.status, refused.text);
        assert!(!refused.json.is_null(), "{}", refused.text);
    }
    let unknown = post_to(&server, "/mcp?profile=none", None, initialize(NEWEST)).await?;
    unknown.assert_error(400, "invalid_request");
    let large = json!({ "jsonrpc": "2.0", "id": 1, "method": "x".repeat(6_000_000) });
    post(&server, None, large).await?.assert_error(413, "too_large");
    Ok(())
}

#[tokio::test]
async fn a_quota_is_told_to_the_model() -> Result<()> {
    let (_server, admin) = keyed().await?;
    let acme = tenant(&admin, "acme", json!({ "facts": 1 })).await?;
    let session = open(&acme).await?;
    let store = |content: &str| call("store_fact", json!({ "content": content }));
    result(&post(&acme, Some(&session), store("first")).await?)?;
    let over = error_in(&post(&acme, Some(&session), store("second")).await?)?;
    assert_eq!(
        (&over["code"], &over["details"]["limit"]),
        (&json!("quota_exceeded"), &json!("facts"))
    );
    Ok(())
}

/// A request that is refused before it is looked at is told to the model all the same.
#[tokio::test]
async fn too_many_requests_are_told_to_the_model() -> Result<()> {
    let (_server, admin) = keyed().await?;
    let acme = tenant(&admin, "acme", json!({ "requests_per_second": 3 })).await?;
    let session = open(&acme).await?;
    let mut refused = None;
    for _ in 0..20 {
        let answer = post(&acme, Some(&session), call("kb_stats", json!({}))).await?;
        if result(&answer)?["isError"] == true {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.context("the quota was never used up")?;
    let error = error_in(&refused)?;
    assert_eq!(error["code"], "quota_exceeded");
    assert!(error["retry_after_seconds"].as_f64() >= Some(1.0), "{error}");
    assert_ne!(refused.header("retry-after"), "");
    let list = json!({ "jsonrpc": "2.0", "id": 3, "method": "tools/list" });
    let listed = post(&acme, Some(&session), list).await?;
    assert!(matches!(listed.status, 200 | 429), "{}", listed.text);
    Ok(())
}

#[tokio::test]
async fn a_connection_that_only_reads_has_no_other_tools() -> Result<()> {
    let server = Server::start().await?;
    server.store(json!({ "text": "Ada prefers tea.", "fact_id": "tea" })).await?;
    let url = format!("{}/mcp?read_only=true", server.url());
    let over_http = Agent::to(Kind::TypeScript, &url, &[]).await?;
    let bridge = ["--server", server.url(), "--read-only"];
    let over_stdio = Agent::over_stdio(Kind::Python(NEWEST), &bridge).await?;
    for mut agent in [over_http, over_stdio] {
        let listed = agent.list("tools").await?;
        let names: Vec<_> = listed.iter().filter_map(|tool| tool["name"].as_str()).collect();
        assert_eq!(names, ["get_fact", "search_facts", "list_facts", "kb_stats"]);
        assert_eq!(agent.list("prompts").await?.len(), 1);
        let deleted = agent.call("delete_fact", json!({ "id": "tea" })).await?.error()?;
        assert_eq!(deleted["code"], "forbidden");
        agent.call("get_fact", json!({ "id": "tea" })).await?.ok()?;
    }
    Ok(())
}

#[tokio::test]
async fn another_tenants_session_does_not_exist() -> Result<()> {
    let (_server, admin) = keyed().await?;
    let acme = tenant(&admin, "acme", json!({})).await?;
    let other = tenant(&admin, "other", json!({})).await?;
    let session = open(&acme).await?;
    post(&other, Some(&session), call("kb_stats", json!({}))).await?.assert_error(404, "not_found");
    let close = |of: &Caller| of.request(Method::DELETE, "/mcp").header(SESSION, &session);
    send(close(&other)).await?.assert_error(404, "not_found");
    result(&post(&acme, Some(&session), call("kb_stats", json!({}))).await?)?;
    assert!((200..300).contains(&send(close(&acme)).await?.status));
    post(&acme, Some(&session), call("kb_stats", json!({}))).await?.assert_error(404, "not_found");
    Ok(())
}

#[tokio::test]
async fn an_agent_sees_and_calls_what_the_scopes_of_its_key_allow() -> Result<()> {
    let (_server, admin) = keyed().await?;
    tenant(&admin, "acme", json!({})).await?;
    for (scope, tools, refused) in [
        ("read", &["get_fact", "search_facts", "list_facts", "kb_stats"][..], "store_fact"),
        ("write", &["store_fact", "update_fact", "delete_fact"], "search_facts"),
        ("admin", &[], "get_fact"),
    ] {
        let body = json!({ "scopes": [scope] });
        let made = admin.post("/v1/admin/tenants/acme/rotate-key", body).await?;
        let caller = admin.key(made.json["key"].as_str().context("no key")?);
        let session = open(&caller).await?;
        let ask = async |method: &str, params: Value| {
            let message = json!({ "jsonrpc": "2.0", "id": 3, "method": method, "params": params });
            post(&caller, Some(&session), message).await
        };
        let listed = ask("tools/list", json!({})).await?;
        let listed = result(&listed)?["tools"].as_array().cloned().context("no tools")?;
        let names: Vec<_> = listed.iter().filter_map(|tool| tool["name"].as_str()).collect();
        assert_eq!(names, tools);
        let called = post(&caller, Some(&session), call(refused, json!({}))).await?;
        let error = error_in(&called)?;
        assert_eq!(error["code"], "forbidden", "{error}");
        let said = error["message"].as_str().unwrap_or_default();
        assert!(said.starts_with(&format!("{refused} needs the scope `")), "{said}");
        let recall = json!({ "name": "recall", "arguments": { "question": "tea" } });
        for (method, params) in [("resources/list", json!({})), ("prompts/get", recall)] {
            let read = ask(method, params).await?;
            let is_refused = read.text.contains("needs the scope `read`");
            assert_eq!(is_refused, scope != "read", "{}", read.text);
        }
    }
    Ok(())
}
