use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::fixture::{Home, assert_holds_model, names_in, put_model, weights};
use crate::error::Mismatch;
use crate::locate::find;
use crate::search_paths::SearchPaths;
use crate::verify::Depth;
use crate::{MODEL_FILE, ModelError, TOKENIZER_FILE};

fn found(home: &Home) -> Result<PathBuf, ModelError> {
    find(&home.paths, &home.model, Depth::Stamp)
}

/// Changes a byte of a file, but not its length, and sets its modification time.
fn corrupt(path: &Path, modified: SystemTime) {
    let mut bytes = fs::read(path).unwrap();
    bytes[0] ^= 1;
    fs::write(path, bytes).unwrap();
    File::options().write(true).open(path).unwrap().set_modified(modified).unwrap();
}

#[test]
fn an_explicit_directory_is_the_only_one_searched() {
    let mut home = Home::new();
    put_model(&home.target());
    assert_eq!(found(&home).unwrap(), home.target());
    home.paths.explicit = Some(home.path("mine"));
    assert!(matches!(found(&home), Err(ModelError::NotFound { .. })));

    put_model(&home.path("mine/small/r1"));
    assert_eq!(found(&home).unwrap(), home.path("mine/small/r1"));

    put_model(&home.path("mine"));
    assert_eq!(found(&home).unwrap(), home.path("mine"));
}

#[cfg(unix)]
#[test]
fn a_hugging_face_snapshot_is_searched_last_and_not_written_to() {
    let home = Home::new();
    let snapshot = home.path("hub/models--small/snapshots/abc");
    put_model(&home.path("hub/models--small/blobs"));
    fs::create_dir_all(&snapshot).unwrap();
    for name in [MODEL_FILE, TOKENIZER_FILE] {
        let blob = Path::new("../../blobs").join(name);
        std::os::unix::fs::symlink(blob, snapshot.join(name)).unwrap();
    }
    assert_eq!(found(&home).unwrap(), snapshot);
    assert_eq!(found(&home).unwrap(), snapshot);
    assert_eq!(names_in(&snapshot), [MODEL_FILE, TOKENIZER_FILE]);

    put_model(&home.target());
    assert_eq!(found(&home).unwrap(), home.target());
}

#[test]
fn a_snapshot_with_other_bytes_is_skipped() {
    let home = Home::new();
    let (other, right) = ("hub/models--small/snapshots/aaa", "hub/models--small/snapshots/bbb");
    put_model(&home.path(other));
    corrupt(&home.path(other).join(MODEL_FILE), SystemTime::now());
    assert!(matches!(found(&home), Err(ModelError::NotFound { .. })));

    put_model(&home.path(right));
    assert_eq!(found(&home).unwrap(), home.path(right));
}

#[test]
fn a_missing_model_names_the_directories_and_the_remedies() {
    let mut home = Home::new();
    let message = found(&home).unwrap_err().to_string();
    for directory in ["cache/small/r1", "hub/models--small"] {
        let path = home.path(directory).display().to_string();
        assert!(message.contains(&path), "{path} is missing from: {message}");
    }
    home.paths.explicit = Some(home.path("mine"));
    let in_mine = found(&home).unwrap_err().to_string();
    assert!(in_mine.contains(&home.path("mine").display().to_string()), "{in_mine}");
    assert!(!in_mine.contains("cache/small"), "{in_mine}");
    for remedy in ["`kenning model pull`", "KENNING_MODEL_DIR", "--embedder"] {
        assert!(message.contains(remedy), "{remedy} is missing from: {message}");
    }
}

#[test]
fn a_model_with_a_missing_file_is_not_found() {
    let home = Home::new();
    put_model(&home.target());
    fs::remove_file(home.target().join(TOKENIZER_FILE)).unwrap();
    assert!(matches!(found(&home), Err(ModelError::NotFound { .. })));
}

#[test]
fn a_file_of_another_size_is_reported_as_corrupt() {
    let home = Home::new();
    put_model(&home.target());
    let file = home.target().join(MODEL_FILE);
    fs::write(&file, b"short").unwrap();
    let error = found(&home).unwrap_err();
    let message = error.to_string();
    assert!(message.contains(&file.display().to_string()), "{message}");
    assert!(message.contains("5 bytes") && message.contains("kenning model pull"), "{message}");
    let ModelError::Corrupt { mismatch, .. } = error else { panic!("{error:?}") };
    assert_eq!(mismatch, Mismatch::Size { expected: weights().len() as u64, found: 5 });
}

#[test]
fn a_changed_byte_is_detected_even_after_verification() {
    let home = Home::new();
    put_model(&home.target());
    found(&home).unwrap();
    let file = home.target().join(MODEL_FILE);
    let before = fs::metadata(&file).unwrap().modified().unwrap();
    corrupt(&file, before + Duration::from_secs(1));
    let error = found(&home).unwrap_err();
    let ModelError::Corrupt { mismatch, .. } = error else { panic!("{error:?}") };
    assert!(matches!(mismatch, Mismatch::Sha256 { .. }));
}

#[test]
fn a_stamp_skips_the_hashing_unless_a_full_verification_is_requested() {
    let home = Home::new();
    put_model(&home.target());
    found(&home).unwrap();
    let file = home.target().join(MODEL_FILE);
    corrupt(&file, fs::metadata(&file).unwrap().modified().unwrap());
    assert_eq!(found(&home).unwrap(), home.target());
    let verified = find(&home.paths, &home.model, Depth::Hash);
    assert!(matches!(verified, Err(ModelError::Corrupt { .. })));
}

#[test]
fn a_malformed_stamp_is_ignored() {
    let home = Home::new();
    put_model(&home.target());
    fs::write(home.target().join(".verified"), b"{]").unwrap();
    assert_eq!(found(&home).unwrap(), home.target());
    assert_holds_model(&home.target());
}

#[test]
fn the_environment_determines_the_caches_in_order() {
    let variable = |name: &str| -> Option<OsString> {
        match name {
            "HOME" => Some("/home/ada".into()),
            "HF_HOME" => Some("/hf".into()),
            "HF_HUB_CACHE" => Some("/hub".into()),
            _ => None,
        }
    };
    let paths = SearchPaths::from_variables(None, variable);
    assert_eq!(paths.cache, Some("/home/ada/.cache/kenning/models".into()));
    let hubs = ["/hub", "/hf/hub", "/home/ada/.cache/huggingface/hub"].map(PathBuf::from);
    assert_eq!(paths.hubs, hubs);
}

#[test]
fn a_cache_with_a_relative_path_is_ignored() {
    let variable = |name: &str| -> Option<OsString> {
        match name {
            "HOME" => Some("/home/ada".into()),
            "XDG_CACHE_HOME" => Some("cache".into()),
            _ => None,
        }
    };
    let paths = SearchPaths::from_variables(None, variable);
    assert_eq!(paths.cache, Some("/home/ada/.cache/kenning/models".into()));
}

#[test]
fn without_home_and_cache_there_is_no_directory_to_pull_to() {
    let home = Home::new();
    let paths = SearchPaths::from_variables(None, |_| None);
    assert!(matches!(paths.target(&home.model), Err(ModelError::NoDirectory)));
    let given = SearchPaths::from_variables(Some(Path::new("/models")), |_| None);
    assert_eq!(given.target(&home.model).unwrap(), Path::new("/models/small/r1"));
}
