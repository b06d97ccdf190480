use std::io::{self, Read, Write};
use std::sync::mpsc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::response::Response;
use futures::StreamExt;
use kenning_client::{Exit, OutputFormat, Terminal, Timeouts, execute};

use tokio::io::AsyncWriteExt;

use crate::fake_server::{
    FakeServer, HUMAN, Sink, json, listen, parse, read_head, run, short_timeouts,
};

const WHOLE: &str = r#"{"status":"success","imported":2,"failed":0,"lines":2,"took_ms":1500}"#;
const PARTIAL: &str = concat!(
    r#"{"status":"error","line":2,"code":"invalid_request","message":"not JSON\u001b[2J"}"#,
    "\n",
    r#"{"status":"partial","imported":1200,"failed":1,"lines":1201,"took_ms":40}"#,
    "\n"
);

fn ndjson(body: impl Into<Body>) -> Response {
    Response::builder().header("content-type", "application/x-ndjson").body(body.into()).unwrap()
}

#[tokio::test]
async fn a_file_is_sent_unchanged() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("facts.jsonl");
    let lines = "{\"content\":\"one\"}\n{\"content\":\"two\"}";
    std::fs::write(&path, lines).unwrap();
    let server = FakeServer::responding([ndjson(WHOLE)]).await;
    let outcome = server.run_in(HUMAN, &["import", path.to_str().unwrap()], "").await;
    assert_eq!((outcome.exit, outcome.err.as_str()), (Exit::Success, ""));
    assert_eq!(outcome.out, "Imported 2 facts in 1.5 s.\n");
    let request = server.only_request();
    assert_eq!((request.line.as_str(), request.body.as_str()), ("POST /v1/import", lines));
    assert_eq!(request.header("content-type"), Some("application/x-ndjson"));
}

#[tokio::test]
async fn failed_lines_are_reported_by_number_and_change_the_exit_code() {
    let responses = || [ndjson(PARTIAL)];
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
async fn json_is_printed_line_by_line_unchanged() {
    let server = FakeServer::responding([ndjson(PARTIAL)]).await;
    let outcome = server.run(&["import", "-", "--json"]).await;
    assert_eq!((outcome.exit, outcome.out.as_str()), (Exit::Failed, PARTIAL));
    assert_eq!(outcome.err, "");
}

/// Sends every line written to it over the channel.
struct Lines(mpsc::Sender<String>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.send(String::from_utf8_lossy(bytes).into_owned());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An invalid line, and the next line only after standard error has reported it.
struct Dialogue {
    reported: mpsc::Receiver<String>,
    step: u8,
}

impl Read for Dialogue {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.step += 1;
        let line: &[u8] = match self.step {
            1 => b"bad\n",
            2 => {
                while !self.reported.recv().map_err(io::Error::other)?.contains("bad line") {}
                b"{\"content\":\"good\"}\n"
            }
            _ => return Ok(0),
        };
        buffer[..line.len()].copy_from_slice(line);
        Ok(line.len())
    }
}

/// Responds to the first line before reading the second.
async fn converse(request: Request) -> Response {
    let mut body = request.into_body().into_data_stream();
    let first = body.next().await.unwrap().unwrap();
    assert_eq!(first, "bad\n");
    let bad = r#"{"status":"error","line":1,"code":"invalid_request","message":"bad line"}"#;
    let summary = async move {
        let mut rest = Vec::new();
        while let Some(chunk) = body.next().await {
            rest.extend_from_slice(&chunk.unwrap());
        }
        assert_eq!(rest, b"{\"content\":\"good\"}\n");
        let summary = r#"{"status":"partial","imported":1,"failed":1,"lines":2,"took_ms":1}"#;
        Ok::<_, io::Error>(Bytes::from(summary))
    };
    let bad = futures::future::ready(Ok(Bytes::from(format!("{bad}\n"))));
    ndjson(Body::from_stream(futures::stream::once(bad).chain(futures::stream::once(summary))))
}

#[tokio::test]
async fn a_failed_line_is_reported_before_the_rest_is_sent() {
    let server = FakeServer::with_router(Router::new().fallback(converse)).await;
    let (sender, reported) = mpsc::channel();
    let out = Sink::default();
    let input = Dialogue { reported, step: 0 };
    let mut terminal = Terminal::new(input, out.clone(), Lines(sender), OutputFormat::Plain);
    let command = parse(&server.url, &["import", "-"]);
    assert_eq!(execute(command, &mut terminal, Timeouts::default()).await, Exit::Failed);
    assert_eq!(out.text(), "imported\t1\nfailed\t1\nlines\t2\n");
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
async fn a_response_without_a_summary_is_an_error() {
    let bad = "{\"status\":\"error\",\"line\":1,\"code\":\"c\",\"message\":\"m\"}\n";
    for answer in ["", bad, "{}\n", "<html>\n"] {
        let outcome = FakeServer::responding([ndjson(answer)]).await.run(&["import", "-"]).await;
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
          43\r\n{\"status\":\"error\",\"line\":1,\"code\":\"invalid_request\",\
          \"message\":\"m\"}\n\r\n",
    )
    .await;
    let outcome = server.run_in(OutputFormat::Plain, &["import", "-"], "x\n").await;
    assert_eq!((outcome.exit, outcome.out.as_str()), (Exit::Unreachable, ""), "{}", outcome.err);
    assert!(outcome.err.starts_with("line 1: invalid_request: m\n"), "{}", outcome.err);
}

#[tokio::test]
async fn a_server_that_gives_up_in_the_middle_says_why_once() {
    let gone = r#"{"status":"error","code":"storage_unavailable","message":"Redis not available"}"#;
    let server = FakeServer::responding([ndjson(gone), ndjson(gone)]).await;
    let plain = server.run(&["import", "-"]).await;
    assert_eq!((plain.exit, plain.out.as_str()), (Exit::Failed, ""));
    assert!(plain.err.contains("storage_unavailable: Redis not available"), "{}", plain.err);
    assert_eq!(server.run(&["import", "-", "--json"]).await.out, format!("{gone}\n"));
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
    let server = FakeServer::responding([ndjson(WHOLE)]).await;
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
    let server = FakeServer::responding([ndjson(WHOLE)]).await;
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
