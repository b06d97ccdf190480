//! The inspector's command line, over HTTP and stdio.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use kenning_tests::{Server, kenning, run};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::authoring::tool;

async fn inspect(target: &[&str], arguments: &[&str]) -> Result<Value> {
    let home = tempfile::tempdir()?;
    let mut command = Command::new(tool("node_modules/.bin/mcp-inspector")?);
    command
        .arg("--cli")
        .args(target)
        .args(arguments)
        .env("HOME", home.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let ran = run(command, b"").await?;
    ensure!(ran.code == Some(0), "{arguments:?}: {ran:?}");
    serde_json::from_str(&ran.out).with_context(|| format!("{ran:?}"))
}

async fn inspects(target: &[&str]) -> Result<()> {
    let tools = inspect(target, &["--method", "tools/list", "--strict"]).await?;
    assert_eq!(tools["tools"].as_array().map(Vec::len), Some(7), "{tools}");
    let call = ["--method", "tools/call", "--tool-name", "store_fact"];
    let fact = ["--tool-arg", "content=Ada prefers tea.", "--tool-arg", "id=tea"];
    let stored = inspect(target, &[&call[..], &fact].concat()).await?;
    assert_eq!(stored["structuredContent"]["id"], "tea", "{stored}");
    let read = inspect(target, &["--method", "resources/read", "--uri", "kenning://facts/tea"]);
    let text = read.await?["contents"][0]["text"].as_str().context("no text")?.to_owned();
    let fact: Value = serde_json::from_str(&text)?;
    assert_eq!(fact["content"], json!("Ada prefers tea."));
    Ok(())
}

#[tokio::test]
async fn the_inspector_works_over_http() -> Result<()> {
    let server = Server::start().await?;
    let url = format!("{}/mcp", server.url());
    inspects(&[&url, "--transport", "http"]).await
}

#[tokio::test]
async fn the_inspector_works_over_stdio() -> Result<()> {
    let home = tempfile::tempdir()?;
    let (program, data_dir) = (kenning()?.display().to_string(), home.path().display().to_string());
    let environment = ["-e", "KENNING_EMBEDDER=hash"];
    let target = ["-e", environment[1], &program, "mcp", "--data-dir", &data_dir];
    inspects(&target).await
}
