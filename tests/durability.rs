//! What was acknowledged is there, whatever ended and whenever. Kills under load are in
//! `crash`.

use anyhow::{Context, Result};
use kenning_tests::{Backend, Caller, Server, Setup, Wire, all_indexed, on_both_backends, until};
use serde_json::{Value, json};
use tokio::net::TcpStream;

on_both_backends!(
    what_was_imported_when_the_server_was_killed_becomes_findable,
    changes_and_deletions_survive_a_killed_server,
    a_server_that_listens_has_its_index,
    another_embedder_makes_all_vectors_again,
    sigterm_ends_an_import_at_its_next_group,
    sigterm_lets_a_request_under_way_end,
);

/// Each of `facts` is there, and the index knows it by words and by meaning.
async fn assert_kept(caller: &Caller, facts: &[(String, String)]) -> Result<()> {
    all_indexed(caller).await?;
    for (id, text) in facts {
        let fact = caller.get(&format!("/v1/facts/{id}")).await?;
        assert_eq!(fact.json["content"], *text, "{id}: {}", fact.text);
    }
    for (id, text) in facts.iter().step_by(7) {
        for mode in ["vector", "text"] {
            let query = json!({ "query": text, "mode": mode, "top_k": 1 });
            assert_eq!(caller.search(query).await?, [id.as_str()], "{text} by {mode}");
        }
    }
    Ok(())
}

/// Their vectors may have been on their way when the server ended.
async fn what_was_imported_when_the_server_was_killed_becomes_findable(
    backend: &Backend,
) -> Result<()> {
    let server = backend.serve().await?;
    let fact = |n: usize| (format!("f{n}"), format!("imported number{n}"));
    let facts: Vec<(String, String)> = (0..400).map(fact).collect();
    let line =
        |(id, text): &(String, String)| json!({ "fact_id": id, "text": text }).to_string() + "\n";
    let lines: String = facts.iter().map(line).collect();
    let answer = server.post_raw("/v1/import", lines).await?;
    assert!(answer.text.contains("\"imported\":400"), "{}", answer.text);
    server.kill().await?;
    let server = backend.serve().await?;
    assert_kept(&server, &facts).await?;
    let stats = all_indexed(&server).await?;
    assert_eq!((&stats["facts"], &stats["indexed"]), (&json!(400), &json!(400)));
    Ok(())
}

async fn changes_and_deletions_survive_a_killed_server(backend: &Backend) -> Result<()> {
    let server = backend.serve().await?;
    for id in ["changed", "deleted", "kept"] {
        server.store(json!({ "text": format!("first {id}"), "fact_id": id })).await?;
    }
    server.patch("/v1/facts/changed", json!({ "text": "second", "metadata": { "n": 2 } })).await?;
    server.delete("/v1/facts/deleted").await?;
    let before = server.export().await?;
    server.kill().await?;
    let server = backend.serve().await?;
    assert_eq!(server.export().await?, before);
    all_indexed(&server).await?;
    let by_words =
        async |query: &str| server.search(json!({ "query": query, "mode": "text" })).await;
    assert_eq!(by_words("second").await?, ["changed"]);
    assert_eq!(by_words("first").await?, ["kept"]);
    assert_eq!(by_words("deleted").await?, Vec::<String>::new());
    let filtered = json!({ "query": "second", "mode": "vector", "filter": { "n": 2 } });
    assert_eq!(server.search(filtered).await?, ["changed"]);
    Ok(())
}

/// Scripts wait for the line that says so, and then search.
async fn a_server_that_listens_has_its_index(backend: &Backend) -> Result<()> {
    let server = backend.serve().await?;
    let lines: String = (0..500).map(|n| format!("{{\"text\":\"line{n}\"}}\n")).collect();
    server.post_raw("/v1/import", lines).await?;
    server.kill().await?;
    let server = backend.serve().await?;
    assert_eq!(server.get("/readyz").await?.status, 200);
    let answer = server.post("/v1/search", json!({ "query": "line499", "mode": "text" })).await?;
    assert_eq!(answer.json["results"][0]["content"], "line499", "{}", answer.text);
    assert_eq!(answer.json["degraded"], json!([]));
    assert_eq!(server.get("/v1/stats").await?.json["index"]["facts"], 500);
    Ok(())
}

/// Vectors of two models say nothing about each other.
async fn another_embedder_makes_all_vectors_again(backend: &Backend) -> Result<()> {
    let server = backend.serve().await?;
    for (id, text) in [
        ("cat", "The cat sleeps on the windowsill in the sun."),
        ("port", "The server listens on port 7171."),
        ("soup", "Simmer the lentils for half an hour."),
    ] {
        server.store(json!({ "text": text, "fact_id": id })).await?;
    }
    all_indexed(&server).await?;
    server.stop().await?;
    let local = Setup { embedder: Some("local"), ..backend.setup() };
    for round in ["made again", "found in storage"] {
        let server = Server::start_with(local.clone()).await?;
        let stats = all_indexed(&server).await?;
        assert_eq!((&stats["indexed"], &stats["embedding"]["kind"]), (&json!(3), &json!("local")));
        let query = json!({ "query": "feline pet resting", "mode": "vector" });
        assert_eq!(server.search(query).await?[0], "cat", "{round}");
        server.stop().await?;
    }
    Ok(())
}

/// An import may take hours; what follows can be imported later.
async fn sigterm_ends_an_import_at_its_next_group(backend: &Backend) -> Result<()> {
    let server = backend.serve().await?;
    let line = |n: usize| format!("{{\"text\":\"line {n:03}\"}}\n");
    let lines: Vec<String> = (0..200).map(line).collect();
    let length = lines.iter().map(String::len).sum();
    let mut wire = Wire::open(server.url()).await?;
    wire.begin_post("/v1/import", length).await?;
    wire.send(lines[..130].concat().as_bytes()).await?;
    until("the import is under way", async || {
        Ok((server.get("/v1/stats").await?.json["facts"].as_u64() >= Some(100)).then_some(()))
    })
    .await?;
    server.terminate().await?;
    let address = server.url().strip_prefix("http://").context("an address")?.to_string();
    until("no connection is taken any more", async || {
        Ok(TcpStream::connect(&address).await.is_err().then_some(()))
    })
    .await?;
    let answer = wire.rest().await?;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(
        answer.contains("the import stopped after line 130: the server is stopping"),
        "{answer}"
    );
    assert!(answer.contains("\"imported\":130,\"failed\":0"), "{answer}");
    assert_eq!(server.ended().await?, Some(0));
    let server = backend.serve().await?;
    assert_eq!(server.export().await?.lines().count(), 130);
    Ok(())
}

async fn sigterm_lets_a_request_under_way_end(backend: &Backend) -> Result<()> {
    let server = backend.serve().await?;
    let fact = json!({ "text": "the whole fact", "fact_id": "f" }).to_string();
    let mut wire = Wire::open(server.url()).await?;
    wire.begin_call("/v1/facts", fact.len()).await?;
    wire.send(&fact.as_bytes()[..10]).await?;
    server.terminate().await?;
    let address = server.url().strip_prefix("http://").context("an address")?.to_string();
    until("no connection is taken any more", async || {
        Ok(TcpStream::connect(&address).await.is_err().then_some(()))
    })
    .await?;
    wire.send(&fact.as_bytes()[10..]).await?;
    let answer = wire.rest().await?;
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    assert_eq!(server.ended().await?, Some(0));
    let server = backend.serve().await?;
    assert_eq!(server.export().await?.lines().count(), 1);
    Ok(())
}

#[tokio::test]
async fn sigterm_ends_an_idle_server_well() -> Result<()> {
    let server = Server::start().await?;
    // An idle connection is none that is waited for.
    let _idle = Wire::open(server.url()).await?;
    server.store(json!({ "text": "x" })).await?;
    assert_eq!(server.stop().await?, Some(0));
    Ok(())
}

/// Whoever starts it may have changed their mind by the line that it waits for.
#[tokio::test]
async fn a_server_can_be_stopped_as_soon_as_it_listens() -> Result<()> {
    for _ in 0..5 {
        assert_eq!(Server::start().await?.stop().await?, Some(0));
    }
    Ok(())
}

/// A drain has a bound, so that a caller who never ends cannot keep a server alive.
#[tokio::test]
async fn sigterm_does_not_wait_for_a_request_that_never_ends() -> Result<()> {
    let server = Server::start_with(Setup::patient_but("shutdown_drain_ms = 100")).await?;
    let mut wire = Wire::open(server.url()).await?;
    wire.begin_post("/v1/import", 100_000).await?;
    wire.send("{\"text\":\"x\"}\n".repeat(60).as_bytes()).await?;
    until("the import is under way", async || {
        Ok((server.get("/v1/stats").await?.json["facts"].as_u64() > Some(0)).then_some(()))
    })
    .await?;
    assert_eq!(server.stop().await?, Some(0));
    Ok(())
}

/// The model takes longer than nothing, so every vector is late.
#[tokio::test]
async fn a_fact_whose_vector_was_late_gets_it_also_after_a_kill() -> Result<()> {
    let backend = Backend::embedded()?;
    let setup = Setup {
        embedder: Some("local"),
        data_dir: backend.setup().data_dir,
        ..Setup::patient_but("store_embedding_ms = 0")
    };
    let server = Server::start_with(setup.clone()).await?;
    // Long enough to keep the embedder busy while the server is killed.
    let text = |n: usize| format!("fact{n} {}", "about the weather in another town ".repeat(40));
    let mut late = 0;
    for n in 0..40 {
        let fact = json!({ "text": text(n), "fact_id": format!("f{n}") });
        let stored = server.post("/v1/facts", fact).await?;
        assert_eq!(stored.status, 201, "{}", stored.text);
        late += u32::from(stored.json["indexed"] == false);
        let by_words = json!({ "query": format!("fact{n}"), "mode": "text" });
        assert_eq!(server.search(by_words).await?[0], format!("f{n}"), "by words at once");
    }
    assert!(late > 0, "some vector was late");
    server.kill().await?;
    let server = Server::start_with(setup).await?;
    let stats: Value = all_indexed(&server).await?;
    assert_eq!((&stats["facts"], &stats["indexed"]), (&json!(40), &json!(40)));
    let by_meaning = json!({ "query": text(7), "mode": "vector", "top_k": 40 });
    assert_eq!(server.search(by_meaning).await?.len(), 40);
    Ok(())
}

/// A delete may be another host's, or one whose answer was lost: then nobody tells the
/// index, and the first that looks for the fact does.
#[tokio::test]
async fn a_fact_that_is_gone_from_storage_leaves_the_index_when_it_is_looked_for() -> Result<()> {
    let backend = Backend::redis()?;
    let here = backend.serve().await?;
    for id in ["read", "searched", "deleted"] {
        here.store(json!({ "text": format!("word {id}"), "fact_id": id })).await?;
    }
    let other_data = tempfile::tempdir()?;
    let data_dir = Some(other_data.path().to_path_buf());
    let there = Server::start_with(Setup { data_dir, ..backend.setup() }).await?;
    assert_eq!(there.get("/v1/stats").await?.json["index"]["facts"], 3);
    // Another program tells no host what it deletes.
    let redis = backend.redis_server().context("a Redis")?;
    for id in ["read", "searched", "deleted"] {
        let key = format!("kenning:{{default}}:fact:{id}");
        assert_eq!(redis.command(&["DEL", &key]), ":1\r\n");
    }
    let query = json!({ "query": "searched", "mode": "text" });
    assert_eq!(there.search(query).await?, Vec::<String>::new());
    assert_eq!(there.get("/v1/stats").await?.json["index"]["facts"], 2);
    there.get("/v1/facts/read").await?.assert_error(404, "not_found");
    assert_eq!(there.get("/v1/stats").await?.json["index"]["facts"], 1);
    there.delete("/v1/facts/deleted").await?.assert_error(404, "not_found");
    assert_eq!(there.get("/v1/stats").await?.json["index"]["facts"], 0);
    Ok(())
}
