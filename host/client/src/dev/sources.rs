//! Detects changes of a project's sources.
//!
//! The watcher only reports that something happened in a directory; comparing two [`Sources`] shows
//! whether a source changed. So files written by a build do not start another one, and a save
//! during a build is not missed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::Error;

/// Maximum number of files. A directory with more is probably not a project, and scanning it would
/// be slow.
const MAX_FILES: usize = 5_000;

/// An editor may write a file in several steps. After this long without a change it is complete.
const SETTLE_TIME: Duration = Duration::from_millis(30);

/// Names of files and directories that builds write.
const BUILD_OUTPUTS: [&str; 5] =
    ["target", "node_modules", "__pycache__", "Cargo.lock", "package-lock.json"];

/// A snapshot of the files of a project.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sources {
    /// Modification time and length in bytes of each file.
    files: BTreeMap<PathBuf, (SystemTime, u64)>,
    directories: BTreeSet<PathBuf>,
}

impl Sources {
    pub(super) fn read(root: &Path) -> Result<Self, Error> {
        let mut sources = Self::default();
        sources
            .collect(root)
            .map_err(|cause| Error::Input { what: root.display().to_string(), cause })?;
        match sources.files.len() > MAX_FILES {
            true => Err(Error::Usage(format!(
                "{} contains more than {MAX_FILES} files, so it is not an extension's project",
                root.display()
            ))),
            false => Ok(sources),
        }
    }

    fn collect(&mut self, directory: &Path) -> io::Result<()> {
        self.directories.insert(directory.to_path_buf());
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            if self.files.len() > MAX_FILES || is_build_output(&entry.file_name().to_string_lossy())
            {
                continue;
            }
            // The file may have been removed meanwhile.
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                self.collect(&entry.path())?;
            } else if metadata.is_file() {
                let changed = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                self.files.insert(entry.path(), (changed, metadata.len()));
            }
        }
        Ok(())
    }
}

fn is_build_output(name: &str) -> bool {
    name.starts_with('.') || name.ends_with(".wasm") || BUILD_OUTPUTS.contains(&name)
}

/// Waits for changes in a project's directories.
pub(super) struct Watcher {
    watcher: RecommendedWatcher,
    watched: BTreeSet<PathBuf>,
    changes: mpsc::Receiver<()>,
}

impl Watcher {
    pub(super) fn start() -> Result<Self, Error> {
        let (sender, changes) = mpsc::channel(1);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let reads = matches!(&event, Ok(event) if matches!(event.kind, EventKind::Access(_)));
            if !reads {
                // If the channel is full, a change is reported already.
                let _ = sender.try_send(());
            }
        });
        let watcher = watcher.map_err(|error| watch_error(&error))?;
        Ok(Self { watcher, watched: BTreeSet::new(), changes })
    }

    /// Watches exactly the directories of these sources.
    pub(super) fn watch(&mut self, sources: &Sources) -> Result<(), Error> {
        for gone in self.watched.difference(&sources.directories) {
            // Fails if the directory was removed, which also ends the watch.
            let _ = self.watcher.unwatch(gone);
        }
        for new in sources.directories.difference(&self.watched) {
            self.watcher
                .watch(new, RecursiveMode::NonRecursive)
                .map_err(|error| watch_error(&error))?;
        }
        self.watched = sources.directories.clone();
        Ok(())
    }

    /// Waits until something changes.
    pub(super) async fn changed(&mut self) {
        // Never `None`: the watcher, which holds the sender, lives as long as `self`.
        let _ = self.changes.recv().await;
    }

    /// Waits until the sources do not change any more.
    pub(super) async fn settle(&mut self, root: &Path) -> Result<(), Error> {
        let mut before = Sources::read(root)?;
        loop {
            sleep(SETTLE_TIME).await;
            let now = Sources::read(root)?;
            if now == before {
                return Ok(());
            }
            before = now;
        }
    }
}

fn watch_error(error: &notify::Error) -> Error {
    let what = "changes of the project's directories".to_owned();
    Error::Input { what, cause: io::Error::other(error.to_string()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("src/deep")).unwrap();
        fs::write(root.path().join("src/deep/a.rs"), "one").unwrap();
        fs::write(root.path().join("Makefile"), "x:\n").unwrap();
        root
    }

    #[test]
    fn build_outputs_are_not_sources() {
        let root = project();
        let before = Sources::read(root.path()).unwrap();
        assert_eq!((before.files.len(), before.directories.len()), (2, 3));
        for directory in ["target/release", "node_modules/x", "src/__pycache__", ".venv/bin"] {
            fs::create_dir_all(root.path().join(directory)).unwrap();
            fs::write(root.path().join(directory).join("file.js"), "x").unwrap();
        }
        for file in ["hello.wasm", "Cargo.lock", "package-lock.json", ".swp"] {
            fs::write(root.path().join(file), "x").unwrap();
        }
        assert_eq!(Sources::read(root.path()).unwrap(), before);
    }

    #[test]
    fn changed_new_and_removed_files_are_detected() {
        let root = project();
        let path = root.path().join("src/deep/a.rs");
        let mut seen = vec![Sources::read(root.path()).unwrap()];
        fs::write(&path, "longer").unwrap();
        seen.push(Sources::read(root.path()).unwrap());
        fs::write(root.path().join("src/b.rs"), "").unwrap();
        seen.push(Sources::read(root.path()).unwrap());
        fs::remove_file(&path).unwrap();
        seen.push(Sources::read(root.path()).unwrap());
        for (at, one) in seen.iter().enumerate() {
            assert!(!seen[..at].contains(one));
        }
    }

    #[test]
    fn a_directory_with_too_many_files_is_not_a_project() {
        let root = tempfile::tempdir().unwrap();
        for n in 0..=MAX_FILES {
            fs::write(root.path().join(n.to_string()), "").unwrap();
        }
        let error = Sources::read(root.path()).unwrap_err();
        assert!(error.to_string().contains("more than 5000 files"), "{error}");
    }

    #[tokio::test]
    async fn a_save_is_detected_even_in_a_new_directory() {
        let root = project();
        let mut watcher = Watcher::start().unwrap();
        watcher.watch(&Sources::read(root.path()).unwrap()).unwrap();
        fs::create_dir(root.path().join("src/new")).unwrap();
        watcher.changed().await;
        watcher.watch(&Sources::read(root.path()).unwrap()).unwrap();
        while watcher.changes.try_recv().is_ok() {}
        fs::write(root.path().join("src/new/c.rs"), "x").unwrap();
        watcher.changed().await;
        watcher.settle(root.path()).await.unwrap();
    }
}
