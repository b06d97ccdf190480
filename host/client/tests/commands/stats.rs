use kenning_client::Exit;

use crate::fake_server::{FakeServer, HUMAN, json};

const STATS: &str = concat!(
    r#"{"tenant":"default","facts":1204,"embedding":{"profile":"minilm/1","dimensions":384},"#,
    r#""storage":{"backend":"redis","ready":true},"limits":{"facts":{"value":100000,"#,
    r#""unit":"facts","used":1204},"text":{"value":262144,"unit":"bytes"}},"generation":3,"#,
    r#""version":"0.1.0"}"#,
);

#[tokio::test]
async fn plain_output_is_one_line_per_value() {
    let server = FakeServer::responding_json(STATS).await;
    let outcome = server.run(&["stats"]).await;
    assert_eq!(outcome.exit, Exit::Success, "{}", outcome.err);
    assert_eq!(server.only_request().line, "GET /v1/stats");
    assert_eq!(
        outcome.out,
        "tenant\tdefault\nfacts\t1204\nembedding.profile\tminilm/1\nembedding.dimensions\t384\n\
         storage.backend\tredis\nstorage.ready\ttrue\nlimits.facts.value\t100000\n\
         limits.facts.unit\tfacts\nlimits.facts.used\t1204\nlimits.text.value\t262144\n\
         limits.text.unit\tbytes\ngeneration\t3\nversion\t0.1.0\n"
    );
}

#[tokio::test]
async fn human_output_is_an_aligned_table() {
    let server = FakeServer::responding_json(STATS).await;
    let outcome = server.run_in(HUMAN, &["stats", "--all"], "").await;
    assert_eq!(
        outcome.out,
        "tenant      default\nfacts       1,204\n\
         embedding   profile minilm/1, dimensions 384\n\
         storage     backend redis, ready true\nlimits\n  facts     1,204 of 100,000 facts\n  \
         text      262,144 bytes\ngeneration  3\nversion     0.1.0\n"
    );
}

#[tokio::test]
async fn human_output_fits_on_a_screen_unless_all_is_asked_for() {
    let limits: Vec<String> = (0..90).map(|n| format!(r#""l{n}":{{"value":1}}"#)).collect();
    let quotas = r#""facts":{"value":10,"used":3,"unit":"facts"},"bytes":{"value":null,"used":9}"#;
    let stats = format!(
        r#"{{"tenant":"default","foreign":null,"limits":{{{}}},"quotas":{{{quotas}}}}}"#,
        limits.join(",")
    );
    let server = FakeServer::responding_json(&stats).await;
    let outcome = server.run_in(HUMAN, &["stats"], "").await;
    assert_eq!(
        outcome.out,
        "tenant   default\nlimits   90, shown with --all\nquotas\n  facts  3 of 10 facts\n"
    );
}

#[tokio::test]
async fn json_is_printed_unchanged() {
    let server = FakeServer::responding([json(200, STATS)]).await;
    assert_eq!(server.run(&["stats", "--json"]).await.out, format!("{STATS}\n"));
}
