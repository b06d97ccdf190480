use kenning_client::Exit;

use crate::fake::{Fake, HUMAN, json};

const FIRST: &str = concat!(
    r#"{"facts":[{"id":"b","content":"Second fact","metadata":{},"timestamp":"t2"}],"#,
    r#""next_cursor":"c/1"}"#,
);
const LAST: &str = concat!(
    r#"{"facts":[{"id":"a","content":"First fact","metadata":{"n":1.50},"timestamp":"t1"}],"#,
    r#""next_cursor":null}"#,
);

#[tokio::test]
async fn list_asks_for_the_defaults_of_the_server() {
    let fake = Fake::saying(LAST).await;
    let ran = fake.run(&["list"]).await;
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Done, ""));
    assert_eq!(ran.out, "a\tt1\tFirst fact\t{\"n\":1.50}\n");
    assert_eq!(fake.only_asked().line, "GET /v1/facts");
}

#[tokio::test]
async fn list_passes_on_its_options_and_names_the_next_cursor() {
    let fake = Fake::saying(FIRST).await;
    let ran = fake.run(&["list", "--query", "a&b", "--limit", "1", "--cursor", "c+0"]).await;
    assert_eq!(ran.out, "b\tt2\tSecond fact\t{}\n");
    assert!(ran.err.contains("--cursor 'c/1'"), "{}", ran.err);
    assert_eq!(fake.only_asked().line, "GET /v1/facts?query=a%26b&limit=1&cursor=c%2B0");
}

#[tokio::test]
async fn all_follows_the_cursors_to_the_end() {
    let fake = Fake::answering([json(200, FIRST), json(200, LAST)]).await;
    let ran = fake.run(&["list", "--all"]).await;
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Done, ""));
    assert_eq!(ran.out, "b\tt2\tSecond fact\t{}\na\tt1\tFirst fact\t{\"n\":1.50}\n");
    let lines: Vec<String> = fake.asked().into_iter().map(|asked| asked.line).collect();
    assert_eq!(lines, ["GET /v1/facts?limit=1000", "GET /v1/facts?limit=1000&cursor=c%2F1"]);
}

#[tokio::test]
async fn all_as_json_is_one_fact_a_line_as_it_came() {
    let fake = Fake::answering([json(200, FIRST), json(200, LAST)]).await;
    let ran = fake.run(&["list", "--all", "--json"]).await;
    assert_eq!(
        ran.out,
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
    let fake = Fake::saying(FIRST).await;
    let ran = fake.run(&["list", "--json"]).await;
    assert_eq!((ran.out, ran.err), (format!("{FIRST}\n"), String::new()));
}

#[tokio::test]
async fn a_list_that_goes_in_circles_ends() {
    let fake = Fake::answering([json(200, FIRST), json(200, FIRST)]).await;
    let ran = fake.run(&["list", "--all"]).await;
    assert_eq!(ran.exit, Exit::Unreachable);
    assert!(ran.err.contains("in circles"), "{}", ran.err);
}

#[tokio::test]
async fn a_person_sees_long_texts_cut_and_metadata_below() {
    let long = "word ".repeat(100);
    let page = format!(
        r#"{{"facts":[{{"id":"a","content":"{long}","metadata":{{"k":"v"}},"timestamp":"t"}}]}}"#
    );
    let fake = Fake::saying(&page).await;
    let ran = fake.run_in(HUMAN, &["list"], "").await;
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!(lines.len(), 5, "{}", ran.out);
    assert_eq!(lines[0], "a  t");
    assert!(lines[1..4].iter().all(|line| line.starts_with("  word ") && line.len() <= 64));
    assert!(lines[3].ends_with('…'));
    assert_eq!(lines[4], r#"  {"k":"v"}"#);
}

#[tokio::test]
async fn an_empty_list_says_so_to_a_person_and_prints_nothing() {
    let fake = Fake::saying(r#"{"facts":[],"next_cursor":null}"#).await;
    let ran = fake.run_in(HUMAN, &["list"], "").await;
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Done, ""));
    assert!(ran.err.contains("no such facts"), "{}", ran.err);
}
