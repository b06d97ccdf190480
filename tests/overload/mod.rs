//! More than the server can do, and callers who hold what they do not use: some are
//! served, the rest are told at once, and whoever holds something loses it.

mod bodies;
mod burst;
mod slow;

use anyhow::Result;
use kenning_tests::{Answer, Caller, Server, Setup, component, until};
use serde_json::json;

/// A patient server with these limits.
async fn limited(limits: &str) -> Result<Server> {
    Server::start_with(Setup::patient_but(limits)).await
}

/// The same with the logic that does as it is told.
async fn obedient(limits: &str) -> Result<Server> {
    let logic = Some(component("hostile")?);
    Server::start_with(Setup { logic, ..Setup::patient_but(limits) }).await
}

async fn tell(server: &Caller, command: &str) -> Result<Answer> {
    server.post("/v1/search", json!({ "query": command })).await
}

/// Refused for want of `limits`, in the one form that all refusals have.
#[track_caller]
fn assert_overloaded(answer: &Answer, limits: &[&str]) {
    answer.assert_error(503, "overloaded");
    let limit = answer.json["details"]["limit"].as_str().unwrap_or_default();
    assert!(limits.contains(&limit), "{}", answer.text);
    assert_eq!(answer.header("retry-after"), "1");
    assert_eq!((&answer.json["retryable"], &answer.json["blame"]), (&json!(true), &json!("host")));
}

/// What was held is free: a call on a connection of its own is served.
async fn serves_again(server: &Server) -> Result<()> {
    until("the server serves again", async || {
        let stored = Caller::new(server.url()).store(json!({ "text": "as ever" })).await;
        Ok(stored.ok().map(|_| ()))
    })
    .await
}
