//! The protocols of remote embedders. Each has a file of its own; this one selects among them.

use serde_json::Value;

use super::request::Request;
use super::{ollama, openai, tei};

/// How to talk to a remote embedder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `POST /embeddings`, as OpenAI defined it.
    OpenAi,
    /// `POST /api/embed` of Ollama.
    Ollama,
    /// `POST /embed` of Text Embeddings Inference.
    Tei,
}

impl Protocol {
    /// The protocol's name in `--embedder`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Ollama => "ollama",
            Self::Tei => "tei",
        }
    }

    /// A complete `--embedder`, for a message.
    pub(crate) fn example(self) -> &'static str {
        match self {
            Self::OpenAi => "openai:https://api.openai.com/v1",
            Self::Ollama => "ollama:http://127.0.0.1:11434",
            Self::Tei => "tei:http://127.0.0.1:8080",
        }
    }

    /// The path of the endpoint, relative to the base address.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::OpenAi => openai::PATH,
            Self::Ollama => ollama::PATH,
            Self::Tei => tei::PATH,
        }
    }

    /// The maximum of texts in one request.
    pub(super) fn texts(self) -> usize {
        match self {
            Self::OpenAi => openai::TEXTS,
            Self::Ollama => ollama::TEXTS,
            Self::Tei => tei::TEXTS,
        }
    }

    /// The JSON body of a request.
    pub(super) fn body(self, request: &Request<'_>) -> Value {
        match self {
            Self::OpenAi => openai::body(request),
            Self::Ollama => ollama::body(request),
            Self::Tei => tei::body(request),
        }
    }

    /// The vectors in a response's body, in the order of the texts. `None` if the body is not
    /// what the protocol defines.
    pub(super) fn vectors(self, response: &[u8]) -> Option<Vec<Vec<f32>>> {
        match self {
            Self::OpenAi => openai::vectors(response),
            Self::Ollama => ollama::vectors(response),
            Self::Tei => tei::vectors(response),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Protocol; 3] = [Protocol::OpenAi, Protocol::Ollama, Protocol::Tei];

    #[test]
    fn a_malformed_response_has_no_vectors() {
        let responses = ["", "{", "null", "{}", "[[null]]", "{\"data\":[{}]}", "[[NaN]]", "[[1"];
        for (protocol, body) in ALL.iter().flat_map(|p| responses.iter().map(move |r| (p, r))) {
            assert_eq!(protocol.vectors(body.as_bytes()), None, "{protocol:?}: {body}");
        }
    }

    #[test]
    fn dimensions_are_sent_only_if_the_operator_set_them() {
        for protocol in ALL {
            let mut request = Request { model: "m", texts: &["a"], dimensions: None };
            assert!(protocol.body(&request).get("dimensions").is_none());
            request.dimensions = Some(64);
            assert_eq!(protocol.body(&request)["dimensions"], 64);
        }
    }
}
