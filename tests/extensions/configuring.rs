//! What an operator sets for an extension: its settings, and its secrets.

use anyhow::{Context, Result};
use http::Method;
use kenning_tests::{Answer, Backend, Caller, Server, Setup, component, on_both_backends, send};
use serde_json::{Value, json};

on_both_backends!(settings_are_a_generation_that_can_be_rolled_back_from);

const ROUTE: &str = "/v1/admin/tenants/default/extensions/asking";

async fn install(server: &Caller, name: &str, parameters: &str) -> Result<Answer> {
    server.install("default", name, std::fs::read(component("asking")?)?, parameters).await
}

async fn configure(server: &Caller, settings: Value) -> Result<Answer> {
    send(server.request(Method::PUT, &format!("{ROUTE}/settings")).json(&settings)).await
}

/// The settings as the extension reads them now.
async fn read(server: &Caller) -> Result<Value> {
    let fact = server.get("/v1/facts/a").await?;
    Ok(fact.json["metadata"]["read_by"]["settings"].clone())
}

async fn settings_are_a_generation_that_can_be_rolled_back_from(backend: &Backend) -> Result<()> {
    let server = Server::start_with(backend.setup()).await?;
    server.store(json!({ "text": "tea", "id": "a" })).await?;
    let installed = install(&server, "asking", "?settings=%7B%22level%22%3A1%7D").await?;
    assert_eq!(installed.status, 200, "{}", installed.text);
    assert_eq!(read(&server).await?, json!({ "level": 1 }));

    let changed = configure(&server, json!({ "level": 2 })).await?;
    assert_eq!((changed.status, &changed.json["generation"]), (200, &json!(2)), "{}", changed.text);
    assert_eq!(changed.json["digest"], installed.json["digest"], "the same component");
    let names: Vec<_> = changed.json["checks"].as_array().context("checks")?.iter().collect();
    assert!(names.iter().any(|check| check["check"] == "settings"), "{}", changed.text);
    assert_eq!(read(&server).await?, json!({ "level": 2 }));

    let same = configure(&server, json!({ "level": 2 })).await?;
    assert_eq!((&same.json["unchanged"], &same.json["generation"]), (&json!(true), &json!(2)));
    let replaced = install(&server, "asking", "").await?;
    assert_eq!(replaced.json["unchanged"], true, "an install without settings keeps them");

    let back = server.post(&format!("{ROUTE}/rollback"), json!({})).await?;
    assert_eq!(back.status, 200, "{}", back.text);
    assert_eq!(read(&server).await?, json!({ "level": 1 }));
    let listed = server.get("/v1/admin/tenants/default/extensions").await?.json;
    let generations = &listed["extensions"][0]["generations"];
    assert_eq!(generations[0]["values"], json!({ "level": 1 }), "{listed}");
    assert_eq!(generations[1]["values"], json!({ "level": 2 }), "{listed}");

    server.kill().await?;
    let server = Server::start_with(backend.setup()).await?;
    assert_eq!(read(&server).await?, json!({ "level": 1 }), "after a restart");
    configure(&server, json!({})).await?;
    assert_eq!(read(&server).await?, json!({}));
    Ok(())
}

#[tokio::test]
async fn settings_that_the_schema_does_not_allow_are_refused_and_the_old_ones_stay() -> Result<()> {
    let server = Server::start_with(Setup::patient()).await?;
    server.store(json!({ "text": "tea", "id": "a" })).await?;
    let refused = install(&server, "asking", "?settings=%7B%22level%22%3A%22x%22%7D").await?;
    refused.assert_error(422, "incompatible_component");
    assert!(refused.json["message"].as_str().context("a message")?.contains("/level"));
    assert_eq!(install(&server, "asking", "?settings=%7B%22level%22%3A1%7D").await?.status, 200);
    for (settings, named) in [
        (json!({ "level": 10 }), "/level"),
        (json!({ "levels": 1 }), "levels"),
        (json!({ "words": {} }), "/words"),
    ] {
        let refused = configure(&server, settings).await?;
        refused.assert_error(422, "incompatible_component");
        let message = refused.json["message"].as_str().context("a message")?;
        assert!(message.contains("`settings`") && message.contains(named), "{message}");
    }
    configure(&server, json!([1])).await?.assert_error(400, "invalid_request");
    install(&server, "asking", "?settings=no").await?.assert_invalid("/settings");
    let long = configure(&server, json!({ "words": ["x".repeat(16 << 10)] })).await?;
    long.assert_error(413, "too_large");
    assert_eq!(long.json["details"]["limit"], "extension_settings_bytes");
    assert_eq!(read(&server).await?, json!({ "level": 1 }));
    let missing = send(
        server
            .request(Method::PUT, "/v1/admin/tenants/default/extensions/none/settings")
            .json(&json!({})),
    );
    missing.await?.assert_error(404, "not_found");
    Ok(())
}

#[tokio::test]
async fn a_component_without_a_schema_takes_any_object() -> Result<()> {
    let server = Server::start_with(Setup::patient()).await?;
    let passing = std::fs::read(component("passing")?)?;
    let installed = server.install("default", "passing", passing, "?settings=%7B%22a%22%3A1%7D");
    let installed = installed.await?;
    assert_eq!(installed.status, 200, "{}", installed.text);
    assert!(installed.text.contains("exports no schema"), "{}", installed.text);
    Ok(())
}

/// A secret reaches the extension that it is for, and neither its log lines nor the server's, nor
/// the trace of a failure, nor another extension or tenant.
#[tokio::test]
async fn a_secret_is_read_by_its_extension_alone_and_never_logged() -> Result<()> {
    const SECRET: &str = "s3cret-of-asking";
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("key");
    std::fs::write(&file, format!("{SECRET}\n"))?;
    let place = format!("file:{}", file.display());
    let secrets = format!("[secrets]\n\"default/asking/key\" = {place:?}\n");
    let config = Setup::patient().config;
    let config = Some(format!("{secrets}{}", config.unwrap_or_default()));
    let log = folder.path().join("log");
    let setup = Setup { config, log: Some((log.clone(), "debug")), ..Setup::patient() };
    let server = Server::start_with(setup).await?;
    for name in ["asking", "other"] {
        assert_eq!(install(&server, name, "").await?.status, 200);
        let told = server.post("/v1/search", json!({ "query": "confide key" })).await?;
        told.assert_error(422, "rejected");
        // `other` runs second: the first refuses before it is asked.
        let bytes = format!("bytes: Some({})", SECRET.len());
        assert_eq!(told.json["message"], bytes, "{}", told.text);
        let unknown = server.post("/v1/search", json!({ "query": "confide keys" })).await?;
        assert_eq!(unknown.json["message"], "bytes: None");
    }
    let removed = server.delete(ROUTE).await?;
    assert_eq!(removed.status, 200, "{}", removed.text);
    let told = server.post("/v1/search", json!({ "query": "confide key" })).await?;
    assert_eq!(told.json["message"], "bytes: None", "it is not for this extension");
    assert_eq!(install(&server, "asking", "?order=-1").await?.status, 200);
    let failing = json!({ "query": "confide key", "mode": "text" });
    let failed = server.post("/v1/search", failing).await?;
    failed.assert_error(502, "guest_trapped");
    let why = server.get(&format!("/v1/admin/requests/{}", failed.header("x-request-id"))).await?;
    let lines = server.get(&format!("{ROUTE}/logs")).await?;
    assert!(lines.text.contains("the secret is [secret], again [secret]"), "{}", lines.text);
    assert!(lines.text.contains("printed: [secret]"), "{}", lines.text);
    let audit = server.get("/v1/admin/audit").await?;
    let log = std::fs::read_to_string(log)?;
    assert!(log.contains("[secret]"), "guests' lines are in the log");
    for text in [failed.text, why.text, lines.text, audit.text, log] {
        assert!(!text.contains(SECRET), "{text}");
    }
    Ok(())
}
