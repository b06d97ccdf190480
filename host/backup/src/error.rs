//! What can be wrong with a backup.

use std::io;
use std::path::{Path, PathBuf};

/// Why a backup cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A file cannot be read or written.
    #[error("{}: {cause}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system reported.
        cause: io::Error,
    },
    /// It is not what was written; the text says where.
    #[error("the backup is damaged: {0}")]
    Damaged(String),
    /// It ends early.
    #[error("the backup is incomplete: {0}")]
    Incomplete(String),
    /// A newer version wrote it.
    #[error(
        "the backup has format {format}, which Kenning {version} wrote; this Kenning {own} reads \
         formats up to {known}; use the newer Kenning", own = env!("CARGO_PKG_VERSION"),
        known = crate::FORMAT
    )]
    Newer {
        /// Its format.
        format: u32,
        /// The version that wrote it.
        version: String,
    },
    /// The folder or file is something else; the text says what.
    #[error("{0}")]
    Other(String),
}

impl BackupError {
    pub(crate) fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        |cause| Self::File { path, cause }
    }

    /// The same, with where it is.
    pub(crate) fn at(self, place: &str) -> Self {
        match self {
            Self::Damaged(what) => Self::Damaged(format!("{place}: {what}")),
            Self::Incomplete(what) => Self::Incomplete(format!("{place}: {what}")),
            other => other,
        }
    }
}
