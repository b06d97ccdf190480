//! The records of a backup.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::position::Position;
use crate::{BackupError, FORMAT};

/// One record. A section of what is stored that comes later is a further kind; whoever does not
/// know a kind refuses the backup instead of leaving it out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Record {
    /// The first record of what a server sends.
    Begin(Begin),
    /// The records up to [`Record::TenantEnd`] are of this tenant.
    Tenant {
        /// Its name.
        name: String,
        /// Whether it begins anew: earlier records of it do not count. Otherwise what follows is
        /// what was changed since.
        whole: bool,
        /// Why it begins anew, if the reader has something of it already.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        because: Option<WholeBecause>,
    },
    /// A fact as it is.
    Fact {
        /// Its id.
        id: String,
        /// Its place in the listing.
        order: u64,
        /// Whether it waits for a vector of its text.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pending: bool,
        /// Its fields.
        fields: BTreeMap<String, String>,
        /// Its vectors, if it has any.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        vector: Option<VectorRecord>,
    },
    /// A fact that is no longer there.
    Gone {
        /// Its id.
        id: String,
    },
    /// All that the tenant's extensions keep follows, key by key. Earlier records of that do not
    /// count.
    StateBegin,
    /// A key that an extension keeps, or that the host keeps for one.
    State {
        /// The extension's name, or one with a `.` for what the host keeps.
        space: String,
        /// The key.
        key: Blob,
        /// Its value.
        value: Blob,
        /// When it expires, in milliseconds since 1970; `None` for never.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires: Option<u64>,
    },
    /// Something damaged that is left out.
    LeftOut {
        /// What it is, and why.
        what: String,
    },
    /// Up to here the tenant's records are those of one revision.
    Mark(Position),
    /// The tenant is complete.
    TenantEnd(Position),
    /// A piece of a document. The pieces of a document follow each other.
    Document {
        /// Its name.
        name: String,
        /// The bytes of this piece.
        bytes: Blob,
        /// Whether it goes on.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        more: bool,
    },
    /// The documents are complete.
    DocumentsEnd {
        /// The revision of the documents.
        revision: u64,
        /// Their names: others are no longer there.
        names: Vec<String>,
    },
    /// The server could not go on.
    Failed {
        /// Why.
        message: String,
    },
    /// The last record.
    End {
        /// The tenants that there are: others are no longer there.
        tenants: Vec<String>,
    },
}

/// Why a tenant is copied as a whole although the reader has something of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WholeBecause {
    /// The tenant's stream does not reach back to what the reader has.
    ChangesNotKept,
    /// What the reader has is of another tenant of this name.
    OtherHistory,
}

impl WholeBecause {
    /// For people, after "because".
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ChangesNotKept => "the changes since then are not kept any more",
            Self::OtherHistory => {
                "it was deleted or restored since then, or the earlier backup is of another server"
            }
        }
    }
}

/// What a server says first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Begin {
    /// The version of the format.
    pub format: u32,
    /// The version of the server.
    pub version: String,
    /// When, as RFC 3339.
    pub at: String,
    /// The kind of storage.
    pub storage: String,
    /// How many facts the storage has, about.
    pub facts: u64,
    /// The only tenant, if not all were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The digest of the backup that this one continues, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
}

/// A fact's vectors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VectorRecord {
    /// The embedding profile.
    pub profile: String,
    /// The digest of the embedded text.
    pub digest: Blob,
    /// The components as little-endian `f32`.
    pub values: Blob,
}

/// Bytes, as base64 in JSON.
#[derive(Clone, PartialEq, Eq)]
pub struct Blob(pub Vec<u8>);

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blob({} bytes)", self.0.len())
    }
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        STANDARD.decode(text).map(Self).map_err(serde::de::Error::custom)
    }
}

impl Record {
    /// Reads a record.
    ///
    /// # Errors
    /// [`BackupError::Newer`] for the first record of a newer format, [`BackupError::Damaged`] for
    /// what is none.
    pub(crate) fn parse(line: &[u8]) -> Result<Self, BackupError> {
        let parsed = serde_json::from_slice(line);
        match &parsed {
            Ok(Self::Begin(begin)) => begin.check()?,
            Ok(_) => {}
            Err(_) => check_format(line)?,
        }
        parsed.map_err(|error| BackupError::Damaged(format!("a record cannot be read: {error}")))
    }
}

impl Begin {
    fn check(&self) -> Result<(), BackupError> {
        match self.format {
            0..=FORMAT => Ok(()),
            format => Err(BackupError::Newer { format, version: self.version.clone() }),
        }
    }
}

/// Refuses a text of a newer format, whatever else it says.
pub(crate) fn check_format(text: &[u8]) -> Result<(), BackupError> {
    #[derive(Deserialize)]
    struct OfAnyFormat {
        format: u32,
        version: String,
    }
    match serde_json::from_slice(text) {
        Ok(OfAnyFormat { format, version }) if format > FORMAT => {
            Err(BackupError::Newer { format, version })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_format_is_refused_with_both_versions_whatever_else_it_says() {
        for line in [
            r#"{"kind":"begin","format":7,"version":"9.8.7","at":"","storage":"redis","facts":0}"#,
            r#"{"kind":"start","format":7,"version":"9.8.7","sections":[]}"#,
        ] {
            let message = Record::parse(line.as_bytes()).unwrap_err().to_string();
            for word in ["format 7", "9.8.7", "up to 2", env!("CARGO_PKG_VERSION")] {
                assert!(message.contains(word), "{word}: {message}");
            }
        }
    }

    #[test]
    fn a_kind_that_is_not_known_is_refused() {
        let error = Record::parse(br#"{"kind":"mood","value":3}"#).unwrap_err();
        assert!(error.to_string().contains("mood"), "{error}");
    }

    #[test]
    fn what_an_extension_keeps_is_any_bytes() {
        let (space, key, value) = ("budget".to_owned(), Blob(vec![0, 255]), Blob(Vec::new()));
        let record = Record::State { space, key, value, expires: None };
        let line = serde_json::to_string(&record).unwrap();
        assert_eq!(line, r#"{"kind":"state","space":"budget","key":"AP8=","value":""}"#);
        assert_eq!(Record::parse(line.as_bytes()).unwrap(), record);
        let line = br#"{"kind":"state_begin"}"#;
        assert_eq!(Record::parse(line).unwrap(), Record::StateBegin);
    }

    #[test]
    fn values_keep_every_bit() {
        let values = [0.1_f32, -0.0, f32::MIN_POSITIVE, f32::MAX];
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let record = Record::Fact {
            id: "a".into(),
            order: (1 << 53) - 1,
            pending: true,
            fields: BTreeMap::from([("metadata".into(), "{\"ä\": 1.10, \"a\":\u{7}}".into())]),
            vector: Some(VectorRecord {
                profile: "p".into(),
                digest: Blob(vec![7; 32]),
                values: Blob(bytes),
            }),
        };
        let line = serde_json::to_vec(&record).unwrap();
        assert_eq!(Record::parse(&line).unwrap(), record);
    }
}
