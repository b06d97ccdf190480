//! The server's description of itself is true, whole and reviewed: it names every route, the server
//! answers every one it names, and its text is checked in.

mod clients;
mod schemathesis;

use std::collections::BTreeSet;
use std::env;
use std::fs;

use anyhow::{Context, Result};
use http::Method;
use kenning_tests::{Server, send};
use serde_json::{Value, json};

/// The table of routes.
const ROUTER: &str = include_str!("../host/src/http/router.rs");

/// The description, checked in, so that every change to it is seen in review.
const SNAPSHOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json");

/// Set to write the snapshot rather than compare with it.
const RENEW: &str = "KENNING_RENEW_SNAPSHOT";

/// The words for methods that `axum::routing` has and OpenAPI, too.
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

fn described(document: &Value) -> BTreeSet<String> {
    let mut routes = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().into_iter().flatten() {
        for method in METHODS.iter().filter(|method| operations.get(**method).is_some()) {
            routes.insert(format!("{} {path}", method.to_uppercase()));
        }
    }
    routes
}

/// The ids of all operations.
fn operations(document: &Value) -> Vec<String> {
    let paths = document["paths"].as_object().into_iter().flatten();
    let operations = paths.flat_map(|(_, path)| path.as_object().into_iter().flatten());
    let ids = operations.filter_map(|(_, operation)| operation["operationId"].as_str());
    let ids: Vec<String> = ids.map(String::from).collect();
    assert!(ids.len() >= 30, "the operations were read: {ids:?}");
    ids
}

#[tokio::test]
async fn the_description_is_the_one_checked_in() -> Result<()> {
    let server = Server::start().await?;
    let document = server.get("/openapi.json").await?.json;
    let served = serde_json::to_string_pretty(&document)? + "\n";
    if env::var_os(RENEW).is_some() {
        fs::write(SNAPSHOT, &served)?;
    }
    let snapshot = fs::read_to_string(SNAPSHOT).unwrap_or_default();
    let lines = served.lines().zip(snapshot.lines()).enumerate();
    let different = lines.into_iter().find(|(_, (served, snapshot))| served != snapshot);
    assert!(
        served == snapshot,
        "docs/openapi.json is not what the server serves; the first difference is {different:?}. \
         If the change is meant, renew the file with \
         `{RENEW}=1 make test-one name=the_description_is_the_one_checked_in` and commit it"
    );
    Ok(())
}

/// `OpenApiRouter::routes` takes a route's description with it, `route` does not.
#[tokio::test]
async fn no_route_is_added_without_its_description() -> Result<()> {
    let server = Server::start().await?;
    let document = server.get("/openapi.json").await?.json;
    assert!(described(&document).len() >= 30, "{document}");
    let (described, busy) = ROUTER.split_once("pub fn without_place").context("both routers")?;
    assert!(described.matches(".routes(routes!(").count() > 20, "the table was read");
    // The Model Context Protocol describes itself: `initialize` and `tools/list`. The console is
    // files.
    let others = ["/mcp", "/", "/console/{file}"].map(|path| format!(".route(\"{path}\""));
    let others = others.iter().map(|other| described.matches(other.as_str()).count());
    assert_eq!(described.matches(".route(").count(), others.sum::<usize>());
    assert!(busy.contains(".route("));
    Ok(())
}

#[tokio::test]
async fn every_described_route_is_answered_with_a_described_status() -> Result<()> {
    let server = Server::start().await?;
    server.store(json!({ "text": "x", "fact_id": "a" })).await?;
    let document = server.get("/openapi.json").await?.json;
    for route in described(&document) {
        let (method, path) = route.split_once(' ').context("a route")?;
        let place = path.replace("{id}", "a").replace("{t}", "a").replace("{name}", "a");
        // What has no end by itself.
        let place = place.replace("/v1/changes", "/v1/changes?follow=false");
        let request = server.request(Method::from_bytes(method.as_bytes())?, &place);
        let is_typed = !["GET", "DELETE"].contains(&method);
        let request = if is_typed { request.body("{}") } else { request };
        let answer = send(request).await?;
        assert!(![405, 500].contains(&answer.status), "{route}: {}", answer.text);
        assert!(!answer.text.contains("there is no route"), "{route}");
        let responses = &document["paths"][path][method.to_lowercase()]["responses"];
        let status = answer.status.to_string();
        assert!(
            responses.get(&status).is_some(),
            "{route} answered {status}, which is not described"
        );
    }
    Ok(())
}

/// A `$ref` to nowhere makes a client generator fail.
#[tokio::test]
async fn every_reference_in_the_description_leads_somewhere() -> Result<()> {
    let server = Server::start().await?;
    let document = server.get("/openapi.json").await?.json;
    let mut references = Vec::new();
    collect(&document, &mut references);
    assert!(references.len() > 20, "references were found");
    for reference in references {
        let pointer = reference.strip_prefix('#').context("a reference within the document")?;
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
    Ok(())
}

fn collect<'a>(value: &'a Value, references: &mut Vec<&'a str>) {
    match value {
        Value::Object(members) => {
            references.extend(members.get("$ref").and_then(Value::as_str));
            members.values().for_each(|value| collect(value, references));
        }
        Value::Array(elements) => elements.iter().for_each(|value| collect(value, references)),
        _ => {}
    }
}

/// The codes that errors can have are all described.
#[tokio::test]
async fn every_code_of_an_error_is_described() -> Result<()> {
    let server = Server::start().await?;
    let document = server.get("/openapi.json").await?.json;
    let source = include_str!("../host/core/src/error.rs");
    let words = source.split("fn as_str(self)").nth(1).context("the codes")?;
    let words = words.split("/// The HTTP status").next().unwrap_or_default();
    let described = &document["components"]["schemas"]["ErrorCode"]["enum"];
    let described = described.as_array().context("the codes' schema")?;
    let codes: Vec<&str> = words.split('"').skip(1).step_by(2).collect();
    assert!(codes.contains(&"not_found") && codes.len() > 10, "the codes were read: {codes:?}");
    for code in codes {
        assert!(described.iter().any(|known| known == code), "{code}");
    }
    Ok(())
}
