//! Finding the model that is already there.

use std::path::{Path, PathBuf};

use crate::ModelError;
use crate::model::Model;
use crate::places::Places;
use crate::verify::{Depth, Finding, NOTE, examine};

const PULL_REPLACES: &str = "Run `kenning model pull` to replace it";
const MOVE_AWAY: &str =
    "Move it away, or point KENNING_MODEL_DIR at a directory that holds all-MiniLM-L6-v2";

/// The directory that holds the model's files, verified.
///
/// Looks at `explicit` (the flag or `KENNING_MODEL_DIR`; it may hold the files or be laid out
/// like the cache), then at `$XDG_CACHE_HOME/kenning/models` or `~/.cache/kenning/models`, then at
/// the caches of Hugging Face tools. Blocks: the first look hashes 91 MB, later ones only compare
/// sizes and times.
///
/// # Errors
/// [`ModelError::NotFound`] names the directories looked at, [`ModelError::Corrupt`] the file
/// that is not what it should be, [`ModelError::Io`] one that cannot be read.
pub fn locate(explicit: Option<&Path>) -> Result<PathBuf, ModelError> {
    find(&Places::from_environment(explicit), &Model::minilm(), Depth::Note)
}

/// Like [`locate`], but hashes every file however often it was hashed before.
///
/// # Errors
/// The same as [`locate`]'s.
pub fn check(explicit: Option<&Path>) -> Result<PathBuf, ModelError> {
    find(&Places::from_environment(explicit), &Model::minilm(), Depth::Hash)
}

pub(crate) fn find(places: &Places, model: &Model, depth: Depth) -> Result<PathBuf, ModelError> {
    for directory in places.own(model) {
        if holds(&directory, places, model, depth)? {
            return Ok(directory);
        }
    }
    find_snapshot(places, model, depth).ok_or_else(|| not_found(places, model))
}

pub(crate) fn not_found(places: &Places, model: &Model) -> ModelError {
    ModelError::NotFound {
        model: model.name.clone(),
        looked: places.looked_at(model),
        megabytes: model.wheel.size.div_ceil(1_000_000),
    }
}

/// Whether one of our own directories holds the model.
///
/// # Errors
/// [`ModelError::Corrupt`], [`ModelError::Io`].
pub(crate) fn holds(
    directory: &Path,
    places: &Places,
    model: &Model,
    depth: Depth,
) -> Result<bool, ModelError> {
    match examine(directory, model, Some(&directory.join(NOTE)), depth)? {
        Finding::Whole => Ok(true),
        Finding::Absent => Ok(false),
        Finding::Wrong { file, mismatch } => {
            // A file lying directly in the operator's directory may be another model of theirs.
            let theirs = places.explicit.as_deref() == Some(directory);
            let advice = if theirs { MOVE_AWAY } else { PULL_REPLACES };
            Err(ModelError::Corrupt { file, mismatch, advice })
        }
    }
}

/// A snapshot that differs or cannot be read is another revision or somebody else's trouble, so
/// it is passed over. Its note lies in our cache, since theirs is not ours to write.
fn find_snapshot(places: &Places, model: &Model, depth: Depth) -> Option<PathBuf> {
    places.snapshots(model).into_iter().find(|snapshot| {
        let note = snapshot_note(places, snapshot);
        matches!(examine(snapshot, model, note.as_deref(), depth), Ok(Finding::Whole))
    })
}

fn snapshot_note(places: &Places, snapshot: &Path) -> Option<PathBuf> {
    let revision = snapshot.file_name()?.to_string_lossy();
    Some(places.cache.as_ref()?.join(format!("snapshot-{revision}{NOTE}")))
}
