//! The profile `memory`, beside the reference memory server, step by step.

use anyhow::{Context, Result};
use kenning_tests::{Server, command, run};
use serde_json::{Value, json};

use super::agent::{Agent, Kind, NEWEST};
use crate::authoring::tool;

const TOOLS: [&str; 9] = [
    "create_entities",
    "create_relations",
    "add_observations",
    "delete_entities",
    "delete_observations",
    "delete_relations",
    "read_graph",
    "search_nodes",
    "open_nodes",
];

/// What both are told, one after the other.
fn steps() -> Vec<(&'static str, Value)> {
    let entity = |name: &str, of: &str, known: Value| {
        let mut entity = json!({ "name": name, "entityType": of });
        entity["observations"] = known;
        entity
    };
    let relation = |from: &str, to: &str, of: &str| {
        let mut relation = json!({ "from": from, "to": to });
        relation["relationType"] = of.into();
        relation
    };
    vec![
        ("read_graph", json!({})),
        (
            "create_entities",
            json!({ "entities": [
            entity("Ada", "person", json!(["prefers tea", "works from Bern"])),
            entity("Acme", "company", json!(["makes anvils"])),
            entity("tea", "drink", json!([])),
        ] }),
        ),
        (
            "create_entities",
            json!({ "entities": [
            entity("Ada", "robot", json!(["is new"])),
            entity("Mia", "person", json!(["keeps \"parrots\"\nand cats"])),
        ] }),
        ),
        (
            "create_relations",
            json!({ "relations": [
            relation("Ada", "Acme", "works_at"),
            relation("Ada", "tea", "likes"),
            relation("Mia", "Ada", "knows"),
        ] }),
        ),
        (
            "create_relations",
            json!({ "relations": [
            relation("Ada", "tea", "likes"),
            relation("Ada", "nobody", "knows"),
        ] }),
        ),
        (
            "add_observations",
            json!({ "observations": [
            { "entityName": "Ada", "contents": ["prefers tea", "speaks French"] },
            { "entityName": "tea", "contents": ["is hot"] },
        ] }),
        ),
        ("read_graph", json!({})),
        ("open_nodes", json!({ "names": ["Ada", "nobody"] })),
        ("open_nodes", json!({ "names": ["Acme", "tea"] })),
        ("open_nodes", json!({ "names": [] })),
        ("search_nodes", json!({ "query": "ANVILS" })),
        ("search_nodes", json!({ "query": "drink" })),
        ("search_nodes", json!({ "query": "zzzz" })),
        (
            "delete_observations",
            json!({ "deletions": [
            { "entityName": "Ada", "observations": ["works from Bern", "never said"] },
            { "entityName": "nobody", "observations": ["x"] },
        ] }),
        ),
        (
            "delete_relations",
            json!({ "relations": [
            relation("Ada", "tea", "likes"),
            relation("Ada", "tea", "hates"),
        ] }),
        ),
        ("read_graph", json!({})),
        ("delete_entities", json!({ "entityNames": ["Ada", "nobody"] })),
        ("read_graph", json!({})),
        ("delete_entities", json!({ "entityNames": ["Ada", "Acme", "tea", "Mia"] })),
        ("read_graph", json!({})),
    ]
}

#[tokio::test]
async fn it_answers_as_the_reference_memory_server_does() -> Result<()> {
    let home = tempfile::tempdir()?;
    let file = home.path().join("memory.jsonl").display().to_string();
    let reference = tool("node_modules/.bin/mcp-server-memory")?.display().to_string();
    let mut reference =
        Agent::over_command(Kind::TypeScript, &[reference], &[("MEMORY_FILE_PATH", &file)]).await?;
    let data_dir = home.path().join("data").display().to_string();
    let ours = ["--data-dir", &data_dir, "--profile", "memory"];
    let mut ours = Agent::over_stdio(Kind::TypeScript, &ours).await?;
    let listed = ours.list("tools").await?;
    let names: Vec<_> = listed.iter().filter_map(|tool| tool["name"].as_str()).collect();
    assert_eq!(names, TOOLS);
    for (tool, arguments) in steps() {
        let expected = reference.call(tool, arguments.clone()).await?;
        let answered = ours.call(tool, arguments.clone()).await?.ok()?;
        assert!(!expected.is_error, "{}", expected.text);
        assert_eq!(answered, expected.structured, "{tool} {arguments}");
    }
    let nobody = json!({ "observations": [{ "entityName": "nobody", "contents": ["x"] }] });
    assert!(reference.call("add_observations", nobody.clone()).await?.is_error);
    let refused = ours.call("add_observations", nobody).await?.error()?;
    assert_eq!(refused["code"], "not_found");
    Ok(())
}

#[tokio::test]
async fn its_facts_are_facts_and_its_search_finds_them() -> Result<()> {
    let server = Server::start().await?;
    let url = format!("{}/mcp?profile=memory", server.url());
    let mut memory = Agent::to(Kind::Python(NEWEST), &url, &[]).await?;
    let entities = json!({ "entities": [
        { "name": "Ada", "entityType": "person", "observations": ["prefers green tea", "runs"] },
        { "name": "Bern", "entityType": "city", "observations": ["is on the Aare"] },
    ] });
    memory.call("create_entities", entities).await?.ok()?;
    // The words are not one part of a text, which is all that the reference server looks for.
    let found = memory.call("search_nodes", json!({ "query": "tea green" })).await?.ok()?;
    assert_eq!(found["entities"][0]["name"], "Ada", "{found}");
    assert_eq!(found["entities"][0]["observations"], json!(["prefers green tea", "runs"]));
    let mut facts = Agent::over_http(Kind::TypeScript, &server).await?;
    let query = json!({ "query": "green tea", "filter": { "memory": "observation" } });
    let found = facts.call("search_facts", query).await?.ok()?;
    assert_eq!(found["results"][0]["content"], "Ada: prefers green tea");
    Ok(())
}

/// Two agents that add to one entity at the same time do not overwrite each other.
#[tokio::test]
async fn agents_add_to_one_entity_at_once() -> Result<()> {
    let server = Server::start().await?;
    let url = format!("{}/mcp?profile=memory", server.url());
    let mut first = Agent::to(Kind::Python(NEWEST), &url, &[]).await?;
    let mut second = Agent::to(Kind::TypeScript, &url, &[]).await?;
    let entity =
        json!({ "entities": [{ "name": "Ada", "entityType": "person", "observations": [] }] });
    first.call("create_entities", entity).await?.ok()?;
    for round in 0..10 {
        let add = |whose: &str| {
            let contents = vec![format!("{whose} {round}")];
            let observations = json!([{ "entityName": "Ada", "contents": contents }]);
            let arguments = json!({ "observations": observations });
            json!({ "do": "call", "tool": "add_observations", "arguments": arguments })
        };
        let (one, two) = (first.begin(add("first")).await?, second.begin(add("second")).await?);
        first.end(one).await?;
        second.end(two).await?;
    }
    let graph = first.call("read_graph", json!({})).await?.ok()?;
    assert_eq!(graph["entities"][0]["observations"].as_array().map(Vec::len), Some(20));
    Ok(())
}

#[tokio::test]
async fn a_file_of_the_reference_server_is_imported() -> Result<()> {
    let server = Server::start().await?;
    let home = tempfile::tempdir()?;
    let file = home.path().join("memory.jsonl").display().to_string();
    let reference = tool("node_modules/.bin/mcp-server-memory")?.display().to_string();
    let mut reference =
        Agent::over_command(Kind::TypeScript, &[reference], &[("MEMORY_FILE_PATH", &file)]).await?;
    for (tool, arguments) in steps().into_iter().take(6) {
        reference.call(tool, arguments).await?;
    }
    let expected = reference.call("read_graph", json!({})).await?.structured;
    let import = ["mcp", "--server", server.url(), "--import-memory", &file];
    let ran = run(command(home.path(), &import)?, b"").await?;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(ran.out.trim(), "imported 4 entities, 6 observations and 4 relations");
    let url = format!("{}/mcp?profile=memory", server.url());
    let mut ours = Agent::to(Kind::TypeScript, &url, &[]).await?;
    let mut graph = ours.call("read_graph", json!({})).await?.ok()?;
    // An import keeps no order.
    let mut expected = expected;
    for graph in [&mut graph, &mut expected] {
        sort(graph)?;
    }
    assert_eq!(graph, expected);
    std::fs::write(&file, "{\"type\":\"thing\"}")?;
    let ran = run(command(home.path(), &import)?, b"").await?;
    assert!(ran.code == Some(1) && ran.err.contains("line 1"), "{ran:?}");
    Ok(())
}

fn sort(graph: &mut Value) -> Result<()> {
    for list in ["entities", "relations"] {
        let list = graph[list].as_array_mut().context("no list")?;
        for entity in list.iter_mut() {
            if let Some(observations) = entity["observations"].as_array_mut() {
                observations.sort_by_key(Value::to_string);
            }
        }
        list.sort_by_key(Value::to_string);
    }
    Ok(())
}
