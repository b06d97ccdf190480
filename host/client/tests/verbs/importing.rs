use std::io::{self, Read, Write};
use std::sync::mpsc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::response::Response;
use futures::StreamExt;
use kenning_client::{Exit, Form, Patience, Terminal, execute};

use tokio::io::AsyncWriteExt;

use crate::fake::{Fake, HUMAN, Sink, impatient, json, listen, parse, read_head, run};

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
async fn a_file_is_sent_as_it_stands() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("facts.jsonl");
    let lines = "{\"content\":\"one\"}\n{\"content\":\"two\"}";
    std::fs::write(&path, lines).unwrap();
    let fake = Fake::answering([ndjson(WHOLE)]).await;
    let ran = fake.run_in(HUMAN, &["import", path.to_str().unwrap()], "").await;
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Done, ""));
    assert_eq!(ran.out, "Imported 2 facts in 1.5 s.\n");
    let asked = fake.only_asked();
    assert_eq!((asked.line.as_str(), asked.body.as_str()), ("POST /v1/import", lines));
    assert_eq!(asked.header("content-type"), Some("application/x-ndjson"));
}

#[tokio::test]
async fn bad_lines_are_told_by_number_and_the_exit_code_says_that_there_were_some() {
    let answers = || [ndjson(PARTIAL)];
    let plain = Fake::answering(answers()).await.run_in(Form::Plain, &["import", "-"], "x").await;
    assert_eq!(plain.exit, Exit::Refused);
    assert_eq!(plain.err, "line 2: invalid_request: not JSON\u{fffd}[2J\n");
    assert_eq!(plain.out, "imported\t1200\nfailed\t1\nlines\t1201\n");
    let human = Fake::answering(answers()).await.run_in(HUMAN, &["import", "-"], "x").await;
    assert_eq!(human.out, "Imported 1,200 facts in 0.0 s; 1 line failed.\n");
}

#[tokio::test]
async fn json_is_printed_line_by_line_as_it_came() {
    let fake = Fake::answering([ndjson(PARTIAL)]).await;
    let ran = fake.run(&["import", "-", "--json"]).await;
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Refused, PARTIAL));
    assert_eq!(ran.err, "");
}

/// Reports every line that is written to it.
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

/// A bad line, and the rest only once standard error told of it.
struct Dialogue {
    told: mpsc::Receiver<String>,
    step: u8,
}

impl Read for Dialogue {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.step += 1;
        let line: &[u8] = match self.step {
            1 => b"bad\n",
            2 => {
                while !self.told.recv().map_err(io::Error::other)?.contains("bad line") {}
                b"{\"content\":\"good\"}\n"
            }
            _ => return Ok(0),
        };
        buffer[..line.len()].copy_from_slice(line);
        Ok(line.len())
    }
}

/// Answers about the first line before it reads the second.
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
async fn a_bad_line_is_told_while_the_rest_is_still_to_be_sent() {
    let fake = Fake::routing(Router::new().fallback(converse)).await;
    let (sender, told) = mpsc::channel();
    let out = Sink::default();
    let input = Dialogue { told, step: 0 };
    let mut terminal = Terminal::new(input, out.clone(), Lines(sender), Form::Plain);
    let verb = parse(&fake.url, &["import", "-"]);
    assert_eq!(execute(verb, &mut terminal, Patience::default()).await, Exit::Refused);
    assert_eq!(out.text(), "imported\t1\nfailed\t1\nlines\t2\n");
}

#[tokio::test]
async fn a_refusal_arrives_although_the_server_reads_nothing() {
    let body = r#"{"status":"error","code":"unauthorized","message":"unknown key"}"#;
    let router = Router::new().fallback(move || async move { json(401, body) });
    let fake = Fake::routing(router).await;
    let endless = io::repeat(b'x');
    let patience = Patience::default();
    let ran = run(&fake.url, Form::Plain, &["import", "-"], endless, patience).await;
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Refused, ""));
    assert!(ran.err.contains("unauthorized: unknown key"), "{}", ran.err);
}

#[tokio::test]
async fn a_refusal_that_was_lost_to_a_reset_is_asked_for_again() {
    let (listener, address) = listen().await;
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_head(&mut stream).await;
        // Dropped with bytes unread: a reset.
        drop(stream);
        let (mut stream, _) = listener.accept().await.unwrap();
        read_head(&mut stream).await;
        let body = r#"{"status":"error","code":"forbidden","message":"not yours"}"#;
        let head = format!("HTTP/1.1 403 Forbidden\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    });
    let url = format!("http://{address}");
    let (endless, patience) = (io::repeat(b'x'), Patience::default());
    let ran = run(&url, Form::Plain, &["import", "-"], endless, patience).await;
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Refused, ""));
    assert!(ran.err.contains("forbidden: not yours"), "{}", ran.err);
    server.await.unwrap();
}

#[tokio::test]
async fn an_answer_without_its_summary_is_an_error() {
    let bad = "{\"status\":\"error\",\"line\":1,\"code\":\"c\",\"message\":\"m\"}\n";
    for answer in ["", bad, "{}\n", "<html>\n"] {
        let ran = Fake::answering([ndjson(answer)]).await.run(&["import", "-"]).await;
        assert_eq!((ran.exit, ran.out.as_str()), (Exit::Unreachable, ""), "{}", ran.err);
        assert!(ran.err.contains("How many lines were imported is unknown"), "{}", ran.err);
    }
}

#[tokio::test]
async fn an_answer_that_is_cut_is_an_error() {
    let fake = Fake::blurting(
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\
          43\r\n{\"status\":\"error\",\"line\":1,\"code\":\"invalid_request\",\
          \"message\":\"m\"}\n\r\n",
    )
    .await;
    let ran = fake.run_in(Form::Plain, &["import", "-"], "x\n").await;
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Unreachable, ""), "{}", ran.err);
    assert!(ran.err.starts_with("line 1: invalid_request: m\n"), "{}", ran.err);
}

#[tokio::test]
async fn a_server_that_gives_up_in_the_middle_says_why_once() {
    let gone = r#"{"status":"error","code":"storage_unavailable","message":"Redis not available"}"#;
    let fake = Fake::answering([ndjson(gone), ndjson(gone)]).await;
    let plain = fake.run(&["import", "-"]).await;
    assert_eq!((plain.exit, plain.out.as_str()), (Exit::Refused, ""));
    assert!(plain.err.contains("storage_unavailable: Redis not available"), "{}", plain.err);
    assert_eq!(fake.run(&["import", "-", "--json"]).await.out, format!("{gone}\n"));
}

#[tokio::test]
async fn a_server_that_stops_reading_does_not_hold_the_import_up() {
    let router = Router::new().fallback(std::future::pending::<()>);
    let fake = Fake::routing(router).await;
    let endless = io::repeat(b'x');
    let ran = run(&fake.url, Form::Plain, &["import", "-"], endless, impatient()).await;
    assert_eq!(ran.exit, Exit::Unreachable);
    assert!(ran.err.contains("was silent"), "{}", ran.err);
}

/// Lines that come more slowly than a silent server would be waited for.
struct Slow {
    left: u8,
}

impl Read for Slow {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Ok(0);
        }
        self.left -= 1;
        std::thread::sleep(impatient().silence * 4);
        buffer[..2].copy_from_slice(b"x\n");
        Ok(2)
    }
}

#[tokio::test]
async fn slow_input_is_not_a_silent_server() {
    let fake = Fake::answering([ndjson(WHOLE)]).await;
    let patience = Patience { silence: impatient().silence, ..Patience::default() };
    let slow = Slow { left: 2 };
    let ran = run(&fake.url, Form::Plain, &["import", "-"], slow, patience).await;
    assert_eq!(ran.exit, Exit::Done, "{}", ran.err);
    assert_eq!(fake.only_asked().body, "x\nx\n");
}

struct BadDisk;

impl Read for BadDisk {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("bad sector"))
    }
}

#[tokio::test]
async fn input_that_cannot_be_read_is_not_the_servers_fault() {
    let fake = Fake::answering([ndjson(WHOLE)]).await;
    let patience = Patience::default();
    let ran = run(&fake.url, Form::Plain, &["import", "-"], BadDisk, patience).await;
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Refused, ""));
    assert!(ran.err.contains("cannot read standard input: bad sector"), "{}", ran.err);
}

#[tokio::test]
async fn a_file_that_cannot_be_opened_is_a_wrong_command_line() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing.jsonl");
    let fake = Fake::answering([]).await;
    for path in [missing.as_path(), directory.path()] {
        let ran = fake.run(&["import", path.to_str().unwrap()]).await;
        assert_eq!(ran.exit, Exit::Usage);
        assert!(ran.err.contains("cannot read"), "{}", ran.err);
    }
    assert!(fake.asked().is_empty());
}
