//! Parses `--embedder`.

use std::str::FromStr;

use reqwest::Url;

use super::Protocol;

/// The embedder that the operator chose: `local`, `hash`, or `PROTOCOL:BASE_URL`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EmbedderChoice {
    /// The model in this process.
    Local,
    /// The embedder for tests.
    Hash,
    /// An embedder over HTTP.
    Remote {
        /// How to talk to it.
        protocol: Protocol,
        /// Its address; ends in a slash, so that paths can be appended.
        base: Url,
    },
}

impl FromStr for EmbedderChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "local" => return Ok(Self::Local),
            "hash" => return Ok(Self::Hash),
            _ => {}
        }
        let (word, address) = text.split_once(':').unwrap_or((text, ""));
        let protocol = match word {
            "openai" => Protocol::OpenAi,
            "ollama" => Protocol::Ollama,
            "tei" => Protocol::Tei,
            _ => {
                return Err("expected local, hash, openai:BASE_URL, ollama:BASE_URL or \
                            tei:BASE_URL"
                    .into());
            }
        };
        Ok(Self::Remote { protocol, base: base(address, protocol)? })
    }
}

/// Parses the address and makes it end in a slash. Errors do not repeat the address: it may
/// contain a password.
fn base(address: &str, protocol: Protocol) -> Result<Url, String> {
    let example = protocol.example();
    let url = Url::parse(address).ok().filter(|url| url.has_host());
    let url = url.filter(|url| ["http", "https"].contains(&url.scheme()));
    let Some(mut url) = url else {
        return Err(format!("expected an http or https address, such as {example}"));
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err("the address must not contain a user or a password; put the key into \
                    KENNING_EMBEDDING_KEY"
            .into());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!("the address must end with its path, such as {example}"));
    }
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remote_embedder_is_a_protocol_and_an_address() {
        let parsed: EmbedderChoice = "openai:https://api.example/v1".parse().unwrap();
        let EmbedderChoice::Remote { protocol, base } = parsed else { panic!("{parsed:?}") };
        assert_eq!(protocol, Protocol::OpenAi);
        assert_eq!(base.join("embeddings").unwrap().as_str(), "https://api.example/v1/embeddings");
    }

    #[test]
    fn an_invalid_choice_is_refused_with_what_is_expected() {
        for (text, says) in [
            ("magic", "openai:BASE_URL"),
            ("openai", "http or https address"),
            ("tei:localhost:8080", "http or https address"),
            ("tei:ftp://host/", "http or https address"),
            ("tei:http://host/?a=b", "end with its path"),
            ("openai:https://me:secret@host/v1", "KENNING_EMBEDDING_KEY"),
        ] {
            let error = text.parse::<EmbedderChoice>().unwrap_err();
            assert!(error.contains(says) && !error.contains("secret"), "{text}: {error}");
        }
    }
}
