//! Connections that break, stall, or do not speak HTTP.

use anyhow::Result;
use kenning_tests::{Server, Setup, Wire};

use super::bad_input::{server, unchanged};

#[tokio::test]
async fn a_half_sent_body_changes_nothing() -> Result<()> {
    let server = server().await?;
    let body = b"{\"text\":\"cut\",\"fact_id\":\"cut\"}";
    unchanged(&server, async {
        for (method_path, sent) in [("/v1/facts", body.len()), ("/v1/facts", 9), ("/v1/search", 9)]
        {
            let mut wire = Wire::open(server.url()).await?;
            wire.begin_post(method_path, body.len() + 1).await?;
            wire.send(&body[..sent]).await?;
            wire.end().await?;
            let answer = wire.rest().await?;
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
        }
        // Gone without a word, too.
        let mut wire = Wire::open(server.url()).await?;
        wire.begin_post("/v1/facts", body.len()).await?;
        wire.send(&body[..9]).await?;
        drop(wire);
        Ok(())
    })
    .await
}

/// Slower than its bound, and the connection does not stay for it.
#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() -> Result<()> {
    let server = Server::start_with(Setup::patient_but("request_ms = 200")).await?;
    let mut wire = Wire::open(server.url()).await?;
    wire.begin_post("/v1/facts", 100).await?;
    wire.send(b"{\"text\":").await?;
    let answer = wire.rest().await?;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert!(answer.contains("did not arrive within 0.2 s"), "{answer}");
    let mut head = Wire::open(server.url()).await?;
    head.send(b"POST /v1/facts HTT").await?;
    let answer = head.rest().await?;
    assert!(!answer.contains("HTTP/1.1 2"), "{answer}");
    assert_eq!(server.export().await?, "");
    Ok(())
}

#[tokio::test]
async fn what_is_not_http_does_not_disturb_the_server() -> Result<()> {
    let server = server().await?;
    unchanged(&server, async {
        for garbage in
            [&b"\0\x01\x02\xff\r\n\r\n"[..], b"*1\r\n$4\r\nPING\r\n", b"GET / HTTP/9.9\r\n\r\n"]
        {
            let mut wire = Wire::open(server.url()).await?;
            wire.send(garbage).await?;
            wire.end().await?;
            let answer = wire.rest().await?;
            assert!(!answer.contains(" 200 "), "{answer}");
        }
        let headers: String = (0..200).map(|n| format!("x-{n}: y\r\n")).collect();
        let mut wire = Wire::open(server.url()).await?;
        wire.send(format!("GET /livez HTTP/1.1\r\nhost: x\r\n{headers}\r\n").as_bytes()).await?;
        let answer = wire.rest().await?;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
        Ok(())
    })
    .await?;
    assert_eq!(server.get("/livez").await?.json["status"], "ok");
    Ok(())
}
