use axum::body::Body;
use axum::response::Response;
use kenning_client::{Exit, OutputFormat};

use crate::fake_server::{FakeServer, HUMAN, json};

const EVENTS: &str = "retry: 1000\nid: 6\n\n\
    id: 7\nevent: stored\ndata: {\"kind\":\"stored\",\"id\":\"a\",\"revision\":7}\n\n:\n\
    id: 12\nevent: gap\ndata: {\"kind\":\"gap\",\"from\":7,\"to\":12}\n\n\
    id: 13\nevent: deleted\ndata: {\"kind\":\"deleted\",\"id\":\"a\",\"revision\":13}\n\n\
    id: 14\n\n";

fn events(text: &'static str) -> Response {
    let response = Response::builder().header("content-type", "text/event-stream");
    response.body(Body::from(text)).unwrap()
}

#[tokio::test]
async fn changes_are_lines_of_json_unless_a_person_reads_them() {
    for format in [OutputFormat::Plain, OutputFormat::Json] {
        let server = FakeServer::responding([events(EVENTS)]).await;
        let outcome = server.run_in(format, &["changes"], "").await;
        assert_eq!(
            outcome.out,
            "{\"kind\":\"stored\",\"id\":\"a\",\"revision\":7}\n\
             {\"kind\":\"gap\",\"from\":7,\"to\":12}\n\
             {\"kind\":\"deleted\",\"id\":\"a\",\"revision\":13}\n"
        );
        assert_eq!((outcome.exit, outcome.err.as_str()), (Exit::Success, ""));
        assert_eq!(server.only_request().line, "GET /v1/changes?after=0&follow=false");
    }
    let server = FakeServer::responding([events(EVENTS)]).await;
    let outcome = server.run_in(HUMAN, &["changes", "--after", "6"], "").await;
    assert_eq!(outcome.out, "       7  stored   a\n      13  deleted  a\n");
    assert!(outcome.err.contains("after 7 up to 12"), "{}", outcome.err);
    assert_eq!(server.only_request().line, "GET /v1/changes?after=6&follow=false");
}

#[tokio::test]
async fn following_goes_on_where_the_stream_ended_and_ends_with_what_stays() {
    let refused = r#"{"code":"unauthorized","message":"revoked"}"#;
    let busy = r#"{"code":"overloaded","message":"busy","retryable":true}"#;
    let more = "id: 15\ndata: {\"kind\":\"changed\",\"id\":\"b\",\"revision\":15}\n\n";
    let responses = [events(EVENTS), events(more), json(503, busy), json(401, refused)];
    let server = FakeServer::responding(responses).await;
    let outcome = server.run_in(HUMAN, &["changes", "--follow"], "").await;
    assert_eq!(outcome.exit, Exit::Failed);
    assert!(outcome.err.contains("busy; trying again"), "{}", outcome.err);
    assert!(outcome.err.contains("unauthorized"), "{}", outcome.err);
    assert!(outcome.out.ends_with("      15  changed  b\n"), "{}", outcome.out);
    let lines: Vec<String> = server.requests().into_iter().map(|request| request.line).collect();
    assert_eq!(
        lines,
        [
            "GET /v1/changes",
            "GET /v1/changes?after=14",
            "GET /v1/changes?after=15",
            "GET /v1/changes?after=15"
        ]
    );
}
