//! Creates extension projects, for `kenning new extension NAME`.
//!
//! A project is complete. It contains the contract (`wit/`) and, in Rust, the SDK, because neither
//! is published on a registry. All files are embedded in the binary (see `templates`), so creating
//! a project needs no network, and a project matches the `kenning` that created it.
//!
//! [`new_extension`] is the only entry point; [`Language`] selects the template.
//!
//! ```
//! use kenning_scaffold::{Error, Language, new_extension};
//!
//! let parent = tempfile::tempdir()?;
//! let root = new_extension(parent.path(), "hello", Language::Python)?;
//! assert!(root.join("src/app.py").is_file());
//!
//! // An existing directory is never changed.
//! let again = new_extension(parent.path(), "hello", Language::Rust);
//! assert!(matches!(again, Err(Error::Exists(_))));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![deny(missing_docs)]

mod name;
mod templates;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub use name::NameError;
pub use templates::Language;

/// Why no project was created.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name is not allowed.
    #[error(transparent)]
    Name(#[from] NameError),
    /// There is a file or directory of that name.
    #[error("{} already exists; choose another name, or remove it first", .0.display())]
    Exists(PathBuf),
    /// A file or directory could not be written. What was written before it was removed again.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system reported.
        source: io::Error,
    },
}

/// Creates a project for the extension `name` in a new directory of that name in `parent`, and
/// returns the path of the directory. On failure nothing is left behind.
///
/// # Errors
/// [`Error::Name`] if the name is not allowed, [`Error::Exists`] if the directory exists, and
/// [`Error::Write`] if a file cannot be written.
pub fn new_extension(parent: &Path, name: &str, language: Language) -> Result<PathBuf, Error> {
    name::validate(name)?;
    let root = parent.join(name);
    // Fails if it exists, so everything in the directory is ours to remove on failure.
    fs::create_dir(&root).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => Error::Exists(root.clone()),
        _ => Error::Write { path: root.clone(), source },
    })?;
    let written = templates::files(language, name).try_for_each(|(path, text)| {
        let path = root.join(path);
        write(&path, &text).map_err(|source| Error::Write { path, source })
    });
    if written.is_err() {
        // The first error is the one to report.
        let _ = fs::remove_dir_all(&root);
    }
    written.map(|()| root)
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    fs::write(path, text)
}

#[cfg(test)]
mod tests;
