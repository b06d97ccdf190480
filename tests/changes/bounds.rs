//! How many may follow, and what one who does not read costs.

use anyhow::Result;
use kenning_tests::{Answer, ChangeStream, Server, Setup, Wire, until};
use serde_json::json;

async fn limited(limits: &str) -> Result<Server> {
    Server::start_with(Setup::patient_but(limits)).await
}

fn assert_refused(answer: &Answer, limit: &str, allowed: u64) {
    answer.assert_error(503, "overloaded");
    assert_eq!(answer.json["details"], json!({ "limit": limit, "allowed": allowed }));
    assert_eq!(answer.header("retry-after"), "1");
}

#[tokio::test]
async fn subscribers_per_tenant_violated_is_overloaded_for_that_tenant_alone() -> Result<()> {
    let server = limited("subscribers_per_tenant = 2\nsubscribers = 3").await?;
    let (acme, other) = (server.tenant("acme"), server.tenant("other"));
    let mut obeyed = [ChangeStream::open(&acme, "").await?, ChangeStream::open(&acme, "").await?];
    assert_refused(&acme.get("/v1/changes").await?, "subscribers_per_tenant", 2);
    let _third = ChangeStream::open(&other, "").await?;
    assert_refused(&other.get("/v1/changes").await?, "subscribers", 3);
    acme.store(json!({ "text": "x", "fact_id": "a" })).await?;
    for stream in &mut obeyed {
        assert_eq!(stream.take(1).await?.len(), 1, "the others are served");
    }
    let metrics = server.get("/metrics").await?.text;
    assert!(metrics.contains("kenning_subscribers 3"), "{metrics}");
    Ok(())
}

#[tokio::test]
async fn a_stream_without_events_says_so_and_how_far_it_is() -> Result<()> {
    let server = limited("stream_keep_alive_ms = 20").await?;
    let mut stream = ChangeStream::open(&server, "").await?;
    stream.comments(2).await?;
    server.store(json!({ "text": "x", "fact_id": "a" })).await?;
    let event = stream.take(1).await?.remove(0);
    // The fact's vector has a revision, of which nobody is told.
    let (position, none) = stream.block().await?.expect("it goes on");
    assert!(position > event.id && none.is_none(), "{position} {none:?}");
    Ok(())
}

/// A caller that reads nothing is cut off like any other, and costs no more than a piece.
#[tokio::test]
async fn one_who_does_not_read_is_cut_off_and_holds_up_nobody() -> Result<()> {
    let server = limited("answer_ms = 500\nbodies_bytes = 10000000").await?;
    let mut deaf = Wire::open_narrow(server.url()).await?;
    deaf.send(b"GET /v1/changes HTTP/1.1\r\nhost: localhost\r\n\r\n").await?;
    let mut reader = ChangeStream::open(&server, "").await?;
    until("both follow", async || {
        let metrics = server.get("/metrics").await?.text;
        Ok(metrics.contains("kenning_subscribers 2").then_some(()))
    })
    .await?;
    let long = "x".repeat(100);
    let mut written = 0;
    let cut_off = || async {
        let metrics = server.get("/metrics").await?.text;
        anyhow::Ok(metrics.contains("kenning_subscribers 1"))
    };
    while !cut_off().await? {
        assert!(written < 200_000, "it was never cut off");
        let fact = |n: usize| json!({ "text": "x", "fact_id": format!("{long}-{written}-{n}") });
        let facts: Vec<_> = (0..100).map(fact).collect();
        let stored = server.post("/v1/facts/batch", json!({ "facts": facts })).await?;
        assert_eq!(stored.status, 200, "{}", stored.text);
        written += 100;
        assert_eq!(reader.take(100).await?.len(), 100);
    }
    Ok(())
}
