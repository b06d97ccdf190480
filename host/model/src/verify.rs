//! Whether a directory holds the model, byte for byte.
//!
//! Hashing 91 MB costs a few tenths of a second, too much for every start. So a directory that
//! was hashed once gets a note of its files' sizes and times of change, and is believed for as
//! long as these stay. [`Depth::Hash`] distrusts the note; a rotten disk needs that.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::{Mismatch, ModelError, io_error};
use crate::model::{Model, Pin};

/// Name of the note beside our own files.
pub(crate) const NOTE: &str = ".verified";

/// How closely to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Believe the note where it fits.
    Note,
    /// Hash every file.
    Hash,
}

/// What a directory turned out to hold.
#[derive(Debug)]
pub(crate) enum Finding {
    Whole,
    /// At least one file is missing and no other one is wrong.
    Absent,
    Wrong {
        file: PathBuf,
        mismatch: Mismatch,
    },
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    files: Vec<NotedFile>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct NotedFile {
    name: String,
    size: u64,
    /// Nanoseconds since 1970.
    modified: u64,
    sha256: String,
}

/// Looks at the model's files in `directory`; `note` is where a former look is remembered,
/// if there is a place for it.
///
/// # Errors
/// [`ModelError::Io`] where a file is there and cannot be read.
pub(crate) fn examine(
    directory: &Path,
    model: &Model,
    note: Option<&Path>,
    depth: Depth,
) -> Result<Finding, ModelError> {
    if let Some(finding) = compare_sizes(directory, model)? {
        return Ok(finding);
    }
    let seen = stat(directory, model)?;
    if depth == Depth::Note && note.and_then(read_note).as_ref() == Some(&seen) {
        return Ok(Finding::Whole);
    }
    for file in &model.files {
        let path = directory.join(&file.pin.name);
        if let Some(mismatch) = compare(&path, &file.pin)? {
            return Ok(Finding::Wrong { file: path, mismatch });
        }
    }
    if let Some(note) = note {
        write_note(note, &seen);
    }
    Ok(Finding::Whole)
}

fn compare_sizes(directory: &Path, model: &Model) -> Result<Option<Finding>, ModelError> {
    let mut absent = false;
    for file in &model.files {
        let path = directory.join(&file.pin.name);
        match fs::metadata(&path) {
            Ok(found) if found.is_file() && found.len() == file.pin.size => {}
            Ok(found) if found.is_file() => {
                let mismatch = Mismatch::Size { expected: file.pin.size, found: found.len() };
                return Ok(Some(Finding::Wrong { file: path, mismatch }));
            }
            Ok(_) => absent = true,
            Err(error) if is_absence(&error) => absent = true,
            Err(error) => return Err(io_error("look at", &path)(error)),
        }
    }
    Ok(absent.then_some(Finding::Absent))
}

/// Some component of the path is missing or is no directory.
fn is_absence(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory)
}

fn stat(directory: &Path, model: &Model) -> Result<Note, ModelError> {
    let files = model.files.iter().map(|file| {
        let path = directory.join(&file.pin.name);
        let found = fs::metadata(&path).map_err(io_error("look at", &path))?;
        let modified = found.modified().map_err(io_error("look at", &path))?;
        let since = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(NotedFile {
            name: file.pin.name.clone(),
            size: found.len(),
            modified: u64::try_from(since.as_nanos()).unwrap_or(u64::MAX),
            sha256: file.pin.sha256.clone(),
        })
    });
    Ok(Note { files: files.collect::<Result<_, ModelError>>()? })
}

fn read_note(path: &Path) -> Option<Note> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Best effort: a directory that cannot be written is merely hashed again at the next start.
fn write_note(path: &Path, note: &Note) {
    let Ok(text) = serde_json::to_vec(note) else {
        return;
    };
    if let Some(parent) = path.parent() {
        let _ = fs::create_dir_all(parent);
    }
    let _ = fs::write(path, text);
}

/// How the file differs from its pin; `None` when it does not.
///
/// # Errors
/// [`ModelError::Io`] where it cannot be read.
pub(crate) fn compare(path: &Path, pin: &Pin) -> Result<Option<Mismatch>, ModelError> {
    let mut file = File::open(path).map_err(io_error("open", path))?;
    let found = file.metadata().map_err(io_error("look at", path))?.len();
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
