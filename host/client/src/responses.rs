//! The server's responses, as far as the commands read them.
//!
//! Fields that a later release may omit are optional, and unknown fields are ignored.

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
}

#[derive(Debug, Deserialize)]
pub(crate) struct SearchResponse {
    pub(crate) results: Vec<Hit>,
    #[serde(default)]
    pub(crate) degraded: Vec<String>,
    #[serde(default)]
    pub(crate) took_ms: Option<f64>,
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
}

/// One line of an import's response: a failed line (with `line`), the error that ended the import,
/// or the summary.
#[derive(Debug, Deserialize)]
pub(crate) struct ImportLine {
    pub(crate) status: String,
    #[serde(default)]
    pub(crate) line: Option<u64>,
    #[serde(default)]
    pub(crate) code: Option<String>,
    #[serde(default)]
    pub(crate) message: Option<String>,
    #[serde(default)]
    pub(crate) imported: u64,
    #[serde(default)]
    pub(crate) failed: u64,
    #[serde(default)]
    pub(crate) lines: u64,
    #[serde(default)]
    pub(crate) took_ms: Option<f64>,
}
