//! Traces: which spans a request has, below which, and what `traceparent` decides.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use kenning_tests::{
    Backend, Collector, FakeEmbedder, Server, Setup, SpanSeen, component, on_both_backends, until,
};
use serde_json::json;

use super::{SECRET, SPAN, TRACE, post_with, search_with};

fn one<'s>(spans: &'s [SpanSeen], name: &str) -> Result<&'s SpanSeen> {
    let mut of_name = spans.iter().filter(|span| span.name == name);
    let first = of_name.next().with_context(|| format!("no span {name}: {spans:#?}"))?;
    ensure!(of_name.next().is_none(), "several spans {name}: {spans:#?}");
    Ok(first)
}

/// The first span of this name below another, which must have such a one.
fn below<'s>(spans: &'s [SpanSeen], parent: &SpanSeen, name: &str) -> Result<&'s SpanSeen> {
    let found = spans.iter().find(|span| span.parent == parent.id && span.name == name);
    found.with_context(|| format!("no span {name} below {}: {spans:#?}", parent.name))
}

/// A server that embeds elsewhere, with an extension.
async fn serve(backend: &Backend, fake: &FakeEmbedder, collector: &Collector) -> Result<Server> {
    let setup = fake.embeds_for(backend.setup(), "openai", "fake");
    let server = Server::start_with(collector.collects_for(setup)).await?;
    let hooks = std::fs::read(component("hooks")?)?;
    let installed = server.install("default", "hooks", hooks, "").await?;
    ensure!(installed.status == 200, "{}", installed.text);
    Ok(server)
}

async fn a_search_has_a_span_for_each_of_its_parts(backend: &Backend) -> Result<()> {
    let (fake, collector) = (FakeEmbedder::start()?, Collector::start().await?);
    let server = serve(backend, &fake, &collector).await?;
    server.store(json!({ "text": format!("{SECRET} tea is hot"), "fact_id": "secretid" })).await?;
    let found = search_with(&server, &[]).await?;
    assert_eq!(found.status, 200, "{}", found.text);
    let spans = collector.trace_of(found.header("x-request-id")).await?;

    let root = one(&spans, "POST /v1/search")?;
    assert_eq!(root.parent, "", "the trace begins here");
    assert_eq!(root.attributes["http.response.status_code"], "200");
    below(&spans, root, "queue")?;
    for hook in ["hooks on-query", "hooks on-read", "hooks rerank"] {
        let hook = below(&spans, root, hook)?;
        assert_eq!(hook.attributes["kenning.component"], "hooks");
        assert_ne!(hook.attributes["kenning.fuel_used"], "0");
    }
    let logic = below(&spans, root, "logic search")?;
    assert_eq!(logic.attributes["kenning.operation"], "search");
    let embedding = below(&spans, logic, "embedding.embed")?;
    let embedded = below(&spans, embedding, "embed")?;
    assert_eq!(embedded.attributes["kenning.embedder"], "openai");
    assert_eq!(embedded.attributes["kenning.lane"], "query");
    below(&spans, logic, "retrieval.retrieve")?;
    let read = below(&spans, logic, "storage.read")?;
    let stored = match backend.redis_server() {
        Some(_) => below(&spans, read, "redis")?,
        None => below(&spans, read, "facts.redb read")?,
    };

    // What the embedder does is part of the trace, below the span that asked it.
    let asked = fake.asked();
    let parents: Vec<_> = asked.iter().filter_map(|asked| asked.traceparent.as_deref()).collect();
    let expected = format!("00-{}-{}-03", root.trace, embedded.id);
    assert!(parents.contains(&expected.as_str()), "{expected}: {parents:?}");

    let ids: BTreeSet<&str> = spans.iter().map(|span| &*span.id).collect();
    assert_eq!(ids.len(), spans.len(), "each has an id of its own");
    for span in &spans {
        assert!(span.parent.is_empty() || ids.contains(&*span.parent), "{span:?}");
        let ((begun, ended), (first, last)) = (span.during, root.during);
        assert!(first <= begun && begun < ended && ended <= last, "{span:?} {root:?}");
        assert_eq!(span.failure, None, "{span:?}");
    }
    assert!(stored.during.0 >= read.during.0);
    assert!(!format!("{spans:?}").contains("secret"), "no fact, no query and no id: {spans:#?}");
    assert_eq!(collector.resource()["service.name"], "kenning");
    Ok(())
}

on_both_backends!(a_search_has_a_span_for_each_of_its_parts);

#[tokio::test]
async fn a_callers_trace_goes_on_and_its_flag_decides() -> Result<()> {
    let (fake, collector) = (FakeEmbedder::start()?, Collector::start().await?);
    let setup = fake.embeds_for(Setup::patient(), "openai", "fake");
    let mut setup = collector.collects_for(setup);
    setup.environment.push(("KENNING_OTLP_SAMPLE", "0".into()));
    let server = Server::start_with(setup).await?;
    server.store(json!({ "text": "tea" })).await?;

    // Nobody asked for a trace of this one, and the server takes none of its own.
    let (unsampled, sampled) = (format!("00-{TRACE}-{SPAN}-00"), format!("00-{TRACE}-{SPAN}-01"));
    search_with(&server, &[("traceparent", &unsampled)]).await?;
    let parent = fake.asked().pop().and_then(|asked| asked.traceparent);
    assert_eq!(parent, Some(unsampled), "it is handed on as it came");

    let body = json!({ "query": "another tea" });
    let headers = [("traceparent", &*sampled), ("tracestate", "one=1,two=2")];
    let found = post_with(&server, "/v1/search", &body, &headers).await?;
    let spans = collector.trace_of(found.header("x-request-id")).await?;
    let root = one(&spans, "POST /v1/search")?;
    assert_eq!((&*root.trace, &*root.parent, &*root.state), (TRACE, SPAN, "one=1,two=2"));
    let asked = fake.asked().pop().context("the embedder was asked")?;
    let parent = asked.traceparent.context("with a trace")?;
    assert!(parent.starts_with(&format!("00-{TRACE}-")) && !parent.contains(SPAN), "{parent}");
    assert_eq!(asked.tracestate.as_deref(), Some("one=1,two=2"));
    let all = collector.spans();
    assert!(all.iter().all(|span| span.trace == TRACE), "nothing else was sampled: {all:?}");
    Ok(())
}

#[tokio::test]
async fn what_is_no_traceparent_begins_a_trace() -> Result<()> {
    let collector = Collector::start().await?;
    let server = Server::start_with(collector.collects_for(Setup::patient())).await?;
    for wrong in [
        format!("00-{TRACE}-{SPAN}"),
        format!("ff-{TRACE}-{SPAN}-01"),
        format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
        format!("00-{}-{SPAN}-01", "0".repeat(32)),
    ] {
        let found = search_with(&server, &[("traceparent", &wrong)]).await?;
        assert_eq!(found.status, 200, "{wrong}: {}", found.text);
        let spans = collector.trace_of(found.header("x-request-id")).await?;
        let root = one(&spans, "POST /v1/search")?;
        assert!(root.trace != TRACE && root.parent.is_empty(), "{wrong}: {root:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_guest_that_fails_is_a_span_that_failed_and_its_record_names_the_trace() -> Result<()> {
    let collector = Collector::start().await?;
    let setup = Setup { logic: Some(component("hostile")?), ..Setup::patient() };
    let server = Server::start_with(collector.collects_for(setup)).await?;
    let body = json!({ "query": format!("trap {SECRET}") });
    let failed = post_with(&server, "/v1/search", &body, &[]).await?;
    failed.assert_error(502, "guest_trapped");
    let id = failed.header("x-request-id");
    let spans = collector.trace_of(id).await?;
    let root = one(&spans, "POST /v1/search")?;
    assert_eq!(root.failure.as_deref(), Some("guest_trapped"));
    let logic = below(&spans, root, "logic search")?;
    assert_eq!(logic.failure.as_deref(), Some("trapped"));
    assert!(!format!("{spans:?}").contains(SECRET), "{spans:#?}");
    let record = server.get(&format!("/v1/admin/requests/{id}")).await?;
    assert_eq!(record.json["trace_id"], *root.trace, "{}", record.text);
    Ok(())
}

#[tokio::test]
async fn a_streamed_answer_is_traced_to_its_end() -> Result<()> {
    let collector = Collector::start().await?;
    let server = Server::start_with(collector.collects_for(Setup::patient())).await?;
    for number in 0..3 {
        server.store(json!({ "text": format!("tea {number}") })).await?;
    }
    let exported = server.get("/v1/export").await?;
    assert_eq!(exported.text.lines().count(), 3);
    let spans = collector.trace_of(exported.header("x-request-id")).await?;
    let root = one(&spans, "GET /v1/export")?.clone();
    until("the guest that listed", async || {
        Ok(collector
            .spans()
            .into_iter()
            .find(|span| span.parent == root.id && span.name == "logic list"))
    })
    .await?;
    Ok(())
}
