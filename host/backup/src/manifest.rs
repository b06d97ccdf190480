//! What a complete backup says of itself: `manifest.json`.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::block::hex;
use crate::record::check_format;
use crate::{BackupError, Since};

/// What to say of a copy of a data directory that cannot be used.
pub const TORN: &str =
    "a copy that was made while a server used it is torn. Make backups with `kenning backup`";

pub(crate) const MANIFEST: &str = "manifest.json";

/// What is in a backup's folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The version of the format.
    pub format: u32,
    /// The version of the server that wrote the records.
    pub version: String,
    /// When the last answer began, as RFC 3339.
    pub at: String,
    /// The kind of storage that was copied.
    pub storage: String,
    /// The backup that this one continues.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Base>,
    /// The revision that each tenant, and the documents, were copied at.
    pub copied: Since,
    /// Records of facts.
    pub facts: u64,
    /// Records of facts that are gone.
    pub gone: u64,
    /// Documents.
    pub documents: u64,
    /// Keys that extensions keep, or that the host keeps for them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub state: u64,
    /// What was damaged in storage and is not in the backup; the first hundred.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
    /// Its files, in the order in which they are read.
    pub parts: Vec<Part>,
}

/// The backup that another one continues.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Base {
    /// Where it was.
    pub folder: String,
    /// The digest of its manifest.
    pub sha256: String,
}

/// A file with blocks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Its name.
    pub file: String,
    /// Its length.
    pub bytes: u64,
    /// Its digest.
    pub sha256: String,
}

/// The file: the manifest and its digest.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signed {
    manifest: Manifest,
    sha256: String,
}

impl Manifest {
    /// Reads the manifest in `folder`.
    ///
    /// # Errors
    /// If there is none or it is not what was written.
    pub fn read(folder: &Path) -> Result<Self, BackupError> {
        let path = folder.join(MANIFEST);
        if !path.exists() {
            return Err(not_complete(folder));
        }
        let bytes = fs::read(&path).map_err(BackupError::file(&path))?;
        let damaged = || BackupError::Damaged(format!("{MANIFEST} is not what was written"));
        if let Ok(json) = serde_json::from_slice::<Value>(&bytes) {
            check_format(json["manifest"].to_string().as_bytes())?;
        }
        let signed: Signed = serde_json::from_slice(&bytes).map_err(|_| damaged())?;
        match signed.manifest.to_file() == bytes {
            true => Ok(signed.manifest),
            false => Err(damaged()),
        }
    }

    /// Its digest.
    pub fn sha256(&self) -> String {
        let text = serde_json::to_vec(self).expect("a manifest is JSON, in memory");
        hex(&Sha256::digest(text))
    }

    /// The bytes of its file.
    pub(crate) fn to_file(&self) -> Vec<u8> {
        let signed = Signed { manifest: self.clone(), sha256: self.sha256() };
        let mut file = serde_json::to_vec_pretty(&signed).expect("a manifest is JSON, in memory");
        file.push(b'\n');
        file
    }
}

/// Why a folder without a manifest is no backup.
fn not_complete(folder: &Path) -> BackupError {
    let shown = folder.display();
    if folder.join("facts.redb").exists() || folder.join("facts").join("facts.redb").exists() {
        return BackupError::Other(format!(
            "{shown} is a data directory, or a copy of one, and not a backup: {TORN}"
        ));
    }
    match fs::read_dir(folder) {
        Err(cause) => BackupError::File { path: folder.to_owned(), cause },
        Ok(mut files) => {
            match files.any(|file| file.is_ok_and(|file| is_part(&file.file_name()))) {
                true => BackupError::Incomplete(format!(
                    "{shown} has no {MANIFEST}; run `kenning backup` with the same folder again, \
                 and it goes on where it was"
                )),
                false => {
                    BackupError::Other(format!("{shown} is not a backup: it has no {MANIFEST}"))
                }
            }
        }
    }
}

/// Manifests of format 1 do not have the number, and must be written as they were read.
fn is_zero(count: &u64) -> bool {
    *count == 0
}

pub(crate) fn is_part(name: &std::ffi::OsStr) -> bool {
    name.to_str().is_some_and(|name| name.starts_with("part-") && name.ends_with(".jsonl"))
}
