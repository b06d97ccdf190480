//! Callers who hold a connection and do nothing with it, or hardly anything. There is
//! one place for a connection, so that a call after them shows that it is free.

use std::time::Duration;

use anyhow::Result;
use kenning_tests::{Caller, Server, Setup, Wire, until};
use serde_json::json;
use tokio::time::sleep;

use super::{limited, serves_again};

/// One connection, and little time to say something on it.
const HASTY: &str = "connections = 1\nrequest_ms = 300";

/// One connection, and little time to hear something on it.
const DEAF: &str = "connections = 1\nanswer_ms = 300";

/// Between two bytes of a caller who is slow.
const PAUSE: Duration = Duration::from_millis(20);

/// One byte now and then, until the server has said `enough` or closed.
async fn trickle(mut wire: Wire, byte: u8, enough: &str) -> String {
    let mut said = String::new();
    while wire.hear(&mut said) && !said.contains(enough) && wire.send(&[byte]).await.is_ok() {
        sleep(PAUSE).await;
    }
    said
}

#[tokio::test]
async fn a_head_that_trickles_is_cut() -> Result<()> {
    let server = limited(HASTY).await?;
    let mut wire = Wire::open(server.url()).await?;
    wire.send(b"GET /livez HTTP/1.1\r\nx-slow: ").await?;
    assert_eq!(trickle(wire, b'a', "HTTP").await, "", "it was closed");
    serves_again(&server).await
}

/// More connections than there are places, each with the beginning of a head, opened again when
/// they are closed: a tenant is served all the same.
#[tokio::test]
async fn heads_that_never_end_do_not_shut_a_tenant_out() -> Result<()> {
    let key = "an-admin-key-for-tests-only";
    let limits = "connections = 8\nrequest_ms = 600000";
    let setup = Setup { admin_key: Some(key), ..Setup::patient_but(limits) };
    let server = Server::start_with(setup).await?;
    let created = server.key(key).post("/v1/admin/tenants", json!({ "name": "acme" })).await?;
    let acme = created.json["key"].as_str().unwrap_or_default().to_owned();
    let mut heads = Vec::new();
    for _ in 0..3 {
        for _ in 0..12 {
            let mut wire = Wire::open(server.url()).await?;
            wire.send(b"GET /v1/stats HTTP/1.1\r\nhost: localhost\r\nx-slow: a").await?;
            heads.push(wire);
        }
        until("the tenant is served on a connection of its own", async || {
            let answer = Caller::new(server.url()).key(&acme).get("/v1/stats").await?;
            Ok((answer.status == 200).then_some(()))
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_body_that_trickles_is_refused() -> Result<()> {
    let server = limited(HASTY).await?;
    let mut wire = Wire::open(server.url()).await?;
    wire.begin_post("/v1/facts", 100_000).await?;
    let said = trickle(wire, b' ', "\"}").await;
    assert!(said.contains("the body did not arrive within 0.3 s"), "{said}");
    serves_again(&server).await
}

/// Bytes arrive all the time, and never a line.
#[tokio::test]
async fn an_import_that_trickles_is_stopped() -> Result<()> {
    let server = limited(HASTY).await?;
    let mut wire = Wire::open(server.url()).await?;
    wire.begin_post("/v1/import", 100_000).await?;
    wire.send(b"{\"text\":\"one that is whole\"}\n").await?;
    let said = trickle(wire, b'x', "\"message\"").await;
    assert!(said.contains("stopped after line 1: no complete line arrived for 0.3 s"), "{said}");
    assert!(said.contains("\"imported\":1"), "{said}");
    serves_again(&server).await
}

/// A caller who vanished without a word looks like one who says nothing.
#[tokio::test]
async fn a_caller_who_says_nothing_loses_the_connection() -> Result<()> {
    let server = limited(HASTY).await?;
    let silent = Wire::open(server.url()).await?;
    assert_eq!(silent.rest().await?, "");
    let mut in_a_body = Wire::open(server.url()).await?;
    in_a_body.begin_call("/v1/facts", 100).await?;
    let said = in_a_body.rest().await?;
    assert!(said.contains("the body did not arrive"), "{said}");
    serves_again(&server).await
}

/// A connection that has the one place, and little room for what it does not read.
async fn with_place(server: &Server) -> Result<Wire> {
    until("the one place is free", async || {
        let mut wire = Wire::open_narrow(server.url()).await?;
        wire.send(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\n\r\n").await?;
        Ok(wire.receive().await?.starts_with("HTTP/1.1 200").then_some(wire))
    })
    .await
}

/// Facts to read, ten megabytes.
const FACTS: usize = 40;

/// A server that has them.
async fn much_to_read(limits: &str) -> Result<Server> {
    let server = limited(limits).await?;
    for batch in 0..5 {
        let fact = |n: usize| json!({ "text": format!("{batch} {n} {}", "x".repeat(250_000)) });
        let facts: Vec<_> = (0..FACTS / 5).map(fact).collect();
        let answer = server.post("/v1/facts/batch", json!({ "facts": facts })).await?;
        anyhow::ensure!(answer.status == 200, "{}", answer.text);
    }
    Ok(server)
}

const EXPORT: &[u8] = b"GET /v1/export HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

#[tokio::test]
async fn answer_ms_is_obeyed_by_a_caller_who_reads_it_all() -> Result<()> {
    let server = much_to_read("connections = 1").await?;
    let mut wire = with_place(&server).await?;
    wire.send(EXPORT).await?;
    let said = wire.rest().await?;
    assert_eq!(said.matches("\"timestamp\"").count(), FACTS);
    serves_again(&server).await
}

#[tokio::test]
async fn answer_ms_violated_by_a_caller_who_never_reads() -> Result<()> {
    let server = much_to_read(DEAF).await?;
    let mut wire = with_place(&server).await?;
    wire.send(EXPORT).await?;
    serves_again(&server).await?;
    let said = wire.rest().await?;
    assert!(said.starts_with("HTTP/1.1 200"), "{said}");
    assert!(said.matches("\"timestamp\"").count() < FACTS, "it was cut");
    assert!(!said.ends_with("0\r\n\r\n"), "and does not look whole");
    Ok(())
}

/// Asks on and on, and reads none of it.
#[tokio::test]
async fn answer_ms_violated_by_a_caller_who_only_asks() -> Result<()> {
    let server = limited(DEAF).await?;
    let mut wire = with_place(&server).await?;
    let asked = "GET /openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(1_000);
    // The server reads no further request before it is rid of an answer.
    let asking = tokio::spawn(async move { while wire.send(asked.as_bytes()).await.is_ok() {} });
    asking.await?;
    serves_again(&server).await
}

#[tokio::test]
async fn thousands_of_requests_sent_ahead_are_answered_in_turn() -> Result<()> {
    let server = limited("connections = 1").await?;
    let id = server.store(json!({ "text": "asked for again and again" })).await?;
    let mut wire = with_place(&server).await?;
    let ask = |more: &str| format!("GET /v1/facts/{id} HTTP/1.1\r\nhost: localhost\r\n{more}\r\n");
    wire.send(ask("").repeat(2_999).as_bytes()).await?;
    wire.send(ask("connection: close\r\n").as_bytes()).await?;
    let said = wire.rest().await?;
    assert_eq!(said.matches("HTTP/1.1 200 OK").count(), 3_000);
    assert_eq!(said.matches("again and again").count(), 3_000);
    serves_again(&server).await
}

#[tokio::test]
async fn huge_heads_are_refused() -> Result<()> {
    let server = limited("connections = 1").await?;
    let one = format!("x-large: {}\r\n", "v".repeat(200_000));
    let many: String = (0..1_000).map(|n| format!("x-{n}: v\r\n")).collect();
    for fields in [one, many] {
        let mut wire = Wire::open(server.url()).await?;
        let head = format!("GET /livez HTTP/1.1\r\nhost: localhost\r\n{fields}\r\n");
        // The server may close before it has read it all; then the answer may be lost.
        let _ = wire.send(head.as_bytes()).await;
        let said = wire.rest().await.unwrap_or_default();
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 431"), "{said}");
        serves_again(&server).await?;
    }
    Ok(())
}
