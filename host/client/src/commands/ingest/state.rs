//! What the server has of a folder.

use std::collections::HashMap;

use bytes::BytesMut;
use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use super::{FACTS, HASH, NAME, SOURCE};
use crate::commands::filtered;
use crate::{Error, JsonObject, Server};

/// A file's facts on the server: how many, by the hash of the content that they were made of, and
/// how many were made.
#[derive(Debug, Default)]
pub(super) struct Known {
    facts: HashMap<String, usize>,
    /// Facts without a hash that can be read.
    others: usize,
    made: usize,
}

impl Known {
    /// Whether these are the facts of a file with this hash, and all of them.
    pub(super) fn is_of(&self, hash: &str) -> bool {
        let there = self.facts.get(hash).copied().unwrap_or_default();
        self.facts.len() == 1 && self.others == 0 && there > 0 && there >= self.made
    }
}

/// A line of an export.
#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    metadata: serde_json::Map<String, serde_json::Value>,
}

/// What there is of the folder with this name, by file.
pub(super) async fn read(server: &Server, name: &str) -> Result<HashMap<String, Known>, Error> {
    let filter = JsonObject::new(&json!({ NAME: { "eq": name } }))?;
    let request = server.request(Method::GET, &["v1", "export"])?;
    let mut response = server.open(filtered(request, Some(&filter))).await?;
    let (mut known, mut partial) = (HashMap::new(), BytesMut::new());
    while let Some(chunk) = server.chunk(&mut response).await? {
        partial.extend_from_slice(&chunk);
        while let Some(end) = memchr::memchr(b'\n', &partial) {
            add(&partial.split_to(end + 1), &mut known);
        }
    }
    if !partial.is_empty() {
        return Err(server.bad_response("the export ended in the middle of a line"));
    }
    Ok(known)
}

fn add(line: &[u8], known: &mut HashMap<String, Known>) {
    // A last line may say how many facts were withheld, and is no fact.
    let Ok(Line { metadata }) = serde_json::from_slice(line) else { return };
    let text = |name: &str| metadata.get(name).and_then(|value| value.as_str());
    let Some(source) = text(SOURCE) else { return };
    let file: &mut Known = known.entry(source.to_owned()).or_default();
    match text(HASH) {
        Some(hash) => *file.facts.entry(hash.to_owned()).or_default() += 1,
        None => file.others += 1,
    }
    let made = metadata.get(FACTS).and_then(serde_json::Value::as_u64).unwrap_or_default();
    file.made = file.made.max(usize::try_from(made).unwrap_or(usize::MAX));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(lines: &[&str]) -> HashMap<String, Known> {
        let mut known = HashMap::new();
        lines.iter().for_each(|line| add(line.as_bytes(), &mut known));
        known
    }

    #[test]
    fn a_file_is_known_if_all_of_its_facts_are_there_and_no_others() {
        let fact = |hash: &str, made: u32| {
            json!({ "id": "x", "metadata":
                { "source": "a.md", "source_sha256": hash, "source_facts": made } })
            .to_string()
        };
        let is_of = |lines: &[String]| {
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            known(&lines)["a.md"].is_of("1")
        };
        assert!(is_of(&[fact("1", 2), fact("1", 2)]));
        assert!(!is_of(&[fact("1", 2)]), "one is missing");
        assert!(!is_of(&[fact("1", 1), fact("2", 1)]), "an earlier one is left");
        assert!(!is_of(&[fact("2", 1)]));
        assert!(known(&["{\"withheld\":3}\n", "{\"id\":\"b\",\"metadata\":{}}"]).is_empty());
    }
}
