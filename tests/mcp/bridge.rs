//! `kenning mcp`: a server of its own or another's, and what happens when it goes away.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use kenning_tests::{Server, Setup, command, kenning, run, until};
use serde_json::{Value, json};
use tokio::process::Command;

use super::agent::{Agent, Kind, NEWEST};
use super::{initialize, store};

async fn agent_in(data_dir: &Path, kind: Kind) -> Result<Agent> {
    Agent::over_stdio(kind, &["--data-dir", &data_dir.display().to_string()]).await
}

async fn count(agent: &mut Agent) -> Result<Value> {
    Ok(agent.call("kb_stats", json!({})).await?.ok()?["facts"].clone())
}

/// The `kenning mcp` that a client started.
fn bridge_of(agent: &Agent) -> Result<u32> {
    let pid = agent.pid().context("the client has ended")?;
    let mut of = vec![pid];
    while let Some(pid) = of.pop() {
        if fs::read_link(format!("/proc/{pid}/exe"))? == kenning()? {
            return Ok(pid);
        }
        for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
            let children = fs::read_to_string(thread?.path().join("children"))?;
            of.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        }
    }
    anyhow::bail!("the client {pid} runs no bridge")
}

async fn kill(pid: u32) -> Result<()> {
    let killed = Command::new("kill").args(["-s", "KILL", &pid.to_string()]).status().await?;
    ensure!(killed.success(), "cannot kill {pid}");
    Ok(())
}

#[tokio::test]
async fn clients_of_one_directory_share_its_facts() -> Result<()> {
    let home = tempfile::tempdir()?;
    let mut first = agent_in(home.path(), Kind::Python(NEWEST)).await?;
    let mut second = agent_in(home.path(), Kind::TypeScript).await?;
    let id = store(&mut first, "Ada prefers tea.").await?;
    let read = second.call("get_fact", json!({ "id": id })).await?.ok()?;
    assert_eq!(read["content"], "Ada prefers tea.");
    let socket = fs::metadata(home.path().join("kenning.sock"))?;
    assert_eq!(socket.permissions().mode() & 0o777, 0o600);
    // The first leaves as a user leaves; the second goes on.
    first.close().await?;
    store(&mut second, "Mia keeps two parrots.").await?;
    assert_eq!(count(&mut second).await?, 2);
    second.close().await?;
    let mut third = agent_in(home.path(), Kind::Python("2025-06-18")).await?;
    assert_eq!(count(&mut third).await?, 2, "all of it is on disk");
    Ok(())
}

#[tokio::test]
async fn a_running_server_of_the_directory_is_joined() -> Result<()> {
    let home = tempfile::tempdir()?;
    let setup = Setup { data_dir: Some(home.path().to_owned()), ..Setup::patient() };
    let server = Server::start_with(setup).await?;
    let mut agent = agent_in(home.path(), Kind::Python(NEWEST)).await?;
    let id = store(&mut agent, "Ada prefers tea.").await?;
    assert_eq!(server.get(&format!("/v1/facts/{id}")).await?.status, 200);
    // It ends, and the agent's own process goes on with its facts.
    server.stop().await?;
    agent.call("get_fact", json!({ "id": id })).await?.ok()?;
    Ok(())
}

#[tokio::test]
async fn two_processes_store_a_thousand_facts_each_and_none_is_lost() -> Result<()> {
    let home = tempfile::tempdir()?;
    let mut first = agent_in(home.path(), Kind::Python(NEWEST)).await?;
    let mut second = agent_in(home.path(), Kind::TypeScript).await?;
    let many =
        |prefix: &str| json!({ "do": "stores", "prefix": prefix, "count": 1_000, "at_once": 16 });
    let (one, two) = (first.begin(many("first")).await?, second.begin(many("second")).await?);
    assert_eq!(first.end(one).await?, json!({ "failed": [] }));
    assert_eq!(second.end(two).await?, json!({ "failed": [] }));
    assert_eq!(count(&mut second).await?, 2_000);
    first.close().await?;
    assert_eq!(count(&mut second).await?, 2_000);
    Ok(())
}

#[tokio::test]
async fn the_process_that_has_the_store_is_killed_and_no_store_is_lost() -> Result<()> {
    let home = tempfile::tempdir()?;
    let mut first = agent_in(home.path(), Kind::Python("2025-06-18")).await?;
    let has_store = bridge_of(&first)?;
    store(&mut first, "the first fact").await?;
    let mut others = Vec::new();
    for kind in [Kind::Python(NEWEST), Kind::TypeScript, Kind::Python("2025-03-26")] {
        others.push(agent_in(home.path(), kind).await?);
    }
    let mut begun = Vec::new();
    for (number, agent) in others.iter_mut().enumerate() {
        let prefix = format!("agent {number}");
        let many = json!({ "do": "stores", "prefix": prefix, "count": 400, "at_once": 8 });
        begun.push(agent.begin(many).await?);
    }
    let mut watcher = agent_in(home.path(), Kind::Python(NEWEST)).await?;
    until("some are stored", async || {
        Ok((count(&mut watcher).await?.as_u64() > Some(200)).then_some(()))
    })
    .await?;
    kill(has_store).await?;
    for (agent, number) in others.iter_mut().zip(begun) {
        assert_eq!(agent.end(number).await?, json!({ "failed": [] }));
    }
    assert_eq!(count(&mut watcher).await?, 1 + 3 * 400);
    Ok(())
}

#[tokio::test]
async fn standard_output_carries_the_protocol_only_and_nonsense_is_answered() -> Result<()> {
    let home = tempfile::tempdir()?;
    let input = [
        "{".to_owned(),
        "[]".to_owned(),
        initialize("2025-06-18").to_string(),
        json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }).to_string(),
        json!({ "jsonrpc": "2.0", "id": "x", "method": "no/such/method" }).to_string(),
    ];
    let data_dir = home.path().join("data").display().to_string();
    let arguments = ["mcp", "--data-dir", &data_dir, "--log", "debug"];
    let mut bridge = command(home.path(), &arguments)?;
    bridge.env("KENNING_EMBEDDER", "hash");
    let ran = run(bridge, input.join("\n").as_bytes()).await?;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let lines: Result<Vec<Value>, _> = ran.out.lines().map(serde_json::from_str).collect();
    let lines = lines.with_context(|| ran.out.clone())?;
    assert_eq!(lines.len(), 4, "{}", ran.out);
    assert!(lines.iter().all(|line| line["jsonrpc"] == "2.0"));
    let of = |id: Value| lines.iter().find(move |line| line["id"] == id);
    assert_eq!(of(Value::Null).context("no answer")?["error"]["code"], -32_700);
    assert_eq!(of(json!(1)).context("no answer")?["result"]["protocolVersion"], "2025-06-18");
    assert_eq!(of(json!("x")).context("no answer")?["error"]["code"], -32_601);
    assert!(ran.err.contains("DEBUG"), "the log goes to standard error: {}", ran.err);
    Ok(())
}

#[tokio::test]
async fn a_client_is_told_why_there_is_no_server() -> Result<()> {
    let home = tempfile::tempdir()?;
    let data_dir = home.path().join("data").display().to_string();
    let told = async |arguments: &[&str]| -> Result<String> {
        let bridge = command(home.path(), arguments)?;
        let ran = run(bridge, initialize("2025-06-18").to_string().as_bytes()).await?;
        let line: Value =
            serde_json::from_str(ran.out.trim()).with_context(|| format!("{ran:?}"))?;
        Ok(line["error"]["message"].as_str().context("no error")?.to_owned())
    };
    let missing = told(&["mcp", "--data-dir", &data_dir]).await?;
    assert!(missing.contains("kenning model pull"), "{missing}");
    let server = Server::start_with(Setup {
        admin_key: Some("an-admin-key-for-tests-only"),
        ..Setup::patient()
    })
    .await?;
    let keyless = told(&["mcp", "--server", server.url()]).await?;
    assert!(keyless.contains("401") && keyless.contains("KENNING_KEY"), "{keyless}");
    Ok(())
}
