//! `POST {base}/embed`, the protocol of Text Embeddings Inference. A server has one model, so
//! requests do not name it.

use serde_json::{Value, json};

use super::request::Request;

pub(super) const PATH: &str = "embed";

/// The default of its option `--max-client-batch-size`.
pub(super) const TEXTS: usize = 32;

pub(super) fn body(request: &Request<'_>) -> Value {
    let mut body = json!({ "inputs": request.texts, "normalize": true, "truncate": true });
    if let Some(dimensions) = request.dimensions {
        body["dimensions"] = dimensions.into();
    }
    body
}

pub(super) fn vectors(response: &[u8]) -> Option<Vec<Vec<f32>>> {
    serde_json::from_slice(response).ok()
}
