use kenning_client::{Exit, OutputFormat};

use crate::fake_server::{FakeServer, HUMAN, json};

const STORED: &str =
    r#"{"status":"success","message":"Fact stored successfully","fact_id":"ada","indexed":true}"#;
const FACT: &str = concat!(
    r#"{"id":"ada","content":"Ada prefers\ttea.\nAlways.","metadata":{"topic":"people","#,
    r#""n":1.10},"timestamp":"2026-01-02T03:04:05+00:00"}"#,
);

#[tokio::test]
async fn store_sends_its_arguments_unchanged_and_prints_the_id() {
    let server = FakeServer::responding([json(201, STORED)]).await;
    let metadata = r#"{"n": 12345678901234567890123}"#;
    let outcome = server
        .run(&["store", "Ada", "--metadata", metadata, "--id", "ada", "--idempotency-key", "k 1"])
        .await;
    assert_eq!(
        (outcome.exit, outcome.out.as_str(), outcome.err.as_str()),
        (Exit::Success, "ada\n", "")
    );
    let request = server.only_request();
    assert_eq!(request.line, "POST /v1/facts");
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(request.header("idempotency-key"), Some("k 1"));
    assert_eq!(request.body, format!(r#"{{"text":"Ada","metadata":{metadata},"fact_id":"ada"}}"#));
}

#[tokio::test]
async fn store_sends_only_the_given_fields() {
    let server = FakeServer::responding([json(201, STORED)]).await;
    let outcome = server.run_in(HUMAN, &["store", "Ada"], "").await;
    assert_eq!((outcome.exit, outcome.out.as_str()), (Exit::Success, "Stored ada\n"));
    let request = server.only_request();
    assert_eq!(request.body, r#"{"text":"Ada"}"#);
    assert_eq!(request.header("idempotency-key"), None);
    assert_eq!(request.header("x-kenning-timeout-ms"), None);
}

#[tokio::test]
async fn store_reads_its_text_from_standard_input_without_the_last_newline() {
    let server = FakeServer::responding([json(201, STORED)]).await;
    server.run_in(OutputFormat::Plain, &["store", "-"], "one\ntwo\r\n").await;
    assert_eq!(server.only_request().json()["text"], "one\ntwo");
}

#[tokio::test]
async fn a_text_from_standard_input_has_a_maximum_length() {
    let server = FakeServer::responding([]).await;
    let timeouts = kenning_client::Timeouts::default();
    let endless = std::io::repeat(b'x');
    let outcome = crate::fake_server::run(
        &server.url,
        OutputFormat::Plain,
        &["store", "-"],
        endless,
        timeouts,
    )
    .await;
    assert_eq!(outcome.exit, Exit::Usage);
    assert!(outcome.err.contains("256 KiB"), "{}", outcome.err);
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn storing_a_fact_that_is_not_embedded_yet_prints_a_notice() {
    let late = r#"{"status":"success","message":"m","fact_id":"ada","indexed":false}"#;
    let server = FakeServer::responding([json(201, late)]).await;
    let outcome = server.run(&["store", "Ada"]).await;
    assert_eq!((outcome.exit, outcome.out.as_str()), (Exit::Success, "ada\n"));
    assert!(outcome.err.contains("once it is embedded"), "{}", outcome.err);
}

#[tokio::test]
async fn a_split_draft_prints_every_id() {
    let split = r#"{"status":"success","message":"m","fact_id":"a","fact_ids":["a","b"]}"#;
    let server = FakeServer::responding([json(201, split), json(201, split)]).await;
    assert_eq!(server.run(&["store", "Ada"]).await.out, "a\nb\n");
    assert_eq!(server.run_in(HUMAN, &["store", "Ada"], "").await.out, "Stored a\nStored b\n");
}

#[tokio::test]
async fn json_is_printed_unchanged() {
    let server = FakeServer::responding([json(201, STORED), json(200, FACT)]).await;
    assert_eq!(server.run(&["store", "Ada", "--json"]).await.out, format!("{STORED}\n"));
    assert_eq!(server.run(&["get", "ada", "--json"]).await.out, format!("{FACT}\n"));
}

#[tokio::test]
async fn get_prints_one_line_in_plain_format() {
    let server = FakeServer::responding_json(FACT).await;
    let outcome = server.run(&["get", "ada"]).await;
    assert_eq!(
        outcome.out,
        "ada\t2026-01-02T03:04:05+00:00\tAda prefers\\ttea.\\nAlways.\t\
         {\"topic\":\"people\",\"n\":1.10}\n"
    );
    assert_eq!(server.only_request().line, "GET /v1/facts/ada");
}

#[tokio::test]
async fn get_prints_the_full_text_in_human_format() {
    let server = FakeServer::responding_json(FACT).await;
    let outcome = server.run_in(HUMAN, &["get", "ada"], "").await;
    assert_eq!(
        outcome.out,
        "ada  2026-01-02T03:04:05+00:00\n{\"topic\":\"people\",\"n\":1.10}\n\n\
         Ada prefers tea.\nAlways.\n"
    );
}

#[tokio::test]
async fn an_id_is_percent_encoded() {
    let server = FakeServer::responding_json(FACT).await;
    server.run(&["get", "a/b ?ü%#"]).await;
    assert_eq!(server.only_request().line, "GET /v1/facts/a%2Fb%20%3F%C3%BC%25%23");
}

#[tokio::test]
async fn an_id_that_would_select_another_route_is_rejected() {
    let server = FakeServer::responding([]).await;
    for id in ["", ".", ".."] {
        let outcome = server.run(&["delete", id]).await;
        assert_eq!(outcome.exit, Exit::Usage, "{id}: {}", outcome.err);
    }
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn update_sends_only_the_changed_fields() {
    let answer = r#"{"status":"success","message":"Fact updated","fact_id":"ada"}"#;
    let server = FakeServer::responding([json(200, answer), json(200, answer)]).await;
    let outcome = server.run(&["update", "ada", "--text", "Coffee."]).await;
    assert_eq!((outcome.exit, outcome.out.as_str()), (Exit::Success, "ada\n"));
    let outcome = server.run_in(HUMAN, &["update", "ada", "--metadata", "{}"], "").await;
    assert_eq!(outcome.out, "Updated ada\n");
    let [text, metadata] = server.requests().try_into().unwrap();
    assert_eq!(text.line, "PATCH /v1/facts/ada");
    assert_eq!(text.body, r#"{"text":"Coffee."}"#);
    assert_eq!(metadata.body, r#"{"metadata":{}}"#);
}

#[tokio::test]
async fn delete_prints_the_deleted_id() {
    let answer = r#"{"status":"success","message":"Fact deleted"}"#;
    let server = FakeServer::responding([json(200, answer), json(200, answer)]).await;
    assert_eq!(server.run(&["delete", "ada"]).await.out, "ada\n");
    assert_eq!(server.run_in(HUMAN, &["delete", "ada"], "").await.out, "Deleted ada\n");
    assert_eq!(server.requests()[0].line, "DELETE /v1/facts/ada");
}

#[tokio::test]
async fn colours_are_used_if_enabled() {
    let server = FakeServer::responding([json(200, FACT)]).await;
    let outcome =
        server.run_in(OutputFormat::Human { width: 60, colour: true }, &["get", "ada"], "").await;
    assert!(outcome.out.starts_with("\u{1b}["), "{:?}", outcome.out);
    assert!(outcome.out.contains("ada\u{1b}[0m"), "{:?}", outcome.out);
}

#[tokio::test]
async fn control_characters_in_a_fact_are_not_printed() {
    let hostile = concat!(
        r#"{"id":"x\u001b[2J","content":"a\u001b]0;title\u0007b\u009b2J","#,
        r#""metadata":{"k":"\u009b"},"timestamp":"\u001bc"}"#,
    );
    let list = format!(r#"{{"facts":[{hostile}],"next_cursor":null}}"#);
    let server = FakeServer::responding([json(200, hostile), json(200, &list)]).await;
    for args in [&["get", "x"][..], &["list"]] {
        let outcome = server.run_in(HUMAN, args, "").await;
        assert_eq!(outcome.exit, Exit::Success, "{}", outcome.err);
        let hostile = |c: char| c.is_control() && c != '\n';
        assert!(!outcome.out.contains(hostile), "{:?}", outcome.out);
    }
}

const DELETED: &str = r#"{"deleted":3,"complete":true,"next_cursor":null}"#;
const TOPIC: &str = r#"{"topic":"tea"}"#;

#[tokio::test]
async fn a_deletion_by_filter_goes_on_until_none_is_left() {
    let part = r#"{"deleted":900,"complete":false,"next_cursor":"next one"}"#;
    let server = FakeServer::responding([json(200, part), json(200, DELETED)]).await;
    let outcome = server.run(&["delete", "--filter", TOPIC, "--yes"]).await;
    assert_eq!((outcome.exit, outcome.out.as_str()), (Exit::Success, "903\n"));
    let lines: Vec<_> = server.requests().into_iter().map(|request| request.line).collect();
    let filter = "DELETE /v1/facts?filter=%7B%22topic%22%3A%22tea%22%7D";
    assert_eq!(lines, [filter.to_owned(), format!("{filter}&cursor=next+one")]);
}

#[tokio::test]
async fn a_deletion_by_filter_is_confirmed_on_a_terminal() {
    for (answer, exit) in [("y\n", Exit::Success), ("n\n", Exit::Failed), ("", Exit::Failed)] {
        let responses = [json(200, r#"{"count":3}"#), json(200, DELETED)];
        let server = FakeServer::responding(responses).await;
        let outcome = server.run_in(HUMAN, &["delete", "--filter", TOPIC], answer).await;
        assert_eq!(outcome.exit, exit, "{answer:?}");
        assert!(outcome.err.contains("Delete 3 facts? [y/N]"), "{}", outcome.err);
        assert_eq!(outcome.out.contains("Deleted 3 facts."), exit == Exit::Success);
        assert_eq!(server.requests().len(), if exit == Exit::Success { 2 } else { 1 });
    }
    let server = FakeServer::responding([]).await;
    let outcome = server.run(&["delete", "--filter", TOPIC]).await;
    assert_eq!(outcome.exit, Exit::Usage);
    assert!(outcome.err.contains("--yes"), "{}", outcome.err);
    assert_eq!(server.requests().len(), 0);
}

#[tokio::test]
async fn a_deletion_that_ended_early_says_why_and_fails() {
    let part = r#"{"deleted":5,"complete":false,"next_cursor":null,
        "error":{"code":"storage_unavailable","message":"Redis not available"}}"#;
    let server = FakeServer::responding([json(200, part)]).await;
    let outcome = server.run(&["delete", "--filter", TOPIC, "--yes"]).await;
    assert_eq!((outcome.exit, outcome.out.as_str()), (Exit::Failed, "5\n"));
    assert!(outcome.err.contains("Redis not available"), "{}", outcome.err);
}

#[tokio::test]
async fn count_list_and_export_send_their_filter() {
    let page = r#"{"facts":[],"next_cursor":null}"#;
    let responses = [json(200, r#"{"count":1204}"#), json(200, page), json(200, "")];
    let server = FakeServer::responding(responses).await;
    assert_eq!(server.run(&["count", "--filter", TOPIC]).await.out, "1204\n");
    server.run(&["list", "--filter", TOPIC]).await;
    server.run(&["export", "--filter", TOPIC]).await;
    let lines: Vec<_> = server.requests().into_iter().map(|request| request.line).collect();
    let filter = "?filter=%7B%22topic%22%3A%22tea%22%7D";
    let sent = ["count", "facts", "export"].map(|path| format!("GET /v1/{path}{filter}"));
    assert_eq!(lines, sent);
}
