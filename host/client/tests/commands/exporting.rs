use std::fs;
use std::path::Path;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use futures::StreamExt;
use kenning_client::{Exit, OutputFormat};

use crate::fake_server::{FakeServer, HUMAN, json, run, short_timeouts};

const FACTS: &str = concat!(
    r#"{"id":"b","content":"two","metadata":{"n":1.50},"timestamp":"t2"}"#,
    "\n",
    r#"{"id":"a","content":"one","metadata":{},"timestamp":"t1"}"#,
    "\n"
);

/// An export that ends in the middle of a chunk.
const TRUNCATED_IN_A_CHUNK: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\
    1c\r\n{\"id\":\"b\",\"content\":\"two\"}\n\n\r\n1c\r\n{\"id\":";
/// An export that ends between two chunks, without the final empty chunk.
const TRUNCATED_AFTER_A_LINE: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\
    1b\r\n{\"id\":\"b\",\"content\":\"two\"}\n\r\n";
/// A complete HTTP response with an incomplete line, as from a proxy.
const TRUNCATED_BY_A_PROXY: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n{\"id\":";

fn files(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[tokio::test]
async fn an_export_is_printed_unchanged_in_every_format() {
    for args in [&["export"][..], &["export", "--json"], &["export", "--output", "-"]] {
        for format in [OutputFormat::Plain, HUMAN] {
            let server = FakeServer::responding_json(FACTS).await;
            let outcome = server.run_in(format, args, "").await;
            assert_eq!(
                (outcome.exit, outcome.out.as_str(), outcome.err.as_str()),
                (Exit::Success, FACTS, "")
            );
            assert_eq!(server.only_request().line, "GET /v1/export");
        }
    }
}

#[tokio::test]
async fn a_file_contains_the_complete_export() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("facts.jsonl");
    fs::write(&path, "before").unwrap();
    let server =
        FakeServer::responding([json(200, FACTS), json(200, FACTS), json(200, FACTS)]).await;
    let args = ["export", "--output", path.to_str().unwrap()];
    let outcome = server.run(&args).await;
    assert_eq!(
        (outcome.exit, outcome.out.as_str()),
        (Exit::Success, "exported\t2\n"),
        "{}",
        outcome.err
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), FACTS);
    assert_eq!(files(directory.path()), ["facts.jsonl"]);
    let human = server.run_in(HUMAN, &args, "").await.out;
    assert_eq!(human, format!("Exported 2 facts to {}.\n", path.display()));
    assert_eq!(server.run(&["export", "--json", args[1], args[2]]).await.out, "");
}

#[tokio::test]
async fn an_empty_export_is_an_empty_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("facts.jsonl");
    let server = FakeServer::responding_json("").await;
    let outcome = server.run(&["export", "-o", path.to_str().unwrap()]).await;
    assert_eq!((outcome.exit, outcome.out.as_str()), (Exit::Success, "exported\t0\n"));
    assert_eq!(fs::read(&path).unwrap(), b"");
}

#[tokio::test]
async fn a_truncated_export_creates_no_file_and_keeps_an_existing_one() {
    for response in [TRUNCATED_IN_A_CHUNK, TRUNCATED_AFTER_A_LINE, TRUNCATED_BY_A_PROXY] {
        let directory = tempfile::tempdir().unwrap();
        let (new, old) = (directory.path().join("new"), directory.path().join("old"));
        fs::write(&old, "before").unwrap();
        let server = FakeServer::sending_raw(response).await;
        for path in [&new, &old] {
            let outcome = server.run(&["export", "--output", path.to_str().unwrap()]).await;
            assert_eq!(
                (outcome.exit, outcome.out.as_str()),
                (Exit::Unreachable, ""),
                "{}",
                outcome.err
            );
        }
        assert_eq!(files(directory.path()), ["old"]);
        assert_eq!(fs::read_to_string(&old).unwrap(), "before");
    }
}

#[tokio::test]
async fn a_truncated_export_to_standard_output_is_reported() {
    let outcome = FakeServer::sending_raw(TRUNCATED_AFTER_A_LINE).await.run(&["export"]).await;
    assert_eq!(outcome.exit, Exit::Unreachable);
    assert_eq!(outcome.out, "{\"id\":\"b\",\"content\":\"two\"}\n");
    assert!(outcome.err.contains("The output is incomplete"), "{}", outcome.err);
}

#[tokio::test]
async fn a_stalled_export_times_out() {
    let router = Router::new().fallback(|| async {
        let first = futures::stream::iter([Ok::<_, std::io::Error>("{}\n")]);
        Response::new(Body::from_stream(first.chain(futures::stream::pending())))
    });
    let server = FakeServer::with_router(router).await;
    let outcome =
        run(&server.url, OutputFormat::Plain, &["export"], std::io::empty(), short_timeouts())
            .await;
    assert_eq!((outcome.exit, outcome.out.as_str()), (Exit::Unreachable, "{}\n"));
    assert!(outcome.err.contains("no data from"), "{}", outcome.err);
}

#[tokio::test]
async fn a_rejected_export_creates_no_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("facts.jsonl");
    let body = r#"{"status":"error","code":"forbidden","message":"m"}"#;
    let server = FakeServer::responding([json(403, body)]).await;
    let outcome = server.run(&["export", "--output", path.to_str().unwrap()]).await;
    assert_eq!(outcome.exit, Exit::Failed);
    assert!(files(directory.path()).is_empty());
}

#[tokio::test]
async fn a_directory_or_a_missing_parent_is_rejected() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("no/such/directory/facts.jsonl");
    let server = FakeServer::responding([]).await;
    let into = |path: &Path| ["export", "--output", path.to_str().unwrap()].map(str::to_owned);
    let directory = into(directory.path());
    let outcome = server.run(&directory.each_ref().map(String::as_str)).await;
    assert_eq!(outcome.exit, Exit::Usage, "{}", outcome.err);
    let missing = into(&missing);
    let outcome = server.run(&missing.each_ref().map(String::as_str)).await;
    assert_eq!(outcome.exit, Exit::Failed, "{}", outcome.err);
    assert!(outcome.err.contains("cannot write"), "{}", outcome.err);
    assert!(server.requests().is_empty());
}

#[cfg(unix)]
#[tokio::test]
async fn a_link_is_kept_and_its_target_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let (file, link) = (directory.path().join("file"), directory.path().join("link"));
    fs::write(&file, "before").unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let server = FakeServer::responding_json(FACTS).await;
    assert_eq!(server.run(&["export", "-o", link.to_str().unwrap()]).await.exit, Exit::Success);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(&file).unwrap(), FACTS);
}
