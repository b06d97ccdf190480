//! Clients that nobody here wrote.

use std::process::Stdio;

use anyhow::{Result, ensure};
use kenning_tests::{Backend, Server, Setup, run};
use serde_json::json;
use tokio::process::Command;

use crate::authoring::tool;

const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/changes/clients/follow.py");

const FACTS: usize = 40;

/// Python's httpx-sse sees each change once and in order, also across a restart of the server.
#[tokio::test]
async fn httpx_sse_follows_across_a_restart() -> Result<()> {
    let backend = Backend::embedded()?;
    let address = format!("127.0.0.1:{}", kenning_storage::testing::free_port());
    let setup = || Setup { listen: Some(address.clone()), ..backend.setup() };
    let server = Server::start_with(setup()).await?;
    let mut command = Command::new(tool("python/bin/python")?);
    command
        .args([PROGRAM, &format!("http://{address}"), &FACTS.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let following = tokio::spawn(run(command, b""));
    let fact = |n: usize| json!({ "text": format!("fact {n}"), "fact_id": format!("f{n}") });
    for n in 0..FACTS / 2 {
        server.store(fact(n)).await?;
    }
    server.stop().await?;
    let server = Server::start_with(setup()).await?;
    for n in FACTS / 2..FACTS {
        server.store(fact(n)).await?;
    }
    let ran = following.await??;
    ensure!(ran.code == Some(0), "{ran:?}");
    let ids: Vec<String> = (0..FACTS).map(|n| format!("stored f{n}")).collect();
    assert_eq!(ran.out.lines().collect::<Vec<_>>(), ids);
    Ok(())
}
