//! A Redis that says nothing: it stands still, the network forgot its flows, or it holds them.

use std::net::TcpListener;
use std::path::Path;

use anyhow::Result;
use kenning_tests::{Fault, Setup, all_indexed, command, run};
use serde_json::json;

use super::support::{World, short_operations};

#[tokio::test]
async fn stopped_and_continued() -> Result<()> {
    let mut world = World::start(short_operations()).await?;
    for _ in 0..2 {
        world.redis.stop();
        world.fails_with(&["timeout"]).await?;
        world.redis.cont();
        world.recovers().await?;
    }
    Ok(())
}

/// The flows there were are dead for ever, and nobody says so.
#[tokio::test]
async fn dropped_silently() -> Result<()> {
    let mut world = World::behind_proxy(short_operations()).await?;
    for _ in 0..2 {
        let connections = world.proxy.connections();
        world.proxy.forget();
        world.fails_with(&["timeout"]).await?;
        world.recovers().await?;
        assert!(world.proxy.connections() > connections, "over new connections");
    }
    Ok(())
}

/// What was sent arrives when the network is back, long after its callers had their answers.
#[tokio::test]
async fn held_back_and_delivered_late() -> Result<()> {
    let mut world = World::behind_proxy(short_operations()).await?;
    world.proxy.set(Fault::Hold);
    world.fails_with(&["timeout"]).await?;
    world.proxy.heal();
    world.recovers().await
}

/// A silent Redis is not waited for by what does not need it.
#[tokio::test]
async fn the_process_is_well_and_not_ready() -> Result<()> {
    let world = World::start(short_operations()).await?;
    all_indexed(&world.server.tenant("m0")).await?;
    world.redis.stop();
    assert_eq!(world.server.get("/livez").await?.status, 200);
    assert_eq!(world.server.get("/metrics").await?.status, 200);
    let ready = world.server.get("/readyz").await?;
    assert_eq!((ready.status, &ready.json["status"]), (503, &json!("not_ready")));
    world.redis.cont();
    Ok(())
}

/// A write that never left the server says nothing of an unknown outcome.
#[tokio::test]
async fn a_write_that_found_no_connection_did_not_happen() -> Result<()> {
    let redis = kenning_tests::RedisServer::start();
    redis.stop();
    let setup = Setup { storage: Some(redis.url()), ..short_operations() };
    let server = kenning_tests::Server::start_with(setup).await?;
    let fact = json!({ "fact_id": "a", "text": "never sent" });
    let answer = server.post("/v1/facts", fact).await?;
    answer.assert_error(504, "timeout");
    assert_eq!(answer.json["details"], json!(null), "{}", answer.text);
    redis.cont();
    kenning_tests::until("Redis is used", async || {
        let answer = server.get("/v1/facts/a").await?;
        Ok((answer.status == 404).then_some(()))
    })
    .await
}

/// The commands that open a storage themselves do not wait for ever, either.
#[tokio::test]
async fn verify_and_restore_say_that_it_does_not_answer() -> Result<()> {
    // The system accepts connections, and nobody reads from them.
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let place = silent.local_addr()?;
    let address = format!("redis://{place}");
    let backup = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/backup-1");
    let backup = backup.display().to_string();
    let home = tempfile::tempdir()?;
    let verify = command(home.path(), &["verify", "--storage", &address])?;
    let restore = command(home.path(), &["restore", &backup, "--storage", &address])?;
    let (verify, restore) = tokio::try_join!(run(verify, b""), run(restore, b""))?;
    for (ran, what) in [(verify, "cannot verify"), (restore, "cannot restore")] {
        assert!(ran.code.is_some_and(|code| code != 0), "{ran:?}");
        let said = format!("Redis at {place}/0 did not answer within 5 s");
        assert!(ran.err.contains(what) && ran.err.contains(&said), "{ran:?}");
    }
    Ok(())
}
