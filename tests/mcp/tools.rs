//! Every tool, resource and prompt, by each client in each version of the protocol.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use kenning_tests::Server;
use serde_json::{Value, json};

use super::agent::{Agent, KINDS, Kind};
use super::store;

const TOOLS: [&str; 7] = [
    "delete_fact",
    "get_fact",
    "kb_stats",
    "list_facts",
    "search_facts",
    "store_fact",
    "update_fact",
];

#[tokio::test]
async fn every_tool_works_over_http_in_every_version() -> Result<()> {
    let server = Server::start().await?;
    for (number, kind) in KINDS.into_iter().enumerate() {
        // Each has a tenant of its own, and so no facts.
        let url = format!("{}/mcp", server.url());
        let tenant = format!("t{number}");
        let mut agent = Agent::to(kind, &url, &[("x-kenning-tenant", &tenant)]).await?;
        tour(&mut agent, kind).await.with_context(|| format!("{kind:?}"))?;
        agent.close().await?;
    }
    Ok(())
}

#[tokio::test]
async fn every_tool_works_over_stdio_in_every_version() -> Result<()> {
    for kind in KINDS {
        let home = tempfile::tempdir()?;
        let data_dir = home.path().join("data").display().to_string();
        let mut agent = Agent::over_stdio(kind, &["--data-dir", &data_dir]).await?;
        tour(&mut agent, kind).await.with_context(|| format!("{kind:?}"))?;
        agent.close().await?;
    }
    Ok(())
}

async fn tour(agent: &mut Agent, kind: Kind) -> Result<()> {
    let info = agent.act(json!({ "do": "info" })).await?;
    if let Kind::Python(version) = kind {
        assert_eq!(info["version"], version);
    }
    assert_eq!(info["server"]["name"], "kenning");
    assert!(info["instructions"].as_str().is_some_and(|said| said.contains("search_facts")));
    tools(agent).await?;
    facts(agent).await?;
    resources(agent).await?;
    prompts(agent).await
}

/// What models are told of the tools.
async fn tools(agent: &mut Agent) -> Result<()> {
    let listed = agent.list("tools").await?;
    let tools: BTreeMap<&str, &Value> =
        listed.iter().filter_map(|tool| Some((tool["name"].as_str()?, tool))).collect();
    assert_eq!(tools.keys().copied().collect::<Vec<_>>(), TOOLS);
    for (name, tool) in &tools {
        assert!(tool["description"].as_str().is_some_and(|said| !said.is_empty()), "{name}");
        assert_eq!(tool["inputSchema"]["type"], "object", "{name}");
        assert_eq!(tool["outputSchema"]["type"], "object", "{name}");
    }
    let hints = |name: &str| {
        let hints = &tools[name]["annotations"];
        ["readOnlyHint", "destructiveHint", "idempotentHint"].map(|hint| hints[hint] == true)
    };
    for reads in ["get_fact", "search_facts", "list_facts", "kb_stats"] {
        assert_eq!(hints(reads), [true, false, true], "{reads}");
    }
    assert_eq!(hints("store_fact"), [false, false, false]);
    assert_eq!(hints("update_fact"), [false, true, true]);
    assert_eq!(hints("delete_fact"), [false, true, true]);
    Ok(())
}

/// Each tool does what it says, and its answer is what its schema says: the clients check that.
async fn facts(agent: &mut Agent) -> Result<()> {
    let fact = json!({
        "content": "The staging server listens on port 7171.",
        "metadata": { "topic": "network", "year": 2026 },
        "id": "port-7",
    });
    let stored = agent.call("store_fact", fact.clone()).await?.ok()?;
    assert_eq!(stored["id"], "port-7");
    assert_eq!(agent.call("store_fact", fact).await?.ok()?["id"], "port-7", "the same again");
    let tea = store(agent, "Ada prefers tea.").await?;

    let read = agent.call("get_fact", json!({ "id": "port-7" })).await?.ok()?;
    assert_eq!(read["content"], "The staging server listens on port 7171.");
    assert_eq!(read["metadata"], json!({ "topic": "network", "year": 2026 }));
    assert!(read["timestamp"].is_string());

    let query = json!({ "query": "staging port", "top_k": 1, "filter": { "topic": "network" } });
    let found = agent.call("search_facts", query).await?.ok()?;
    assert_eq!(found["results"][0]["id"], "port-7");
    assert!(found["results"][0]["relevance"].is_number());

    let first = agent.call("list_facts", json!({ "limit": 1 })).await?.ok()?;
    assert_eq!(first["facts"][0]["id"], tea.as_str(), "newest first");
    let rest = json!({ "limit": 1, "cursor": first["next_cursor"] });
    assert_eq!(agent.call("list_facts", rest).await?.ok()?["facts"][0]["id"], "port-7");
    let matching = json!({ "filter": { "year": { "gte": 2026 } }, "query": "STAGING" });
    let listed = agent.call("list_facts", matching).await?.ok()?;
    assert_eq!(listed["facts"].as_array().map(Vec::len), Some(1));

    let change = json!({ "id": "port-7", "content": "The staging server listens on port 7272." });
    assert_eq!(agent.call("update_fact", change).await?.ok()?["id"], "port-7");
    let read = agent.call("get_fact", json!({ "id": "port-7" })).await?.ok()?;
    assert_eq!(read["content"], "The staging server listens on port 7272.");
    assert_eq!(read["metadata"]["topic"], "network", "what is left out stays");

    let stats = agent.call("kb_stats", json!({})).await?.ok()?;
    assert_eq!((&stats["facts"], &stats["model"]), (&json!(2), &json!("hash")));

    let deleted = agent.call("delete_fact", json!({ "id": tea })).await?.ok()?;
    assert_eq!(deleted["deleted"], true);
    let gone = agent.call("get_fact", json!({ "id": tea })).await?.error()?;
    assert_eq!(gone["code"], "not_found");
    Ok(())
}

async fn resources(agent: &mut Agent) -> Result<()> {
    let listed = agent.list("resources").await?;
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0]["uri"], "kenning://facts/port-7");
    assert_eq!(agent.list("templates").await?[0]["uriTemplate"], "kenning://facts/{id}");
    let read = agent.act(json!({ "do": "read", "uri": "kenning://facts/port-7" })).await?;
    let fact: Value = serde_json::from_str(read[0]["text"].as_str().context("no text")?)?;
    assert_eq!(fact["content"], "The staging server listens on port 7272.");
    for uri in ["kenning://facts/none", "kenning://other", "file:///etc/passwd"] {
        let missing = agent.act(json!({ "do": "read", "uri": uri })).await;
        assert!(missing.is_err(), "{uri}");
    }
    Ok(())
}

async fn prompts(agent: &mut Agent) -> Result<()> {
    let listed = agent.list("prompts").await?;
    let names: Vec<_> = listed.iter().filter_map(|prompt| prompt["name"].as_str()).collect();
    assert_eq!(names, ["remember", "recall"]);
    let prompt = |name: &str, argument: &str, text: &str| {
        let arguments = json!({ argument: text });
        json!({ "do": "prompt", "prompt": name, "arguments": arguments })
    };
    let remember = agent.act(prompt("remember", "what", "Mia keeps two parrots.")).await?;
    let text = remember[0]["content"]["text"].as_str().context("no text")?;
    assert!(text.contains("Mia keeps two parrots.") && text.contains("store_fact"), "{text}");
    let recall = agent.act(prompt("recall", "question", "staging port?")).await?;
    let messages = recall.as_array().context("no messages")?;
    assert_eq!(messages[0]["content"]["resource"]["uri"], "kenning://facts/port-7");
    let question = messages.last().and_then(|message| message["content"]["text"].as_str());
    assert!(question.is_some_and(|text| text.starts_with("staging port?")), "{recall}");
    assert!(agent.act(prompt("recall", "query", "x")).await.is_err(), "question is required");
    assert!(agent.act(prompt("dream", "question", "x")).await.is_err());
    Ok(())
}
