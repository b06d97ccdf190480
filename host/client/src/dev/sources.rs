//! What a project is made of, and when it changed.
//!
//! The watch only says that something stirred; whether a source changed is seen from
//! the sources. So what a build writes wakes nobody for long, and a save while a build
//! runs is not lost.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::Error;

/// Files of a project at most: a folder with more is none, and would be slow to look at.
const FILES: usize = 5_000;

/// An editor writes a file in several steps: this long without one, and it is written.
const SETTLED: Duration = Duration::from_millis(30);

/// What builds write.
const BUILT: [&str; 5] =
    ["target", "node_modules", "__pycache__", "Cargo.lock", "package-lock.json"];

/// The files of a project, as they were at one moment.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sources {
    files: BTreeMap<PathBuf, (SystemTime, u64)>,
    folders: BTreeSet<PathBuf>,
}

impl Sources {
    pub(super) fn read(root: &Path) -> Result<Self, Error> {
        let mut sources = Self::default();
        sources
            .collect(root)
            .map_err(|cause| Error::Input { what: root.display().to_string(), cause })?;
        match sources.files.len() > FILES {
            true => Err(Error::Usage(format!(
                "{} holds more than {FILES} files, so it is no extension's project",
                root.display()
            ))),
            false => Ok(sources),
        }
    }

    fn collect(&mut self, folder: &Path) -> io::Result<()> {
        self.folders.insert(folder.to_path_buf());
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if self.files.len() > FILES || is_built(&entry.file_name().to_string_lossy()) {
                continue;
            }
            // What is gone again already is no source.
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

fn is_built(name: &str) -> bool {
    name.starts_with('.') || name.ends_with(".wasm") || BUILT.contains(&name)
}

/// Wakes when something in a project's folders stirs.
pub(super) struct Watch {
    watcher: RecommendedWatcher,
    watched: BTreeSet<PathBuf>,
    stirs: mpsc::Receiver<()>,
}

impl Watch {
    pub(super) fn start() -> Result<Self, Error> {
        let (sender, stirs) = mpsc::channel(1);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let reads = matches!(&event, Ok(event) if matches!(event.kind, EventKind::Access(_)));
            if !reads {
                // A full channel says already what this would.
                let _ = sender.try_send(());
            }
        });
        let watcher = watcher.map_err(|error| unwatched(&error))?;
        Ok(Self { watcher, watched: BTreeSet::new(), stirs })
    }

    /// Watches the folders of these sources, and no others.
    pub(super) fn follow(&mut self, sources: &Sources) -> Result<(), Error> {
        for gone in self.watched.difference(&sources.folders) {
            // A folder that is gone is not watched any more.
            let _ = self.watcher.unwatch(gone);
        }
        for new in sources.folders.difference(&self.watched) {
            self.watcher
                .watch(new, RecursiveMode::NonRecursive)
                .map_err(|error| unwatched(&error))?;
        }
        self.watched = sources.folders.clone();
        Ok(())
    }

    /// Waits until something stirs.
    pub(super) async fn stirred(&mut self) {
        // The watcher, which holds the sender, lives as long as this.
        let _ = self.stirs.recv().await;
    }

    /// Waits until the sources stay as they are.
    pub(super) async fn settle(&mut self, root: &Path) -> Result<(), Error> {
        let mut before = Sources::read(root)?;
        loop {
            sleep(SETTLED).await;
            let now = Sources::read(root)?;
            if now == before {
                return Ok(());
            }
            before = now;
        }
    }
}

fn unwatched(error: &notify::Error) -> Error {
    let what = "the project's folders for changes".to_owned();
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
    fn what_a_build_writes_is_no_source() {
        let root = project();
        let before = Sources::read(root.path()).unwrap();
        assert_eq!((before.files.len(), before.folders.len()), (2, 3));
        for folder in ["target/release", "node_modules/x", "src/__pycache__", ".venv/bin"] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
            fs::write(root.path().join(folder).join("file.js"), "x").unwrap();
        }
        for file in ["hello.wasm", "Cargo.lock", "package-lock.json", ".swp"] {
            fs::write(root.path().join(file), "x").unwrap();
        }
        assert_eq!(Sources::read(root.path()).unwrap(), before);
    }

    #[test]
    fn a_change_a_new_file_and_a_file_that_is_gone_are_seen() {
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
    fn a_folder_of_too_many_files_is_no_project() {
        let root = tempfile::tempdir().unwrap();
        for n in 0..=FILES {
            fs::write(root.path().join(n.to_string()), "").unwrap();
        }
        let refused = Sources::read(root.path()).unwrap_err();
        assert!(refused.to_string().contains("more than 5000 files"), "{refused}");
    }

    #[tokio::test]
    async fn a_save_wakes_who_watches_also_in_a_folder_that_is_new() {
        let root = project();
        let mut watch = Watch::start().unwrap();
        watch.follow(&Sources::read(root.path()).unwrap()).unwrap();
        fs::create_dir(root.path().join("src/new")).unwrap();
        watch.stirred().await;
        watch.follow(&Sources::read(root.path()).unwrap()).unwrap();
        while watch.stirs.try_recv().is_ok() {}
        fs::write(root.path().join("src/new/c.rs"), "x").unwrap();
        watch.stirred().await;
        watch.settle(root.path()).await.unwrap();
    }
}
