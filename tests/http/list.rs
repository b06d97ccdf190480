//! `GET /v1/facts`: newest first, page by page, perhaps only what contains a text.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use kenning_tests::{Backend, Caller, Server, on_both_backends};
use serde_json::{Value, json};

on_both_backends!(
    facts_are_listed_newest_first,
    pages_give_each_fact_once,
    a_fact_that_stays_is_listed_once_whatever_changes_between_pages,
    a_listing_can_ask_for_what_contains_a_text,
);

fn ids(page: &Value) -> Vec<&str> {
    let facts = page["facts"].as_array().map(Vec::as_slice).unwrap_or_default();
    facts.iter().filter_map(|fact| fact["id"].as_str()).collect()
}

/// Follows cursors to the end; gives the pages' ids.
async fn pages(caller: &Caller, parameters: &str) -> Result<Vec<Vec<String>>> {
    let mut pages = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = caller.get(&format!("/v1/facts?{parameters}{cursor}")).await?;
        assert_eq!(page.status, 200, "{}", page.text);
        pages.push(ids(&page.json).into_iter().map(str::to_string).collect());
        match &page.json["next_cursor"] {
            Value::Null => return Ok(pages),
            next => cursor = format!("&cursor={}", next.as_str().context("no cursor")?),
        }
    }
}

async fn store(caller: &Caller, ids: impl IntoIterator<Item = String>) -> Result<()> {
    for id in ids {
        caller.store(json!({ "text": format!("text of {id}"), "fact_id": id })).await?;
    }
    Ok(())
}

async fn facts_are_listed_newest_first(backend: &Backend) -> Result<()> {
    let server = backend.serve().await?;
    let empty = server.get("/v1/facts").await?;
    assert_eq!(empty.json, json!({ "facts": [], "next_cursor": null }));
    store(&server, (0..5).map(|n| format!("f{n}"))).await?;
    let page = server.get("/v1/facts").await?;
    assert_eq!(ids(&page.json), ["f4", "f3", "f2", "f1", "f0"]);
    assert_eq!(page.json["next_cursor"], Value::Null);
    let fact = server.get("/v1/facts/f4").await?;
    assert_eq!(page.json["facts"][0], fact.json, "a listed fact is a whole one");
    Ok(())
}

async fn pages_give_each_fact_once(backend: &Backend) -> Result<()> {
    let server = backend.serve().await?;
    let lines: String =
        (0..250).map(|n| format!("{{\"text\":\"t{n}\",\"fact_id\":\"f{n}\"}}\n")).collect();
    server.post_raw("/v1/import", lines).await?;
    let by_default = pages(&server, "").await?;
    let sizes: Vec<usize> = by_default.iter().map(Vec::len).filter(|size| *size > 0).collect();
    assert_eq!(sizes, [100, 100, 50], "a page has 100 facts unless asked otherwise");
    let order = by_default.concat();
    assert_eq!(order.iter().collect::<BTreeSet<_>>().len(), 250);
    for limit in [1000, 250, 249, 37] {
        let pages = pages(&server, &format!("limit={limit}")).await?;
        assert!(pages.iter().all(|page| page.len() <= limit));
        assert_eq!(pages.concat(), order, "limit {limit}");
    }
    Ok(())
}

async fn a_fact_that_stays_is_listed_once_whatever_changes_between_pages(
    backend: &Backend,
) -> Result<()> {
    let server = backend.serve().await?;
    store(&server, (0..9).map(|n| format!("f{n}"))).await?;
    let first = server.get("/v1/facts?limit=3").await?;
    assert_eq!(ids(&first.json), ["f8", "f7", "f6"]);
    let cursor = first.json["next_cursor"].as_str().context("a cursor")?;
    // Before the cursor, at it, and after it.
    store(&server, ["newer".to_string()]).await?;
    for gone in ["f7", "f6", "f4"] {
        server.delete(&format!("/v1/facts/{gone}")).await?;
    }
    let second = server.get(&format!("/v1/facts?limit=3&cursor={cursor}")).await?;
    assert_eq!(ids(&second.json), ["f5", "f3", "f2"]);
    let again = server.get(&format!("/v1/facts?limit=3&cursor={cursor}")).await?;
    assert_eq!(again.json, second.json, "a cursor can be used again");
    Ok(())
}

async fn a_listing_can_ask_for_what_contains_a_text(backend: &Backend) -> Result<()> {
    let server = backend.serve().await?;
    for (id, text) in [
        ("a", "Redis is a database"),
        ("b", "AutoBot uses Redis for storage"),
        ("c", "ÜBER 100% of a_b, c\\d and ΟΔΟΣ"),
        ("d", "something else"),
    ] {
        server.store(json!({ "text": text, "fact_id": id, "metadata": { "m": "needle" } })).await?;
    }
    for (query, expected) in [
        ("redis", &["b", "a"][..]),
        ("REDIS IS", &["a"]),
        ("über", &["c"]),
        ("οδοσ", &["c"]),
        ("100%25", &["c"]),
        ("a_b", &["c"]),
        ("c%5Cd", &["c"]),
        ("%2A", &[]),
        ("needle", &[]),
        ("e", &["d", "c", "b", "a"]),
        ("", &["d", "c", "b", "a"]),
    ] {
        let found = pages(&server, &format!("query={query}")).await?.concat();
        assert_eq!(found, expected, "{query}");
        let one_by_one = pages(&server, &format!("limit=1&query={query}")).await?.concat();
        assert_eq!(one_by_one, expected, "{query}, one a page");
    }
    Ok(())
}

/// More than one answer of the sandbox can hold.
#[tokio::test]
async fn facts_of_the_largest_size_are_listed_and_exported_to_the_last() -> Result<()> {
    let server = Server::start().await?;
    let text = "largest ".repeat(256 * 1024 / 8);
    for number in 0..20 {
        server.store(json!({ "text": text, "fact_id": format!("f{number}") })).await?;
    }
    let expected: Vec<String> = (0..20).rev().map(|number| format!("f{number}")).collect();
    assert_eq!(pages(&server, "").await?.concat(), expected);
    assert_eq!(pages(&server, "query=LARGEST").await?.concat(), expected);
    let export = server.export().await?;
    assert_eq!(export.lines().count(), 20);
    for line in export.lines() {
        let fact: Value = line.parse()?;
        assert!(fact["content"] == text, "{} is whole", fact["id"]);
    }
    Ok(())
}
