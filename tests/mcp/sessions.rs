//! Sessions: bounded in number and in time, and gone with the server.

use anyhow::Result;
use kenning_tests::{Caller, Server, Setup, until};
use serde_json::json;

use super::agent::{Agent, KINDS, Kind, NEWEST};
use super::{call, open, post, result};

async fn limited(limits: &str) -> Result<Server> {
    Server::start_with(Setup::patient_but(limits)).await
}

async fn is_open(server: &Caller, session: &str) -> Result<bool> {
    let answer = post(server, Some(session), call("kb_stats", json!({}))).await?;
    match answer.status {
        404 => Ok(false),
        _ => result(&answer).map(|_| true),
    }
}

#[tokio::test]
async fn mcp_sessions_per_tenant_obeyed_and_violated() -> Result<()> {
    let server = limited("mcp_sessions_per_tenant = 2").await?;
    let (first, second) = (open(&server).await?, open(&server).await?);
    assert!(is_open(&server, &second).await? && is_open(&server, &first).await?);
    let others = open(&server.tenant("other")).await?;
    let third = open(&server).await?;
    assert!(!is_open(&server, &second).await?, "it was not used for the longest time");
    assert!(is_open(&server, &first).await? && is_open(&server, &third).await?);
    assert!(is_open(&server.tenant("other"), &others).await?);
    Ok(())
}

#[tokio::test]
async fn mcp_sessions_obeyed_and_violated() -> Result<()> {
    let server = limited("mcp_sessions = 2").await?;
    let few = open(&server.tenant("few")).await?;
    let many = open(&server).await?;
    open(&server).await?;
    assert!(!is_open(&server.tenant("few"), &few).await? || !is_open(&server, &many).await?);
    let last = open(&server).await?;
    assert!(is_open(&server, &last).await?);
    Ok(())
}

#[tokio::test]
async fn mcp_session_idle_ms_obeyed_and_violated() -> Result<()> {
    let server = limited("mcp_session_idle_ms = 300").await?;
    let session = open(&server).await?;
    assert!(is_open(&server, &session).await?);
    until("the session is closed", async || {
        // Each look is a use, which must not come too early again.
        tokio::time::sleep(std::time::Duration::from_millis(400)).await;
        Ok((!is_open(&server, &session).await?).then_some(()))
    })
    .await
}

/// Clients with sessions begin anew after a restart; those without go on, and so does everyone
/// behind `kenning mcp`.
#[tokio::test]
async fn a_server_restarts_between_calls() -> Result<()> {
    let home = tempfile::tempdir()?;
    let setup =
        |listen| Setup { listen, data_dir: Some(home.path().join("data")), ..Setup::patient() };
    let server = Server::start_with(setup(None)).await?;
    let url = server.url().to_owned();
    let address = url.strip_prefix("http://").map(str::to_owned);
    let (mut direct, mut bridged) = (Vec::new(), Vec::new());
    for kind in KINDS {
        direct.push((kind, Agent::over_http(kind, &server).await?));
        bridged.push((kind, Agent::over_stdio(kind, &["--server", &url]).await?));
    }
    server.store(json!({ "text": "Ada prefers tea.", "fact_id": "tea" })).await?;
    server.stop().await?;
    let server = Server::start_with(setup(address)).await?;
    let tea = json!({ "id": "tea" });
    for (kind, agent) in &mut bridged {
        let read = agent.call("get_fact", tea.clone()).await?.ok()?;
        assert_eq!(read["content"], "Ada prefers tea.", "{kind:?}");
    }
    for (kind, agent) in &mut direct {
        let read = agent.call("get_fact", tea.clone()).await;
        match *kind == Kind::Python(NEWEST) {
            true => assert_eq!(read?.ok()?["id"], "tea"),
            false => {
                assert!(read.is_err(), "{kind:?} has to begin anew");
                let mut again = Agent::over_http(*kind, &server).await?;
                assert_eq!(again.call("get_fact", tea.clone()).await?.ok()?["id"], "tea");
            }
        }
    }
    Ok(())
}
