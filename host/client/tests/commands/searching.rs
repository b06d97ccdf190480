use kenning_client::Exit;
use serde_json::json;

use crate::fake_server::{FakeServer, HUMAN};

const FOUND: &str = concat!(
    r#"{"results":[{"doc_id":"ada","content":"Ada prefers tea.","metadata":{"topic":"people"},"#,
    r#""score":10.84217,"explain":{"vector":{"rank":1,"score":0.8123,"share":0.61}}},"#,
    r#"{"doc_id":"bob","content":"Bob drinks\ncoffee.","metadata":{},"score":-0.5}],"#,
    r#""degraded":[],"took_ms":12}"#,
);

#[tokio::test]
async fn search_sends_only_the_given_options() {
    let server = FakeServer::responding_json(FOUND).await;
    server.run(&["search", "tea"]).await;
    let request = server.only_request();
    assert_eq!(request.line, "POST /v1/search");
    assert_eq!(request.body, r#"{"query":"tea"}"#);
}

#[tokio::test]
async fn search_sends_every_option() {
    let server = FakeServer::responding_json(FOUND).await;
    let filter = r#"{"topic":{"eq":"people"}}"#;
    let outcome = server
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
            "--min-relevance",
            "0.3",
            "--diversity",
            "0.5",
            "--recency",
            "7d",
            "--recency-field",
            "checked",
            "--recency-weight",
            "1",
            "--highlights",
            "--facets",
            "topic,year",
            "--cursor",
            "abc",
        ])
        .await;
    assert_eq!(outcome.exit, Exit::Success, "{}", outcome.err);
    let expected = json!({
        "query": "tea", "top_k": 3, "mode": "hybrid", "fusion": "rank",
        "filter": {"topic": {"eq": "people"}}, "explain": true,
        "min_relevance": 0.3, "diversity": 0.5,
        "recency": {"half_life": "7d", "field": "checked", "weight": 1.0},
        "facets": ["topic", "year"], "highlights": true, "cursor": "abc",
    });
    assert_eq!(server.only_request().json(), expected);
}

#[tokio::test]
async fn plain_output_is_one_line_per_hit_best_first() {
    let server = FakeServer::responding_json(FOUND).await;
    let outcome = server.run(&["search", "tea"]).await;
    assert_eq!((outcome.exit, outcome.err.as_str()), (Exit::Success, ""));
    assert_eq!(
        outcome.out,
        "1\t10.84217\tada\tAda prefers tea.\t{\"topic\":\"people\"}\n\
         2\t-0.5\tbob\tBob drinks\\ncoffee.\t{}\n"
    );
}

#[tokio::test]
async fn explain_adds_one_field_to_plain_output() {
    let server = FakeServer::responding_json(FOUND).await;
    let outcome = server.run(&["search", "tea", "--explain"]).await;
    let lines: Vec<&str> = outcome.out.lines().collect();
    assert!(lines[0].ends_with("\t{\"vector\":{\"rank\":1,\"score\":0.8123,\"share\":0.61}}"));
    assert!(lines[1].ends_with("\t{}\t{}"), "{}", lines[1]);
}

#[tokio::test]
async fn human_output_has_aligned_scores_explanations_and_the_time() {
    let server = FakeServer::responding_json(FOUND).await;
    let outcome = server.run_in(HUMAN, &["search", "tea", "--explain"], "").await;
    assert_eq!(
        outcome.out,
        "1  10.8422  ada\n   Ada prefers tea.\n   {\"topic\":\"people\"}\n   \
         vector: rank 1, score 0.8123, share 0.6100\n\
         2  -0.5000  bob\n   Bob drinks coffee.\n\
         2 hits in 12 ms\n"
    );
}

#[tokio::test]
async fn degraded_results_are_printed_with_a_warning() {
    let server = FakeServer::responding_json(
        r#"{"results":[],"degraded":["Embedding not available"],"took_ms":1}"#,
    )
    .await;
    let outcome = server.run(&["search", "tea"]).await;
    assert_eq!((outcome.exit, outcome.out.as_str()), (Exit::Success, ""));
    assert_eq!(outcome.err, "warning: the results are incomplete: Embedding not available\n");
}

#[tokio::test]
async fn json_is_printed_unchanged() {
    let server = FakeServer::responding_json(FOUND).await;
    assert_eq!(server.run(&["search", "tea", "--json"]).await.out, format!("{FOUND}\n"));
}

/// What a search answers with highlights, facets and another page.
const ARRANGED: &str = concat!(
    r#"{"results":[{"doc_id":"ada","content":"Ada prefers tea. And more.","metadata":{},"#,
    r#""score":1.5,"highlights":[{"text":"Ada prefers tea.","start":0,"#,
    r#""matches":[{"start":12,"end":15}]}]}],"degraded":[],"took_ms":1,"next_cursor":"abc","#,
    r#""facets":{"topic":{"values":[{"value":"people","count":12},{"value":7,"count":1}],"#,
    r#""distinct":4}}}"#,
);

#[tokio::test]
async fn highlights_facets_and_the_next_page_are_printed() {
    let server = FakeServer::responding_json(ARRANGED).await;
    let outcome = server.run_in(HUMAN, &["search", "tea", "--highlights"], "").await;
    assert_eq!(
        outcome.out,
        "1  1.5000  ada\n   Ada prefers tea. …\n\
         topic\n  12  people\n   1  7\n  and 2 other values\n\
         1 hit in 1 ms\n"
    );
    assert!(outcome.err.contains("--cursor 'abc'"), "{}", outcome.err);
    let server = FakeServer::responding_json(ARRANGED).await;
    let outcome = server.run(&["search", "tea", "--highlights"]).await;
    assert_eq!(
        outcome.out,
        "1\t1.5\tada\tAda prefers tea. And more.\t{}\tAda prefers tea.\n\
         facet\t12\ttopic\tpeople\nfacet\t1\ttopic\t7\n"
    );
}
