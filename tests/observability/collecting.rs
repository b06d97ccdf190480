//! The collector away, slow or refusing: requests do not notice, and what is lost is counted.

use anyhow::{Context, Result, ensure};
use kenning_storage::testing::free_port;
use kenning_tests::{Caller, Collector, Server, Setup, Takes, until};
use serde_json::json;

/// A counter of `/metrics`, 0 while it is not there.
async fn counted(server: &Caller, name: &str) -> Result<u64> {
    let metrics = server.get("/metrics").await?.text;
    let line = metrics.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    Ok(line.map(str::parse).transpose()?.unwrap_or(0))
}

async fn serves(server: &Caller) -> Result<()> {
    server.store(json!({ "text": "tea" })).await?;
    let found = server.search(json!({ "query": "tea" })).await?;
    ensure!(!found.is_empty(), "it is found");
    Ok(())
}

#[tokio::test]
async fn requests_do_not_notice_a_collector_that_is_not_there() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let log = directory.path().join("log");
    let environment =
        vec![("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://127.0.0.1:{}", free_port()))];
    let setup = Setup { environment, log: Some((log.clone(), "warn")), ..Setup::patient() };
    let server = Server::start_with(setup).await?;
    until("a failure", async || {
        serves(&server).await?;
        Ok((counted(&server, "kenning_otlp_failures_total").await? > 1).then_some(()))
    })
    .await?;
    assert_eq!(server.stop().await?, Some(0));
    let log = std::fs::read_to_string(&log)?;
    // Metrics are sent at the end.
    for what in ["spans", "metrics"] {
        let said = log.matches(&format!("the collector does not take {what}")).count();
        assert_eq!(said, 1, "it is said once: {log}");
    }
    assert!(log.contains("the collector did not take the last spans"), "{log}");
    Ok(())
}

#[tokio::test]
async fn requests_do_not_wait_for_a_silent_collector_and_the_queue_is_bounded() -> Result<()> {
    let collector = Collector::start().await?;
    collector.takes(Takes::Silently);
    let directory = tempfile::tempdir()?;
    let log = directory.path().join("log");
    let setup = Setup::patient_but("trace_spans = 20");
    let setup = Setup { log: Some((log.clone(), "warn")), ..collector.collects_for(setup) };
    let server = Server::start_with(setup).await?;
    until("spans without room", async || {
        serves(&server).await?;
        let dropped = counted(&server, "kenning_trace_spans_dropped_total").await?;
        Ok((dropped > 0 && collector.requests() > 0).then_some(()))
    })
    .await?;
    // A stop waits for it for some seconds only.
    assert_eq!(server.stop().await?, Some(0));
    let log = std::fs::read_to_string(&log)?;
    assert!(log.contains("the collector did not take the last spans"), "{log}");
    Ok(())
}

#[tokio::test]
async fn what_a_collector_refuses_for_good_is_dropped_and_what_it_cannot_take_comes_later()
-> Result<()> {
    let collector = Collector::start().await?;
    collector.takes(Takes::Nothing(503));
    let server = Server::start_with(collector.collects_for(Setup::patient())).await?;
    let stored = server.post("/v1/facts", json!({ "text": "tea" })).await?;
    until("an attempt", async || Ok((collector.requests() > 0).then_some(()))).await?;
    assert!(collector.spans().is_empty());
    collector.takes(Takes::All);
    collector.trace_of(stored.header("x-request-id")).await?;

    collector.takes(Takes::Nothing(400));
    let refused = server.post("/v1/facts", json!({ "text": "coffee" })).await?;
    until("spans that are dropped", async || {
        let dropped = counted(&server, "kenning_trace_spans_dropped_total").await?;
        Ok((dropped > 0).then_some(()))
    })
    .await?;
    collector.takes(Takes::All);
    let next = server.post("/v1/facts", json!({ "text": "water" })).await?;
    collector.trace_of(next.header("x-request-id")).await?;
    let id = refused.header("x-request-id");
    assert!(!collector.spans().iter().any(|span| span.attributes.values().any(|one| one == id)));
    Ok(())
}

#[tokio::test]
async fn spans_and_metrics_fail_apart_from_each_other() -> Result<()> {
    let collector = Collector::start().await?;
    collector.takes(Takes::AllBut("/v1/traces"));
    let directory = tempfile::tempdir()?;
    let log = directory.path().join("log");
    let mut setup = collector.collects_for(Setup::patient());
    setup.environment.push(("KENNING_OTLP_METRICS_SECONDS", "1".into()));
    let server = Server::start_with(Setup { log: Some((log.clone(), "info")), ..setup }).await?;
    until("failures of spans, and metrics", async || {
        serves(&server).await?;
        let failures = counted(&server, "kenning_otlp_failures_total").await?;
        Ok((failures > 1 && !collector.metrics().is_empty()).then_some(()))
    })
    .await?;
    collector.takes(Takes::AllBut("/v1/metrics"));
    let stored = server.post("/v1/facts", json!({ "text": "water" })).await?;
    collector.trace_of(stored.header("x-request-id")).await?;
    let said =
        |what: &str| -> Result<usize> { Ok(std::fs::read_to_string(&log)?.matches(what).count()) };
    until("a failure of metrics", async || {
        Ok((said("the collector does not take metrics")? > 0).then_some(()))
    })
    .await?;
    collector.takes(Takes::All);
    until("metrics again", async || {
        Ok((said("the collector takes metrics again")? > 0).then_some(()))
    })
    .await?;
    assert_eq!(server.stop().await?, Some(0));
    for what in ["spans", "metrics"] {
        assert_eq!(said(&format!("the collector does not take {what}"))?, 1, "{what}");
        assert_eq!(said(&format!("the collector takes {what} again"))?, 1, "{what}");
    }
    assert_eq!(said("the collector did not take the last")?, 0);
    Ok(())
}

#[tokio::test]
async fn a_stop_sends_what_is_left_with_the_headers_of_the_setting() -> Result<()> {
    let collector = Collector::start().await?;
    let directory = tempfile::tempdir()?;
    let headers = directory.path().join("headers");
    std::fs::write(&headers, "Authorization=Basic%20dGVh, x-team=one\n")?;
    let mut setup = collector.collects_for(Setup::patient());
    let headers = headers.to_str().context("a path")?.to_owned();
    setup.environment.push(("KENNING_OTLP_HEADERS_FILE", headers));
    let server = Server::start_with(setup).await?;
    let stored = server.post("/v1/facts", json!({ "text": "tea" })).await?;
    assert_eq!(server.stop().await?, Some(0));
    // Nothing is awaited: it is there before the process ends.
    let id = stored.header("x-request-id");
    let spans = collector.spans();
    assert!(spans.iter().any(|span| span.attributes.values().any(|one| one == id)), "{spans:?}");
    assert!(!collector.metrics().is_empty(), "the last metrics, too");
    assert_eq!(collector.authorization().as_deref(), Some("Basic dGVh"));
    Ok(())
}
