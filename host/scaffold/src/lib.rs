//! New projects for extensions: `kenning new extension NAME`.
//!
//! A project is complete. It holds the contract and, in Rust, the SDK, because neither is
//! on any registry; all of it is in the binary (see `templates`), so no network is needed
//! to write a project and a project fits the `kenning` that wrote it.

mod name;
mod templates;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub use name::NameError;
pub use templates::Language;

/// Why a project was not written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Name(#[from] NameError),
    #[error("{} is there already; choose another name, or remove it first", .0.display())]
    Exists(PathBuf),
    #[error("cannot write {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
}

/// Writes a project for an extension called `name` into a new folder of that name in
/// `parent`, and gives its path. What fails leaves nothing behind.
pub fn new_extension(parent: &Path, name: &str, language: Language) -> Result<PathBuf, Error> {
    name::check(name)?;
    let root = parent.join(name);
    // A folder that was not there a moment ago is nobody's but ours.
    fs::create_dir(&root).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => Error::Exists(root.clone()),
        _ => Error::Write { path: root.clone(), source },
    })?;
    let written = templates::files(language, name).try_for_each(|(path, text)| {
        let path = root.join(path);
        write(&path, &text).map_err(|source| Error::Write { path, source })
    });
    if written.is_err() {
        // The error that is told is why it failed, not whether this worked.
        let _ = fs::remove_dir_all(&root);
    }
    written.map(|()| root)
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, text)
}

#[cfg(test)]
mod tests;
