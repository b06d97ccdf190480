use std::io::{self, Write};

use axum::Router;
use axum::response::Response;
use kenning_client::{Exit, Form, Patience, Terminal, execute};

use crate::fake::{Fake, Sink, impatient, json, listen, parse, run};

const REFUSAL: &str = concat!(
    r#"{"status":"error","code":"invalid_filter","message":"unknown operator `near`","#,
    r#""retryable":false,"blame":"caller","details":{"pointer":"/filter/topic/near"}}"#,
);

#[tokio::test]
async fn a_refusal_is_told_with_its_code_its_message_and_its_details() {
    let fake = Fake::answering([json(400, REFUSAL)]).await;
    let ran = fake.run(&["search", "x", "--filter", r#"{"topic":{"near":1}}"#]).await;
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Refused, ""));
    assert_eq!(
        ran.err,
        "error: invalid_filter: unknown operator `near`\n  \
         details: {\"pointer\":\"/filter/topic/near\"}\n"
    );
}

#[tokio::test]
async fn a_refusal_as_json_goes_to_standard_output() {
    let fake = Fake::answering([json(400, REFUSAL)]).await;
    let ran = fake.run(&["search", "x", "--json"]).await;
    assert_eq!((ran.exit, ran.out), (Exit::Refused, format!("{REFUSAL}\n")));
    assert!(ran.err.starts_with("error: invalid_filter"), "{}", ran.err);
}

#[tokio::test]
async fn a_quota_says_when_to_try_again_and_names_the_request() {
    let body = r#"{"status":"error","code":"quota_exceeded","message":"m","retryable":true}"#;
    let mut answer = json(429, body);
    answer.headers_mut().insert("retry-after", "7".parse().unwrap());
    answer.headers_mut().insert("x-request-id", "r-1".parse().unwrap());
    let ran = Fake::answering([answer]).await.run(&["store", "x"]).await;
    assert_eq!(ran.exit, Exit::Refused);
    assert_eq!(ran.err, "error: quota_exceeded: m\n  try again in 7 s\n  request: r-1\n");
}

#[tokio::test]
async fn a_fact_that_is_not_there_has_an_exit_code_of_its_own() {
    let body = r#"{"status":"error","code":"not_found","message":"no fact `x`"}"#;
    for verb in [&["get", "x"][..], &["delete", "x"], &["update", "x", "--text", "y"]] {
        let fake = Fake::answering([json(404, body)]).await;
        assert_eq!(fake.run(verb).await.exit, Exit::NotFound);
    }
}

#[tokio::test]
async fn a_404_of_another_server_is_not_a_missing_fact() {
    let page = "<html>\n<h1>404 \u{1b}[2JNot Found</h1></html>";
    let answer = Response::builder().status(404).body(page.into()).unwrap();
    let ran = Fake::answering([answer]).await.run(&["get", "x"]).await;
    assert_eq!(ran.exit, Exit::Refused);
    assert!(ran.err.contains("404 Not Found with something that is not Kenning's"), "{}", ran.err);
    assert!(ran.err.contains("Is there a proxy") && !ran.err.contains('\u{1b}'), "{}", ran.err);
}

#[tokio::test]
async fn a_success_that_is_not_kennings_is_not_believed() {
    for (verb, said) in [("stats", "<html>welcome</html>"), ("list", "[]"), ("list", "")] {
        let ran = Fake::saying(said).await.run(&[verb, "--json"]).await;
        assert_eq!((ran.exit, ran.out.as_str()), (Exit::Refused, ""), "{}", ran.err);
    }
}

#[tokio::test]
async fn a_redirect_is_told_and_not_followed() {
    let answer = Response::builder()
        .status(302)
        .header("location", "http://login.example/")
        .body("".into())
        .unwrap();
    let fake = Fake::answering([answer]).await;
    let ran = fake.run(&["store", "x"]).await;
    assert!(ran.err.contains("a redirect to http://login.example/"), "{}", ran.err);
    assert_eq!((ran.exit, fake.asked().len()), (Exit::Refused, 1));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_with_what_to_do() {
    let (listener, address) = listen().await;
    drop(listener);
    let url = format!("http://{address}");
    for verb in [&["stats"][..], &["import", "-"], &["export"], &["stats", "--json"]] {
        let ran = run(&url, Form::Plain, verb, io::empty(), Patience::default()).await;
        assert_eq!((ran.exit, ran.out.as_str()), (Exit::Unreachable, ""));
        assert!(ran.err.contains(&url) && ran.err.contains("kenning serve"), "{}", ran.err);
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_does_not_hold_a_verb_up() {
    let router = Router::new().fallback(std::future::pending::<()>);
    let fake = Fake::routing(router).await;
    let ran = run(&fake.url, Form::Plain, &["store", "x"], io::empty(), impatient()).await;
    assert_eq!(ran.exit, Exit::Unreachable);
    assert!(ran.err.contains("was silent for 0.05 s"), "{}", ran.err);
}

#[tokio::test]
async fn a_connection_that_breaks_before_the_answer_is_told() {
    let fake = Fake::blurting(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"half\":").await;
    let ran = fake.run(&["stats", "--json"]).await;
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Unreachable, ""));
    assert!(ran.err.contains("broke off its answer"), "{}", ran.err);
}

/// A reader that has gone, as `head` does.
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
async fn a_closed_pipe_ends_the_work_quietly() {
    let page = r#"{"facts":[{"id":"a","content":"x"}],"next_cursor":"c"}"#;
    let fake = Fake::answering([json(200, page)]).await;
    let err = Sink::default();
    let mut terminal = Terminal::new(io::empty(), ClosedPipe, err.clone(), Form::Plain);
    let verb = parse(&fake.url, &["list", "--all"]);
    let exit = execute(verb, &mut terminal, Patience::default()).await;
    assert_eq!((exit, err.text().as_str()), (Exit::Done, ""));
    assert_eq!(fake.asked().len(), 1);
}
