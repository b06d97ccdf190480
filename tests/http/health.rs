//! `/livez`, `/healthz`, `/readyz`, `/metrics`, `/openapi.json`.

use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use kenning_tests::{Server, kenning};
use serde_json::json;

#[tokio::test]
async fn a_server_that_listens_is_alive_and_ready() -> Result<()> {
    let server = Server::start().await?;
    for path in ["/livez", "/healthz"] {
        let answer = server.get(path).await?;
        assert_eq!((answer.status, &answer.json["status"]), (200, &json!("ok")), "{path}");
        assert_eq!(answer.json["version"], env!("CARGO_PKG_VERSION"));
    }
    let ready = server.get("/readyz").await?;
    assert_eq!((ready.status, &ready.json["status"]), (200, &json!("ready")));
    Ok(())
}

#[tokio::test]
async fn metrics_count_what_happened() -> Result<()> {
    let server = Server::start().await?;
    server.store(json!({ "text": "x", "fact_id": "a" })).await?;
    server.search(json!({ "query": "x" })).await?;
    server.get("/v1/facts/nothing").await?;
    server.get("/v1/facts/nothing-else").await?;
    let metrics = server.get("/metrics").await?;
    assert_eq!(metrics.status, 200);
    assert!(metrics.header("content-type").starts_with("text/plain"));
    for line in [
        r#"kenning_http_requests_total{method="POST",route="/v1/facts",status="201"} 1"#,
        r#"kenning_http_requests_total{method="POST",route="/v1/search",status="200"} 1"#,
        r#"kenning_http_requests_total{method="GET",route="/v1/facts/{id}",status="404"} 2"#,
        r#"kenning_errors_total{code="not_found"} 2"#,
        r#"kenning_http_seconds_count{method="POST",route="/v1/search"} 1"#,
        r#"kenning_guest_seconds_count{operation="search"} 1"#,
        r#"kenning_import_seconds_count{operation="store"} 1"#,
    ] {
        assert!(metrics.text.lines().any(|known| known == line), "{line}\n{}", metrics.text);
    }
    assert!(metrics.text.contains("kenning_guest_fuel_total{operation=\"store\"}"));
    Ok(())
}

/// `promtool` of the machine, or the one that `make promtool` fetched.
fn promtool() -> Result<Command> {
    let on_path = Command::new("promtool").arg("--version").stdout(Stdio::null()).status().is_ok();
    let fetched = kenning()?.with_file_name("../tools/prometheus/usr/bin/promtool");
    Ok(Command::new(if on_path { "promtool".into() } else { fetched }))
}

#[tokio::test]
async fn metrics_have_a_help_and_a_type_and_pass_promtool() -> Result<()> {
    let server = Server::start().await?;
    server.store(json!({ "text": "x", "fact_id": "a" })).await?;
    server.search(json!({ "query": "x" })).await?;
    server.get("/v1/facts/nothing").await?;
    let metrics = server.get("/metrics").await?.text;
    let named = |line: &str, kind: &str| {
        line.strip_prefix(kind).and_then(|rest| rest.split(' ').next()).map(str::to_owned)
    };
    let of = |kind: &str| metrics.lines().filter_map(|line| named(line, kind)).collect::<Vec<_>>();
    assert!(of("# TYPE ").len() > 5, "{metrics}");
    assert_eq!(of("# HELP "), of("# TYPE "), "{metrics}");

    let directory = tempfile::tempdir()?;
    let path = directory.path().join("metrics");
    std::fs::write(&path, &metrics)?;
    let checked = promtool()?
        .args(["check", "metrics"])
        .stdin(std::fs::File::open(&path)?)
        .output()
        .context("there is no promtool: run `make promtool`")?;
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success() && said.is_empty(), "{said}\n{metrics}");
    Ok(())
}

/// A tenant a label would be a series a tenant; a path, a series a fact; and what
/// facts say is nobody else's business.
#[tokio::test]
async fn metrics_name_no_tenant_no_fact_and_no_query() -> Result<()> {
    let server = Server::start().await?;
    let tenant = server.tenant("secretive");
    let text = json!({ "text": "topsecret", "fact_id": "secretid" });
    tenant.store(text).await?;
    tenant.search(json!({ "query": "topsecret" })).await?;
    tenant.get("/v1/facts/secretid").await?;
    tenant.get("/v1/facts?query=topsecret").await?;
    tenant.get("/no/secretroute").await?;
    let metrics = server.get("/metrics").await?.text;
    assert!(metrics.contains("kenning_http_requests_total"));
    assert!(!metrics.contains("secret") && !metrics.contains("tenant="), "{metrics}");
    Ok(())
}

#[tokio::test]
async fn the_servers_description_is_served() -> Result<()> {
    let server = Server::start().await?;
    let answer = server.get("/openapi.json").await?;
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.json["openapi"], "3.1.0");
    assert_eq!(answer.json["info"]["version"], env!("CARGO_PKG_VERSION"));
    Ok(())
}
