//! `bodies_bytes`: what all bodies hold together.

use anyhow::{Context, Result};
use kenning_tests::{Server, Wire, until};
use serde_json::json;

use super::{assert_overloaded, limited, serves_again};

/// Facts of at most 64 KiB, and memory for two bodies of that size.
const TWO_BODIES: &str = "fact_text_bytes = 65536\nfact_metadata_bytes = 1024\n\
                          body_bytes = 70000\nimport_line_bytes = 70000\n\
                          bodies_bytes = 140000\nanswer_ms = 600000";

const LARGE: usize = 60_000;

fn large(id: &str) -> String {
    json!({ "fact_id": id, "text": "x".repeat(LARGE) }).to_string()
}

/// A call whose body has arrived but for its last byte.
async fn begin(server: &Server, body: &str) -> Result<Wire> {
    let mut wire = Wire::open(server.url()).await?;
    wire.begin_call("/v1/facts", body.len()).await?;
    wire.send(&body.as_bytes()[..body.len() - 1]).await?;
    Ok(wire)
}

async fn finish(mut wire: Wire, body: &str) -> Result<()> {
    wire.send(&body.as_bytes()[body.len() - 1..]).await?;
    let answer = wire.rest().await?;
    anyhow::ensure!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    Ok(())
}

/// Waits until bodies of so many bytes have arrived.
async fn arrived(server: &Server, bytes: usize) -> Result<()> {
    until("the bodies have arrived", async || {
        let metrics = server.get("/metrics").await?.text;
        let held = metrics.lines().find_map(|line| line.strip_prefix("kenning_bodies_bytes "));
        Ok((held.context("no such metric")?.parse::<usize>()? >= bytes).then_some(()))
    })
    .await
}

#[tokio::test]
async fn bodies_bytes_is_obeyed() -> Result<()> {
    let server = limited(TWO_BODIES).await?;
    let (one, other) = (large("one"), large("other"));
    let wires = [begin(&server, &one).await?, begin(&server, &other).await?];
    for (wire, body) in wires.into_iter().zip([&one, &other]) {
        finish(wire, body).await?;
    }
    Ok(())
}

#[tokio::test]
async fn bodies_bytes_violated() -> Result<()> {
    let server = limited(TWO_BODIES).await?;
    for id in ["third", "fourth"] {
        assert_eq!(server.post_raw("/v1/facts", large(id)).await?.status, 201);
    }
    let (one, other) = (large("one"), large("other"));
    let wires = [begin(&server, &one).await?, begin(&server, &other).await?];
    arrived(&server, 2 * LARGE).await?;
    let third = server.post_raw("/v1/facts", large("third")).await?;
    assert_overloaded(&third, &["bodies_bytes"]);
    // Small ones still fit; so does an answer of their size.
    server.store(json!({ "text": "small" })).await?;
    assert_eq!(server.get("/v1/facts?query=small").await?.status, 200);
    // What is large on its way out counts, too.
    assert_overloaded(&server.get("/v1/facts").await?, &["bodies_bytes"]);

    for (wire, body) in wires.into_iter().zip([&one, &other]) {
        finish(wire, body).await?;
    }
    let third = server.post_raw("/v1/facts", large("third")).await?;
    assert_eq!(third.status, 201, "there is room again: {}", third.text);
    serves_again(&server).await
}

/// Its lines take turns in the memory that there is.
#[tokio::test]
async fn an_import_of_any_size_fits_into_little_memory() -> Result<()> {
    let server = limited(TWO_BODIES).await?;
    let lines: Vec<String> = (0..20).map(|n| large(&format!("f{n}")) + "\n").collect();
    let answer = server.post_raw("/v1/import", lines.concat()).await?;
    assert!(answer.text.contains("\"imported\":20"), "{}", answer.text);
    Ok(())
}

/// A page may be larger than all memory for bodies; then it has that to itself.
#[tokio::test]
async fn an_export_of_any_size_fits_into_little_memory() -> Result<()> {
    let server = limited(TWO_BODIES).await?;
    for n in 0..5 {
        assert_eq!(server.post_raw("/v1/facts", large(&format!("f{n}"))).await?.status, 201);
    }
    assert_eq!(server.export().await?.lines().count(), 5);
    Ok(())
}
