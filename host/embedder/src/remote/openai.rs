//! `POST {base}/embeddings`, the protocol of OpenAI, vLLM, TEI, LM Studio and others.

use serde::Deserialize;
use serde_json::{Value, json};

use super::request::Request;

pub(super) const PATH: &str = "embeddings";

/// OpenAI accepts 2,048 texts and 300,000 tokens; others accept less.
pub(super) const TEXTS: usize = 64;

#[derive(Deserialize)]
struct Response {
    data: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    index: Option<usize>,
    embedding: Vec<f32>,
}

pub(super) fn body(request: &Request<'_>) -> Value {
    let Request { model, texts, dimensions } = request;
    // Not every server supports base64.
    let mut body = json!({ "model": model, "input": texts, "encoding_format": "float" });
    if let Some(dimensions) = dimensions {
        body["dimensions"] = (*dimensions).into();
    }
    body
}

/// Puts each vector at its `index`; servers that send none keep the order of the texts.
pub(super) fn vectors(response: &[u8]) -> Option<Vec<Vec<f32>>> {
    let Response { data } = serde_json::from_slice(response).ok()?;
    let mut vectors: Vec<Option<Vec<f32>>> = data.iter().map(|_| None).collect();
    for (position, item) in data.into_iter().enumerate() {
        let slot = vectors.get_mut(item.index.unwrap_or(position))?;
        if slot.replace(item.embedding).is_some() {
            return None;
        }
    }
    vectors.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_are_ordered_by_their_index() {
        let body = br#"{"data":[{"index":1,"embedding":[2]},{"index":0,"embedding":[1]}]}"#;
        assert_eq!(vectors(body), Some(vec![vec![1.0], vec![2.0]]));
        let body = br#"{"object":"list","data":[{"embedding":[1]},{"embedding":[2]}]}"#;
        assert_eq!(vectors(body), Some(vec![vec![1.0], vec![2.0]]));
    }

    #[test]
    fn a_repeated_or_too_large_index_is_refused() {
        for indexes in [[0, 0], [0, 2]] {
            let item = |index: &u32| json!({ "index": index, "embedding": [1.0] });
            let items: Vec<Value> = indexes.iter().map(item).collect();
            let body = json!({ "data": items }).to_string();
            assert_eq!(vectors(body.as_bytes()), None, "{indexes:?}");
        }
    }
}
