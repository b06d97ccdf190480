//! gzip, both ways.

use anyhow::{Context, Result};
use async_compression::tokio::bufread::{GzipDecoder, GzipEncoder};
use http::Method;
use kenning_tests::{Answer, Caller, ChangeStream, Server, Setup, send};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

async fn gzip(plain: &[u8]) -> Result<Vec<u8>> {
    let mut compressed = Vec::new();
    GzipEncoder::new(plain).read_to_end(&mut compressed).await?;
    Ok(compressed)
}

async fn post(caller: &Caller, path: &str, compressed: Vec<u8>) -> Result<Answer> {
    let request = caller.request(Method::POST, path).header("content-encoding", "gzip");
    send(request.body(compressed)).await
}

/// What a route answers to a caller who takes gzip: the head, and the text that was in it.
async fn get(caller: &Caller, path: &str) -> Result<(http::HeaderMap, String)> {
    let request = caller.request(Method::GET, path).header("accept-encoding", "gzip");
    let response = request.send().await?;
    let head = response.headers().clone();
    let bytes = response.bytes().await?;
    let mut text = String::new();
    match head.get("content-encoding") {
        None => text = String::from_utf8(bytes.to_vec())?,
        Some(encoding) => {
            assert_eq!(encoding, "gzip");
            GzipDecoder::new(&bytes[..]).read_to_string(&mut text).await?;
            assert!(bytes.len() < text.len(), "{} of {}", bytes.len(), text.len());
        }
    }
    Ok((head, text))
}

fn facts(count: usize) -> Vec<Value> {
    let fact =
        |n: usize| json!({ "text": format!("tea number {n} is hot"), "fact_id": format!("t{n}") });
    (0..count).map(fact).collect()
}

#[tokio::test]
async fn compressed_bodies_are_read_by_every_route() -> Result<()> {
    let server = Server::start().await?;
    let stored =
        post(&server, "/v1/facts", gzip(br#"{"text":"tea","fact_id":"a"}"#).await?).await?;
    assert_eq!(stored.status, 201, "{}", stored.text);
    let batch = json!({ "facts": facts(50) }).to_string();
    let stored = post(&server, "/v1/facts/batch", gzip(batch.as_bytes()).await?).await?;
    assert_eq!(stored.status, 200, "{}", stored.text);
    let lines: String = facts(5_000).iter().map(|fact| format!("{fact}\n")).collect();
    let imported = post(&server, "/v1/import", gzip(lines.as_bytes()).await?).await?;
    assert_eq!((imported.status, &imported.json["imported"]), (200, &json!(5_000)));
    let found = post(&server, "/v1/search", gzip(br#"{"query":"tea"}"#).await?).await?;
    assert_eq!(found.status, 200, "{}", found.text);
    Ok(())
}

#[tokio::test]
async fn what_comes_out_of_a_body_is_bounded_and_what_is_broken_is_named() -> Result<()> {
    let server = Server::start_with(Setup::patient_but("body_bytes = 600000")).await?;
    // Not denser than texts are.
    let text: String = (0..150_000).map(|n| format!("{n} ")).collect();
    let large = json!({ "text": text }).to_string();
    let refused = post(&server, "/v1/facts", gzip(large.as_bytes()).await?).await?;
    refused.assert_error(413, "too_large");
    assert_eq!(refused.json["details"]["limit"], "body_bytes");
    // A megabyte of blanks for each kilobyte: an import has no bound of its own.
    let bomb = gzip(&vec![b' '; 20_000_000]).await?;
    let refused = post(&server, "/v1/import", bomb).await?;
    assert!(refused.text.contains("gzip_ratio"), "{}", refused.text);
    let whole = gzip(br#"{"text":"tea"}"#).await?;
    for broken in [b"{\"text\":\"tea\"}".to_vec(), whole[..whole.len() - 9].to_vec()] {
        let refused = post(&server, "/v1/facts", broken).await?;
        refused.assert_error(400, "invalid_request");
        assert!(refused.text.contains("gzip"), "{}", refused.text);
    }
    let request = server.request(Method::POST, "/v1/facts").header("content-encoding", "br");
    send(request.body("x")).await?.assert_error(415, "invalid_request");
    assert_eq!(server.get("/v1/count").await?.json["count"], 0);
    Ok(())
}

#[tokio::test]
async fn answers_are_compressed_for_those_who_take_it_and_only_where_it_helps() -> Result<()> {
    let server = Server::start().await?;
    let lines: String = facts(2_000).iter().map(|fact| format!("{fact}\n")).collect();
    assert_eq!(server.post_raw("/v1/import", lines).await?.status, 200);
    for path in ["/v1/export", "/v1/facts?limit=500", "/openapi.json", "/metrics"] {
        let (head, text) = get(&server, path).await?;
        assert_eq!(head.get("content-encoding").context(path)?, "gzip", "{path}");
        assert_eq!(head.get("vary").context(path)?, "accept-encoding", "{path}");
        if path != "/metrics" {
            assert_eq!(text, server.get(path).await?.text, "{path}");
        }
    }
    for path in ["/livez", "/v1/facts/t1", "/v1/nowhere"] {
        let (head, _) = get(&server, path).await?;
        assert_eq!(head.get("content-encoding"), None, "{path}");
    }
    let plain = server.get("/v1/export").await?;
    assert_eq!(plain.header("content-encoding"), "");
    assert_eq!(plain.header("vary"), "accept-encoding");
    Ok(())
}

/// With few compressions at once, further answers go out as they are: nobody waits.
#[tokio::test]
async fn changes_are_told_at_once_also_to_those_who_take_gzip() -> Result<()> {
    let server = Server::start_with(Setup::patient_but("compressions = 1")).await?;
    let request = server.request(Method::GET, "/v1/changes").header("accept-encoding", "gzip");
    let mut changes = ChangeStream::of(request.send().await?).await?;
    server.store(json!({ "text": "tea", "fact_id": "a" })).await?;
    let event = changes.next().await?.context("the stream goes on")?;
    assert_eq!(event.told(), ("stored", "a"));
    Ok(())
}
