//! The files of a folder.

use std::io;
use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use crate::Error;

/// The endings of files that are read.
const MARKDOWN: [&str; 3] = ["md", "markdown", "mdown"];
const TEXT: [&str; 2] = ["txt", "text"];

/// A folder, and what its facts are told by.
pub(super) struct Folder {
    root: PathBuf,
    pub(super) name: String,
}

/// A file in it.
pub(super) struct Entry {
    /// Relative to the folder, with `/` between its parts.
    pub(super) source: String,
    pub(super) path: PathBuf,
    pub(super) is_markdown: bool,
}

impl Folder {
    pub(super) fn open(path: &Path, name: Option<&str>) -> Result<Self, Error> {
        let unusable = |why: &str| Error::Usage(format!("{} {why}", path.display()));
        // `.` has a name, too.
        let root =
            path.canonicalize().map_err(|error| unusable(&format!("is unusable: {error}")))?;
        if !root.is_dir() {
            return Err(unusable("is no folder; use kenning import for a file"));
        }
        let own = root.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = name.map(str::to_owned).or(own).filter(|name| !name.trim().is_empty());
        let name = name.ok_or_else(|| unusable("has no name; give one with --name"))?;
        Ok(Self { root, name })
    }

    /// The files that are read, in the order of their names.
    pub(super) fn files(&self) -> Result<Vec<Entry>, Error> {
        let walk = WalkDir::new(&self.root).sort_by_file_name().into_iter();
        let mut files = Vec::new();
        for entry in walk.filter_entry(|entry| entry.depth() == 0 || !is_hidden(entry)) {
            let entry = entry.map_err(|error| {
                let what = error.path().unwrap_or(&self.root).display().to_string();
                let cause = error.into_io_error().unwrap_or_else(|| io::ErrorKind::Other.into());
                // What cannot be looked at might be there: nothing must be taken for removed.
                Error::Input { what, cause }
            })?;
            let kind = entry.path().extension().and_then(|ending| ending.to_str());
            let kind = kind.unwrap_or_default().to_ascii_lowercase();
            let is_markdown = MARKDOWN.contains(&&*kind);
            if entry.file_type().is_file() && (is_markdown || TEXT.contains(&&*kind)) {
                files.push(self.entry(entry.into_path(), is_markdown));
            }
        }
        Ok(files)
    }

    fn entry(&self, path: PathBuf, is_markdown: bool) -> Entry {
        let relative = path.strip_prefix(&self.root).unwrap_or(&path);
        let parts: Vec<_> = relative.iter().map(|part| part.to_string_lossy()).collect();
        Entry { source: parts.join("/"), path, is_markdown }
    }
}

fn is_hidden(entry: &DirEntry) -> bool {
    entry.file_name().as_encoded_bytes().starts_with(b".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markdown_and_text_are_found_and_hidden_files_links_and_others_are_not() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        std::fs::create_dir_all(at("sub/.git")).unwrap();
        for name in ["b.md", "a.TXT", "sub/c.markdown", "d.png", ".e.md", "sub/.git/f.md"] {
            std::fs::write(at(name), "x").unwrap();
        }
        std::os::unix::fs::symlink(at("b.md"), at("link.md")).unwrap();
        let folder = Folder::open(root.path(), Some("notes")).unwrap();
        let found = folder.files().unwrap();
        let sources: Vec<_> = found.iter().map(|entry| entry.source.as_str()).collect();
        assert_eq!(sources, ["a.TXT", "b.md", "sub/c.markdown"]);
        assert_eq!(
            found.iter().map(|entry| entry.is_markdown).collect::<Vec<_>>(),
            [false, true, true]
        );
    }

    #[test]
    fn a_folder_has_its_own_name_and_must_be_one() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("handbook");
        std::fs::create_dir(&path).unwrap();
        assert_eq!(Folder::open(&path, None).unwrap().name, "handbook");
        std::fs::write(path.join("a.md"), "x").unwrap();
        assert!(Folder::open(&path.join("a.md"), None).is_err());
        assert!(Folder::open(&root.path().join("none"), None).is_err());
    }
}
