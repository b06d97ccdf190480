use kenning_client::Exit;
use serde_json::json;

use crate::fake::{Fake, HUMAN};

const FOUND: &str = concat!(
    r#"{"results":[{"doc_id":"ada","content":"Ada prefers tea.","metadata":{"topic":"people"},"#,
    r#""score":10.84217,"explain":{"vector":{"rank":1,"score":0.8123,"share":0.61}}},"#,
    r#"{"doc_id":"bob","content":"Bob drinks\ncoffee.","metadata":{},"score":-0.5}],"#,
    r#""degraded":[],"took_ms":12}"#,
);

#[tokio::test]
async fn search_sends_only_what_was_given() {
    let fake = Fake::saying(FOUND).await;
    fake.run(&["search", "tea"]).await;
    let asked = fake.only_asked();
    assert_eq!(asked.line, "POST /v1/search");
    assert_eq!(asked.body, r#"{"query":"tea"}"#);
}

#[tokio::test]
async fn search_sends_every_option() {
    let fake = Fake::saying(FOUND).await;
    let filter = r#"{"topic":{"eq":"people"}}"#;
    let ran = fake
        .run(&[
            "search",
            "tea",
            "-k",
            "3",
            "--mode",
            "hybrid",
            "--fusion",
            "rank",
            "--filter",
            filter,
            "--explain",
        ])
        .await;
    assert_eq!(ran.exit, Exit::Done, "{}", ran.err);
    let expected = json!({
        "query": "tea", "top_k": 3, "mode": "hybrid", "fusion": "rank",
        "filter": {"topic": {"eq": "people"}}, "explain": true,
    });
    assert_eq!(fake.only_asked().json(), expected);
}

#[tokio::test]
async fn a_script_gets_a_line_a_hit_best_first() {
    let fake = Fake::saying(FOUND).await;
    let ran = fake.run(&["search", "tea"]).await;
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Done, ""));
    assert_eq!(
        ran.out,
        "1\t10.84217\tada\tAda prefers tea.\t{\"topic\":\"people\"}\n\
         2\t-0.5\tbob\tBob drinks\\ncoffee.\t{}\n"
    );
}

#[tokio::test]
async fn a_script_that_asks_for_reasons_gets_one_more_field() {
    let fake = Fake::saying(FOUND).await;
    let ran = fake.run(&["search", "tea", "--explain"]).await;
    let lines: Vec<&str> = ran.out.lines().collect();
    assert!(lines[0].ends_with("\t{\"vector\":{\"rank\":1,\"score\":0.8123,\"share\":0.61}}"));
    assert!(lines[1].ends_with("\t{}\t{}"), "{}", lines[1]);
}

#[tokio::test]
async fn a_person_sees_aligned_scores_reasons_and_time() {
    let fake = Fake::saying(FOUND).await;
    let ran = fake.run_in(HUMAN, &["search", "tea", "--explain"], "").await;
    assert_eq!(
        ran.out,
        "1  10.8422  ada\n   Ada prefers tea.\n   {\"topic\":\"people\"}\n   \
         vector: rank 1, score 0.8123, share 0.6100\n\
         2  -0.5000  bob\n   Bob drinks coffee.\n\
         2 hits in 12 ms\n"
    );
}

#[tokio::test]
async fn a_degraded_answer_is_shown_with_a_warning() {
    let fake =
        Fake::saying(r#"{"results":[],"degraded":["Embedding not available"],"took_ms":1}"#).await;
    let ran = fake.run(&["search", "tea"]).await;
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Done, ""));
    assert_eq!(ran.err, "warning: the answer is not whole: Embedding not available\n");
}

#[tokio::test]
async fn json_is_printed_as_it_came() {
    let fake = Fake::saying(FOUND).await;
    assert_eq!(fake.run(&["search", "tea", "--json"]).await.out, format!("{FOUND}\n"));
}
