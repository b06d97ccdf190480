//! `POST {base}/embeddings`, as OpenAI, vLLM, TEI, LM Studio and others speak it.

use serde::Deserialize;
use serde_json::{Value, json};

use super::protocol::Question;

pub(super) const PATH: &str = "embeddings";

/// OpenAI takes 2,048 texts and 300,000 tokens; others take less.
pub(super) const TEXTS: usize = 64;

#[derive(Deserialize)]
struct Answer {
    data: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    index: Option<usize>,
    embedding: Vec<f32>,
}

pub(super) fn body(question: &Question<'_>) -> Value {
    let Question { model, texts, dimensions } = question;
    // Not every server knows base64.
    let mut body = json!({ "model": model, "input": texts, "encoding_format": "float" });
    if let Some(dimensions) = dimensions {
        body["dimensions"] = (*dimensions).into();
    }
    body
}

/// Each vector at its `index`; servers that give none keep the order.
pub(super) fn vectors(answer: &[u8]) -> Option<Vec<Vec<f32>>> {
    let Answer { data } = serde_json::from_slice(answer).ok()?;
    let mut vectors: Vec<Option<Vec<f32>>> = data.iter().map(|_| None).collect();
    for (position, item) in data.into_iter().enumerate() {
        let place = vectors.get_mut(item.index.unwrap_or(position))?;
        if place.replace(item.embedding).is_some() {
            return None;
        }
    }
    vectors.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_stand_where_their_index_says() {
        let answer = br#"{"data":[{"index":1,"embedding":[2]},{"index":0,"embedding":[1]}]}"#;
        assert_eq!(vectors(answer), Some(vec![vec![1.0], vec![2.0]]));
        let answer = br#"{"object":"list","data":[{"embedding":[1]},{"embedding":[2]}]}"#;
        assert_eq!(vectors(answer), Some(vec![vec![1.0], vec![2.0]]));
    }

    #[test]
    fn an_index_twice_or_too_large_is_no_answer() {
        for indexes in [[0, 0], [0, 2]] {
            let item = |index: &u32| json!({ "index": index, "embedding": [1.0] });
            let items: Vec<Value> = indexes.iter().map(item).collect();
            let answer = json!({ "data": items }).to_string();
            assert_eq!(vectors(answer.as_bytes()), None, "{indexes:?}");
        }
    }
}
