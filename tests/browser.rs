//! A real browser, Debian's Chromium, and the pages that it shows: only the server's own reach it.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Result, ensure};
use kenning_tests::{Server, run};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::authoring::tool;

const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/browser/pages.mjs");

/// What the pages could read of the server.
async fn browse(server: &Server) -> Result<Value> {
    let folder = tempfile::tempdir()?;
    let program = folder.path().join("pages.mjs");
    std::fs::copy(PROGRAM, &program)?;
    // Node looks for packages in the folders above the program.
    std::os::unix::fs::symlink(tool("node_modules")?, folder.path().join("node_modules"))?;
    let mut command = Command::new(Path::new("node"));
    command
        .arg(&program)
        .arg(server.url())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let ran = run(command, b"").await?;
    ensure!(ran.code == Some(0), "{ran:?}");
    Ok(ran.json())
}

#[tokio::test]
async fn in_a_browser_only_the_servers_own_pages_reach_a_server_without_keys() -> Result<()> {
    let server = Server::start().await?;
    server.store(json!({ "text": "a secret", "fact_id": "secret" })).await?;
    let before = server.get("/v1/admin/logic").await?.json["generations"].clone();
    let seen = browse(&server).await?;
    for (page, attempts) in [("foreign", 13), ("rebound", 11)] {
        let read = seen[page].as_object().map(|read| read.iter().collect::<Vec<_>>());
        let read = read.unwrap_or_default();
        assert_eq!(read.len(), attempts, "{seen}");
        for (attempt, answer) in read {
            let answer = answer.as_str().unwrap_or_default();
            let is_refused = answer == "nothing" || answer.starts_with("403");
            // The link opens the server in the page's tab, and shows the page nothing.
            assert_eq!(is_refused, attempt != "link", "{page} {attempt}: {answer}");
        }
    }
    assert_eq!(seen["own"]["stored"], "201", "{seen}");
    let exported = server.export().await?;
    assert_eq!(seen["own"]["export"], exported, "its own page reads everything");
    assert_eq!(exported.lines().count(), 2, "nothing else was stored: {exported}");
    assert_eq!(seen["own"]["changes"], json!(["stored own"]), "it follows changes: {seen}");
    let tenants = server.get("/v1/admin/tenants").await?.text;
    assert!(!tenants.contains("planted"), "{tenants}");
    assert_eq!(server.get("/v1/admin/logic").await?.json["generations"], before);
    Ok(())
}
