//! A Redis that answers, and refuses.

use anyhow::{Result, ensure};
use kenning_storage::testing::free_port;
use kenning_tests::{Answer, Fault, RedisServer, Server, Setup, until};
use serde_json::json;

use super::support::World;

const UNAVAILABLE: [&str; 1] = ["storage_unavailable"];

/// A refusal says what Redis said, in words, and that nothing happened.
#[track_caller]
fn assert_refused(answer: &Answer, words: &str) {
    assert_refused_until(answer, words, true);
}

/// The same for a refusal that lasts until somebody changes a setting.
#[track_caller]
fn assert_refused_for_good(answer: &Answer, words: &str) {
    assert_refused_until(answer, words, false);
}

#[track_caller]
fn assert_refused_until(answer: &Answer, words: &str, retryable: bool) {
    answer.assert_error(503, "storage_unavailable");
    let message = answer.json["message"].as_str().unwrap_or_default();
    assert!(message.starts_with("Redis not available: ") && message.contains(words), "{message}");
    assert_eq!(answer.json["blame"], "backend", "{}", answer.text);
    assert_eq!(answer.json["retryable"], retryable, "{}", answer.text);
    assert_eq!(answer.json["details"], json!(null), "nothing happened: {}", answer.text);
}

async fn store(server: &Server) -> Result<Answer> {
    server.post("/v1/facts", json!({ "text": "refused", "fact_id": "refused" })).await
}

#[tokio::test]
async fn out_of_memory_refuses_writes_and_serves_reads() -> Result<()> {
    let mut world = World::start(Setup::patient()).await?;
    world.redis.command(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_refused(&store(&world.server).await?, "out of memory (maxmemory) (OOM");
    let ready = world.server.get("/readyz").await?;
    ensure!(ready.status == 503 && ready.text.contains("(OOM"), "{}", ready.text);
    let tally = world.fails_with(&UNAVAILABLE).await?;
    ensure!(!tally.errors.contains_key("unknown outcome"), "{tally:#?}");
    world.redis.command(&["CONFIG", "SET", "maxmemory", "0"]);
    world.recovers().await
}

/// It never had a lease, which is a write.
#[tokio::test]
async fn a_host_that_starts_on_a_full_redis_serves_reads() -> Result<()> {
    let redis = RedisServer::start();
    let setup = || Setup { storage: Some(redis.url()), ..Setup::patient() };
    let first = Server::start_with(setup()).await?;
    first.store(json!({ "text": "kept", "fact_id": "kept" })).await?;
    redis.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let second = Server::start_with(setup()).await?;
    assert_refused(&store(&second).await?, "out of memory (maxmemory) (OOM");
    let read = second.get("/v1/facts/kept").await?;
    assert_eq!(read.json["content"], "kept", "{}", read.text);
    Ok(())
}

#[tokio::test]
async fn a_replica_refuses_writes_and_serves_reads() -> Result<()> {
    let mut world = World::start(Setup::patient()).await?;
    world.redis.command(&["REPLICAOF", "127.0.0.1", &free_port().to_string()]);
    assert_refused(&store(&world.server).await?, "read-only replica (READONLY");
    let ready = world.server.get("/readyz").await?;
    ensure!(ready.status == 503 && ready.text.contains("(READONLY"), "{}", ready.text);
    world.fails_with(&UNAVAILABLE).await?;
    world.redis.command(&["REPLICAOF", "NO", "ONE"]);
    world.recovers().await
}

/// The server as a user of its own, so that the test stays another.
async fn as_user() -> Result<World> {
    let redis = RedisServer::start();
    redis.command(&["ACL", "SETUSER", "kenning", "on", ">secret", "~*", "&*", "+@all"]);
    World::with(redis, Setup::patient(), |redis, _| {
        format!("redis://kenning:secret@127.0.0.1:{}", redis.port())
    })
    .await
}

#[tokio::test]
async fn a_user_whose_password_was_changed() -> Result<()> {
    let mut world = as_user().await?;
    world.redis.command(&["ACL", "SETUSER", "kenning", "resetpass", ">other"]);
    // Who was let in stays in.
    world.works().await?;
    world.redis.command(&["CLIENT", "KILL", "USER", "kenning"]);
    world.fails_with(&["storage_unavailable", "timeout"]).await?;
    let answer = store(&world.server).await?;
    assert_refused_for_good(&answer, "refused the user or the password");
    assert!(!answer.text.contains("secret"), "{}", answer.text);
    world.redis.command(&["ACL", "SETUSER", "kenning", ">secret"]);
    world.recovers().await
}

#[tokio::test]
async fn a_user_who_may_do_nothing() -> Result<()> {
    let mut world = as_user().await?;
    world.redis.command(&["ACL", "SETUSER", "kenning", "-@all"]);
    assert_refused_for_good(&store(&world.server).await?, "may not do this (NOPERM");
    world.fails_with(&UNAVAILABLE).await?;
    world.redis.command(&["ACL", "SETUSER", "kenning", "+@all"]);
    world.recovers().await
}

#[tokio::test]
async fn a_password_that_is_asked_for_and_was_not_given() -> Result<()> {
    let redis = RedisServer::start_with_password("secret");
    let setup = Setup { storage: Some(redis.url()), ..Setup::patient() };
    let server = Server::start_with(setup).await?;
    for _ in 0..2 {
        assert_refused_for_good(&store(&server).await?, "asks for a password");
    }
    redis.command(&["CONFIG", "SET", "requirepass", ""]);
    until("no password is asked for", async || {
        Ok((store(&server).await?.status == 201).then_some(()))
    })
    .await
}

/// A script of another program that does not end.
#[tokio::test]
async fn busy_with_a_script() -> Result<()> {
    let mut world = World::start(Setup::patient()).await?;
    world.redis.command(&["CONFIG", "SET", "busy-reply-threshold", "50"]);
    let url = world.redis.url();
    let script = std::thread::spawn(move || {
        let address = url.trim_start_matches("redis://").to_string();
        let mut stream = std::net::TcpStream::connect(address)?;
        std::io::Write::write_all(&mut stream, b"EVAL \"while true do end\" 0\r\n")?;
        std::io::Read::read(&mut stream, &mut [0; 512])
    });
    let answer = until("Redis says that it is busy", async || {
        let answer = store(&world.server).await?;
        Ok((answer.status != 201).then_some(answer))
    })
    .await?;
    assert_refused(&answer, "busy with another program's script (BUSY");
    world.fails_with(&UNAVAILABLE).await?;
    world.redis.command(&["SCRIPT", "KILL"]);
    let told = script.join().map_err(|_| anyhow::anyhow!("the other program panicked"))??;
    ensure!(told > 0, "the other program was told that its script ended");
    world.recovers().await
}

/// Redis reads its file for some seconds, which it makes last, and looks up now and then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loading_its_data() -> Result<()> {
    let redis = RedisServer::start_with_options(&["--key-load-delay", "400"]);
    let fill = "for i = 1, 12000 do redis.call('SET', 'other:' .. i, 'x') end";
    redis.command(&["EVAL", fill, "0"]);
    let mut world = World::with(redis, Setup::patient(), |redis, _| redis.url()).await?;
    let World { mut redis, proxy, server, crowd } = world;
    let restarted = tokio::task::spawn_blocking(move || {
        redis.restart();
        redis
    });
    let answer = until("Redis says that it loads", async || {
        let answer = store(&server).await?;
        Ok(answer.text.contains("LOADING").then_some(answer))
    })
    .await?;
    assert_refused(&answer, "still loading its data (LOADING");
    world = World { redis: restarted.await?, proxy, server, crowd };
    world.recovers().await
}

/// What neither a signal nor a setting makes Redis say.
#[tokio::test]
async fn refusals_of_other_kinds() -> Result<()> {
    let mut world = World::behind_proxy(Setup::patient()).await?;
    for (error, words) in [
        ("MISCONF Redis is configured to save RDB snapshots", "cannot save to disk"),
        ("MASTERDOWN Link with MASTER is down", "lost its master"),
        ("CLUSTERDOWN The cluster is down", "part of a cluster"),
        ("STRANGE and never heard of", "STRANGE and never heard of"),
        ("MOVED 5460 127.0.0.1:7001", "part of a cluster"),
    ] {
        world.proxy.set(Fault::Answer(error));
        let retryable = !error.starts_with("MOVED");
        assert_refused_until(&store(&world.server).await?, words, retryable);
        let ready = world.server.get("/readyz").await?;
        ensure!(ready.status == 503 && ready.text.contains(words), "{}", ready.text);
        world.fails_with(&UNAVAILABLE).await?;
    }
    world.proxy.heal();
    world.recovers().await
}

#[tokio::test]
async fn a_key_that_holds_something_else_is_no_fact_and_stays() -> Result<()> {
    let mut world = World::start(Setup::patient()).await?;
    world.redis.command(&["SET", "kenning:{default}:fact:odd", "a text"]);
    let (server, path) = (&world.server, "/v1/facts/odd");
    let fact = json!({ "fact_id": "odd", "text": "x" });
    server.post("/v1/facts", fact).await?.assert_error(409, "conflict");
    server.get(path).await?.assert_error(404, "not_found");
    server.patch(path, json!({ "text": "y" })).await?.assert_error(404, "not_found");
    server.delete(path).await?.assert_error(404, "not_found");
    assert_eq!(world.redis.command(&["GET", "kenning:{default}:fact:odd"]), "$6\r\na text\r\n");
    world.works().await?;
    world.recovers().await
}
