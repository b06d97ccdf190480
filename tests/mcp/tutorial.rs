//! `docs/tutorials/mcp.md`, typed as it stands: its settings by the inspector, which reads them as
//! the clients do, and its commands.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use kenning_tests::{Server, Setup, command, kenning, run};
use serde_json::{Value, json};
use tokio::process::Command;

use super::ADMIN;
use crate::authoring::tool;

const PAGE: &str = include_str!("../../docs/tutorials/mcp.md");

/// The blocks of the page in a language.
fn blocks(language: &str) -> Vec<&'static str> {
    let parts = PAGE.split("\n```").skip(1).step_by(2);
    parts.filter_map(|block| block.strip_prefix(language)?.strip_prefix('\n')).collect()
}

/// The inspector with what a user has: `kenning` on the path, and a home directory.
fn inspector(home: &Path) -> Result<Command> {
    let mut command = Command::new(tool("node_modules/.bin/mcp-inspector")?);
    let beside = kenning()?.parent().context("it is in a directory")?.to_owned();
    let path = std::env::var("PATH").unwrap_or_default();
    command
        .arg("--cli")
        .env("PATH", format!("{}:{path}", beside.display()))
        .env("HOME", home)
        .env("KENNING_EMBEDDER", "hash")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .kill_on_drop(true);
    Ok(command)
}

/// The names of the tools that `ran` listed.
fn tools(ran: &kenning_tests::Ran) -> Result<Vec<String>> {
    ensure!(ran.code == Some(0), "{ran:?}");
    let tools = ran.json()["tools"].as_array().cloned().with_context(|| format!("{ran:?}"))?;
    Ok(tools.iter().filter_map(|tool| Some(tool["name"].as_str()?.to_owned())).collect())
}

#[tokio::test]
async fn the_settings_of_the_page_work() -> Result<()> {
    let server = Server::start_with(Setup { admin_key: Some(ADMIN), ..Setup::patient() }).await?;
    let created = server.key(ADMIN).post("/v1/admin/tenants", json!({ "name": "acme" })).await?;
    let key = created.json["key"].as_str().context("no key")?;
    let blocks = blocks("json");
    ensure!(blocks.len() == 8, "{} settings", blocks.len());
    for block in blocks {
        let home = tempfile::tempdir()?;
        let directory = home.path().join("one").display().to_string();
        let settings = block
            .replace("http://127.0.0.1:7171", server.url())
            .replace("/tmp/kenning-of-one-project", &directory)
            .replace("${env:KENNING_KEY}", key)
            .replace("${KENNING_KEY}", key);
        let parsed: Value = serde_json::from_str(&settings)?;
        let servers = parsed["mcpServers"].as_object().context("no servers")?;
        let (name, server) = servers.iter().next().context("no server")?;
        let (file, mut inspecting) = (home.path().join("mcp.json"), inspector(home.path())?);
        // The inspector gives programs nothing of its own environment.
        let mut read = parsed.clone();
        if server["command"].is_string() {
            let server = &mut read["mcpServers"][name];
            server["env"]["KENNING_EMBEDDER"] = "hash".into();
            server["env"]["HOME"] = home.path().display().to_string().into();
        }
        if server["url"].is_string() {
            // Cursor knows by the URL.
            read["mcpServers"][name]["type"] = "http".into();
        }
        fs::write(&file, read.to_string())?;
        inspecting.arg("--config").arg(&file);
        inspecting.args(["--server", name, "--method", "tools/list"]);
        let listed = tools(&run(inspecting, b"").await?)?;
        let arguments = server["args"].to_string();
        let expected = match () {
            () if arguments.contains("memory") => 9,
            () if arguments.contains("--read-only") => 4,
            () => 7,
        };
        assert_eq!(listed.len(), expected, "{settings}: {listed:?}");
    }
    Ok(())
}

#[tokio::test]
async fn the_commands_of_the_page_work() -> Result<()> {
    let home = tempfile::tempdir()?;
    for block in blocks("console") {
        let mut lines = block.lines();
        let typed = lines.next().and_then(|line| line.strip_prefix("$ ")).context("no command")?;
        let words: Vec<&str> = typed.split_whitespace().collect();
        let said = lines.collect::<Vec<_>>().join("\n");
        match words[..] {
            ["npx", "@modelcontextprotocol/inspector", "--cli", ref rest @ ..] => {
                let mut inspecting = inspector(home.path())?;
                inspecting.args(["-e", "KENNING_EMBEDDER=hash"]).args(rest);
                assert_eq!(tools(&run(inspecting, b"").await?)?.len(), 7);
            }
            ["kenning", ref rest @ ..] => {
                fs::write(home.path().join("memory.jsonl"), MEMORY.join("\n"))?;
                for _ in 0..2 {
                    let mut importing = command(home.path(), rest)?;
                    importing.current_dir(home.path()).env("KENNING_EMBEDDER", "hash");
                    let ran = run(importing, b"").await?;
                    assert_eq!((ran.code, ran.out.trim()), (Some(0), said.trim()), "{ran:?}");
                }
            }
            _ => anyhow::bail!("{typed}"),
        }
    }
    Ok(())
}

/// What the reference memory server writes.
const MEMORY: [&str; 3] = [
    r#"{"type":"entity","name":"Ada","entityType":"person","observations":["drinks tea","runs"]}"#,
    r#"{"type":"entity","name":"Acme","entityType":"company","observations":["makes anvils"]}"#,
    r#"{"type":"relation","from":"Ada","to":"Acme","relationType":"works_at"}"#,
];
