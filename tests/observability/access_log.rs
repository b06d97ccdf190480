//! The log of requests: a line for each where it is wanted, and nothing of what was asked.

use std::path::Path;

use anyhow::{Context, Result};
use kenning_tests::{Server, Setup, until};
use serde_json::{Value, json};

use super::{SECRET, SPAN, TRACE, search_with};

const ADMIN: &str = "an-admin-key-of-the-tests";

fn setup(log: &Path, access_log: &str) -> Setup {
    let environment = vec![
        ("KENNING_ACCESS_LOG", access_log.to_owned()),
        ("KENNING_LOG_FORMAT", "json".to_owned()),
    ];
    // What the filter leaves out of the other log is in this one.
    Setup { log: Some((log.to_owned(), "error")), environment, ..Setup::patient() }
}

/// The lines of the log of requests.
fn lines(log: &Path) -> Result<Vec<Value>> {
    let text = std::fs::read_to_string(log)?;
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let of_access = lines.filter(|line| line["target"] == "access");
    Ok(of_access.map(|line| line["fields"].clone()).collect())
}

/// The line of a request, which may be written a moment after its answer was read.
async fn line(log: &Path, request_id: &str) -> Result<Value> {
    until(&format!("a line of {request_id}"), async || {
        Ok(lines(log)?.into_iter().find(|line| line["request_id"] == request_id))
    })
    .await
}

#[tokio::test]
async fn each_request_has_a_line_without_what_was_asked() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let log = directory.path().join("log");
    let setup = Setup { admin_key: Some(ADMIN), ..setup(&log, "true") };
    let server = Server::start_with(setup).await?;
    let created = server.key(ADMIN).post("/v1/admin/tenants", json!({ "name": "acme" })).await?;
    let key = created.json["key"].as_str().context("a key")?;
    let tenant = server.key(key);

    let text = format!("{SECRET} tea");
    let stored = tenant.post("/v1/facts", json!({ "text": text, "fact_id": "secretid" })).await?;
    let said = line(&log, stored.header("x-request-id")).await?;
    let expected = json!(["POST", "/v1/facts", 201, "acme", "127.0.0.1"]);
    let fields = ["method", "route", "status", "tenant", "peer"].map(|name| said[name].clone());
    assert_eq!(json!(fields), expected, "{said}");
    assert_eq!(said["bytes_out"], stored.text.len(), "{said}");
    assert!(said["bytes_in"].as_u64() > Some(20) && said["duration_us"].is_u64(), "{said}");
    assert!(created.json["key_id"].is_string(), "{}", created.text);
    assert_eq!(said["key_id"], created.json["key_id"], "{said}");

    let parent = format!("00-{TRACE}-{SPAN}-00");
    let found = search_with(&tenant, &[("traceparent", &parent)]).await?;
    assert_eq!(line(&log, found.header("x-request-id")).await?["trace_id"], TRACE);
    let read = tenant.get(&format!("/v1/facts/secretid?x={SECRET}")).await?;
    let said = line(&log, read.header("x-request-id")).await?;
    assert!(said["trace_id"].is_null(), "it is part of no trace: {said}");
    let nowhere = tenant.get(&format!("/no/{SECRET}")).await?;
    assert_eq!(line(&log, nowhere.header("x-request-id")).await?["route"], "none");
    let refused = server.key("a-key-of-nobody").get("/v1/stats").await?;
    let said = line(&log, refused.header("x-request-id")).await?;
    assert_eq!((&said["status"], &said["tenant"]), (&json!(401), &Value::Null), "{said}");
    let id = created.header("x-request-id");
    let said = line(&log, id).await?;
    assert!(said["key_id"].is_string() && said["tenant"].is_null(), "{said}");

    let all = std::fs::read_to_string(&log)?;
    assert!(!all.contains("secret") && !all.contains(key) && !all.contains(ADMIN), "{all}");
    Ok(())
}

#[tokio::test]
async fn without_the_setting_there_is_no_line() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let log = directory.path().join("log");
    let server = Server::start_with(setup(&log, "false")).await?;
    server.store(json!({ "text": "tea" })).await?;
    assert_eq!(server.stop().await?, Some(0));
    assert_eq!(lines(&log)?, Vec::<Value>::new());
    Ok(())
}

#[tokio::test]
async fn a_line_of_a_failure_names_its_trace() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let log = directory.path().join("log");
    let logic = Some(kenning_tests::component("hostile")?);
    let server = Server::start_with(Setup { logic, ..setup(&log, "false") }).await?;
    let parent = format!("00-{TRACE}-{SPAN}-00");
    let body = json!({ "query": "trap" });
    let headers = [("traceparent", parent.as_str())];
    let failed = super::post_with(&server, "/v1/search", &body, &headers).await?;
    failed.assert_error(502, "guest_trapped");
    assert_eq!(server.stop().await?, Some(0));
    let text = std::fs::read_to_string(&log)?;
    let line = text.lines().find(|line| line.contains("guest failed")).context("a line")?;
    assert!(line.contains(TRACE), "{line}");
    Ok(())
}
