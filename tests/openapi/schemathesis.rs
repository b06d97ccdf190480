//! Public tests of the description: schemathesis makes requests of it, right and wrong ones, and
//! holds each answer to what the description says.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kenning_tests::{Server, Setup};
use serde_json::json;
use tokio::process::Command;
use tokio::time::timeout;

use crate::authoring::tool;

const ADMIN: &str = "an-admin-key-for-tests-only";

/// Its settings, and why they are as they are.
const FILES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi/schemathesis");

/// Requests for each route beside those at the edges of its schema.
const EXAMPLES: &str = "5";

/// A run that takes longer has hung.
const PATIENCE: Duration = Duration::from_secs(300);

/// Fails with the disagreements that are found between the server and its description, on the
/// routes that `paths` select.
async fn assert_no_disagreement(server: &Server, key: Option<&str>, paths: &[&str]) -> Result<()> {
    // Where it looks for its settings, and puts what it writes.
    let folder = tempfile::tempdir()?;
    for file in ["schemathesis.toml", "hooks.py"] {
        fs::copy(format!("{FILES}/{file}"), folder.path().join(file))?;
    }
    // One worker: with more, its generator's caches race, and the run ends with a `KeyError`.
    let mut command = Command::new(tool("schemathesis/bin/schemathesis")?);
    command
        .args(["run", &format!("{}/openapi.json", server.url())])
        .args(paths)
        .args(["--max-examples", EXAMPLES, "--generation-deterministic", "--no-shrink"])
        .args(["--phases", "coverage,fuzzing", "--suppress-health-check", "all"])
        .args(["--workers", "1", "--no-color", "--warnings", "off"])
        .current_dir(folder.path())
        .env("SCHEMATHESIS_HOOKS", "hooks")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    if let Some(key) = key {
        command.args(["--header", &format!("Authorization: Bearer {key}")]);
    }
    let ran = timeout(PATIENCE, command.output()).await.context("schemathesis did not end")??;
    let said = String::from_utf8_lossy(&ran.stdout);
    ensure!(ran.status.success() && said.contains(" passed"), "{said}");
    Ok(())
}

fn keyed() -> Setup {
    Setup { admin_key: Some(ADMIN), ..Setup::patient() }
}

#[tokio::test]
async fn schemathesis_finds_no_disagreement_without_keys() -> Result<()> {
    let server = Server::start().await?;
    assert_no_disagreement(&server, None, &[]).await
}

#[tokio::test]
async fn schemathesis_finds_no_disagreement_with_a_tenants_key() -> Result<()> {
    let server = Server::start_with(keyed()).await?;
    let tenant = json!({ "name": "acme" });
    let created = server.key(ADMIN).post("/v1/admin/tenants", tenant).await?;
    let key = created.json["key"].as_str().unwrap_or_default();
    let paths = ["--exclude-path-regex", "^/v1/admin"];
    assert_no_disagreement(&server, Some(key), &paths).await
}

#[tokio::test]
async fn schemathesis_finds_no_disagreement_as_the_operator() -> Result<()> {
    let server = Server::start_with(keyed()).await?;
    let paths = ["--include-path-regex", "^/v1/(admin|stats)"];
    assert_no_disagreement(&server, Some(ADMIN), &paths).await
}
