//! The server's description of itself is true: it names every route, and the
//! server answers every one it names.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use http::Method;
use kenning_tests::{Server, send};
use serde_json::{Value, json};

/// What `router.rs` says, so that a new route without a description fails here.
const ROUTER: &str = include_str!("../host/src/http/router.rs");

/// The words for methods that `axum::routing` has and OpenAPI, too.
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// `METHOD /path` of each route in the router's table.
fn routed() -> BTreeSet<String> {
    let mut routes = BTreeSet::new();
    let table = ROUTER.split_whitespace().collect::<Vec<_>>().join(" ");
    for route in table.replace(".route( ", ".route(").split(".route(\"").skip(1) {
        let (path, call) = route.split_once('"').unwrap_or((route, ""));
        for method in METHODS {
            if call.contains(&format!(" {method}(")) || call.contains(&format!(".{method}(")) {
                routes.insert(format!("{} {path}", method.to_uppercase()));
            }
        }
    }
    routes
}

fn described(document: &Value) -> BTreeSet<String> {
    let mut routes = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().into_iter().flatten() {
        for method in METHODS.iter().filter(|method| operations.get(**method).is_some()) {
            routes.insert(format!("{} {path}", method.to_uppercase()));
        }
    }
    routes
}

#[tokio::test]
async fn the_description_has_the_routers_routes_and_no_others() -> Result<()> {
    let server = Server::start().await?;
    let document = server.get("/openapi.json").await?.json;
    let routed = routed();
    assert!(routed.len() >= 14, "the router's table was read: {routed:?}");
    assert_eq!(routed, described(&document));
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
        let request = server.request(Method::from_bytes(method.as_bytes())?, &place);
        let answer = send(request.body("{}")).await?;
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
