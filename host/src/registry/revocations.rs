//! The record of revoked digests: components that no host runs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// All revoked digests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Revocations {
    /// By digest, `sha256:…`.
    pub digests: BTreeMap<String, Revocation>,
}

/// When a digest was revoked, by whom and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = DigestRevocation)]
pub struct Revocation {
    /// When: RFC 3339, in UTC.
    #[schema(format = DateTime)]
    pub at: String,
    /// Who.
    pub by: String,
    /// Why, if the operator said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub reason: Option<String>,
}

impl Revocations {
    /// Whether no host may run this digest.
    pub fn contains(&self, digest: &str) -> bool {
        self.digests.contains_key(digest)
    }
}
