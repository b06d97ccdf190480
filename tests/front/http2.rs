//! HTTP/2: what is spoken, what is told, and which bounds of HTTP/1.1 hold for each of its streams.

use anyhow::{Context, Result};
use kenning_tests::frames::{
    DATA, END_HEADERS, END_STREAM, Frames, GOAWAY, HEADERS, INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS, MAX_HEADER_LIST_SIZE, RST_STREAM, head,
};
use kenning_tests::{Caller, Server, Setup, until};
use serde_json::json;
use tokio::process::Command;

const ONE_REQUEST: u8 = END_HEADERS | END_STREAM;

async fn limited(limits: &str) -> Result<Server> {
    Server::start_with(Setup::patient_but(limits)).await
}

async fn curl(arguments: &[&str]) -> Result<String> {
    let mut command = Command::new("curl");
    command.args(["-sS", "--http2-prior-knowledge"]).args(arguments);
    let ran = command.output().await.context("no curl: run `make proxies`")?;
    anyhow::ensure!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    Ok(String::from_utf8_lossy(&ran.stdout).into_owned())
}

#[tokio::test]
async fn http_2_is_spoken_by_prior_knowledge() -> Result<()> {
    let server = Server::start().await?;
    let url = |path: &str| format!("{}{path}", server.url());
    let stored = curl(&["--json", r#"{"text":"tea","fact_id":"a"}"#, &url("/v1/facts")]).await?;
    assert!(stored.contains("\"fact_id\":\"a\""), "{stored}");
    let written = ["-w", " %{http_version} %{http_code}", "-o", "/dev/null"];
    for (path, status) in [("/v1/facts/a", 200), ("/v1/facts/none", 404), ("/livez", 200)] {
        let said = curl(&[&written[..], &[&url(path)]].concat()).await?;
        assert_eq!(said, format!(" 2 {status}"), "{path}");
    }
    // A thousand facts come in many frames, and whole.
    let lines: String = (0..3_000).map(|n| format!("{{\"text\":\"tea number {n}\"}}\n")).collect();
    assert_eq!(server.post_raw("/v1/import", lines).await?.status, 200);
    let exported = curl(&[&url("/v1/export")]).await?;
    assert_eq!(exported.lines().count(), 3_001);
    assert_eq!(exported, server.export().await?);
    // Without keys, a foreign host is refused here, too.
    let foreign = ["-w", "%{http_code}", "-o", "/dev/null", "-H", "host: attacker.example"];
    assert_eq!(curl(&[&foreign[..], &[&url("/livez")]].concat()).await?, "403");
    Ok(())
}

#[tokio::test]
async fn bounds_are_told_and_requests_beyond_those_of_all_connections_are_refused() -> Result<()> {
    let server = limited("streams = 2\nstreams_per_connection = 5").await?;
    let mut frames = Frames::open(server.url(), &[]).await?;
    let settings = frames.server_settings().await?;
    assert!(settings.contains(&(MAX_CONCURRENT_STREAMS, 5)), "{settings:?}");
    let bound = settings.iter().find(|(name, _)| *name == MAX_HEADER_LIST_SIZE);
    assert!(bound.is_some_and(|(_, bytes)| *bytes <= 64 * 1024), "{settings:?}");
    // Bodies that never come hold their streams.
    let json = [("content-type", "application/json"), ("content-length", "9")];
    let (mut next, mut held) = (1, Vec::new());
    until("both streams are held", async || {
        frames.send(HEADERS, END_HEADERS, next, &head("POST", "/v1/facts", &json)).await?;
        held.push(next);
        let stats = next + 2;
        frames.send(HEADERS, ONE_REQUEST, stats, &head("GET", "/v1/stats", &[])).await?;
        next += 4;
        Ok((frames.statuses(&[stats]).await? == [(stats, 503)]).then_some(()))
    })
    .await?;
    // `/livez` is answered to anybody.
    frames.send(HEADERS, ONE_REQUEST, next, &head("GET", "/livez", &[])).await?;
    assert_eq!(frames.statuses(&[next]).await?, [(next, 200)]);
    // What is taken back is free.
    for stream in held {
        frames.send(RST_STREAM, 0, stream, &8_u32.to_be_bytes()).await?;
    }
    until("a stream that was taken back is free", async || {
        next += 2;
        frames.send(HEADERS, ONE_REQUEST, next, &head("GET", "/v1/stats", &[])).await?;
        Ok((frames.statuses(&[next]).await? == [(next, 200)]).then_some(()))
    })
    .await
}

#[tokio::test]
async fn a_stream_that_is_not_read_is_reset_and_others_of_its_connection_are_served() -> Result<()>
{
    let server = limited("answer_ms = 500").await?;
    for number in 0..20 {
        let text = format!("{number} {}", "x".repeat(100_000));
        server.store(json!({ "text": text })).await?;
    }
    // Windows of no size at all, except that streams are opened later with the usual one.
    let mut frames = Frames::open(server.url(), &[(INITIAL_WINDOW_SIZE, 0)]).await?;
    frames.server_settings().await?;
    frames.send(HEADERS, ONE_REQUEST, 1, &head("GET", "/v1/export", &[])).await?;
    frames.send(HEADERS, ONE_REQUEST, 3, &head("GET", "/v1/facts?limit=20", &[])).await?;
    for stream in [1, 3] {
        frames.wait_for(RST_STREAM, stream).await?;
    }
    frames.settings(&[(INITIAL_WINDOW_SIZE, 65_535)]).await?;
    frames.send(HEADERS, ONE_REQUEST, 5, &head("GET", "/livez", &[])).await?;
    let data = frames.wait_for(DATA, 5).await?;
    assert!(String::from_utf8_lossy(&data.payload).contains("\"ok\""));
    until("the bodies' memory is free again", async || {
        let metrics = Caller::new(server.url()).get("/metrics").await?.text;
        Ok(metrics.contains("kenning_bodies_bytes 0").then_some(()))
    })
    .await
}

#[tokio::test]
async fn a_body_that_does_not_come_is_given_up_while_others_are_served() -> Result<()> {
    let server = limited("request_ms = 300").await?;
    let mut frames = Frames::open(server.url(), &[]).await?;
    frames.server_settings().await?;
    let json = [("content-type", "application/json"), ("content-length", "9")];
    frames.send(HEADERS, END_HEADERS, 1, &head("POST", "/v1/facts", &json)).await?;
    frames.send(HEADERS, ONE_REQUEST, 3, &head("GET", "/livez", &[])).await?;
    let statuses = frames.statuses(&[1, 3]).await?;
    assert_eq!(statuses.iter().map(|(_, status)| *status).max(), Some(400), "{statuses:?}");
    assert_eq!(statuses.iter().map(|(_, status)| *status).min(), Some(200), "{statuses:?}");
    Ok(())
}

#[tokio::test]
async fn a_connection_that_says_nothing_or_is_idle_closes() -> Result<()> {
    let server = limited("connections = 1\nrequest_ms = 300\nidle_ms = 300").await?;
    let mut silent = Frames::open(server.url(), &[]).await?;
    while silent.receive().await?.is_some() {}
    let mut idle = until("the one place is free", async || {
        let mut frames = Frames::open(server.url(), &[]).await?;
        frames.send(HEADERS, ONE_REQUEST, 1, &head("GET", "/readyz", &[])).await?;
        let statuses = frames.statuses(&[1]).await;
        Ok(statuses.is_ok_and(|all| all[0].1 == 200).then_some(frames))
    })
    .await?;
    // It is told, and closed although it does not answer.
    idle.wait_for(GOAWAY, 0).await?;
    while idle.receive().await?.is_some() {}
    until("the one place is free again", async || {
        Ok(Caller::new(server.url())
            .get("/readyz")
            .await
            .is_ok_and(|answer| answer.status == 200)
            .then_some(()))
    })
    .await
}

#[tokio::test]
async fn a_stopping_server_ends_calls_and_says_goodbye() -> Result<()> {
    let server = Server::start().await?;
    let mut frames = Frames::open(server.url(), &[]).await?;
    frames.server_settings().await?;
    let json = [("content-type", "application/json")];
    frames.send(HEADERS, END_HEADERS, 1, &head("POST", "/v1/facts", &json)).await?;
    // Begun: the head was taken before this one was answered.
    frames.send(HEADERS, ONE_REQUEST, 3, &head("GET", "/livez", &[])).await?;
    frames.statuses(&[3]).await?;
    server.terminate().await?;
    frames.wait_for(GOAWAY, 0).await?;
    frames.send(DATA, END_STREAM, 1, br#"{"text":"tea"}"#).await?;
    assert_eq!(frames.statuses(&[1]).await?, [(1, 201)]);
    drop(frames);
    assert_eq!(server.ended().await?, Some(0));
    Ok(())
}
