//! `POST {base}/embed`, as Text Embeddings Inference speaks it. It serves one model,
//! so a request names none.

use serde_json::{Value, json};

use super::protocol::Question;

pub(super) const PATH: &str = "embed";

/// Its `--max-client-batch-size`, unless the operator of TEI changed it.
pub(super) const TEXTS: usize = 32;

pub(super) fn body(question: &Question<'_>) -> Value {
    let mut body = json!({ "inputs": question.texts, "normalize": true, "truncate": true });
    if let Some(dimensions) = question.dimensions {
        body["dimensions"] = dimensions.into();
    }
    body
}

pub(super) fn vectors(answer: &[u8]) -> Option<Vec<Vec<f32>>> {
    serde_json::from_slice(answer).ok()
}
