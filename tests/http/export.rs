//! `GET /v1/export`.

use std::collections::BTreeSet;

use anyhow::Result;
use http::Method;
use kenning_tests::{Backend, RedisServer, Server, Setup, on_both_backends};
use serde_json::{Value, json};

on_both_backends!(an_export_is_every_fact_once_newest_first);

async fn an_export_is_every_fact_once_newest_first(backend: &Backend) -> Result<()> {
    let server = backend.serve().await?;
    let line = |n: usize| json!({ "text": format!("text {n}"), "fact_id": format!("f{n}") });
    let lines: String = (0..1_234).map(|n| format!("{}\n", line(n))).collect();
    server.post_raw("/v1/import", lines).await?;
    let export = server.get("/v1/export").await?;
    assert_eq!(export.header("content-type"), "application/x-ndjson");
    assert!(export.text.ends_with('\n'));
    let facts = export.text.lines().map(str::parse).collect::<Result<Vec<Value>, _>>()?;
    let ids: BTreeSet<&str> = facts.iter().filter_map(|fact| fact["id"].as_str()).collect();
    assert_eq!((facts.len(), ids.len()), (1_234, 1_234));
    // Facts of one import may share a microsecond, and then have no order.
    let times: Vec<&str> = facts.iter().filter_map(|fact| fact["timestamp"].as_str()).collect();
    assert!(times.len() == 1_234 && times.is_sorted_by(|newer, older| newer >= older));
    let list = server.get("/v1/facts?limit=1000").await?;
    let listed = list.json["facts"].as_array().map(Vec::as_slice).unwrap_or_default();
    assert!(!listed.is_empty() && facts.starts_with(listed), "in the order of the listing");
    Ok(())
}

#[tokio::test]
async fn an_export_of_nothing_is_empty() -> Result<()> {
    let server = Server::start().await?;
    let export = server.get("/v1/export").await?;
    assert_eq!((export.status, export.text.as_str()), (200, ""));
    assert_eq!(export.header("x-kenning-generation"), "1");
    Ok(())
}

/// Half an export must not look like a whole one.
#[tokio::test]
async fn an_export_that_cannot_go_on_breaks_off() -> Result<()> {
    let mut redis = RedisServer::start();
    let setup = Setup { storage: Some(redis.url()), ..Setup::patient() };
    let server = Server::start_with(setup).await?;
    // Far more than sockets hold, so that most of it is still to be read.
    let text = "largest ".repeat(256 * 1024 / 8);
    for _ in 0..6 {
        let facts = vec![json!({ "text": text }); 16];
        let answer = server.post("/v1/facts/batch", json!({ "facts": facts })).await?;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    let mut export = server.request(Method::GET, "/v1/export").send().await?;
    assert_eq!(export.status(), 200);
    assert!(export.chunk().await?.is_some());
    redis.kill();
    let broken = loop {
        match export.chunk().await {
            Ok(Some(_)) => {}
            Ok(None) => break false,
            Err(_) => break true,
        }
    };
    assert!(broken, "the end of half an export is no end");
    Ok(())
}

/// Line breaks in a text must not become line breaks in the export.
#[tokio::test]
async fn a_line_of_the_export_is_one_fact_whatever_its_text() -> Result<()> {
    let server = Server::start().await?;
    for text in ["two\nlines", "\r\n", "\u{2028}\u{85}", "NUL \u{0}"] {
        let text = format!("x{text}x");
        server.store(json!({ "text": text, "metadata": { "again": text } })).await?;
    }
    let export = server.export().await?;
    let lines: Vec<&str> = export.split_terminator('\n').collect();
    assert_eq!(lines.len(), 4);
    for line in lines {
        let fact: Value = line.parse()?;
        assert_eq!(fact["content"], fact["metadata"]["again"]);
    }
    Ok(())
}
