//! The server's responses, as far as the commands read them.
//!
//! Fields that a later release may omit are optional, and unknown fields are ignored.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Map;
use serde_json::value::{RawValue, Value};

#[derive(Debug, Deserialize)]
pub(crate) struct Fact {
    pub(crate) id: String,
    pub(crate) content: String,
    #[serde(default)]
    pub(crate) metadata: Option<Box<RawValue>>,
    #[serde(default)]
    pub(crate) timestamp: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Page {
    /// Unparsed, so that `--json` can print them unchanged.
    pub(crate) facts: Vec<Box<RawValue>>,
    #[serde(default)]
    pub(crate) next_cursor: Option<String>,
    #[serde(default)]
    pub(crate) withheld: u64,
}

/// The response to a store, an update or a delete.
#[derive(Debug, Deserialize)]
pub(crate) struct WriteResponse {
    /// Required, so that the JSON of another kind of server is not accepted.
    #[serde(rename = "status")]
    _status: String,
    #[serde(default)]
    pub(crate) fact_id: Option<String>,
    #[serde(default)]
    pub(crate) fact_ids: Vec<String>,
    #[serde(default)]
    pub(crate) indexed: Option<bool>,
    #[serde(default)]
    pub(crate) embedded_bytes: Option<u64>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct SearchResponse {
    pub(crate) results: Vec<Hit>,
    #[serde(default)]
    pub(crate) degraded: Vec<String>,
    #[serde(default)]
    pub(crate) withheld: u64,
    #[serde(default)]
    pub(crate) took_ms: Option<f64>,
    #[serde(default)]
    pub(crate) facets: BTreeMap<String, Facet>,
    #[serde(default)]
    pub(crate) next_cursor: Option<String>,
}

/// How often the values of a metadata field occur.
#[derive(Debug, Deserialize)]
pub(crate) struct Facet {
    pub(crate) values: Vec<FacetValue>,
    pub(crate) distinct: u64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct FacetValue {
    pub(crate) value: Value,
    pub(crate) count: u64,
}

/// A passage of a hit; places are in characters.
#[derive(Debug, Deserialize)]
pub(crate) struct Highlight {
    pub(crate) text: String,
    #[serde(default)]
    pub(crate) start: usize,
    #[serde(default)]
    pub(crate) matches: Vec<Match>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Match {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Hit {
    pub(crate) doc_id: String,
    pub(crate) content: String,
    #[serde(default)]
    pub(crate) metadata: Option<Box<RawValue>>,
    pub(crate) score: f64,
    #[serde(default)]
    pub(crate) explain: Option<Map<String, Value>>,
    #[serde(default)]
    pub(crate) highlights: Vec<Highlight>,
}

/// What an import took; in a successful response, and in an error after the body was read.
#[derive(Debug, Deserialize)]
pub(crate) struct ImportResponse {
    pub(crate) imported: u64,
    pub(crate) failed: u64,
    pub(crate) lines: u64,
    #[serde(default)]
    pub(crate) errors: Vec<RefusedLine>,
    #[serde(default)]
    pub(crate) took_ms: Option<f64>,
}

/// A line that an import refused.
#[derive(Debug, Deserialize)]
pub(crate) struct RefusedLine {
    pub(crate) line: u64,
    pub(crate) code: String,
    #[serde(default)]
    pub(crate) message: String,
}

/// How far an import is.
#[derive(Debug, PartialEq, Deserialize)]
pub(crate) struct ImportProgress {
    pub(crate) imported: u64,
    pub(crate) failed: u64,
    #[serde(default)]
    pub(crate) lines: u64,
    #[serde(default)]
    pub(crate) waiting_for: Option<String>,
}

/// How many facts are still without a vector.
#[derive(Debug, Deserialize)]
pub(crate) struct PendingStats {
    pub(crate) pending: u64,
}
