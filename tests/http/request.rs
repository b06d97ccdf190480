//! What all requests share: ids, headers, deadlines, and errors in one form.

use anyhow::Result;
use http::{HeaderValue, Method};
use kenning_tests::{Server, send};
use serde_json::json;

#[tokio::test]
async fn every_answer_has_a_request_id_and_the_callers_own_is_kept() -> Result<()> {
    let server = Server::start().await?;
    let mut seen = std::collections::BTreeSet::new();
    for path in ["/livez", "/v1/facts", "/v1/facts/nothing", "/nothing", "/v1/facts?limit=x"] {
        let id = server.get(path).await?.header("x-request-id").to_string();
        assert!(id.len() == 36 && seen.insert(id.clone()), "{path}: {id}");
        for mine in ["mine", &"x".repeat(128), "a b:c/d \"e\""] {
            let request = server.request(Method::GET, path).header("x-request-id", mine);
            assert_eq!(send(request).await?.header("x-request-id"), mine, "{path}");
        }
    }
    for unusable in [&"x".repeat(129), ""] {
        let request = server.request(Method::GET, "/livez").header("x-request-id", unusable);
        assert_eq!(send(request).await?.header("x-request-id").len(), 36, "{unusable:?}");
    }
    let bytes = HeaderValue::from_bytes(b"\xff\xfe")?;
    let request = server.request(Method::GET, "/livez").header("x-request-id", bytes);
    assert_eq!(send(request).await?.header("x-request-id").len(), 36);
    Ok(())
}

#[tokio::test]
async fn an_answer_that_ran_the_guest_names_it_errors_too() -> Result<()> {
    let server = Server::start().await?;
    server.store(json!({ "text": "x", "fact_id": "a" })).await?;
    let stats = server.get("/v1/stats").await?.json;
    let ran = [
        (200, server.get("/v1/facts/a").await?),
        (200, server.get("/v1/facts").await?),
        (200, server.post("/v1/search", json!({ "query": "x" })).await?),
        (200, server.patch("/v1/facts/a", json!({ "text": "y" })).await?),
        (200, server.post("/v1/facts/batch", json!({ "facts": [{ "text": "z" }] })).await?),
        (200, server.get("/v1/export").await?),
        (200, server.post_raw("/v1/import", "").await?),
        (201, server.post("/v1/facts", json!({ "text": "x" })).await?),
        (404, server.get("/v1/facts/nothing").await?),
        (404, server.delete("/v1/facts/nothing").await?),
        (400, server.post("/v1/facts", json!({ "text": "" })).await?),
        (400, server.patch("/v1/facts/a", json!({})).await?),
        (409, server.post("/v1/facts", json!({ "text": "x", "fact_id": "a" })).await?),
        (400, server.get("/v1/facts?cursor=nonsense").await?),
        (400, server.post("/v1/search", json!({ "query": "x", "filter": 1 })).await?),
    ];
    for (status, answer) in ran {
        assert_eq!(answer.status, status, "{}", answer.text);
        assert_eq!(answer.header("x-kenning-generation"), stats["generation"].to_string());
        assert_eq!(answer.header("x-kenning-digest"), stats["digest"].as_str().unwrap_or_default());
    }
    for path in ["/livez", "/metrics", "/nothing"] {
        assert_eq!(server.get(path).await?.header("x-kenning-generation"), "", "{path}");
    }
    Ok(())
}

#[tokio::test]
async fn an_unusable_timeout_is_refused_before_anything_happens() -> Result<()> {
    let server = Server::start().await?;
    for value in ["0", "-1", "1.5", "ten", "", "1s", "0x10", "1,000"] {
        let request = server.request(Method::POST, "/v1/facts").json(&json!({ "text": "x" }));
        let answer = send(request.header("x-kenning-timeout-ms", value)).await?;
        answer.assert_invalid("/headers/x-kenning-timeout-ms");
        let request = server.request(Method::GET, "/v1/stats");
        let answer = send(request.header("x-kenning-timeout-ms", value)).await?;
        answer.assert_invalid("/headers/x-kenning-timeout-ms");
    }
    assert_eq!(server.export().await?, "");
    Ok(())
}

#[tokio::test]
async fn a_usable_timeout_is_taken_however_long() -> Result<()> {
    let server = Server::start().await?;
    let larger = u64::MAX.to_string() + "0";
    for value in ["2000", " 2000 ", "999999999999", &u64::MAX.to_string(), &larger] {
        let request = server.request(Method::POST, "/v1/facts").json(&json!({ "text": "x" }));
        let answer = send(request.header("x-kenning-timeout-ms", value)).await?;
        assert_eq!(answer.status, 201, "{value:?}: {}", answer.text);
    }
    Ok(())
}

#[tokio::test]
async fn a_name_that_is_no_tenant_is_refused_before_anything_happens() -> Result<()> {
    let server = Server::start().await?;
    let long = "a".repeat(64);
    let mut names: Vec<HeaderValue> = vec![HeaderValue::from_bytes(b"\xc3\xa4\xff")?];
    for name in ["", ":", "a:b", "a/b", "a b", "..", "-a", "_a", "{a}", "a*", "ä", &long] {
        names.push(
            HeaderValue::from_str(name).or_else(|_| HeaderValue::from_bytes(name.as_bytes()))?,
        );
    }
    for name in names {
        let with =
            |request: reqwest::RequestBuilder| request.header("x-kenning-tenant", name.clone());
        let store = server.request(Method::POST, "/v1/facts").json(&json!({ "text": "x" }));
        send(with(store)).await?.assert_invalid("/headers/x-kenning-tenant");
        for path in ["/v1/facts", "/v1/facts/a", "/v1/stats", "/v1/export"] {
            let answer = send(with(server.request(Method::GET, path))).await?;
            answer.assert_invalid("/headers/x-kenning-tenant");
        }
        let import = server.request(Method::POST, "/v1/import").body("{\"text\":\"x\"}");
        send(with(import)).await?.assert_invalid("/headers/x-kenning-tenant");
    }
    assert_eq!(server.export().await?, "");
    Ok(())
}

#[tokio::test]
async fn a_name_in_a_path_that_is_no_text_is_refused_in_json() -> Result<()> {
    let server = Server::start().await?;
    for path in [
        "/v1/facts/%FF",
        "/v1/admin/tenants/%FF",
        "/v1/admin/tenants/%FF/extensions",
        "/v1/admin/tenants/a/extensions/%FF/logs",
    ] {
        server.get(path).await?.assert_error(400, "invalid_request");
    }
    let unknown = server.get("/v1/admin/logic?a~b/c=1").await?;
    unknown.assert_invalid("/a~0b~1c");
    Ok(())
}

/// A key is checked also where the fact's own id goes before it.
#[tokio::test]
async fn an_idempotency_key_of_a_wrong_length_is_refused_with_an_id_too() -> Result<()> {
    let server = Server::start().await?;
    for key in [String::new(), "k".repeat(256)] {
        let store = server.request(Method::POST, "/v1/facts").header("idempotency-key", key);
        let store = store.json(&json!({ "text": "x", "fact_id": "a" }));
        send(store).await?.assert_invalid("/headers/idempotency-key");
    }
    Ok(())
}

#[tokio::test]
async fn what_is_no_route_is_said_in_json() -> Result<()> {
    let server = Server::start().await?;
    for path in
        ["/nothing", "/v1", "/v1/facts/", "/v1/facts/a/b", "/v2/facts", "/V1/facts", "//v1/facts"]
    {
        let answer = server.get(path).await?;
        answer.assert_error(404, "not_found");
        assert!(answer.text.contains("no route"), "{}", answer.text);
    }
    Ok(())
}

#[tokio::test]
async fn a_wrong_method_is_said_in_json() -> Result<()> {
    let server = Server::start().await?;
    for (method, path) in [
        (Method::PUT, "/v1/facts"),
        (Method::POST, "/v1/facts/a"),
        (Method::GET, "/v1/search"),
        (Method::GET, "/v1/import"),
        (Method::POST, "/v1/export"),
        (Method::POST, "/livez"),
        (Method::OPTIONS, "/v1/search"),
        (Method::from_bytes(b"BREW")?, "/v1/facts"),
    ] {
        let answer = send(server.request(method.clone(), path)).await?;
        answer.assert_error(405, "invalid_request");
        assert!(answer.header("allow").len() > 2, "{method} {path}: {:?}", answer.headers);
    }
    Ok(())
}
