use std::io::{self, Write};

use axum::Router;
use axum::response::Response;
use kenning_client::{Exit, OutputFormat, Terminal, Timeouts, execute};

use crate::fake_server::{FakeServer, Sink, json, listen, parse, run, short_timeouts};

const REFUSAL: &str = concat!(
    r#"{"status":"error","code":"invalid_filter","message":"unknown operator `near`","#,
    r#""retryable":false,"blame":"caller","details":{"pointer":"/filter/topic/near"}}"#,
);

#[tokio::test]
async fn an_api_error_is_printed_with_code_message_and_details() {
    let server = FakeServer::responding([json(400, REFUSAL)]).await;
    let outcome = server.run(&["search", "x", "--filter", r#"{"topic":{"near":1}}"#]).await;
    assert_eq!((outcome.exit, outcome.out.as_str()), (Exit::Failed, ""));
    assert_eq!(
        outcome.err,
        "error: invalid_filter: unknown operator `near`\n  \
         details: {\"pointer\":\"/filter/topic/near\"}\n"
    );
}

#[tokio::test]
async fn an_api_error_as_json_goes_to_standard_output() {
    let server = FakeServer::responding([json(400, REFUSAL)]).await;
    let outcome = server.run(&["search", "x", "--json"]).await;
    assert_eq!((outcome.exit, outcome.out), (Exit::Failed, format!("{REFUSAL}\n")));
    assert!(outcome.err.starts_with("error: invalid_filter"), "{}", outcome.err);
}

#[tokio::test]
async fn a_quota_error_says_when_to_retry_and_names_the_request() {
    let body = r#"{"status":"error","code":"quota_exceeded","message":"m","retryable":true}"#;
    let mut answer = json(429, body);
    answer.headers_mut().insert("retry-after", "7".parse().unwrap());
    answer.headers_mut().insert("x-request-id", "r-1".parse().unwrap());
    let outcome = FakeServer::responding([answer]).await.run(&["store", "x"]).await;
    assert_eq!(outcome.exit, Exit::Failed);
    assert_eq!(outcome.err, "error: quota_exceeded: m\n  try again in 7 s\n  request: r-1\n");
}

#[tokio::test]
async fn a_missing_fact_has_its_own_exit_code() {
    let body = r#"{"status":"error","code":"not_found","message":"no fact `x`"}"#;
    for command in [&["get", "x"][..], &["delete", "x"], &["update", "x", "--text", "y"]] {
        let server = FakeServer::responding([json(404, body)]).await;
        assert_eq!(server.run(command).await.exit, Exit::NotFound);
    }
}

#[tokio::test]
async fn a_404_from_another_kind_of_server_is_not_a_missing_fact() {
    let page = "<html>\n<h1>404 \u{1b}[2JNot Found</h1></html>";
    let answer = Response::builder().status(404).body(page.into()).unwrap();
    let outcome = FakeServer::responding([answer]).await.run(&["get", "x"]).await;
    assert_eq!(outcome.exit, Exit::Failed);
    assert!(
        outcome.err.contains("404 Not Found with a body that is not Kenning's"),
        "{}",
        outcome.err
    );
    assert!(
        outcome.err.contains("Is there a proxy") && !outcome.err.contains('\u{1b}'),
        "{}",
        outcome.err
    );
}

#[tokio::test]
async fn a_success_from_another_kind_of_server_is_rejected() {
    for (command, body) in [("stats", "<html>welcome</html>"), ("list", "[]"), ("list", "")] {
        let outcome = FakeServer::responding_json(body).await.run(&[command, "--json"]).await;
        assert_eq!((outcome.exit, outcome.out.as_str()), (Exit::Failed, ""), "{}", outcome.err);
    }
}

#[tokio::test]
async fn a_redirect_is_reported_and_not_followed() {
    let answer = Response::builder()
        .status(302)
        .header("location", "http://login.example/")
        .body("".into())
        .unwrap();
    let server = FakeServer::responding([answer]).await;
    let outcome = server.run(&["store", "x"]).await;
    assert!(outcome.err.contains("a redirect to http://login.example/"), "{}", outcome.err);
    assert_eq!((outcome.exit, server.requests().len()), (Exit::Failed, 1));
}

#[tokio::test]
async fn an_unreachable_server_is_named_with_a_remedy() {
    let (listener, address) = listen().await;
    drop(listener);
    let url = format!("http://{address}");
    for command in [&["stats"][..], &["import", "-"], &["export"], &["stats", "--json"]] {
        let outcome =
            run(&url, OutputFormat::Plain, command, io::empty(), Timeouts::default()).await;
        assert_eq!((outcome.exit, outcome.out.as_str()), (Exit::Unreachable, ""));
        assert!(
            outcome.err.contains(&url) && outcome.err.contains("kenning serve"),
            "{}",
            outcome.err
        );
    }
}

#[tokio::test]
async fn a_server_that_does_not_respond_times_out() {
    let router = Router::new().fallback(std::future::pending::<()>);
    let server = FakeServer::with_router(router).await;
    let outcome =
        run(&server.url, OutputFormat::Plain, &["store", "x"], io::empty(), short_timeouts()).await;
    assert_eq!(outcome.exit, Exit::Unreachable);
    assert!(outcome.err.contains(" for 0.05 s"), "{}", outcome.err);
}

#[tokio::test]
async fn a_connection_closed_during_the_response_is_reported() {
    let server =
        FakeServer::sending_raw(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"half\":").await;
    let outcome = server.run(&["stats", "--json"]).await;
    assert_eq!((outcome.exit, outcome.out.as_str()), (Exit::Unreachable, ""));
    assert!(outcome.err.contains("incomplete or invalid response"), "{}", outcome.err);
}

/// Output whose reader has closed it, as `head` does.
struct ClosedPipe;

impl Write for ClosedPipe {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_closed_pipe_ends_the_command_without_an_error() {
    let page = r#"{"facts":[{"id":"a","content":"x"}],"next_cursor":"c"}"#;
    let server = FakeServer::responding([json(200, page)]).await;
    let err = Sink::default();
    let mut terminal = Terminal::new(io::empty(), ClosedPipe, err.clone(), OutputFormat::Plain);
    let command = parse(&server.url, &["list", "--all"]);
    let exit = execute(command, &mut terminal, Timeouts::default()).await;
    assert_eq!((exit, err.text().as_str()), (Exit::Success, ""));
    assert_eq!(server.requests().len(), 1);
}

/// A server that compiles what others sent before answers nothing for minutes.
#[tokio::test]
async fn a_swap_is_waited_for_longer_than_other_responses() {
    let report = r#"{"generation":2,"digest":"sha256:00","promoted":true,"checks":[],"took_ms":1}"#;
    let router = Router::new().fallback(move || async move {
        tokio::time::sleep(4 * short_timeouts().response).await;
        json(200, report)
    });
    let server = FakeServer::with_router(router).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    for command in [&["extension", "install", "x", path][..], &["logic", "promote", path]] {
        let ran = run(&server.url, OutputFormat::Plain, command, io::empty(), short_timeouts());
        let outcome = ran.await;
        assert_eq!(outcome.exit, Exit::Success, "{}", outcome.err);
    }
}
