//! A server on a socket in the file system.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::Result;
use kenning_tests::{Caller, Server, Setup, command, run};
use reqwest::Client;
use serde_json::json;

fn caller(server: &Server, socket: &Path) -> Result<Caller> {
    let client = Client::builder().no_proxy().tls_certs_only([]).unix_socket(socket.to_owned());
    let url = Caller::new("http://localhost");
    assert_eq!(server.url(), format!("unix:{}", socket.display()));
    Ok(url.over(client.build()?))
}

#[tokio::test]
async fn a_socket_serves_this_user_and_is_gone_at_the_end() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let socket = folder.path().join("kb.sock");
    let address = format!("unix:{}", socket.display());
    let setup = || Setup { listen: Some(address.clone()), ..Setup::patient() };
    let server = Server::start_with(setup()).await?;
    assert_eq!(std::fs::metadata(&socket)?.permissions().mode() & 0o777, 0o600);
    caller(&server, &socket)?.store(json!({ "text": "tea", "fact_id": "a" })).await?;
    let home = tempfile::tempdir()?;
    let got = run(command(home.path(), &["get", "a", "--server", &address])?, b"").await?;
    assert_eq!(got.code, Some(0), "{}", got.err);
    let second = Server::start_with(setup()).await.err().map(|error| error.to_string());
    assert!(second.is_some(), "another process listens there");
    assert_eq!(server.stop().await?, Some(0));
    assert!(!socket.exists());
    let nobody = run(command(home.path(), &["stats", "--server", &address])?, b"").await?;
    assert_eq!(nobody.code, Some(4));
    assert!(nobody.err.contains(&address), "{}", nobody.err);
    Ok(())
}

#[tokio::test]
async fn a_socket_that_a_killed_server_left_is_replaced() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let socket = folder.path().join("kb.sock");
    let address = format!("unix:{}", socket.display());
    let setup = || Setup { listen: Some(address.clone()), ..Setup::patient() };
    Server::start_with(setup()).await?.kill().await?;
    assert!(socket.exists(), "nobody removed it");
    let server = Server::start_with(setup()).await?;
    assert_eq!(caller(&server, &socket)?.get("/livez").await?.status, 200);
    Ok(())
}
