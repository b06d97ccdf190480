//! `kenning import --format`: dumps in the shapes that other programs document.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use kenning_tests::{Ran, Server, command, run};
use serde_json::{Value, json};

fn dump(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("bulk/dumps").join(name)
}

async fn import(server: &Server, name: &str, further: &[&str]) -> Result<Ran> {
    let (home, path) = (tempfile::tempdir()?, dump(name).display().to_string());
    let begin = ["import", &path, "--server", server.url()];
    run(command(home.path(), &[&begin[..], further].concat())?, b"").await
}

fn counts(ran: &Ran) -> (Option<i32>, Vec<u64>) {
    let number = |line: &str| line.split('\t').nth(1)?.parse().ok();
    (ran.code, ran.out.lines().filter_map(number).collect())
}

async fn fact(server: &Server, id: &str) -> Result<Value> {
    let answer = server.get(&format!("/v1/facts/{id}")).await?;
    assert_eq!(answer.status, 200, "{id}: {}", answer.text);
    Ok(answer.json)
}

/// Twice: what is there already does not change, and nothing is there twice.
async fn twice(server: &Server, name: &str, format: &str, stored: u64) -> Result<String> {
    let ran = import(server, name, &["--format", format]).await?;
    let before = server.get("/v1/count").await?.json["count"].clone();
    let again = import(server, name, &["--format", format]).await?;
    assert_eq!(counts(&ran), (Some(1), vec![stored, 0, stored]), "{} {}", ran.out, ran.err);
    assert_eq!(counts(&again), counts(&ran), "{}", again.err);
    assert_eq!(server.get("/v1/count").await?.json["count"], before);
    Ok(ran.err)
}

#[tokio::test]
async fn memories_of_mem0_are_imported_and_what_is_none_is_named() -> Result<()> {
    let server = Server::start().await?;
    let said = twice(&server, "mem0.json", "mem0", 2).await?;
    assert!(said.contains("element 3") && said.contains("no memory"), "{said}");
    let cricket = fact(&server, "892db2ae-06d9-49e5-8b3e-585ef9b85b8e").await?;
    assert_eq!(cricket["content"], "Likes to play cricket on weekends");
    assert_eq!(cricket["metadata"], json!({ "category": "hobbies", "user_id": "alice" }));
    let time = cricket["timestamp"].as_str().context("a time")?;
    assert!(time.starts_with("2024-07-26T"), "{time}");
    let found = server
        .search(json!({ "query": "x", "mode": "text", "filter": { "agent_id": "nutritionist" } }));
    found.await?;
    Ok(())
}

#[tokio::test]
async fn the_reference_memory_servers_file_is_imported_as_its_profile_keeps_it() -> Result<()> {
    let server = Server::start().await?;
    let said = twice(&server, "memory.jsonl", "mcp-memory", 5).await?;
    assert!(said.contains("line 4: not imported"), "{said}");
    // The tools of the profile keep the same facts: importing with them adds none.
    let home = tempfile::tempdir()?;
    let file = home.path().join("memory.jsonl");
    let lines = std::fs::read_to_string(dump("memory.jsonl"))?;
    let whole: Vec<_> = lines.lines().filter(|line| !line.contains("Broken")).collect();
    std::fs::write(&file, whole.join("\n"))?;
    let path = file.display().to_string();
    let arguments = ["mcp", "--server", server.url(), "--import-memory", &path];
    let ran = run(command(home.path(), &arguments)?, b"").await?;
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!(server.get("/v1/count").await?.json["count"], 5);
    Ok(())
}

#[tokio::test]
async fn memories_of_the_agent_memory_server_are_imported() -> Result<()> {
    let server = Server::start().await?;
    let said = twice(&server, "agent-memory.json", "agent-memory-server", 2).await?;
    assert!(said.contains("element 3: not imported: it has no text"), "{said}");
    let mode = fact(&server, "01HXE2B1234567890ABCDEF").await?;
    assert_eq!(mode["metadata"]["topics"], json!(["preferences", "ui"]));
    assert_eq!(mode["metadata"]["memory_type"], "semantic");
    assert_eq!(mode["metadata"]["pinned"], Value::Null);
    let moved = fact(&server, "01HXE2B9999999999ABCDEF").await?;
    assert!(
        moved["timestamp"].as_str().is_some_and(|time| time.starts_with("2025-02-03T10:30:00"))
    );
    Ok(())
}

#[tokio::test]
async fn rows_of_a_table_and_sections_of_a_document_are_imported() -> Result<()> {
    let server = Server::start().await?;
    let said = twice(&server, "notes.csv", "csv", 2).await?;
    assert!(said.contains("line 5: not imported: it has no text"), "{said}");
    assert!(said.contains("line 6: not imported: it has 2 fields"), "{said}");
    let port = fact(&server, "port").await?;
    assert_eq!(port["metadata"], json!({ "topic": "network", "stars": 5 }));
    let dry = import(&server, "handbook.md", &["--format", "markdown", "--dry-run"]).await?;
    assert_eq!((dry.code, dry.out.lines().count()), (Some(0), 3), "{}", dry.err);
    let ran = import(&server, "handbook.md", &["--format", "markdown"]).await?;
    assert_eq!(counts(&ran), (Some(0), vec![3, 0, 3]), "{}", ran.err);
    let filter = json!({ "path": { "contains": "Network" } }).to_string();
    let listed = server.request(http::Method::GET, "/v1/facts").query(&[("filter", &filter)]);
    let listed = kenning_tests::send(listed).await?;
    let facts = listed.json["facts"].as_array().context("facts")?;
    assert_eq!(facts.len(), 2, "{}", listed.text);
    assert!(facts.iter().all(|fact| fact["metadata"]["source"] == "handbook.md"));
    Ok(())
}
