use std::fs;
use std::path::Path;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use futures::StreamExt;
use kenning_client::{Exit, Form};

use crate::fake::{Fake, HUMAN, impatient, json, run};

const FACTS: &str = concat!(
    r#"{"id":"b","content":"two","metadata":{"n":1.50},"timestamp":"t2"}"#,
    "\n",
    r#"{"id":"a","content":"one","metadata":{},"timestamp":"t1"}"#,
    "\n"
);

/// An export that ends in the middle of a chunk.
const CUT_IN_A_CHUNK: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\
    1c\r\n{\"id\":\"b\",\"content\":\"two\"}\n\n\r\n1c\r\n{\"id\":";
/// One that ends between two, without the last and empty one.
const CUT_AT_A_LINE: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\
    1b\r\n{\"id\":\"b\",\"content\":\"two\"}\n\r\n";
/// One that a proxy ended properly.
const CUT_BEHIND_A_PROXY: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n{\"id\":";

fn files(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[tokio::test]
async fn an_export_is_printed_as_it_came_in_every_form() {
    for args in [&["export"][..], &["export", "--json"], &["export", "--output", "-"]] {
        for form in [Form::Plain, HUMAN] {
            let fake = Fake::saying(FACTS).await;
            let ran = fake.run_in(form, args, "").await;
            assert_eq!((ran.exit, ran.out.as_str(), ran.err.as_str()), (Exit::Done, FACTS, ""));
            assert_eq!(fake.only_asked().line, "GET /v1/export");
        }
    }
}

#[tokio::test]
async fn a_file_holds_the_whole_export() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("facts.jsonl");
    fs::write(&path, "before").unwrap();
    let fake = Fake::answering([json(200, FACTS), json(200, FACTS), json(200, FACTS)]).await;
    let args = ["export", "--output", path.to_str().unwrap()];
    let ran = fake.run(&args).await;
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Done, "exported\t2\n"), "{}", ran.err);
    assert_eq!(fs::read_to_string(&path).unwrap(), FACTS);
    assert_eq!(files(directory.path()), ["facts.jsonl"]);
    let human = fake.run_in(HUMAN, &args, "").await.out;
    assert_eq!(human, format!("Exported 2 facts to {}.\n", path.display()));
    assert_eq!(fake.run(&["export", "--json", args[1], args[2]]).await.out, "");
}

#[tokio::test]
async fn an_empty_export_is_an_empty_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("facts.jsonl");
    let fake = Fake::saying("").await;
    let ran = fake.run(&["export", "-o", path.to_str().unwrap()]).await;
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Done, "exported\t0\n"));
    assert_eq!(fs::read(&path).unwrap(), b"");
}

#[tokio::test]
async fn an_export_that_is_cut_leaves_no_file_and_the_one_before_it_alone() {
    for cut in [CUT_IN_A_CHUNK, CUT_AT_A_LINE, CUT_BEHIND_A_PROXY] {
        let directory = tempfile::tempdir().unwrap();
        let (new, old) = (directory.path().join("new"), directory.path().join("old"));
        fs::write(&old, "before").unwrap();
        let fake = Fake::blurting(cut).await;
        for path in [&new, &old] {
            let ran = fake.run(&["export", "--output", path.to_str().unwrap()]).await;
            assert_eq!((ran.exit, ran.out.as_str()), (Exit::Unreachable, ""), "{}", ran.err);
        }
        assert_eq!(files(directory.path()), ["old"]);
        assert_eq!(fs::read_to_string(&old).unwrap(), "before");
    }
}

#[tokio::test]
async fn an_export_that_is_cut_on_standard_output_is_told() {
    let ran = Fake::blurting(CUT_AT_A_LINE).await.run(&["export"]).await;
    assert_eq!(ran.exit, Exit::Unreachable);
    assert_eq!(ran.out, "{\"id\":\"b\",\"content\":\"two\"}\n");
    assert!(ran.err.contains("not all there are"), "{}", ran.err);
}

#[tokio::test]
async fn an_export_that_falls_silent_ends() {
    let router = Router::new().fallback(|| async {
        let first = futures::stream::iter([Ok::<_, std::io::Error>("{}\n")]);
        Response::new(Body::from_stream(first.chain(futures::stream::pending())))
    });
    let fake = Fake::routing(router).await;
    let ran = run(&fake.url, Form::Plain, &["export"], std::io::empty(), impatient()).await;
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Unreachable, "{}\n"));
    assert!(ran.err.contains("was silent"), "{}", ran.err);
}

#[tokio::test]
async fn a_refused_export_leaves_no_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("facts.jsonl");
    let body = r#"{"status":"error","code":"forbidden","message":"m"}"#;
    let fake = Fake::answering([json(403, body)]).await;
    let ran = fake.run(&["export", "--output", path.to_str().unwrap()]).await;
    assert_eq!(ran.exit, Exit::Refused);
    assert!(files(directory.path()).is_empty());
}

#[tokio::test]
async fn what_is_no_file_is_not_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("no/such/directory/facts.jsonl");
    let fake = Fake::answering([]).await;
    let into = |path: &Path| ["export", "--output", path.to_str().unwrap()].map(str::to_owned);
    let directory = into(directory.path());
    let ran = fake.run(&directory.each_ref().map(String::as_str)).await;
    assert_eq!(ran.exit, Exit::Usage, "{}", ran.err);
    let missing = into(&missing);
    let ran = fake.run(&missing.each_ref().map(String::as_str)).await;
    assert_eq!(ran.exit, Exit::Refused, "{}", ran.err);
    assert!(ran.err.contains("cannot write"), "{}", ran.err);
    assert!(fake.asked().is_empty());
}

#[cfg(unix)]
#[tokio::test]
async fn a_link_stays_a_link_and_the_file_it_leads_to_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let (file, link) = (directory.path().join("file"), directory.path().join("link"));
    fs::write(&file, "before").unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let fake = Fake::saying(FACTS).await;
    assert_eq!(fake.run(&["export", "-o", link.to_str().unwrap()]).await.exit, Exit::Done);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(&file).unwrap(), FACTS);
}
