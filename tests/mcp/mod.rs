//! The Model Context Protocol, by real clients: the official ones in Python and TypeScript, and the
//! inspector's command line.

mod agent;
mod bridge;
mod calls;
mod doors;
mod inspector;
mod memory;
mod sessions;
mod tools;
mod tutorial;

use anyhow::{Context, Result, ensure};
use kenning_tests::{Answer, Caller, send};
use reqwest::Method;
use serde_json::{Value, json};

use agent::Agent;

const ADMIN: &str = "an-admin-key-for-tests-only";

const SESSION: &str = "mcp-session-id";

/// Sends one message as a client would, without one.
async fn post(server: &Caller, session: Option<&str>, message: Value) -> Result<Answer> {
    post_to(server, "/mcp", session, message).await
}

async fn post_to(
    server: &Caller,
    path: &str,
    session: Option<&str>,
    message: Value,
) -> Result<Answer> {
    let mut request = server
        .request(Method::POST, path)
        .header("accept", "application/json, text/event-stream")
        .json(&message);
    if let Some(session) = session {
        request = request.header(SESSION, session);
    }
    send(request).await
}

fn initialize(version: &str) -> Value {
    let client = json!({ "name": "kenning-tests", "version": "1" });
    let params = json!({ "protocolVersion": version, "capabilities": {}, "clientInfo": client });
    json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params })
}

fn call(tool: &str, arguments: Value) -> Value {
    let params = json!({ "name": tool, "arguments": arguments });
    json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params })
}

/// Opens a session; gives its id.
async fn open(server: &Caller) -> Result<String> {
    let opened = post(server, None, initialize("2025-06-18")).await?;
    ensure!(opened.status == 200, "{}", opened.text);
    let session = opened.header(SESSION).to_owned();
    let begun = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
    let begun = post(server, Some(&session), begun).await?;
    ensure!(begun.status == 202, "{}", begun.text);
    Ok(session)
}

/// Stores a fact through an agent; gives its id.
async fn store(agent: &mut Agent, content: &str) -> Result<String> {
    let stored = agent.call("store_fact", json!({ "content": content })).await?.ok()?;
    Ok(stored["id"].as_str().context("no id")?.to_owned())
}

/// The result of a tool in an answer over HTTP.
fn result(answer: &Answer) -> Result<&Value> {
    ensure!(answer.status == 200, "{}: {}", answer.status, answer.text);
    answer.json.get("result").with_context(|| answer.text.clone())
}

/// The error in such a result.
fn error_in(answer: &Answer) -> Result<Value> {
    let result = result(answer)?;
    ensure!(result["isError"] == true, "{result}");
    Ok(serde_json::from_str(result["content"][0]["text"].as_str().context("no text")?)?)
}
