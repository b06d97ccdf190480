//! Seen from outside: traces and metrics by OTLP, the log of requests, and metrics that name
//! tenants.

mod access_log;
mod collecting;
mod metrics;
mod traces;

use anyhow::Result;
use http::Method;
use kenning_tests::{Answer, Caller, send};
use serde_json::{Value, json};

/// What no span, no metric and no line of a log may hold.
const SECRET: &str = "topsecret";

/// A trace of somebody else's, whose span asks.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

/// A search with these headers.
async fn search_with(server: &Caller, headers: &[(&str, &str)]) -> Result<Answer> {
    let body = json!({ "query": format!("{SECRET} tea"), "top_k": 3 });
    post_with(server, "/v1/search", &body, headers).await
}

async fn post_with(
    server: &Caller,
    path: &str,
    body: &Value,
    headers: &[(&str, &str)],
) -> Result<Answer> {
    let request = server.request(Method::POST, path).json(body);
    let add = |request: reqwest::RequestBuilder, (name, value): &(&str, &str)| {
        request.header(*name, *value)
    };
    send(headers.iter().fold(request, add)).await
}
