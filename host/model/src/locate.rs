//! Locates a model that is already on this machine.

use std::path::{Path, PathBuf};

use crate::ModelError;
use crate::model::Model;
use crate::search_paths::SearchPaths;
use crate::verify::{Depth, Finding, STAMP_FILE, verify_directory};

const PULL_REPLACES: &str = "Run `kenning model pull` to replace it";
const MOVE_AWAY: &str =
    "Move it away, or point KENNING_MODEL_DIR at a directory that contains all-MiniLM-L6-v2";

/// Returns the directory that contains the model's files, verified.
///
/// Searches `explicit` alone, if it is given (the flag or `KENNING_MODEL_DIR`; it may contain the
/// files or have the layout of the cache), and otherwise `$XDG_CACHE_HOME/kenning/models` or
/// `~/.cache/kenning/models`, then the caches of Hugging Face tools. Blocking: the first call
/// hashes 91 MB, later calls only compare sizes and modification times.
///
/// # Errors
/// [`ModelError::NotFound`] names the directories searched, [`ModelError::Corrupt`] the file that
/// does not match its pin, [`ModelError::Io`] one that cannot be read.
pub fn locate(explicit: Option<&Path>) -> Result<PathBuf, ModelError> {
    find(&SearchPaths::from_environment(explicit), &Model::minilm(), Depth::Stamp)
}

/// Like [`locate`], but hashes every file, even if it was verified before.
///
/// # Errors
/// The same as [`locate`].
pub fn verify(explicit: Option<&Path>) -> Result<PathBuf, ModelError> {
    find(&SearchPaths::from_environment(explicit), &Model::minilm(), Depth::Hash)
}

pub(crate) fn find(
    paths: &SearchPaths,
    model: &Model,
    depth: Depth,
) -> Result<PathBuf, ModelError> {
    for directory in paths.own(model) {
        if holds(&directory, paths, model, depth)? {
            return Ok(directory);
        }
    }
    find_snapshot(paths, model, depth).ok_or_else(|| not_found(paths, model))
}

pub(crate) fn not_found(paths: &SearchPaths, model: &Model) -> ModelError {
    ModelError::NotFound {
        model: model.name.clone(),
        searched: paths.all(model),
        megabytes: model.wheel.size.div_ceil(1_000_000),
    }
}

/// Whether one of Kenning's own directories contains the model.
///
/// # Errors
/// [`ModelError::Corrupt`], [`ModelError::Io`].
pub(crate) fn holds(
    directory: &Path,
    paths: &SearchPaths,
    model: &Model,
    depth: Depth,
) -> Result<bool, ModelError> {
    match verify_directory(directory, model, Some(&directory.join(STAMP_FILE)), depth)? {
        Finding::Intact => Ok(true),
        Finding::Absent => Ok(false),
        Finding::Corrupt { file, mismatch } => {
            // A file directly in the operator's directory may belong to another model.
            let theirs = paths.explicit.as_deref() == Some(directory);
            let advice = if theirs { MOVE_AWAY } else { PULL_REPLACES };
            Err(ModelError::Corrupt { file, mismatch, advice })
        }
    }
}

/// Skips a snapshot that differs or cannot be read: it may be another revision. The stamp is kept
/// in Kenning's cache, because the caches of other tools are not written to.
fn find_snapshot(paths: &SearchPaths, model: &Model, depth: Depth) -> Option<PathBuf> {
    paths.snapshots(model).into_iter().find(|snapshot| {
        let stamp = snapshot_stamp(paths, snapshot);
        matches!(verify_directory(snapshot, model, stamp.as_deref(), depth), Ok(Finding::Intact))
    })
}

fn snapshot_stamp(paths: &SearchPaths, snapshot: &Path) -> Option<PathBuf> {
    let revision = snapshot.file_name()?.to_string_lossy();
    Some(paths.cache.as_ref()?.join(format!("snapshot-{revision}{STAMP_FILE}")))
}
