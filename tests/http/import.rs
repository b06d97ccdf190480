//! `POST /v1/import`: lines in, lines back.

use anyhow::{Context, Result};
use kenning_tests::{
    Answer, Backend, Caller, Server, Wire, all_indexed, assert_error_body, on_both_backends, until,
};
use serde_json::{Value, json};

on_both_backends!(
    both_shapes_of_a_line_are_imported,
    an_export_can_be_imported_again_and_elsewhere,
    what_was_imported_is_found,
);

/// What an import said: the reports of bad lines, and the summary.
struct Said {
    reports: Vec<Value>,
    summary: Value,
}

impl Said {
    fn read(text: &str) -> Result<Self> {
        let mut reports = text.lines().map(str::parse).collect::<Result<Vec<Value>, _>>()?;
        let summary = reports.pop().context("no summary")?;
        reports.iter().for_each(assert_error_body);
        Ok(Self { reports, summary })
    }

    /// Each report's line, code and pointer.
    fn problems(&self) -> Vec<String> {
        let problem = |report: &Value| {
            let pointer = report["details"]["pointer"].as_str().unwrap_or_default();
            let code = report["code"].as_str().unwrap_or_default();
            format!("{} {code} {pointer}", report["line"])
        };
        self.reports.iter().map(problem).collect()
    }

    #[track_caller]
    fn assert_summary(&self, status: &str, imported: u64, failed: u64, lines: u64) {
        let mut summary = self.summary.clone();
        assert!(summary["took_ms"].is_u64(), "{summary}");
        let fields = ["status", "imported", "failed", "lines"].map(|name| summary[name].take());
        assert_eq!(fields, [json!(status), imported.into(), failed.into(), lines.into()]);
    }
}

async fn import(caller: &Caller, body: impl Into<reqwest::Body>) -> Result<Said> {
    let answer: Answer = caller.post_raw("/v1/import", body).await?;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.header("content-type"), "application/x-ndjson");
    Said::read(&answer.text)
}

async fn both_shapes_of_a_line_are_imported(backend: &Backend) -> Result<()> {
    let server = backend.serve().await?;
    let body = concat!(
        r#"{"text":"as stored","fact_id":"a","metadata":{"n":1.10}}"#,
        "\r\n\r\n",
        r#"{"id":"b","content":"as exported","timestamp":"2020-02-03T04:05:06+01:00"}"#,
        "\n   \n\t\n",
        r#"  {"text":"no id"}  "#,
        "\n",
        r#"{"content":"the last line needs no break","id":"d"}"#,
    );
    import(&server, body).await?.assert_summary("success", 4, 0, 7);
    let read = async |id: &str| server.get(&format!("/v1/facts/{id}")).await;
    assert!(read("a").await?.text.contains(r#""metadata":{"n":1.10}"#));
    let exported = read("b").await?.json;
    assert_eq!(exported["content"], "as exported");
    let timestamp = exported["timestamp"].as_str().unwrap_or_default();
    assert!(timestamp.starts_with("2020-02-03T"), "{timestamp}");
    assert_eq!(read("d").await?.json["content"], "the last line needs no break");
    let list = server.get("/v1/facts").await?;
    assert_eq!(list.json["facts"][3]["id"], "b", "its time decides its place");
    Ok(())
}

async fn an_export_can_be_imported_again_and_elsewhere(backend: &Backend) -> Result<()> {
    let server = backend.serve().await?;
    let lines: String =
        (0..120).map(|n| format!("{}\n", json!({ "text": format!("t{n}") }))).collect();
    import(&server, lines).await?.assert_summary("success", 120, 0, 120);
    let export = server.export().await?;
    import(&server, export.clone()).await?.assert_summary("success", 120, 0, 120);
    assert_eq!(server.export().await?, export, "importing it again changes nothing");
    let other = server.tenant("other");
    import(&other, export.clone()).await?.assert_summary("success", 120, 0, 120);
    assert_eq!(other.export().await?, export, "ids, times and order are kept");
    Ok(())
}

async fn what_was_imported_is_found(backend: &Backend) -> Result<()> {
    let server = backend.serve().await?;
    let lines: String = (0..300)
        .map(|n| format!("{}\n", json!({ "text": format!("word{n}"), "fact_id": format!("f{n}") })))
        .collect();
    import(&server, lines).await?;
    all_indexed(&server).await?;
    for n in [0, 49, 50, 299] {
        for mode in ["text", "vector"] {
            let query = json!({ "query": format!("word{n}"), "mode": mode, "top_k": 1 });
            assert_eq!(server.search(query).await?, [format!("f{n}")], "{mode}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_bad_line_is_reported_by_its_number_and_the_rest_goes_on() -> Result<()> {
    let server = Server::start().await?;
    let mut body = Vec::new();
    for line in [
        &br#"{"text":"good","fact_id":"first"}"#[..],
        b"not json",
        br#"{"text":"x"} trailing"#,
        br#"["x",null,"y"]"#,
        b"null",
        br#"{"text":""}"#,
        br#"{"metadata":{}}"#,
        br#"{"text":"x","metadata":[1]}"#,
        br#"{"text":"x","fact_id":"a/b"}"#,
        br#"{"text":"x","timestamp":"yesterday"}"#,
        br#"{"text":"x","color":"red"}"#,
        br#"{"text":"x","content":"y"}"#,
        b"{\"text\":\"\xff\xfe\"}",
        br#"{"text":"\ud800"}"#,
        br#"{"text":"other","fact_id":"first"}"#,
        br#"{"text":"good","fact_id":"first"}"#,
        br#"{"text":"good","fact_id":"last"}"#,
    ] {
        body.extend_from_slice(line);
        body.push(b'\n');
    }
    let said = import(&server, body).await?;
    let expected = [
        "2 invalid_request ",
        "3 invalid_request ",
        "4 invalid_request ",
        "5 invalid_request ",
        "6 invalid_request /text",
        "7 invalid_request /text",
        "8 invalid_request /metadata",
        "9 invalid_request /fact_id",
        "10 invalid_request /timestamp",
        "11 invalid_request /color",
        "12 invalid_request ",
        "13 invalid_request /text",
        "14 invalid_request /text",
        "15 conflict ",
    ];
    assert_eq!(said.problems(), expected);
    said.assert_summary("partial", 3, 14, 17);
    let export = server.export().await?;
    assert_eq!(export.lines().count(), 2);
    assert!(export.contains("\"first\"") && export.contains("\"last\""));
    Ok(())
}

#[tokio::test]
async fn only_the_first_thousand_bad_lines_are_reported_and_all_are_counted() -> Result<()> {
    let server = Server::start().await?;
    let body = "bad\n".repeat(2_500) + "{\"text\":\"good\"}\n";
    let said = import(&server, body).await?;
    assert_eq!(said.reports.len(), 1_000);
    assert_eq!(said.problems()[999], "1000 invalid_request ");
    said.assert_summary("partial", 1, 2_500, 2_501);
    assert_eq!(server.export().await?.lines().count(), 1);
    Ok(())
}

#[tokio::test]
async fn a_line_at_its_bound_obeyed() -> Result<()> {
    let server = Server::start().await?;
    let line = "{\"text\":\"x\"}";
    let body = format!("{line}{}\n{line}\n", " ".repeat(1024 * 1024 - line.len()));
    import(&server, body).await?.assert_summary("success", 2, 0, 2);
    Ok(())
}

#[tokio::test]
async fn a_line_at_its_bound_violated() -> Result<()> {
    let server = Server::start().await?;
    let line = "{\"text\":\"x\"}";
    let body = format!("{line}{}\n{line}\n", " ".repeat(1024 * 1024 + 1 - line.len()));
    let said = import(&server, body).await?;
    assert_eq!(said.problems(), ["1 too_large "]);
    let details = json!({ "limit": "import_line_bytes", "allowed": 1_048_576, "used": 1_048_577 });
    assert_eq!(said.reports[0]["details"], details);
    said.assert_summary("partial", 1, 1, 2);
    Ok(())
}

#[tokio::test]
async fn an_import_of_nothing_says_so() -> Result<()> {
    let server = Server::start().await?;
    import(&server, "").await?.assert_summary("success", 0, 0, 0);
    import(&server, "\n\r\n  \n").await?.assert_summary("success", 0, 0, 3);
    Ok(())
}

/// Whole lines count; the one that was cut is no fact.
#[tokio::test]
async fn a_body_cut_in_the_middle_keeps_its_whole_lines() -> Result<()> {
    let server = Server::start().await?;
    let mut wire = Wire::open(server.url()).await?;
    wire.begin_post("/v1/import", 100_000).await?;
    for n in 0..3 {
        wire.send(format!("{{\"text\":\"whole {n}\",\"fact_id\":\"f{n}\"}}\n").as_bytes()).await?;
    }
    wire.send(b"{\"text\":\"cut").await?;
    wire.end().await?;
    let answer = wire.rest().await?;
    until("the whole lines are stored", async || {
        Ok((server.export().await?.lines().count() == 3).then_some(()))
    })
    .await?;
    assert!(!answer.contains("\"success\""), "half an import is no success: {answer}");
    assert!(!server.export().await?.contains("cut"));
    Ok(())
}

/// A caller that reads nothing until it has sent everything must not hang.
#[tokio::test]
async fn an_import_is_answered_while_it_is_sent_and_after() -> Result<()> {
    let server = Server::start().await?;
    let body = "{\"text\":\"\"}\n".repeat(20_000);
    let mut wire = Wire::open(server.url()).await?;
    wire.begin_post("/v1/import", body.len()).await?;
    wire.send(body.as_bytes()).await?;
    let answer = wire.rest().await?;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer:.200}");
    assert!(answer.contains("\"failed\":20000"), "a summary at the end");
    Ok(())
}
