//! A Redis that is away, hangs, or comes back.

use std::collections::BTreeSet;

use anyhow::Result;
use http::Method;
use kenning_tests::{
    Answer, Caller, Fault, FaultProxy, RedisServer, Server, Setup, all_indexed, send, until,
};
use serde_json::{Value, json};

use super::support::World;

fn patient(redis: &RedisServer) -> Setup {
    Setup { storage: Some(redis.url()), ..Setup::patient() }
}

/// One request of each kind that needs storage.
async fn try_everything(caller: &Caller) -> Result<Vec<Answer>> {
    Ok(vec![
        caller.post("/v1/facts", json!({ "text": "x", "fact_id": "during" })).await?,
        caller.get("/v1/facts/before").await?,
        caller.get("/v1/facts").await?,
        caller.get("/v1/facts?query=x").await?,
        caller.patch("/v1/facts/before", json!({ "text": "y" })).await?,
        caller.delete("/v1/facts/before").await?,
        caller.get("/v1/export").await?,
        caller.get("/v1/stats").await?,
    ])
}

#[track_caller]
fn assert_unavailable(answer: &Answer) {
    assert_unavailable_until(answer, true);
}

#[track_caller]
fn assert_unavailable_until(answer: &Answer, retryable: bool) {
    answer.assert_error(503, "storage_unavailable");
    let message = answer.json["message"].as_str().unwrap_or_default();
    assert!(message.starts_with("Redis not available"), "{message}");
    assert_eq!(
        (&answer.json["retryable"], &answer.json["blame"]),
        (&json!(retryable), &json!("backend"))
    );
}

async fn assert_not_ready(caller: &Caller) -> Result<()> {
    assert_eq!(caller.get("/livez").await?.status, 200, "the process is well");
    let ready = caller.get("/readyz").await?;
    assert_eq!((ready.status, &ready.json["status"]), (503, &json!("not_ready")));
    assert!(ready.json["reason"].as_str().is_some_and(|reason| !reason.is_empty()));
    Ok(())
}

/// Stores until it is taken: the first call after an outage may still meet its end.
async fn stores_at_last(caller: &Caller, id: &str) -> Result<()> {
    until("a fact can be stored again", async || {
        let fact = json!({ "text": format!("word {id}"), "fact_id": id });
        let answer = caller.post("/v1/facts", fact).await?;
        Ok((answer.status == 201).then_some(()))
    })
    .await
}

async fn is_ready(caller: &Caller) -> Result<()> {
    until("the server is ready", async || {
        Ok((caller.get("/readyz").await?.status == 200).then_some(()))
    })
    .await
}

/// Everyone calls every verb while Redis is away, twice.
#[tokio::test]
async fn refused_and_let_in_again() -> Result<()> {
    let mut world = World::start(Setup::patient()).await?;
    for _ in 0..2 {
        world.redis.kill();
        // A connection that broke under a write leaves it in doubt.
        world.fails_with(&["storage_unavailable", "timeout"]).await?;
        world.redis.restart();
        world.recovers().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_server_starts_without_redis_and_serves_when_it_comes() -> Result<()> {
    let mut redis = RedisServer::start();
    let server = Server::start_with(patient(&redis)).await?;
    server.store(json!({ "text": "word morning", "fact_id": "morning" })).await?;
    server.kill().await?;
    redis.kill();

    let server = Server::start_with(patient(&redis)).await?;
    for answer in try_everything(&server).await? {
        assert_unavailable(&answer);
    }
    assert_not_ready(&server).await?;
    // Nobody knows yet which tenants have hooks that protect their facts.
    assert_unavailable(&server.post("/v1/search", json!({ "query": "word" })).await?);

    redis.restart();
    stores_at_last(&server, "evening").await?;
    is_ready(&server).await?;
    all_indexed(&server).await?;
    for (id, mode) in
        [("morning", "text"), ("morning", "vector"), ("evening", "text"), ("evening", "vector")]
    {
        let query = json!({ "query": format!("word {id}"), "mode": mode, "top_k": 1 });
        assert_eq!(server.search(query).await?, [id], "{mode}");
    }
    assert_eq!(
        server.get("/v1/facts/morning").await?.status,
        200,
        "nothing of the outage happened"
    );
    server.get("/v1/facts/during").await?.assert_error(404, "not_found");
    Ok(())
}

#[tokio::test]
async fn a_server_outlives_its_redis_and_serves_when_it_is_back() -> Result<()> {
    let mut redis = RedisServer::start();
    let server = Server::start_with(patient(&redis)).await?;
    server.store(json!({ "text": "word before", "fact_id": "before" })).await?;
    all_indexed(&server).await?;
    for _ in 0..2 {
        redis.kill();
        // A connection that broke under a call leaves its outcome in doubt; later
        // calls find none.
        until("stores are refused", async || {
            let answer =
                server.post("/v1/facts", json!({ "text": "x", "fact_id": "gone" })).await?;
            assert!(["storage_unavailable", "timeout"].contains(&answer.code()), "{}", answer.text);
            Ok((answer.code() == "storage_unavailable").then(|| assert_unavailable(&answer)))
        })
        .await?;
        assert_not_ready(&server).await?;
        assert_unavailable(&server.post("/v1/search", json!({ "query": "word" })).await?);
        redis.restart();
        stores_at_last(&server, "after").await?;
        is_ready(&server).await?;
        assert_eq!(server.search(json!({ "query": "before", "mode": "text" })).await?, ["before"]);
    }
    Ok(())
}

#[tokio::test]
async fn a_redis_that_hangs_ends_in_a_timeout_and_a_write_in_doubt() -> Result<()> {
    let redis = RedisServer::start();
    // With the bounds the product has, as this is about them.
    let setup = Setup { storage: Some(redis.url()), ..Setup::default() };
    let server = Server::start_with(setup).await?;
    stores_at_last(&server, "before").await?;
    all_indexed(&server).await?;
    // Only what is sent can be in doubt: over each connection, calls have gone.
    for _ in 0..8 {
        server.get("/v1/facts/before").await?;
    }
    redis.stop();
    let store =
        server.post("/v1/facts", json!({ "text": "word during", "fact_id": "during" })).await?;
    store.assert_error(504, "timeout");
    assert_eq!(store.json["details"]["outcome"], "unknown");
    let change = server.patch("/v1/facts/before", json!({ "text": "word changed" })).await?;
    let read = server.get("/v1/facts/before").await?;
    let list = server.get("/v1/facts").await?;
    for answer in [&store, &change, &read, &list] {
        answer.assert_error(504, "timeout");
        let message = answer.json["message"].as_str().unwrap_or_default();
        assert!(message.starts_with("Redis operation timeout"), "{message}");
        assert_eq!(answer.json["retryable"], true);
    }
    for answer in [&read, &list] {
        assert!(
            answer.json["details"]["outcome"].is_null(),
            "a read has no outcome: {}",
            answer.text
        );
    }
    assert_not_ready(&server).await?;

    redis.cont();
    let fact = json!({ "text": "word during", "fact_id": "during" });
    until("the store can be repeated", async || {
        Ok((server.post("/v1/facts", fact.clone()).await?.status == 201).then_some(()))
    })
    .await?;
    is_ready(&server).await?;
    all_indexed(&server).await?;
    let query = json!({ "query": "word during", "mode": "vector", "top_k": 1 });
    assert_eq!(server.search(query).await?, ["during"]);
    assert_eq!(server.export().await?.lines().count(), 2, "repeating it was safe");
    Ok(())
}

/// The caller's own bound is shorter than the operation's.
#[tokio::test]
async fn a_callers_timeout_ends_a_call_that_hangs() -> Result<()> {
    let redis = RedisServer::start();
    // The server's own bounds are out of a test's patience.
    let server = Server::start_with(patient(&redis)).await?;
    server.store(json!({ "text": "word before", "fact_id": "before" })).await?;
    redis.stop();
    let shortly = |method, path| server.request(method, path).header("x-kenning-timeout-ms", "100");
    for request in [
        shortly(Method::POST, "/v1/facts").json(&json!({ "text": "x" })),
        shortly(Method::GET, "/v1/facts/before"),
        shortly(Method::GET, "/v1/facts"),
        shortly(Method::POST, "/v1/search").json(&json!({ "query": "word" })),
        shortly(Method::GET, "/v1/stats"),
    ] {
        send(request).await?.assert_error(504, "timeout");
    }
    redis.cont();
    stores_at_last(&server, "after").await
}

/// An import must end by itself when storage has gone.
#[tokio::test]
async fn an_import_without_redis_gives_up_and_says_where() -> Result<()> {
    let mut redis = RedisServer::start();
    let storage = Some(redis.url());
    let server =
        Server::start_with(Setup { storage, ..Setup::patient_but("import_retry_ms = 500") })
            .await?;
    redis.kill();
    let body = "{\"text\":\"x\"}\n".repeat(1_000);
    let answer = server.post_raw("/v1/import", body).await?;
    assert!([503, 504].contains(&answer.status), "{}", answer.text);
    let counts = ["imported", "failed", "first_refused_line", "last_line", "lines"];
    let counts = counts.map(|name| answer.json[name].clone());
    assert_eq!(counts, [0, 1_000, 1, 0, 1_000].map(Value::from), "{}", answer.text);
    let message = answer.json["message"].as_str().unwrap_or_default();
    assert!(message.contains("stopped after line 0") && message.contains("Redis"), "{message}");
    Ok(())
}

/// Its lines have no ids, so none may be stored twice.
#[tokio::test]
async fn an_import_goes_on_when_storage_is_back_and_stores_every_line_once() -> Result<()> {
    for fault in [Fault::HangUp, Fault::LoseReply, Fault::Answer("BUSY somebody runs a script")] {
        let redis = RedisServer::start();
        let proxy = FaultProxy::start(redis.port()).await?;
        let storage = Some(proxy.url());
        let server = Server::start_with(Setup { storage, ..Setup::patient() }).await?;
        let line = |n: usize| format!("{{\"text\":\"line {n}\"}}\n");
        let (lines, body) = tokio::sync::mpsc::channel::<Result<String, std::io::Error>>(1);
        let body = futures::stream::unfold(body, async |mut body| Some((body.recv().await?, body)));
        let request = server.request(Method::POST, "/v1/import");
        let request = request.header("x-kenning-import-id", "slow");
        let import = tokio::spawn(send(request.body(reqwest::Body::wrap_stream(body))));
        lines.send(Ok((0..50).map(line).collect())).await?;
        let progress = async || Ok::<_, anyhow::Error>(server.get("/v1/imports/slow").await?.json);
        until(
            "a group is stored",
            async || Ok((progress().await?["imported"] == 50).then_some(())),
        )
        .await?;
        proxy.set(fault);
        lines.send(Ok((50..200).map(line).collect())).await?;
        let waiting = until("the import waits", async || {
            Ok(progress().await?["waiting_for"].as_str().map(str::to_owned))
        })
        .await?;
        assert!(waiting.contains("Redis"), "{waiting}");
        proxy.set(Fault::None);
        drop(lines);
        let answer = import.await??;
        assert_eq!(
            (answer.status, &answer.json["imported"]),
            (200, &json!(200)),
            "{}",
            answer.text
        );
        let export = server.export().await?;
        let texts: BTreeSet<String> = export
            .lines()
            .filter_map(|line| line.parse::<Value>().ok()?["content"].as_str().map(str::to_owned))
            .collect();
        assert_eq!((export.lines().count(), texts.len()), (200, 200), "{fault:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_wrong_password_is_said_and_no_password_is() -> Result<()> {
    let redis = RedisServer::start_with_password("correct-horse");
    let with =
        |password| Setup { storage: Some(redis.url_with_password(password)), ..Setup::default() };
    let server = Server::start_with(with("battery-staple")).await?;
    let answer = server.post("/v1/facts", json!({ "text": "x" })).await?;
    // Trying again is of no use until the password is right.
    assert_unavailable_until(&answer, false);
    assert!(
        answer.text.contains("password") && !answer.text.contains("battery"),
        "{}",
        answer.text
    );
    let ready = server.get("/readyz").await?;
    assert!(ready.status == 503 && !ready.text.contains("battery"), "{}", ready.text);

    let server = Server::start_with(with("correct-horse")).await?;
    server.store(json!({ "text": "x" })).await?;
    let stats = server.get("/v1/stats").await?;
    assert_eq!(stats.json["storage"]["backend"], "redis");
    assert!(!stats.text.contains("horse"), "{}", stats.text);
    Ok(())
}
