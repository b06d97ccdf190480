//! How far something was copied.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How far a tenant was copied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// The tenant's revision that the records are of.
    pub revision: u64,
    /// Tells the tenant's last change at that revision from another one with this number: empty if
    /// that is not known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub change: String,
    /// The first fact in the listing; empty if there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub newest: String,
    /// The tenant's facts.
    pub facts: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Where the listing goes on; `None` if all of it was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// What a copy continues from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Since {
    /// The documents' revision; `None` if they are not complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub documents: Option<u64>,
    /// The tenants that are there, complete or not.
    #[serde(default)]
    pub tenants: BTreeMap<String, Position>,
}
