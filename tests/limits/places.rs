//! How many at once: guests, and connections.

use std::path::Path;

use anyhow::{Context, Result};
use kenning_tests::{Answer, Caller, Server, Setup, Wire, component, until, with_parts};
use serde_json::json;
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::support::{assert_done, assert_limit, hostile, limits_of, serves_on, tell};

/// Calls that last until they are given up, and no patience with others.
const TWO_PLACES: &str = "guests = 2\nguest_wait_ms = 1\nsearch_ms = 60000";

/// A hostile server whose log can be read.
async fn logging(limits: &str) -> Result<(Server, TempDir)> {
    let directory = tempfile::tempdir()?;
    let log = Some((directory.path().join("log"), "warn"));
    let setup = Setup { logic: Some(component("hostile")?), log, ..limits_of(limits) };
    Ok((Server::start_with(setup).await?, directory))
}

/// Waits until so many guests have said that they go to sleep.
async fn asleep(directory: &Path, guests: usize) -> Result<()> {
    all_say("asleep", directory, guests).await
}

async fn all_say(word: &str, directory: &Path, guests: usize) -> Result<()> {
    until("guests have begun", async || {
        let log = std::fs::read_to_string(directory.join("log"))?;
        Ok((log.matches(word).count() == guests).then_some(()))
    })
    .await
}

/// So many calls of one tenant, which go on until they are given up.
fn begin(command: &'static str, caller: &Caller, calls: usize) -> JoinSet<Result<Answer>> {
    let mut running = JoinSet::new();
    for _ in 0..calls {
        let caller = caller.clone();
        running.spawn(async move { tell(&caller, command).await });
    }
    running
}

#[tokio::test]
async fn guests_is_obeyed_by_calls_that_wait_for_one_another() -> Result<()> {
    let server = hostile("guests = 1\nguest_wait_ms = 60000\nsearch_ms = 60000").await?;
    let mut calls = JoinSet::new();
    for _ in 0..20 {
        let caller = (*server).clone();
        calls.spawn(async move { tell(&caller, "work 1").await });
    }
    while let Some(answer) = calls.join_next().await {
        assert_done(&answer??);
    }
    Ok(())
}

#[tokio::test]
async fn guests_violated_is_overloaded_until_a_caller_leaves() -> Result<()> {
    let (server, directory) = logging(TWO_PLACES).await?;
    let mut sleepers = begin("sleep 600", &server, 2);
    asleep(directory.path(), 2).await?;
    let answer = tell(&server, "anything").await?;
    answer.assert_error(503, "overloaded");
    assert_eq!(answer.json["blame"], "host");
    assert_eq!(answer.json["retryable"], true);
    assert_eq!(answer.header("retry-after"), "1");
    assert_eq!(answer.header("x-kenning-generation"), "1");
    assert_limit(&answer, "guests", 2);

    // Callers who go away take their guests with them.
    sleepers.shutdown().await;
    until("a place is free", async || {
        let answer = tell(&server, "anything").await?;
        Ok((answer.status == 200).then_some(()))
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn guests_per_tenant_is_obeyed_by_a_tenant_with_few_calls() -> Result<()> {
    let (server, directory) = logging("guests_per_tenant = 2\nsearch_ms = 60000").await?;
    let sleepers = begin("sleep 600", &server, 1);
    asleep(directory.path(), 1).await?;
    assert_done(&tell(&server, "work 1").await?);
    drop(sleepers);
    Ok(())
}

#[tokio::test]
async fn guests_per_tenant_violated_leaves_places_to_others() -> Result<()> {
    let limits = "guests = 4\nguests_per_tenant = 2\nguest_wait_ms = 1000\nsearch_ms = 60000";
    let (server, directory) = logging(limits).await?;
    let (greedy, other) = (server.tenant("greedy"), server.tenant("other"));
    let sleepers = begin("sleep 600", &greedy, 2);
    asleep(directory.path(), 2).await?;
    let answer = tell(&greedy, "anything").await?;
    answer.assert_error(503, "overloaded");
    assert_eq!(answer.header("retry-after"), "1");
    assert_limit(&answer, "guests_per_tenant", 2);
    serves_on(&other).await?;
    drop(sleepers);
    Ok(())
}

#[tokio::test]
async fn the_last_places_are_for_tenants_that_have_none() -> Result<()> {
    let limits = "guests = 8\nguest_wait_ms = 1000\nsearch_ms = 60000";
    let (server, directory) = logging(limits).await?;
    let greedy = server.tenant("greedy");
    let sleepers = begin("sleep 600", &greedy, 7);
    asleep(directory.path(), 7).await?;
    let answer = tell(&greedy, "anything").await?;
    answer.assert_error(503, "overloaded");
    assert_limit(&answer, "guests", 8);
    serves_on(&server.tenant("newcomer")).await?;
    drop(sleepers);
    Ok(())
}

/// Each of these guests has more memories than there are guests for each of them.
#[tokio::test]
async fn guests_of_many_memories_leave_room_in_the_pool_for_other_tenants() -> Result<()> {
    let limits = "guests = 8\nguests_per_tenant = 6\nguest_wait_ms = 60000\nsearch_ms = 60000";
    let (server, directory) = logging(limits).await?;
    let (greedy, other) = (server.tenant("greedy"), server.tenant("other"));
    other.store(json!({ "text": "honest", "fact_id": "a" })).await?;
    let hostile = std::fs::read(component("hostile")?)?;
    let swapped = server.swap_logic(with_parts(&hostile, "(memory 1)", 3)?, "?tenant=greedy");
    assert_eq!(swapped.await?.status, 200);
    let sleepers = begin("sleep 600", &greedy, 6);
    asleep(directory.path(), 6).await?;
    for _ in 0..20 {
        assert_eq!(other.get("/v1/facts/a").await?.status, 200);
    }
    drop(sleepers);
    Ok(())
}

/// Were it not for their turns, those who spin would keep every core.
#[tokio::test]
async fn who_computes_for_long_has_its_turn_among_those_who_never_end() -> Result<()> {
    let limits = "fuel_base = 1000000000000000\nfuel_max = 1000000000000000\n\
                  search_ms = 60000\ncall_ms = 60000";
    let (server, directory) = logging(limits).await?;
    let (busy, other) = (server.tenant("busy"), server.tenant("other"));
    let spinners = begin("spin", &busy, 8);
    all_say("spinning", directory.path(), 8).await?;
    for _ in 0..3 {
        serves_on(&other).await?;
        assert_done(&tell(&other, "work 20").await?);
    }
    drop(spinners);
    Ok(())
}

#[tokio::test]
async fn shutdown_drain_ms_is_obeyed_by_a_call_that_ends() -> Result<()> {
    let limits = "shutdown_drain_ms = 60000\nsearch_ms = 60000";
    let (server, directory) = logging(limits).await?;
    let caller = (*server).clone();
    let call = tokio::spawn(async move { tell(&caller, "sleep 1").await });
    asleep(directory.path(), 1).await?;
    assert_eq!(server.stop().await?, Some(0));
    assert_done(&call.await??);
    Ok(())
}

#[tokio::test]
async fn shutdown_drain_ms_violated_by_a_call_that_does_not_end() -> Result<()> {
    let limits = "shutdown_drain_ms = 100\nsearch_ms = 600000";
    let (server, directory) = logging(limits).await?;
    let caller = (*server).clone();
    let call = tokio::spawn(async move { tell(&caller, "sleep 600").await });
    asleep(directory.path(), 1).await?;
    assert_eq!(server.stop().await?, Some(0));
    assert!(call.await?.is_err());
    let log = std::fs::read_to_string(directory.path().join("log"))?;
    assert!(log.contains("shutdown_drain_ms"), "{log}");
    Ok(())
}

/// A request on a connection that stays open.
async fn ask(wire: &mut Wire) -> Result<()> {
    wire.send(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\n\r\n").await
}

async fn answered(wire: &mut Wire) -> Result<()> {
    let answer = wire.receive().await?;
    anyhow::ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    Ok(())
}

#[tokio::test]
async fn connections_is_obeyed() -> Result<()> {
    let server = Server::start_with(limits_of("connections = 2")).await?;
    let mut wires = [Wire::open(server.url()).await?, Wire::open(server.url()).await?];
    for wire in &mut wires {
        ask(wire).await?;
        answered(wire).await?;
    }
    Ok(())
}

const PATIENT_TWO: &str = "connections = 2\nguest_wait_ms = 60000\nrequest_ms = 60000";

#[tokio::test]
async fn connections_violated_closes_the_one_that_is_idle_the_longest() -> Result<()> {
    let server = Server::start_with(limits_of(PATIENT_TWO)).await?;
    let mut first = Wire::open(server.url()).await?;
    let mut second = Wire::open(server.url()).await?;
    for wire in [&mut first, &mut second] {
        ask(wire).await?;
        answered(wire).await?;
    }
    // Until then they were used too recently, and a third is told so.
    let third = until("a third is served", async || {
        let mut third = Wire::open(server.url()).await?;
        ask(&mut third).await?;
        let answer = third.receive().await?;
        Ok(answer.starts_with("HTTP/1.1 200").then_some(third))
    })
    .await?;
    assert_eq!(first.rest().await?, "", "it was closed, and heard nothing more");
    ask(&mut second).await?;
    answered(&mut second).await.context("the other one was closed")?;
    drop((second, third));
    serves_on(&server).await
}

#[tokio::test]
async fn connections_violated_by_busy_ones_is_overloaded_at_once() -> Result<()> {
    let limits = "connections = 2\nrequest_ms = 600000\nguest_wait_ms = 60000";
    let server = Server::start_with(limits_of(limits)).await?;
    let fact = json!({ "text": "arrives late" }).to_string();
    let mut busy = [Wire::open(server.url()).await?, Wire::open(server.url()).await?];
    for wire in &mut busy {
        wire.begin_call("/v1/facts", fact.len()).await?;
    }
    let answer = server.post("/v1/facts", json!({ "text": "one too many" })).await?;
    answer.assert_error(503, "overloaded");
    assert_limit(&answer, "connections", 2);
    assert_eq!(answer.header("retry-after"), "1");
    assert_eq!(answer.header("connection"), "close");
    assert_eq!(server.get("/livez").await?.status, 200, "the process is well");

    for mut wire in busy {
        wire.send(fact.as_bytes()).await?;
        let answer = wire.rest().await?;
        assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    }
    until("a place is free", async || {
        Ok((server.get("/v1/facts").await?.status == 200).then_some(()))
    })
    .await?;
    serves_on(&server).await
}
