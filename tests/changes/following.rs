//! What a caller is told, and where it goes on.

use anyhow::Result;
use kenning_tests::{Backend, Caller, ChangeEvent, ChangeStream, Server, on_both_backends};
use serde_json::{Value, json};

use super::{revision, told};

on_both_backends!(
    each_change_is_told_as_it_happens,
    a_caller_goes_on_where_it_was,
    callers_of_one_tenant_are_told_the_same_and_others_nothing,
    what_there_is_can_be_read_without_waiting,
    nothing_is_missed_while_much_is_written,
);

async fn each_change_is_told_as_it_happens(backend: &Backend) -> Result<()> {
    let server = backend.serve().await?;
    server.store(json!({ "text": "before", "fact_id": "before" })).await?;
    let mut stream = ChangeStream::open(&server, "").await?;
    let begun = stream.revision()?;
    assert!(begun >= 1 && stream.position == begun);
    let fact = json!({ "text": "a secret", "fact_id": "a", "metadata": { "also": "secret" } });
    let stored = revision(&server.post("/v1/facts", fact.clone()).await?)?;
    let first = stream.take(1).await?;
    let data = json!({ "kind": "stored", "id": "a", "revision": stored });
    assert_eq!(first, [ChangeEvent { id: stored, name: "stored".into(), data }]);
    // Nothing changes.
    server.post("/v1/facts", fact).await?;
    let changed = revision(&server.patch("/v1/facts/a", json!({ "text": "another" })).await?)?;
    let batch =
        json!({ "facts": [{ "text": "b", "fact_id": "b" }, { "text": "c", "fact_id": "c" }] });
    server.post("/v1/facts/batch", batch).await?;
    let deleted = revision(&server.delete("/v1/facts/a").await?)?;
    let events = stream.take(4).await?;
    assert_eq!(
        told(&events),
        [("changed", "a"), ("stored", "b"), ("stored", "c"), ("deleted", "a")]
    );
    assert_eq!((events[0].id, events[3].id), (changed, deleted));
    let lines = "{\"text\":\"d\",\"fact_id\":\"d\"}\n{\"text\":\"e\",\"fact_id\":\"e\"}\n";
    server.post_raw("/v1/import", lines).await?;
    assert_eq!(told(&stream.take(2).await?), [("stored", "d"), ("stored", "e")]);
    Ok(())
}

async fn a_caller_goes_on_where_it_was(backend: &Backend) -> Result<()> {
    let server = backend.serve().await?;
    store_many(&server, 0..30).await?;
    let mut all = Vec::new();
    let mut stream = ChangeStream::open(&server, "?after=0").await?;
    all.extend(stream.take(7).await?);
    for n in 0..5 {
        let position = stream.position;
        drop(stream);
        store_many(&server, 30 + n..31 + n).await?;
        // As a browser does, which asks for the same address again.
        stream = ChangeStream::resume(&server, "?after=0", position).await?;
        all.extend(stream.take(5).await?);
    }
    all.extend(stream.take(3).await?);
    let ids: Vec<String> = (0..35).map(|n| format!("f{n}")).collect();
    assert_eq!(all.iter().map(|event| event.told().1).collect::<Vec<_>>(), ids);
    assert!(all.is_sorted_by(|one, next| one.id < next.id));
    let last = all.last().map(|event| event.id).unwrap_or_default();
    let mut rest = ChangeStream::open(&server, &format!("?after={}", last - 1)).await?;
    assert_eq!(rest.take(1).await?, all[34..]);
    Ok(())
}

async fn callers_of_one_tenant_are_told_the_same_and_others_nothing(
    backend: &Backend,
) -> Result<()> {
    let server = backend.serve().await?;
    let (acme, other) = (server.tenant("acme"), server.tenant("other"));
    let mut streams = Vec::new();
    for _ in 0..8 {
        streams.push(ChangeStream::open(&acme, "").await?);
    }
    let mut others = ChangeStream::open(&other, "").await?;
    store_many(&acme, 0..20).await?;
    other.store(json!({ "text": "x", "fact_id": "theirs" })).await?;
    let first = streams[0].take(20).await?;
    for stream in &mut streams[1..] {
        assert_eq!(stream.take(20).await?, first);
    }
    assert_eq!(told(&others.take(1).await?), [("stored", "theirs")]);
    Ok(())
}

async fn what_there_is_can_be_read_without_waiting(backend: &Backend) -> Result<()> {
    let server = backend.serve().await?;
    assert_eq!(ChangeStream::open(&server, "?follow=false").await?.rest().await?, []);
    store_many(&server, 0..1_000).await?;
    let mut stream = ChangeStream::open(&server, "?after=0&follow=false").await?;
    let all = stream.rest().await?;
    assert_eq!(all.len(), 1_000);
    assert!(stream.position >= stream.revision()?);
    let ids: Vec<String> = (0..1_000).map(|n| format!("f{n}")).collect();
    assert_eq!(all.iter().map(|event| event.told().1).collect::<Vec<_>>(), ids);
    assert_eq!(ChangeStream::open(&server, "?follow=false").await?.rest().await?, []);
    Ok(())
}

async fn nothing_is_missed_while_much_is_written(backend: &Backend) -> Result<()> {
    const FACTS: usize = 3_000;
    let server = backend.serve().await?;
    let writer = (*server).clone();
    let mut slow = ChangeStream::open(&server, "").await?;
    let writing = tokio::spawn(async move { store_many(&writer, 0..FACTS).await });
    let (mut seen, mut position) = (Vec::new(), slow.position);
    while seen.len() < FACTS {
        // Connects again and again, now and then within a piece.
        let mut stream = ChangeStream::resume(&server, "", position).await?;
        for event in stream.take((FACTS - seen.len()).min(97)).await? {
            position = event.id;
            seen.push(event.told().1.to_owned());
        }
    }
    writing.await??;
    let ids: Vec<String> = (0..FACTS).map(|n| format!("f{n}")).collect();
    assert!(seen == ids, "each once, in order");
    let late: Vec<ChangeEvent> = slow.take(FACTS).await?;
    assert!(late.iter().map(|event| event.told().1).eq(ids.iter().map(String::as_str)));
    Ok(())
}

/// Stores facts in batches, as `fN`.
async fn store_many(caller: &Caller, numbers: std::ops::Range<usize>) -> Result<()> {
    let facts: Vec<Value> = numbers
        .map(|n| json!({ "text": format!("fact {n}"), "fact_id": format!("f{n}") }))
        .collect();
    for facts in facts.chunks(100) {
        let stored = caller.post("/v1/facts/batch", json!({ "facts": facts })).await?;
        assert_eq!(stored.status, 200, "{}", stored.text);
    }
    Ok(())
}

#[tokio::test]
async fn a_position_that_is_no_number_is_refused() -> Result<()> {
    let server = Server::start().await?;
    for query in ["?follow=maybe", "?aftr=1"] {
        server.get(&format!("/v1/changes{query}")).await?.assert_error(400, "invalid_request");
    }
    for after in ["x", "", "-1", "1.5", "9223372036854775808"] {
        server.get(&format!("/v1/changes?after={after}")).await?.assert_invalid("/after");
    }
    for position in ["x", "", "-1", "1, 2"] {
        let request = server.request(http::Method::GET, "/v1/changes?follow=false");
        let answer = kenning_tests::send(request.header("last-event-id", position)).await?;
        answer.assert_invalid("/headers/last-event-id");
    }
    let twice = server.request(http::Method::GET, "/v1/changes?follow=false");
    let twice = twice.header("last-event-id", "1").header("last-event-id", "2");
    kenning_tests::send(twice).await?.assert_invalid("/headers/last-event-id");
    Ok(())
}

#[tokio::test]
async fn the_command_prints_what_there_is_and_follows() -> Result<()> {
    let server = Server::start().await?;
    store_many(&server, 0..3).await?;
    let home = tempfile::tempdir()?;
    let arguments = ["changes", "--after", "1", "--server", server.url()];
    let ran = kenning_tests::run(kenning_tests::command(home.path(), &arguments)?, b"").await?;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let lines: Vec<Value> = ran.out.lines().map(str::parse).collect::<Result<_, _>>()?;
    let ids: Vec<&str> = lines.iter().filter_map(|line| line["id"].as_str()).collect();
    assert_eq!(ids, ["f1", "f2"]);
    Ok(())
}
