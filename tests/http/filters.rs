//! `filter` on `GET /v1/facts` and `GET /v1/export`, `GET /v1/count`, and `DELETE /v1/facts`.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use http::Method;
use kenning_tests::{Backend, Caller, Server, on_both_backends, send};
use serde_json::{Value, json};

on_both_backends!(
    a_filter_selects_what_is_listed_exported_counted_and_deleted,
    a_filtered_listing_is_complete_while_facts_change_and_after_a_restart,
    a_deletion_that_runs_out_of_time_says_so_and_can_be_repeated,
);

/// More than two of the largest pages.
const FACTS: usize = 2_500;

/// Stores facts `f0` to `f2499` with their numbers as metadata.
async fn filled(backend: &Backend) -> Result<Server> {
    let server = backend.serve().await?;
    let line = |n: usize| {
        let metadata =
            json!({ "n": n, "kind": if n.is_multiple_of(5) { "rare" } else { "common" } });
        json!({ "text": format!("text {n}"), "fact_id": format!("f{n}"), "metadata": metadata })
    };
    let lines: String = (0..FACTS).map(|n| format!("{}\n", line(n))).collect();
    let import = server.post_raw("/v1/import", lines).await?;
    assert_eq!(import.json["imported"], FACTS, "{}", import.text);
    Ok(server)
}

/// The ids of a listing's pages, with how large each is.
async fn listed(caller: &Caller, parameters: &str) -> Result<(Vec<String>, Vec<usize>)> {
    let (mut all, mut sizes, mut cursor) = (Vec::new(), Vec::new(), String::new());
    loop {
        let page = caller.get(&format!("/v1/facts?{parameters}{cursor}")).await?;
        assert_eq!(page.status, 200, "{}", page.text);
        let facts = page.json["facts"].as_array().context("facts")?;
        sizes.push(facts.len());
        all.extend(facts.iter().filter_map(|fact| fact["id"].as_str()).map(str::to_owned));
        match &page.json["next_cursor"] {
            Value::Null => return Ok((all, sizes)),
            next => cursor = format!("&cursor={}", next.as_str().context("a cursor")?),
        }
    }
}

async fn counted(caller: &Caller, filter: &str) -> Result<Value> {
    let answer = caller.get(&format!("/v1/count?filter={filter}")).await?;
    assert_eq!(answer.status, 200, "{}", answer.text);
    Ok(answer.json["count"].clone())
}

async fn a_filter_selects_what_is_listed_exported_counted_and_deleted(
    backend: &Backend,
) -> Result<()> {
    let server = filled(backend).await?;
    let (order, _) = listed(&server, "limit=1000").await?;
    let expected = |keeps: &dyn Fn(usize) -> bool| -> Vec<String> {
        let number = |id: &String| id[1..].parse().is_ok_and(keeps);
        order.iter().filter(|id| number(id)).cloned().collect()
    };
    let (rare, one) = (r#"{"kind":"rare"}"#, r#"{"n":{"lte":1}}"#);
    for (filter, keeps) in [
        (rare, &(|n: usize| n.is_multiple_of(5)) as &dyn Fn(usize) -> bool),
        (one, &|n| n <= 1),
        (r#"{"NOT":{"n":{"between":[1,2498]}}}"#, &|n| n == 0 || n == 2_499),
        (r#"{"$timestamp":{"gt":"2001-01-01T00:00:00Z"}}"#, &|_| true),
        (r#"{"$timestamp":{"lt":"2001-01-01"}}"#, &|_| false),
        ("{}", &|_| true),
    ] {
        let expected = expected(keeps);
        for limit in [1_000, 37] {
            let (found, sizes) = listed(&server, &format!("limit={limit}&filter={filter}")).await?;
            assert_eq!(found, expected, "{filter}, limit {limit}");
            assert!(sizes.iter().all(|size| *size <= limit), "{filter}: {sizes:?}");
        }
        assert_eq!(counted(&server, filter).await?, expected.len(), "{filter}");
        let export = server.get(&format!("/v1/export?filter={filter}")).await?;
        let facts = export.text.lines().map(serde_json::from_str::<Value>);
        let facts = facts.collect::<Result<Vec<_>, _>>()?;
        let exported: Vec<_> = facts.iter().filter_map(|fact| fact["id"].as_str()).collect();
        assert_eq!(exported, expected, "{filter}");
    }
    assert_eq!(server.get("/v1/count").await?.json, json!({ "count": FACTS }));
    let (both, _) = listed(&server, &format!("limit=1&query=text 12&filter={rare}")).await?;
    let wanted = |n: usize| n.is_multiple_of(5) && format!("text {n}").starts_with("text 12");
    assert_eq!(both, expected(&wanted), "with a text and a page of one");

    let deletion = server.delete(&format!("/v1/facts?filter={rare}")).await?;
    let whole = json!({ "deleted": 500, "complete": true, "next_cursor": null });
    assert_eq!((deletion.status, &deletion.json), (200, &whole), "{}", deletion.text);
    assert_eq!(listed(&server, "limit=1000").await?.0, expected(&|n| n % 5 != 0));
    let again = server.delete(&format!("/v1/facts?filter={rare}")).await?;
    assert_eq!(again.json["deleted"], 0, "{}", again.text);
    server.get("/v1/facts/f5").await?.assert_error(404, "not_found");
    let found = server.search(json!({ "query": "text", "mode": "text", "filter": { "n": 5 } }));
    assert_eq!(found.await?, [""; 0], "the index forgot it, too");
    Ok(())
}

async fn a_filtered_listing_is_complete_while_facts_change_and_after_a_restart(
    backend: &Backend,
) -> Result<()> {
    let server = filled(backend).await?;
    let done = AtomicBool::new(false);
    let change = async {
        let mut changes = 0;
        while !done.load(Ordering::Relaxed) {
            let id = format!("extra-{changes}");
            let rare = json!({ "kind": "rare" });
            server.store(json!({ "text": "extra", "fact_id": id, "metadata": rare })).await?;
            server.delete(&format!("/v1/facts/extra-{}", changes / 2)).await?;
            server.delete(&format!("/v1/facts/f{}", 2_499 - 5 * (changes % 100))).await?;
            changes += 1;
        }
        anyhow::Ok(changes)
    };
    let list = async {
        let outcome = async {
            for limit in [90, 333] {
                let found =
                    listed(&server, &format!(r#"limit={limit}&filter={{"kind":"rare"}}"#)).await?;
                assert_each_once(&found.0);
            }
            anyhow::Ok(())
        };
        let outcome = outcome.await;
        done.store(true, Ordering::Relaxed);
        outcome
    };
    let (changes, listing) = tokio::join!(change, list);
    listing?;
    assert!(changes? > 0, "facts changed meanwhile");
    server.stop().await?;
    // Storage has all facts at once; the index is built meanwhile.
    let server = backend.serve().await?;
    let (found, _) = listed(&server, r#"limit=1000&filter={"kind":"rare"}"#).await?;
    assert_each_once(&found);
    assert_eq!(counted(&server, r#"{"kind":"rare"}"#).await?, found.len());
    Ok(())
}

/// Each of the 500 facts that stay is there, and no fact twice.
#[track_caller]
fn assert_each_once(found: &[String]) {
    let distinct: BTreeSet<&String> = found.iter().collect();
    assert_eq!(distinct.len(), found.len(), "no fact twice");
    let staying = (0..FACTS).step_by(5).map(|n| format!("f{n}"));
    let missing: Vec<_> = staying.filter(|id| !distinct.contains(id)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// However little time each request has, repeating it comes to an end, and only what matches is
/// gone.
async fn a_deletion_that_runs_out_of_time_says_so_and_can_be_repeated(
    backend: &Backend,
) -> Result<()> {
    let server = filled(backend).await?;
    let (mut time, mut cursor) = (Duration::from_millis(50), String::new());
    loop {
        let path = format!(r#"/v1/facts?filter={{"n":{{"lt":2000}}}}{cursor}"#);
        let request = server.request(Method::DELETE, &path);
        let answer = send(request.header("x-kenning-timeout-ms", time.as_millis() as u64)).await?;
        if answer.status != 200 {
            answer.assert_error(504, "timeout");
            time *= 2;
            continue;
        }
        if answer.json["complete"] == true {
            assert_eq!(answer.json["next_cursor"], Value::Null);
            break;
        }
        time *= 2;
        cursor = match answer.json["next_cursor"].as_str() {
            Some(next) => format!("&cursor={next}"),
            None => String::new(),
        };
    }
    assert_eq!(counted(&server, r#"{"n":{"lt":2000}}"#).await?, 0);
    assert_eq!(counted(&server, "{}").await?, 500);
    Ok(())
}

#[tokio::test]
async fn a_filter_that_cannot_be_read_is_refused_with_a_pointer() -> Result<()> {
    let server = Server::start().await?;
    for path in ["facts", "export", "count"] {
        for (filter, pointer) in [
            ("", "/filter"),
            ("null", "/filter"),
            (r#"{"a":{"near":1}}"#, "/filter/a/near"),
            (r#"{"a":1,"a":2}"#, "/filter/a"),
        ] {
            let answer = server.get(&format!("/v1/{path}?filter={filter}")).await?;
            answer.assert_error(400, "invalid_filter");
            assert_eq!(answer.pointer(), pointer, "{path} {filter}");
        }
        server.get(&format!("/v1/{path}?filters={{}}")).await?.assert_invalid("");
    }
    Ok(())
}

#[tokio::test]
async fn a_deletion_needs_a_filter_with_a_condition() -> Result<()> {
    let server = Server::start().await?;
    server.store(json!({ "text": "kept" })).await?;
    server.delete("/v1/facts").await?.assert_invalid("/filter");
    let empty = server.delete("/v1/facts?filter={}").await?;
    empty.assert_error(400, "invalid_filter");
    assert!(empty.text.contains("kenning tenant delete"), "{}", empty.text);
    server.delete("/v1/facts?filter={\"a\":[]}").await?.assert_error(400, "invalid_filter");
    assert_eq!(server.get("/v1/count").await?.json["count"], 1);
    let all = server.delete("/v1/facts?filter={\"$timestamp\":{\"exists\":true}}").await?;
    assert_eq!(all.json["deleted"], 1, "{}", all.text);
    Ok(())
}
