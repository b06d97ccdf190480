//! `POST {base}/api/embed`, Ollama's protocol.

use serde::Deserialize;
use serde_json::{Value, json};

use super::request::Request;

pub(super) const PATH: &str = "api/embed";

/// Ollama embeds texts one after the other, so larger requests would only take longer.
pub(super) const TEXTS: usize = 32;

#[derive(Deserialize)]
struct Response {
    embeddings: Vec<Vec<f32>>,
}

pub(super) fn body(request: &Request<'_>) -> Value {
    let Request { model, texts, dimensions } = request;
    let mut body = json!({ "model": model, "input": texts, "truncate": true });
    if let Some(dimensions) = dimensions {
        body["dimensions"] = (*dimensions).into();
    }
    body
}

pub(super) fn vectors(response: &[u8]) -> Option<Vec<Vec<f32>>> {
    let Response { embeddings } = serde_json::from_slice(response).ok()?;
    Some(embeddings)
}
