use std::path::PathBuf;
use std::sync::Mutex;

use crate::model::Model;
use crate::{Event, ModelError, PlainLines, Progress, Source};

#[test]
fn plain_lines_report_each_tenth_once() {
    let lines = Mutex::new(Vec::new());
    let plain = PlainLines::new(|line: &str| lines.lock().unwrap().push(line.to_owned()));
    for done in (0..=100_000_000).step_by(1_000_000) {
        plain.report(Event::Bytes { done, total: 100_000_000 });
    }
    let lines = lines.lock().unwrap();
    assert_eq!(lines.len(), 10);
    assert_eq!(lines[0], "10.0 MB of 100.0 MB");
    assert_eq!(lines[9], "100.0 MB of 100.0 MB");
}

#[test]
fn plain_lines_report_the_bytes_again_after_a_restart() {
    let lines = Mutex::new(Vec::new());
    let plain = PlainLines::new(|line: &str| lines.lock().unwrap().push(line.to_owned()));
    for done in [50, 0, 50] {
        plain.report(Event::Bytes { done, total: 100 });
    }
    assert_eq!(lines.lock().unwrap().len(), 2);
}

#[test]
fn a_source_is_pip_a_path_or_a_url() {
    let parsed = |text: &str| text.parse::<Source>().unwrap();
    assert_eq!(parsed("pip"), Source::Pip);
    assert_eq!(parsed("file:wheels/a.whl"), Source::Path(PathBuf::from("wheels/a.whl")));
    assert_eq!(parsed("file:///a%20b.whl"), Source::Path(PathBuf::from("/a b.whl")));
    let url = "https://mirror.example/a.whl";
    assert_eq!(parsed(url), Source::Url(url.parse().unwrap()));
}

#[test]
fn anything_else_is_not_a_source() {
    for given in ["", "file:", "hub", "ftp://mirror.example/a.whl", "/a.whl"] {
        let parsed = given.parse::<Source>();
        assert!(matches!(parsed, Err(ModelError::BadSource { .. })), "{given}: {parsed:?}");
    }
}

#[test]
fn a_password_is_not_repeated_in_an_error_message() {
    let error =
        "ftp://user:secret@mirror.example/a.whl?token=secret".parse::<Source>().unwrap_err();
    assert!(!error.to_string().contains("secret"), "{error}");
}

#[test]
fn the_directory_of_a_model_is_named_after_its_weights() {
    let model = Model::minilm();
    assert!(model.files[0].pin.sha256.starts_with(&model.revision));
    for pin in model.files.iter().map(|file| &file.pin).chain([&model.wheel]) {
        assert!(pin.sha256.len() == 64 && pin.sha256.bytes().all(|b| b.is_ascii_hexdigit()));
    }
}
