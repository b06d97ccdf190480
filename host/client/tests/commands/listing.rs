use kenning_client::Exit;

use crate::fake_server::{FakeServer, HUMAN, json};

const FIRST: &str = concat!(
    r#"{"facts":[{"id":"b","content":"Second fact","metadata":{},"timestamp":"t2"}],"#,
    r#""next_cursor":"c/1"}"#,
);
const LAST: &str = concat!(
    r#"{"facts":[{"id":"a","content":"First fact","metadata":{"n":1.50},"timestamp":"t1"}],"#,
    r#""next_cursor":null}"#,
);

#[tokio::test]
async fn list_uses_the_defaults_of_the_server() {
    let server = FakeServer::responding_json(LAST).await;
    let outcome = server.run(&["list"]).await;
    assert_eq!((outcome.exit, outcome.err.as_str()), (Exit::Success, ""));
    assert_eq!(outcome.out, "a\tt1\tFirst fact\t{\"n\":1.50}\n");
    assert_eq!(server.only_request().line, "GET /v1/facts");
}

#[tokio::test]
async fn list_sends_its_options_and_prints_the_next_cursor() {
    let server = FakeServer::responding_json(FIRST).await;
    let outcome = server.run(&["list", "--query", "a&b", "--limit", "1", "--cursor", "c+0"]).await;
    assert_eq!(outcome.out, "b\tt2\tSecond fact\t{}\n");
    assert!(outcome.err.contains("--cursor 'c/1'"), "{}", outcome.err);
    assert_eq!(server.only_request().line, "GET /v1/facts?query=a%26b&limit=1&cursor=c%2B0");
}

#[tokio::test]
async fn all_follows_the_cursors_to_the_end() {
    let server = FakeServer::responding([json(200, FIRST), json(200, LAST)]).await;
    let outcome = server.run(&["list", "--all"]).await;
    assert_eq!((outcome.exit, outcome.err.as_str()), (Exit::Success, ""));
    assert_eq!(outcome.out, "b\tt2\tSecond fact\t{}\na\tt1\tFirst fact\t{\"n\":1.50}\n");
    let lines: Vec<String> = server.requests().into_iter().map(|request| request.line).collect();
    assert_eq!(lines, ["GET /v1/facts?limit=1000", "GET /v1/facts?limit=1000&cursor=c%2F1"]);
}

#[tokio::test]
async fn all_as_json_is_one_unchanged_fact_per_line() {
    let server = FakeServer::responding([json(200, FIRST), json(200, LAST)]).await;
    let outcome = server.run(&["list", "--all", "--json"]).await;
    assert_eq!(
        outcome.out,
        concat!(
            r#"{"id":"b","content":"Second fact","metadata":{},"timestamp":"t2"}"#,
            "\n",
            r#"{"id":"a","content":"First fact","metadata":{"n":1.50},"timestamp":"t1"}"#,
            "\n"
        )
    );
}

#[tokio::test]
async fn one_page_as_json_is_one_document() {
    let server = FakeServer::responding_json(FIRST).await;
    let outcome = server.run(&["list", "--json"]).await;
    assert_eq!((outcome.out, outcome.err), (format!("{FIRST}\n"), String::new()));
}

#[tokio::test]
async fn a_repeated_cursor_is_an_error() {
    let server = FakeServer::responding([json(200, FIRST), json(200, FIRST)]).await;
    let outcome = server.run(&["list", "--all"]).await;
    assert_eq!(outcome.exit, Exit::Unreachable);
    assert!(outcome.err.contains("same cursor twice"), "{}", outcome.err);
}

#[tokio::test]
async fn long_texts_are_truncated_and_followed_by_metadata_in_human_format() {
    let long = "word ".repeat(100);
    let page = format!(
        r#"{{"facts":[{{"id":"a","content":"{long}","metadata":{{"k":"v"}},"timestamp":"t"}}]}}"#
    );
    let server = FakeServer::responding_json(&page).await;
    let outcome = server.run_in(HUMAN, &["list"], "").await;
    let lines: Vec<&str> = outcome.out.lines().collect();
    assert_eq!(lines.len(), 5, "{}", outcome.out);
    assert_eq!(lines[0], "a  t");
    assert!(lines[1..4].iter().all(|line| line.starts_with("  word ") && line.len() <= 64));
    assert!(lines[3].ends_with('…'));
    assert_eq!(lines[4], r#"  {"k":"v"}"#);
}

#[tokio::test]
async fn an_empty_list_prints_only_a_notice() {
    let server = FakeServer::responding_json(r#"{"facts":[],"next_cursor":null}"#).await;
    let outcome = server.run_in(HUMAN, &["list"], "").await;
    assert_eq!((outcome.exit, outcome.out.as_str()), (Exit::Success, ""));
    assert!(outcome.err.contains("No facts found"), "{}", outcome.err);
}
