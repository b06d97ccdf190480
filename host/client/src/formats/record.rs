//! Records that become facts, and those that cannot.

use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

pub(crate) type Metadata = Map<String, Value>;

/// A line of an import.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Draft {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
    pub(crate) content: String,
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub(crate) metadata: Metadata,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) timestamp: Option<String>,
}

/// A draft with the name of the record that it was made of, for messages.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Record {
    pub(crate) name: String,
    pub(crate) draft: Draft,
}

/// A record that cannot be a fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) name: String,
    pub(crate) reason: String,
}

/// What a file held.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Converted {
    pub(crate) records: Vec<Record>,
    pub(crate) refused: Vec<Refused>,
}

impl Converted {
    pub(crate) fn add(&mut self, name: String, draft: Draft) {
        match draft.content.trim().is_empty() {
            true => self.refuse(name, "it has no text"),
            false => self.records.push(Record { name, draft }),
        }
    }

    pub(crate) fn refuse(&mut self, name: String, reason: impl Into<String>) {
        self.refused.push(Refused { name, reason: reason.into() });
    }

    /// The drafts as lines of JSON.
    pub(crate) fn lines(&self) -> Vec<u8> {
        let mut lines = Vec::new();
        for record in &self.records {
            // A struct of strings and JSON values cannot fail to be JSON.
            lines.extend(serde_json::to_vec(&record.draft).unwrap_or_default());
            lines.push(b'\n');
        }
        lines
    }
}

/// An id of what says which fact it is, so that importing it again makes no second one. The lengths
/// keep apart what would be the same when joined.
pub(crate) fn identify(kind: &str, parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_string());
        hash.update([0]);
        hash.update(part);
    }
    let hash = hash.finalize();
    let digits: String = hash.iter().take(10).map(|byte| format!("{byte:02x}")).collect();
    format!("{kind}-{digits}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(content: &str) -> Draft {
        Draft { id: None, content: content.into(), metadata: Map::new(), timestamp: None }
    }

    #[test]
    fn a_record_without_text_is_refused_by_name() {
        let mut converted = Converted::default();
        converted.add("row 1".into(), draft("tea"));
        converted.add("row 2".into(), draft(" \n"));
        assert_eq!(converted.lines(), b"{\"content\":\"tea\"}\n");
        assert_eq!(converted.refused[0].name, "row 2");
    }

    #[test]
    fn ids_are_of_what_was_said_and_of_where_its_parts_end() {
        assert_eq!(identify("csv", &["a", "b"]), identify("csv", &["a", "b"]));
        assert_ne!(identify("csv", &["a", "b"]), identify("csv", &["ab", ""]));
        assert_eq!(identify("csv", &["a"]).len(), "csv-".len() + 20);
    }
}
