//! What far embedders speak. Each protocol has a file of its own; what they have in
//! common is here.

use serde_json::Value;

use super::{ollama, openai, tei};

/// A protocol over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    OpenAi,
    Ollama,
    Tei,
}

/// What is asked.
pub(super) struct Question<'a> {
    pub(super) model: &'a str,
    pub(super) texts: &'a [&'a str],
    /// How long the vectors should be, where the operator says so.
    pub(super) dimensions: Option<usize>,
}

impl Protocol {
    /// Its word in `--embedder`.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Ollama => "ollama",
            Self::Tei => "tei",
        }
    }

    /// A whole `--embedder`, for a message.
    pub(crate) fn example(self) -> &'static str {
        match self {
            Self::OpenAi => "openai:https://api.openai.com/v1",
            Self::Ollama => "ollama:http://127.0.0.1:11434",
            Self::Tei => "tei:http://127.0.0.1:8080",
        }
    }

    /// Where to ask, under the base address.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::OpenAi => openai::PATH,
            Self::Ollama => ollama::PATH,
            Self::Tei => tei::PATH,
        }
    }

    /// Texts in one request.
    pub(super) fn texts(self) -> usize {
        match self {
            Self::OpenAi => openai::TEXTS,
            Self::Ollama => ollama::TEXTS,
            Self::Tei => tei::TEXTS,
        }
    }

    pub(super) fn body(self, question: &Question<'_>) -> Value {
        match self {
            Self::OpenAi => openai::body(question),
            Self::Ollama => ollama::body(question),
            Self::Tei => tei::body(question),
        }
    }

    /// The vectors of an answer in the order of the texts; `None` if it is none.
    pub(super) fn vectors(self, answer: &[u8]) -> Option<Vec<Vec<f32>>> {
        match self {
            Self::OpenAi => openai::vectors(answer),
            Self::Ollama => ollama::vectors(answer),
            Self::Tei => tei::vectors(answer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Protocol; 3] = [Protocol::OpenAi, Protocol::Ollama, Protocol::Tei];

    #[test]
    fn what_is_no_answer_is_none() {
        let answers = ["", "{", "null", "{}", "[[null]]", "{\"data\":[{}]}", "[[NaN]]", "[[1"];
        for (protocol, answer) in ALL.iter().flat_map(|p| answers.iter().map(move |a| (p, a))) {
            assert_eq!(protocol.vectors(answer.as_bytes()), None, "{protocol:?}: {answer}");
        }
    }

    #[test]
    fn dimensions_are_asked_for_only_where_the_operator_says_so() {
        for protocol in ALL {
            let mut question = Question { model: "m", texts: &["a"], dimensions: None };
            assert!(protocol.body(&question).get("dimensions").is_none());
            question.dimensions = Some(64);
            assert_eq!(protocol.body(&question)["dimensions"], 64);
        }
    }
}
