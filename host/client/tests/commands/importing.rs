use std::io::{self, Read};

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use kenning_client::{Exit, OutputFormat, Timeouts};
use tokio::io::AsyncWriteExt;
use tokio::sync::Notify;

use crate::fake_server::{FakeServer, HUMAN, json, listen, read_head, run, short_timeouts};

const WHOLE: &str =
    r#"{"status":"success","imported":2,"failed":0,"lines":2,"errors":[],"took_ms":1500}"#;
const PARTIAL: &str = concat!(
    r#"{"status":"error","code":"rejected","message":"1 of 1201 lines were refused","#,
    r#""imported":1200,"failed":1,"first_refused_line":2,"lines":1201,"errors":["#,
    r#"{"status":"error","line":2,"code":"invalid_request","message":"not JSON\u001b[2J"}"#,
    r#"],"took_ms":40}"#
);
const ENDED: &str = concat!(
    r#"{"status":"error","code":"quota_exceeded","#,
    r#""message":"the import stopped after line 49: full","#,
    r#""details":{"limit":"facts"},"imported":49,"failed":287,"first_refused_line":50,"#,
    r#""lines":336,"errors":[{"line":50,"code":"quota_exceeded","message":"full"}],"took_ms":40}"#
);

fn whole() -> Response {
    json(200, WHOLE)
}

#[tokio::test]
async fn a_file_is_sent_unchanged() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("facts.jsonl");
    let lines = "{\"content\":\"one\"}\n{\"content\":\"two\"}";
    std::fs::write(&path, lines).unwrap();
    let server = FakeServer::responding([whole()]).await;
    let outcome = server.run_in(HUMAN, &["import", path.to_str().unwrap()], "").await;
    assert_eq!((outcome.exit, outcome.err.as_str()), (Exit::Success, ""));
    assert_eq!(outcome.out, "Imported 2 facts in 1.5 s.\n");
    let request = server.only_request();
    assert_eq!((request.line.as_str(), request.body.as_str()), ("POST /v1/import", lines));
    assert_eq!(request.header("content-type"), Some("application/x-ndjson"));
    assert!(request.header("x-kenning-import-id").is_some_and(|id| id.len() == 24));
}

#[tokio::test]
async fn another_format_is_sent_as_lines_and_refusals_name_its_records() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notes.csv");
    std::fs::write(&path, "id,text,topic\na,one,tea\nb,,\nc,three,\n").unwrap();
    let refusal = concat!(
        r#"{"status":"error","code":"rejected","message":"1 of 2 lines were refused","#,
        r#""imported":1,"failed":1,"first_refused_line":2,"lines":2,"errors":["#,
        r#"{"status":"error","line":2,"code":"conflict","message":"taken"}],"took_ms":40}"#
    );
    let server = FakeServer::responding([json(422, refusal)]).await;
    let arguments = ["import", path.to_str().unwrap(), "--format", "csv"];
    let outcome = server.run_in(OutputFormat::Plain, &arguments, "").await;
    assert_eq!(outcome.exit, Exit::Failed);
    let expected = "line 3: not imported: it has no text\nline 4: conflict: taken\n";
    assert_eq!(outcome.err, expected);
    let sent = server.only_request().body;
    let lines = "{\"id\":\"a\",\"content\":\"one\",\"metadata\":{\"topic\":\"tea\"}}\n\
                 {\"id\":\"c\",\"content\":\"three\"}\n";
    assert_eq!(sent, lines);
    let server = FakeServer::responding([]).await;
    let dry = [&arguments[..], &["--dry-run"]].concat();
    let outcome = server.run_in(OutputFormat::Plain, &dry, "").await;
    assert_eq!((outcome.exit, outcome.out.as_str()), (Exit::Failed, lines), "one is no fact");
}

#[tokio::test]
async fn options_of_another_format_are_refused() {
    let server = FakeServer::responding([]).await;
    for arguments in [
        &["import", "-", "--text-column", "body"][..],
        &["import", "-", "--dry-run"],
        &["import", "-", "--format", "mem0", "--delimiter", ";"],
        &["import", "-", "--format", "mem0"],
    ] {
        let outcome = server.run_in(OutputFormat::Plain, arguments, "no JSON").await;
        assert_eq!(outcome.exit, Exit::Usage, "{arguments:?}: {}", outcome.err);
    }
}

#[tokio::test]
async fn failed_lines_are_reported_by_number_and_change_the_exit_code() {
    let responses = || [json(422, PARTIAL)];
    let plain = FakeServer::responding(responses())
        .await
        .run_in(OutputFormat::Plain, &["import", "-"], "x")
        .await;
    assert_eq!(plain.exit, Exit::Failed);
    assert_eq!(plain.err, "line 2: invalid_request: not JSON\u{fffd}[2J\n");
    assert_eq!(plain.out, "imported\t1200\nfailed\t1\nlines\t1201\n");
    let human =
        FakeServer::responding(responses()).await.run_in(HUMAN, &["import", "-"], "x").await;
    assert_eq!(human.out, "Imported 1,200 facts in 0.0 s; 1 line failed.\n");
}

#[tokio::test]
async fn json_is_printed_unchanged() {
    for (status, body) in [(422, PARTIAL), (429, ENDED)] {
        let outcome = FakeServer::responding([json(status, body)])
            .await
            .run(&["import", "-", "--json"])
            .await;
        assert_eq!((outcome.exit, outcome.out), (Exit::Failed, format!("{body}\n")));
        assert_eq!(outcome.err, "");
    }
}

#[tokio::test]
async fn an_import_that_ended_early_says_what_was_taken_and_why_it_ended() {
    let server = FakeServer::responding([json(429, ENDED)]).await;
    let outcome = server.run_in(HUMAN, &["import", "-"], "x").await;
    assert_eq!(
        (outcome.exit, outcome.out.as_str()),
        (Exit::Failed, "Imported 49 facts in 0.0 s; 287 lines failed.\n")
    );
    assert!(
        outcome.err.starts_with("line 50: quota_exceeded: full\n286 lines more not imported\n"),
        "{}",
        outcome.err
    );
    assert!(
        outcome.err.contains("quota_exceeded: the import stopped after line 49"),
        "{}",
        outcome.err
    );
}

/// A server that answers an import once it was asked how far it is.
#[tokio::test]
async fn an_import_is_followed_by_its_id_and_its_progress_keeps_it_from_timing_out() {
    static ASKED: Notify = Notify::const_new();
    async fn answer(request: Request) -> Response {
        let path = request.uri().path().to_owned();
        if path == "/v1/import" {
            ASKED.notified().await;
            return whole();
        }
        assert!(path.starts_with("/v1/imports/kenning-"), "{path}");
        ASKED.notify_one();
        json(200, r#"{"imported":1,"failed":0,"lines":1,"waiting_for":"storage is slow"}"#)
    }
    let server = FakeServer::with_router(Router::new().fallback(answer)).await;
    let outcome = server.run_in(HUMAN, &["import", "-"], "x\n").await;
    assert_eq!((outcome.exit, outcome.err.as_str()), (Exit::Success, ""));
}

#[tokio::test]
async fn with_wait_the_command_returns_when_no_fact_is_pending() {
    let pending = |facts| json(200, &format!("{{\"facts\":9,\"pending\":{facts}}}"));
    let responses = [whole(), pending(2), pending(1), pending(0)];
    let server = FakeServer::responding(responses).await;
    let outcome = server.run_in(HUMAN, &["import", "-", "--wait"], "x").await;
    assert_eq!((outcome.exit, outcome.err.as_str()), (Exit::Success, ""));
    assert_eq!(outcome.out, "Imported 2 facts in 1.5 s.\nEvery fact has its vector.\n");
    assert_eq!(server.requests().len(), 4);
}

#[tokio::test]
async fn with_wait_vectors_that_are_not_made_are_said() {
    let pending = || json(200, "{\"facts\":9,\"pending\":2}");
    let responses = [whole(), pending(), pending(), pending(), pending()];
    let server = FakeServer::responding(responses).await;
    let timeouts = Timeouts { idle: short_timeouts().idle, ..Timeouts::default() };
    let arguments = ["import", "-", "--wait"];
    let outcome = run(&server.url, OutputFormat::Plain, &arguments, io::empty(), timeouts).await;
    assert_eq!(outcome.exit, Exit::Failed);
    assert!(outcome.err.contains("2 of the tenant's facts have no vector yet"), "{}", outcome.err);
}

#[tokio::test]
async fn an_api_error_is_reported_if_the_server_does_not_read_the_request() {
    let body = r#"{"status":"error","code":"unauthorized","message":"unknown key"}"#;
    let router = Router::new().fallback(move || async move { json(401, body) });
    let server = FakeServer::with_router(router).await;
    let endless = io::repeat(b'x');
    let timeouts = Timeouts::default();
    let outcome = run(&server.url, OutputFormat::Plain, &["import", "-"], endless, timeouts).await;
    assert_eq!((outcome.exit, outcome.out.as_str()), (Exit::Failed, ""));
    assert!(outcome.err.contains("unauthorized: unknown key"), "{}", outcome.err);
}

#[tokio::test]
async fn an_api_error_lost_in_a_connection_reset_is_requested_again() {
    let (listener, address) = listen().await;
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_head(&mut stream).await;
        // Dropping it with unread bytes resets the connection.
        drop(stream);
        let (mut stream, _) = listener.accept().await.unwrap();
        read_head(&mut stream).await;
        let body = r#"{"status":"error","code":"forbidden","message":"not yours"}"#;
        let head = format!("HTTP/1.1 403 Forbidden\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    });
    let url = format!("http://{address}");
    let (endless, timeouts) = (io::repeat(b'x'), Timeouts::default());
    let outcome = run(&url, OutputFormat::Plain, &["import", "-"], endless, timeouts).await;
    assert_eq!((outcome.exit, outcome.out.as_str()), (Exit::Failed, ""));
    assert!(outcome.err.contains("forbidden: not yours"), "{}", outcome.err);
    server.await.unwrap();
}

#[tokio::test]
async fn a_response_without_counts_is_an_error() {
    for answer in ["", "{}\n", "<html>\n", r#"{"status":"success","imported":1"#] {
        let outcome = FakeServer::responding([json(200, answer)]).await.run(&["import", "-"]).await;
        assert_eq!(
            (outcome.exit, outcome.out.as_str()),
            (Exit::Unreachable, ""),
            "{}",
            outcome.err
        );
        assert!(
            outcome.err.contains("It is unknown how many lines were imported"),
            "{}",
            outcome.err
        );
    }
}

#[tokio::test]
async fn an_answer_that_is_cut_is_an_error() {
    let server = FakeServer::sending_raw(
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\
          15\r\n{\"status\":\"success\",\"\r\n",
    )
    .await;
    let outcome = server.run_in(OutputFormat::Plain, &["import", "-"], "x\n").await;
    assert_eq!((outcome.exit, outcome.out.as_str()), (Exit::Unreachable, ""), "{}", outcome.err);
    assert!(outcome.err.contains("It is unknown how many lines"), "{}", outcome.err);
}

#[tokio::test]
async fn a_server_that_stops_reading_times_out() {
    let router = Router::new().fallback(std::future::pending::<()>);
    let server = FakeServer::with_router(router).await;
    let endless = io::repeat(b'x');
    let outcome =
        run(&server.url, OutputFormat::Plain, &["import", "-"], endless, short_timeouts()).await;
    assert_eq!(outcome.exit, Exit::Unreachable);
    assert!(outcome.err.contains("no data from"), "{}", outcome.err);
}

/// Input that is slower than the idle timeout.
struct Slow {
    left: u8,
}

impl Read for Slow {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Ok(0);
        }
        self.left -= 1;
        std::thread::sleep(short_timeouts().idle * 4);
        buffer[..2].copy_from_slice(b"x\n");
        Ok(2)
    }
}

#[tokio::test]
async fn slow_input_does_not_cause_a_timeout() {
    let server = FakeServer::responding([whole()]).await;
    let timeouts = Timeouts { idle: short_timeouts().idle, ..Timeouts::default() };
    let slow = Slow { left: 2 };
    let outcome = run(&server.url, OutputFormat::Plain, &["import", "-"], slow, timeouts).await;
    assert_eq!(outcome.exit, Exit::Success, "{}", outcome.err);
    assert_eq!(server.only_request().body, "x\nx\n");
}

struct BadDisk;

impl Read for BadDisk {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("bad sector"))
    }
}

#[tokio::test]
async fn unreadable_input_is_reported_as_such() {
    let server = FakeServer::responding([whole()]).await;
    let timeouts = Timeouts::default();
    let outcome = run(&server.url, OutputFormat::Plain, &["import", "-"], BadDisk, timeouts).await;
    assert_eq!((outcome.exit, outcome.out.as_str()), (Exit::Failed, ""));
    assert!(outcome.err.contains("cannot read standard input: bad sector"), "{}", outcome.err);
}

#[tokio::test]
async fn a_file_that_cannot_be_opened_is_a_usage_error() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing.jsonl");
    let server = FakeServer::responding([]).await;
    for path in [missing.as_path(), directory.path()] {
        let outcome = server.run(&["import", path.to_str().unwrap()]).await;
        assert_eq!(outcome.exit, Exit::Usage);
        assert!(outcome.err.contains("cannot read"), "{}", outcome.err);
    }
    assert!(server.requests().is_empty());
}
