use kenning_client::{Exit, Form};

use crate::fake::{Fake, HUMAN, json};

const STORED: &str =
    r#"{"status":"success","message":"Fact stored successfully","fact_id":"ada","indexed":true}"#;
const FACT: &str = concat!(
    r#"{"id":"ada","content":"Ada prefers\ttea.\nAlways.","metadata":{"topic":"people","#,
    r#""n":1.10},"timestamp":"2026-01-02T03:04:05+00:00"}"#,
);

#[tokio::test]
async fn store_sends_what_was_typed_and_prints_the_id() {
    let fake = Fake::answering([json(201, STORED)]).await;
    let metadata = r#"{"n": 12345678901234567890123}"#;
    let ran = fake
        .run(&["store", "Ada", "--metadata", metadata, "--id", "ada", "--idempotency-key", "k 1"])
        .await;
    assert_eq!((ran.exit, ran.out.as_str(), ran.err.as_str()), (Exit::Done, "ada\n", ""));
    let asked = fake.only_asked();
    assert_eq!(asked.line, "POST /v1/facts");
    assert_eq!(asked.header("content-type"), Some("application/json"));
    assert_eq!(asked.header("idempotency-key"), Some("k 1"));
    assert_eq!(asked.body, format!(r#"{{"text":"Ada","metadata":{metadata},"fact_id":"ada"}}"#));
}

#[tokio::test]
async fn store_sends_only_what_was_given() {
    let fake = Fake::answering([json(201, STORED)]).await;
    let ran = fake.run_in(HUMAN, &["store", "Ada"], "").await;
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Done, "Stored ada\n"));
    let asked = fake.only_asked();
    assert_eq!(asked.body, r#"{"text":"Ada"}"#);
    assert_eq!(asked.header("idempotency-key"), None);
    assert_eq!(asked.header("x-kenning-timeout-ms"), None);
}

#[tokio::test]
async fn store_reads_its_text_from_standard_input_without_the_last_newline() {
    let fake = Fake::answering([json(201, STORED)]).await;
    fake.run_in(Form::Plain, &["store", "-"], "one\ntwo\r\n").await;
    assert_eq!(fake.only_asked().json()["text"], "one\ntwo");
}

#[tokio::test]
async fn a_text_from_standard_input_ends_at_a_bound() {
    let fake = Fake::answering([]).await;
    let patience = kenning_client::Patience::default();
    let endless = std::io::repeat(b'x');
    let ran = crate::fake::run(&fake.url, Form::Plain, &["store", "-"], endless, patience).await;
    assert_eq!(ran.exit, Exit::Usage);
    assert!(ran.err.contains("256 KiB"), "{}", ran.err);
    assert!(fake.asked().is_empty());
}

#[tokio::test]
async fn a_fact_that_is_not_embedded_yet_is_stored_with_a_note() {
    let late = r#"{"status":"success","message":"m","fact_id":"ada","indexed":false}"#;
    let fake = Fake::answering([json(201, late)]).await;
    let ran = fake.run(&["store", "Ada"]).await;
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Done, "ada\n"));
    assert!(ran.err.contains("as soon as it is embedded"), "{}", ran.err);
}

#[tokio::test]
async fn a_draft_that_was_split_prints_every_id() {
    let split = r#"{"status":"success","message":"m","fact_id":"a","fact_ids":["a","b"]}"#;
    let fake = Fake::answering([json(201, split), json(201, split)]).await;
    assert_eq!(fake.run(&["store", "Ada"]).await.out, "a\nb\n");
    assert_eq!(fake.run_in(HUMAN, &["store", "Ada"], "").await.out, "Stored a\nStored b\n");
}

#[tokio::test]
async fn json_is_printed_as_it_came() {
    let fake = Fake::answering([json(201, STORED), json(200, FACT)]).await;
    assert_eq!(fake.run(&["store", "Ada", "--json"]).await.out, format!("{STORED}\n"));
    assert_eq!(fake.run(&["get", "ada", "--json"]).await.out, format!("{FACT}\n"));
}

#[tokio::test]
async fn get_prints_one_line_for_a_script() {
    let fake = Fake::saying(FACT).await;
    let ran = fake.run(&["get", "ada"]).await;
    assert_eq!(
        ran.out,
        "ada\t2026-01-02T03:04:05+00:00\tAda prefers\\ttea.\\nAlways.\t\
         {\"topic\":\"people\",\"n\":1.10}\n"
    );
    assert_eq!(fake.only_asked().line, "GET /v1/facts/ada");
}

#[tokio::test]
async fn get_prints_the_whole_text_for_a_person() {
    let fake = Fake::saying(FACT).await;
    let ran = fake.run_in(HUMAN, &["get", "ada"], "").await;
    assert_eq!(
        ran.out,
        "ada  2026-01-02T03:04:05+00:00\n{\"topic\":\"people\",\"n\":1.10}\n\n\
         Ada prefers tea.\nAlways.\n"
    );
}

#[tokio::test]
async fn an_id_is_percent_encoded() {
    let fake = Fake::saying(FACT).await;
    fake.run(&["get", "a/b ?ü%#"]).await;
    assert_eq!(fake.only_asked().line, "GET /v1/facts/a%2Fb%20%3F%C3%BC%25%23");
}

#[tokio::test]
async fn an_id_that_would_name_another_route_is_refused() {
    let fake = Fake::answering([]).await;
    for id in ["", ".", ".."] {
        let ran = fake.run(&["delete", id]).await;
        assert_eq!(ran.exit, Exit::Usage, "{id}: {}", ran.err);
    }
    assert!(fake.asked().is_empty());
}

#[tokio::test]
async fn update_sends_what_changes_and_nothing_else() {
    let answer = r#"{"status":"success","message":"Fact updated","fact_id":"ada"}"#;
    let fake = Fake::answering([json(200, answer), json(200, answer)]).await;
    let ran = fake.run(&["update", "ada", "--text", "Coffee."]).await;
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Done, "ada\n"));
    let ran = fake.run_in(HUMAN, &["update", "ada", "--metadata", "{}"], "").await;
    assert_eq!(ran.out, "Updated ada\n");
    let [text, metadata] = fake.asked().try_into().unwrap();
    assert_eq!(text.line, "PATCH /v1/facts/ada");
    assert_eq!(text.body, r#"{"text":"Coffee."}"#);
    assert_eq!(metadata.body, r#"{"metadata":{}}"#);
}

#[tokio::test]
async fn delete_names_what_it_deleted() {
    let answer = r#"{"status":"success","message":"Fact deleted"}"#;
    let fake = Fake::answering([json(200, answer), json(200, answer)]).await;
    assert_eq!(fake.run(&["delete", "ada"]).await.out, "ada\n");
    assert_eq!(fake.run_in(HUMAN, &["delete", "ada"], "").await.out, "Deleted ada\n");
    assert_eq!(fake.asked()[0].line, "DELETE /v1/facts/ada");
}

#[tokio::test]
async fn colours_are_for_those_who_want_them() {
    let fake = Fake::answering([json(200, FACT)]).await;
    let ran = fake.run_in(Form::Human { width: 60, colour: true }, &["get", "ada"], "").await;
    assert!(ran.out.starts_with("\u{1b}["), "{:?}", ran.out);
    assert!(ran.out.contains("ada\u{1b}[0m"), "{:?}", ran.out);
}

#[tokio::test]
async fn a_fact_cannot_drive_the_terminal() {
    let hostile = concat!(
        r#"{"id":"x\u001b[2J","content":"a\u001b]0;title\u0007b\u009b2J","#,
        r#""metadata":{"k":"\u009b"},"timestamp":"\u001bc"}"#,
    );
    let list = format!(r#"{{"facts":[{hostile}],"next_cursor":null}}"#);
    let fake = Fake::answering([json(200, hostile), json(200, &list)]).await;
    for args in [&["get", "x"][..], &["list"]] {
        let ran = fake.run_in(HUMAN, args, "").await;
        assert_eq!(ran.exit, Exit::Done, "{}", ran.err);
        let hostile = |c: char| c.is_control() && c != '\n';
        assert!(!ran.out.contains(hostile), "{:?}", ran.out);
    }
}
