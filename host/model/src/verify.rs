//! Verifies that a directory contains the model, byte for byte.
//!
//! Hashing 91 MB takes a few tenths of a second, too long for every start. So a verified directory
//! gets a stamp file with its files' sizes and modification times, and counts as intact while
//! these do not change. [`Depth::Hash`] ignores the stamp, which finds silent disk corruption.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::{Mismatch, ModelError, io_error};
use crate::model::{Model, Pin};

/// Name of the stamp file beside the model's files.
pub(crate) const STAMP_FILE: &str = ".verified";

/// How thoroughly to verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Trust a matching stamp.
    Stamp,
    /// Hash every file.
    Hash,
}

/// What a directory contains.
#[derive(Debug)]
pub(crate) enum Finding {
    /// Every file, as pinned.
    Intact,
    /// At least one file is missing, and no file is corrupt.
    Absent,
    /// A file that differs from its pin.
    Corrupt { file: PathBuf, mismatch: Mismatch },
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    files: Vec<StampedFile>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct StampedFile {
    name: String,
    size: u64,
    /// Modification time in nanoseconds since 1970.
    modified: u64,
    sha256: String,
}

/// Verifies the model's files in `directory`; `stamp` is the path of its stamp file, if it may
/// have one.
///
/// # Errors
/// [`ModelError::Io`] if a file exists and cannot be read.
pub(crate) fn verify_directory(
    directory: &Path,
    model: &Model,
    stamp: Option<&Path>,
    depth: Depth,
) -> Result<Finding, ModelError> {
    if let Some(finding) = compare_sizes(directory, model)? {
        return Ok(finding);
    }
    let current = stat(directory, model)?;
    if depth == Depth::Stamp && stamp.and_then(read_stamp).as_ref() == Some(&current) {
        return Ok(Finding::Intact);
    }
    for file in &model.files {
        let path = directory.join(&file.pin.name);
        if let Some(mismatch) = compare(&path, &file.pin)? {
            return Ok(Finding::Corrupt { file: path, mismatch });
        }
    }
    if let Some(stamp) = stamp {
        write_stamp(stamp, &current);
    }
    Ok(Finding::Intact)
}

fn compare_sizes(directory: &Path, model: &Model) -> Result<Option<Finding>, ModelError> {
    let mut absent = false;
    for file in &model.files {
        let path = directory.join(&file.pin.name);
        match fs::metadata(&path) {
            Ok(found) if found.is_file() && found.len() == file.pin.size => {}
            Ok(found) if found.is_file() => {
                let mismatch = Mismatch::Size { expected: file.pin.size, found: found.len() };
                return Ok(Some(Finding::Corrupt { file: path, mismatch }));
            }
            Ok(_) => absent = true,
            Err(error) if is_absence(&error) => absent = true,
            Err(error) => return Err(io_error("inspect", &path)(error)),
        }
    }
    Ok(absent.then_some(Finding::Absent))
}

/// Whether a component of the path is missing or is not a directory.
fn is_absence(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory)
}

fn stat(directory: &Path, model: &Model) -> Result<Stamp, ModelError> {
    let files = model.files.iter().map(|file| {
        let path = directory.join(&file.pin.name);
        let found = fs::metadata(&path).map_err(io_error("inspect", &path))?;
        let modified = found.modified().map_err(io_error("inspect", &path))?;
        let since = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(StampedFile {
            name: file.pin.name.clone(),
            size: found.len(),
            modified: u64::try_from(since.as_nanos()).unwrap_or(u64::MAX),
            sha256: file.pin.sha256.clone(),
        })
    });
    Ok(Stamp { files: files.collect::<Result<_, ModelError>>()? })
}

fn read_stamp(path: &Path) -> Option<Stamp> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Best effort: without a stamp the files are hashed again at the next start.
fn write_stamp(path: &Path, stamp: &Stamp) {
    let Ok(text) = serde_json::to_vec(stamp) else {
        return;
    };
    if let Some(parent) = path.parent() {
        let _ = fs::create_dir_all(parent);
    }
    let _ = fs::write(path, text);
}

/// How the file differs from its pin, or `None` if it matches.
///
/// # Errors
/// [`ModelError::Io`] if it cannot be read.
pub(crate) fn compare(path: &Path, pin: &Pin) -> Result<Option<Mismatch>, ModelError> {
    let mut file = File::open(path).map_err(io_error("open", path))?;
    let found = file.metadata().map_err(io_error("inspect", path))?.len();
    if found != pin.size {
        return Ok(Some(Mismatch::Size { expected: pin.size, found }));
    }
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer).map_err(io_error("read", path))? {
            0 => return Ok(compare_hash(hasher, pin)),
            length => hasher.update(&buffer[..length]),
        }
    }
}

pub(crate) fn compare_hash(hasher: Sha256, pin: &Pin) -> Option<Mismatch> {
    let found = format!("{:x}", hasher.finalize());
    let expected = pin.sha256.clone();
    (found != expected).then_some(Mismatch::Sha256 { expected, found })
}
