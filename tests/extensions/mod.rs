//! Tenants' extensions: what each hook does to facts and queries, what happens when
//! one fails, and how they come and go.

mod blame;
mod callers;
mod compiling;
mod configuring;
pub(crate) mod events;
mod failing;
mod filters;
mod hooks;
mod installing;
pub(crate) mod keeping;
mod lost;
mod options;
mod progress;
mod replay;
mod revoking;
mod sending;
mod settings;
mod stubborn;

use anyhow::Result;
use kenning_tests::{Answer, Caller, Server, Setup, component};

/// The extension that does what texts say.
fn hooks() -> Result<Vec<u8>> {
    Ok(std::fs::read(component("hooks")?)?)
}

/// A patient server on which the tenant `default` has the extension `hooks`.
async fn serve() -> Result<Server> {
    serve_with(Setup::patient(), "").await
}

async fn serve_with(setup: Setup, parameters: &str) -> Result<Server> {
    let server = Server::start_with(setup).await?;
    installed(&server, "default", "hooks", parameters).await?;
    Ok(server)
}

async fn installed(server: &Caller, tenant: &str, name: &str, parameters: &str) -> Result<Answer> {
    let answer = server.install(tenant, name, hooks()?, parameters).await?;
    assert_eq!(answer.status, 200, "{}", answer.text);
    Ok(answer)
}
