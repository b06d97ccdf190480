//! `POST {base}/api/embed`, as Ollama speaks it.

use serde::Deserialize;
use serde_json::{Value, json};

use super::protocol::Question;

pub(super) const PATH: &str = "api/embed";

/// It computes them one after the other, so more would only take longer.
pub(super) const TEXTS: usize = 32;

#[derive(Deserialize)]
struct Answer {
    embeddings: Vec<Vec<f32>>,
}

pub(super) fn body(question: &Question<'_>) -> Value {
    let Question { model, texts, dimensions } = question;
    let mut body = json!({ "model": model, "input": texts, "truncate": true });
    if let Some(dimensions) = dimensions {
        body["dimensions"] = (*dimensions).into();
    }
    body
}

pub(super) fn vectors(answer: &[u8]) -> Option<Vec<Vec<f32>>> {
    let Answer { embeddings } = serde_json::from_slice(answer).ok()?;
    Some(embeddings)
}
