use kenning_client::Exit;

use crate::fake_server::{FakeServer, HUMAN, json};

const ACME: &str = concat!(
    r#"{"name":"acme","usage":{"facts":{"value":100000,"used":1204,"unit":"facts"},"#,
    r#""fuel_per_minute":{"value":null,"used":5,"unit":"fuel"}}}"#,
);

#[tokio::test]
async fn quotas_are_set_and_printed_with_their_usage() {
    let server = FakeServer::responding([json(200, "{}"), json(200, ACME)]).await;
    let outcome = server.run(&["tenant", "quota", "acme", "facts=100000", "bytes=none"]).await;
    assert_eq!(outcome.exit, Exit::Success, "{}", outcome.err);
    assert_eq!(outcome.out, "facts\t1204\t100000\nfuel_per_minute\t5\tnone\n");
    let [change, query] = server.requests().try_into().unwrap();
    assert_eq!(change.line, "PATCH /v1/admin/tenants/acme");
    assert_eq!(change.body, r#"{"limits":{"bytes":null,"facts":100000}}"#);
    assert_eq!(query.line, "GET /v1/admin/tenants/acme");
}

#[tokio::test]
async fn quotas_are_an_aligned_table_in_human_format() {
    let server = FakeServer::responding_json(ACME).await;
    let outcome = server.run_in(HUMAN, &["tenant", "quota", "acme"], "").await;
    assert_eq!(
        outcome.out,
        "facts            1,204 of 100,000 facts\nfuel_per_minute  5 fuel, no quota\n"
    );
}
