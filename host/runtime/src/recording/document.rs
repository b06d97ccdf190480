//! A recording of one guest call, as it is kept and handed out.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use kenning_core::limits::Limits;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::clocks::Readings;

/// What one guest saw in one call, and how the call ended. It holds what the caller sent and what
/// is stored, and no secret.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Recording {
    /// The version of Kenning that made it. Another one may not read it.
    pub version: String,
    /// The processor's architecture, which decides how deep a call stack may be.
    pub architecture: String,
    /// The id of the request.
    pub request_id: String,
    /// When the guest's part ended: RFC 3339, in UTC.
    pub time: String,
    /// The tenant.
    pub tenant: String,
    /// The extension's name, or `logic`.
    pub component: String,
    /// Whether it is a logic.
    pub is_logic: bool,
    /// The generation of the guest.
    pub generation: u64,
    /// `sha256:` and the digest of the component's bytes, in hexadecimal.
    pub digest: String,
    /// The function that was called.
    pub operation: String,
    /// The fuel that the call had.
    pub fuel_limit: u64,
    /// The fuel that the guest used, and the host for it.
    pub fuel_used: u64,
    /// Of that, what the guest used itself.
    pub guest_fuel: u64,
    /// How the guest's part ended.
    pub ended: CallEnd,
    /// Where it failed, innermost first.
    pub stack: Vec<String>,
    /// The digest of the settings that it was given; `None` if there were none.
    pub settings_digest: Option<String>,
    /// The names of the secrets that it read. In the recording stands a placeholder for each.
    pub secrets: Vec<String>,
    /// Whether everything that the guest saw is here. If not, the call went on beyond it.
    pub is_complete: bool,
    /// The limits of the server.
    pub limits: Limits,
    pub(crate) input: Bytes,
    pub(crate) calls: Vec<Call>,
    /// The answers to its requests over HTTP, in the order of the requests; `None` where there was
    /// none.
    #[serde(default)]
    pub(crate) http: Vec<Option<Bytes>>,
    pub(crate) wall_clock: Readings,
    pub(crate) monotonic_clock: Readings,
    pub(crate) seed: Bytes,
}

/// How a guest's part of a call ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(tag = "how", rename_all = "snake_case")]
pub enum CallEnd {
    /// It failed by what it did.
    Failed {
        /// Why.
        error: String,
    },
    /// The deadline passed.
    Deadline {
        /// What it was doing.
        error: String,
    },
    /// It returned something that the host refused.
    Refused {
        /// Why.
        error: String,
    },
    /// It succeeded, and is a sample.
    #[default]
    Succeeded,
}

impl CallEnd {
    /// The same with another text.
    pub(crate) fn map(self, text: impl FnOnce(String) -> String) -> Self {
        match self {
            Self::Failed { error } => Self::Failed { error: text(error) },
            Self::Deadline { error } => Self::Deadline { error: text(error) },
            Self::Refused { error } => Self::Refused { error: text(error) },
            Self::Succeeded => Self::Succeeded,
        }
    }

    /// Why it failed, if it did.
    pub fn error(&self) -> Option<&str> {
        match self {
            Self::Failed { error } | Self::Deadline { error } | Self::Refused { error } => {
                Some(error)
            }
            Self::Succeeded => None,
        }
    }
}

/// One call of an import.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Call {
    pub(crate) import: String,
    /// `None` if the guest's part ended before the answer.
    pub(crate) answer: Option<Bytes>,
    /// The fuel that the host used for it.
    pub(crate) fuel: u64,
}

/// Bytes, in JSON as Base64.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&BASE64_STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        BASE64_STANDARD.decode(text).map(Self).map_err(serde::de::Error::custom)
    }
}

impl Recording {
    /// The version of Kenning whose recordings this one reads.
    pub const VERSION: &str = env!("CARGO_PKG_VERSION");

    /// Whether the guest's part ended in a call of an import.
    pub(crate) fn ends_in_import(&self) -> bool {
        self.is_complete && self.calls.last().is_some_and(|call| call.answer.is_none())
    }

    /// Bytes that it takes in memory, about.
    pub(crate) fn bytes(&self) -> usize {
        let answers = self.calls.iter().filter_map(|call| call.answer.as_ref());
        let answers: usize = answers.map(|answer| answer.0.len()).sum();
        let http: usize = self.http.iter().flatten().map(|answer| answer.0.len()).sum();
        let calls = self.calls.len() * size_of::<Call>() + http;
        let clocks = self.wall_clock.bytes() + self.monotonic_clock.bytes();
        size_of::<Self>() + self.input.0.len() + answers + calls + clocks
    }
}
