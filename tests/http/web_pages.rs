//! What a web page in a browser on this machine can make that browser send, and what else a
//! request's head may say that is not to be believed.

use anyhow::Result;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use kenning_tests::{Answer, Caller, Server, Setup, Wire, component, send};
use serde_json::json;

use super::bad_input::{server, unchanged};

const FACT: &str = "{\"text\":\"planted\"}";

/// A request with these headers in place of the caller's own.
async fn ask(
    caller: &Caller,
    route: (Method, &str),
    body: impl Into<reqwest::Body>,
    fields: &[(&'static str, &str)],
) -> Result<Answer> {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_str(value)?);
    }
    send(caller.request(route.0, route.1).headers(headers).body(body)).await
}

/// Every way to read, to write and to take over.
async fn assert_refused(caller: &Caller, fields: &[(&'static str, &str)]) -> Result<()> {
    let logic = std::fs::read(component("hostile")?)?;
    let requests = [
        (Method::GET, "/", String::new()),
        (Method::GET, "/v1/export", String::new()),
        (Method::GET, "/v1/facts/a", String::new()),
        (Method::GET, "/metrics", String::new()),
        (Method::GET, "/openapi.json", String::new()),
        (Method::GET, "/v1/admin/logic", String::new()),
        (Method::OPTIONS, "/v1/facts", String::new()),
        (Method::POST, "/v1/facts", FACT.into()),
        (Method::POST, "/v1/import", FACT.into()),
        (Method::PATCH, "/v1/facts/a", FACT.into()),
        (Method::DELETE, "/v1/facts/a", String::new()),
        (Method::POST, "/v1/admin/tenants", "{\"name\":\"planted\"}".into()),
        (Method::POST, "/v1/admin/logic/rollback", String::new()),
    ];
    for (method, path, body) in requests {
        let answer = ask(caller, (method, path), body, fields).await?;
        answer.assert_error(403, "forbidden");
    }
    let swapped = ask(caller, (Method::POST, "/v1/admin/logic"), logic, fields).await?;
    swapped.assert_error(403, "forbidden");
    Ok(())
}

#[tokio::test]
async fn without_keys_a_page_that_points_its_own_name_here_gets_nothing() -> Result<()> {
    let server = server().await?;
    unchanged(&server, async {
        assert_refused(&server, &[("host", "attacker.example")]).await?;
        let named = ask(&server, (Method::GET, "/livez"), "", &[("host", "kb.internal:1")]).await?;
        assert!(named.text.contains("kb.internal:1"), "{}", named.text);
        assert!(named.text.contains("--allowed-hosts"), "{}", named.text);
        for host in ["localhost", "127.0.0.1:1", "[::1]:7171"] {
            let answer = ask(&server, (Method::GET, "/v1/export"), "", &[("host", host)]).await?;
            assert_eq!(answer.status, 200, "{host}: {}", answer.text);
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn without_keys_a_page_of_another_origin_gets_nothing() -> Result<()> {
    let server = server().await?;
    let own = server.url().to_owned();
    unchanged(&server, async {
        for origin in ["http://attacker.example", "null", "http://localhost:1"] {
            assert_refused(&server, &[("origin", origin)]).await?;
        }
        let plain = ("content-type", "text/plain");
        assert_refused(&server, &[("origin", "http://attacker.example"), plain]).await?;
        for site in ["cross-site", "same-site"] {
            assert_refused(&server, &[("sec-fetch-site", site)]).await?;
        }
        // Opening the server in a tab shows nothing to the page with the link.
        let tab = [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
        let link = [&[("sec-fetch-site", "cross-site")][..], &tab].concat();
        assert_ne!(ask(&server, (Method::GET, "/"), "", &link).await?.status, 403);
        assert_eq!(ask(&server, (Method::GET, "/v1/export"), "", &link).await?.status, 403);
        let page = [("origin", own.as_str()), ("sec-fetch-site", "same-origin")];
        let listed = ask(&server, (Method::GET, "/v1/facts"), "", &page).await?;
        assert_eq!(listed.status, 200, "{}", listed.text);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn without_keys_a_body_that_a_form_could_send_is_refused_for_its_type() -> Result<()> {
    let server = server().await?;
    unchanged(&server, async {
        for route in [(Method::POST, "/v1/facts"), (Method::POST, "/v1/admin/tenants")] {
            for typed in ["text/plain", "application/x-www-form-urlencoded", "text/json"] {
                let fields = [("content-type", typed)];
                let answer = ask(&server, route.clone(), "{\"name\":\"x\"}", &fields).await?;
                answer.assert_error(415, "invalid_request");
                assert!(answer.text.contains(typed), "{}", answer.text);
                assert!(answer.text.contains("application/x-ndjson"), "{}", answer.text);
            }
        }
        let untyped = reqwest::Client::new().post(format!("{}/v1/facts", server.url())).body(FACT);
        send(untyped).await?.assert_error(415, "invalid_request");
        Ok(())
    })
    .await?;
    for typed in ["application/json; charset=utf-8", "application/octet-stream"] {
        let fields = [("content-type", typed)];
        let answer = ask(&server, (Method::POST, "/v1/facts"), FACT, &fields).await?;
        assert_eq!(answer.status, 201, "{typed}: {}", answer.text);
    }
    Ok(())
}

#[tokio::test]
async fn listed_hosts_and_origins_are_served() -> Result<()> {
    let patient = Setup::patient();
    let config = patient.config.clone().unwrap_or_default();
    let listed = "allowed_origins = [\"https://app.example\"]\n";
    let server = Server::start_with(Setup {
        config: Some(format!("{listed}{config}")),
        environment: vec![("KENNING_ALLOWED_HOSTS", "kb.internal,other.internal:81".into())],
        ..patient
    })
    .await?;
    for (fields, status) in [
        (&[("host", "kb.internal:8080")][..], 200),
        (&[("host", "other.internal:81")][..], 200),
        (&[("host", "other.internal:82")][..], 403),
        (&[("host", "attacker.example")][..], 403),
        (&[("host", "kb.internal"), ("origin", "http://kb.internal")][..], 200),
        (&[("origin", "https://app.example"), ("sec-fetch-site", "cross-site")][..], 200),
        (&[("origin", "http://app.example")][..], 403),
        (&[("origin", "http://attacker.example")][..], 403),
    ] {
        let answer = ask(&server, (Method::GET, "/v1/export"), "", fields).await?;
        assert_eq!(answer.status, status, "{fields:?}: {}", answer.text);
    }
    Ok(())
}

/// A page knows no key, and a browser adds none.
#[tokio::test]
async fn with_keys_any_host_and_origin_is_served_unless_hosts_are_listed() -> Result<()> {
    let key = "an-admin-key-for-tests-only";
    let setup = Setup { admin_key: Some(key), ..Setup::patient() };
    let server = Server::start_with(setup.clone()).await?;
    let admin = server.key(key);
    let created = admin.post("/v1/admin/tenants", json!({ "name": "acme" })).await?;
    let acme = server.key(created.json["key"].as_str().unwrap_or_default());
    let foreign = [
        ("host", "kb.example"),
        ("origin", "http://attacker.example"),
        ("sec-fetch-site", "cross-site"),
        ("content-type", "application/x-www-form-urlencoded"),
    ];
    let stored = ask(&acme, (Method::POST, "/v1/facts"), FACT, &foreign).await?;
    assert_eq!(stored.status, 201, "{}", stored.text);
    let plain = [("content-type", "text/plain")];
    let refused = ask(&acme, (Method::POST, "/v1/facts"), FACT, &plain).await?;
    refused.assert_error(415, "invalid_request");
    let environment = vec![("KENNING_ALLOWED_HOSTS", "kb.internal".into())];
    let server = Server::start_with(Setup { environment, ..setup }).await?;
    for (host, status) in [("kb.internal", 401), ("localhost", 401), ("kb.example", 403)] {
        let answer = ask(&server, (Method::GET, "/v1/export"), "", &[("host", host)]).await?;
        assert_eq!(answer.status, status, "{host}: {}", answer.text);
    }
    Ok(())
}

/// The status of the answer to a request that is sent as it stands.
async fn said(server: &Server, head: &str, body: &str) -> Result<String> {
    let mut wire = Wire::open(server.url()).await?;
    let length = body.len();
    let framing = format!("content-length: {length}\r\nconnection: close\r\n\r\n{body}");
    wire.send(format!("{head}\r\n{framing}").as_bytes()).await?;
    let answer = wire.rest().await?;
    Ok(answer.lines().next().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn a_head_that_contradicts_itself_or_asks_for_what_is_not_done_is_refused() -> Result<()> {
    let keyed = Setup { admin_key: Some("an-admin-key-for-tests-only"), ..Setup::patient() };
    for server in [Server::start().await?, Server::start_with(keyed).await?] {
        let json = "host: localhost\r\ncontent-type: application/json";
        for (head, status) in [
            ("GET /livez HTTP/1.1\r\nhost: localhost".to_owned(), 200),
            ("GET /livez HTTP/1.0".to_owned(), 200),
            ("GET /livez HTTP/1.1".to_owned(), 400),
            ("GET /livez HTTP/1.1\r\nhost:".to_owned(), 400),
            ("GET /livez HTTP/1.1\r\nhost: a@localhost".to_owned(), 400),
            ("GET /livez HTTP/1.1\r\nhost: localhost\r\nhost: localhost".to_owned(), 400),
            (format!("POST /v1/facts HTTP/1.1\r\n{json}\r\ncontent-encoding: gzip, gzip"), 415),
            (format!("POST /v1/import HTTP/1.1\r\n{json}\r\ncontent-encoding: br"), 415),
            (format!("POST /v1/facts HTTP/1.1\r\n{json}\r\nexpect: the-best"), 400),
        ] {
            let body = if head.starts_with("POST") { FACT } else { "" };
            let answer = said(&server, &head, body).await?;
            assert!(answer.contains(&format!(" {status} ")), "{head}: {answer}");
        }
    }
    let server = Server::start().await?;
    // It says gzip and is not; with keys, nobody without one is read so far.
    let mislabelled = "POST /v1/facts HTTP/1.1\r\nhost: localhost\r\n\
                       content-type: application/json\r\ncontent-encoding: gzip";
    assert!(said(&server, mislabelled, FACT).await?.contains(" 400 "));
    let absolute = "GET http://attacker.example/v1/export HTTP/1.1\r\nhost: localhost";
    assert!(said(&server, absolute, "").await?.contains(" 403 "));
    Ok(())
}
