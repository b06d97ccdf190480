//! The server's answers, as far as the verbs read them.
//!
//! Fields that a later release may leave out are optional, and unknown ones are passed over.

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
    /// Unparsed, so that they can be printed as they came.
    pub(crate) facts: Vec<Box<RawValue>>,
    #[serde(default)]
    pub(crate) next_cursor: Option<String>,
}

/// The answer to a store, an update or a delete.
#[derive(Debug, Deserialize)]
pub(crate) struct Written {
    /// Present in every such answer; asked for so that another server's JSON is not taken for one.
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
pub(crate) struct Found {
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

/// One line of an import's answer: a bad line, the summary, or the end before its time.
#[derive(Debug, Deserialize)]
pub(crate) struct Imported {
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
