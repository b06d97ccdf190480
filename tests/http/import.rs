//! `POST /v1/import`: lines in, one answer back.

use anyhow::Result;
use http::Method;
use kenning_tests::{
    Answer, Backend, Caller, Server, Wire, all_indexed, assert_error_body, on_both_backends, send,
    until,
};
use serde_json::{Value, json};

on_both_backends!(
    both_shapes_of_a_line_are_imported,
    an_export_can_be_imported_again_and_elsewhere,
    what_was_imported_is_found,
);

/// What an import said.
struct Said(Answer);

impl Said {
    fn errors(&self) -> &[Value] {
        self.0.json["errors"].as_array().map_or(&[], Vec::as_slice)
    }

    /// Each refused line's number, code and pointer.
    fn problems(&self) -> Vec<String> {
        let problem = |error: &Value| {
            let pointer = error["details"]["pointer"].as_str().unwrap_or_default();
            let code = error["code"].as_str().unwrap_or_default();
            format!("{} {code} {pointer}", error["line"])
        };
        self.errors().iter().map(problem).collect()
    }

    #[track_caller]
    fn assert_counts(&self, status: u16, imported: u64, failed: u64, lines: u64) {
        let Answer { json, text, .. } = &self.0;
        assert_eq!(self.0.status, status, "{text}");
        assert!(json["took_ms"].is_u64(), "{text}");
        let counts = ["imported", "failed", "lines"].map(|name| json[name].clone());
        assert_eq!(counts, [imported, failed, lines].map(Value::from), "{text}");
        let first = self.errors().first().map_or(&Value::Null, |error| &error["line"]);
        assert_eq!(&json["first_refused_line"], first, "{text}");
        self.errors().iter().for_each(assert_error_body);
        match status {
            200 => assert_eq!(json["status"], "success"),
            _ => assert_error_body(json),
        }
    }
}

async fn import(caller: &Caller, body: impl Into<reqwest::Body>) -> Result<Said> {
    let answer = caller.post_raw("/v1/import", body).await?;
    assert_eq!(answer.header("content-type"), "application/json");
    Ok(Said(answer))
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
    import(&server, body).await?.assert_counts(200, 4, 0, 7);
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
    import(&server, lines).await?.assert_counts(200, 120, 0, 120);
    let export = server.export().await?;
    import(&server, export.clone()).await?.assert_counts(200, 120, 0, 120);
    assert_eq!(server.export().await?, export, "importing it again changes nothing");
    let other = server.tenant("other");
    import(&other, export.clone()).await?.assert_counts(200, 120, 0, 120);
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
        "12 invalid_request /content",
        "13 invalid_request /text",
        "14 invalid_request /text",
        "15 conflict ",
    ];
    assert_eq!(said.problems(), expected);
    said.assert_counts(422, 3, 14, 17);
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
    assert_eq!(said.errors().len(), 1_000);
    assert_eq!(said.problems()[999], "1000 invalid_request ");
    said.assert_counts(422, 1, 2_500, 2_501);
    assert_eq!(server.export().await?.lines().count(), 1);
    Ok(())
}

#[tokio::test]
async fn a_line_at_its_bound_obeyed() -> Result<()> {
    let server = Server::start().await?;
    let line = "{\"text\":\"x\"}";
    let body = format!("{line}{}\n{line}\n", " ".repeat(1024 * 1024 - line.len()));
    import(&server, body).await?.assert_counts(200, 2, 0, 2);
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
    assert_eq!(said.errors()[0]["details"], details);
    let message = said.errors()[0]["message"].as_str().unwrap_or_default().to_owned();
    assert!(message.contains("this line has 1048577"), "{message}");
    said.assert_counts(422, 1, 1, 2);
    Ok(())
}

#[tokio::test]
async fn an_import_of_nothing_says_so() -> Result<()> {
    let server = Server::start().await?;
    import(&server, "").await?.assert_counts(200, 0, 0, 0);
    import(&server, "\n\r\n  \n").await?.assert_counts(200, 0, 0, 3);
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
async fn a_caller_may_send_everything_before_it_reads() -> Result<()> {
    let server = Server::start().await?;
    let body = "{\"text\":\"\"}\n".repeat(20_000);
    let mut wire = Wire::open(server.url()).await?;
    wire.begin_post("/v1/import", body.len()).await?;
    wire.send(body.as_bytes()).await?;
    let answer = wire.rest().await?;
    assert!(answer.starts_with("HTTP/1.1 422"), "{answer:.200}");
    assert!(answer.contains("\"failed\":20000") && answer.contains("\"line\":1000}"));
    Ok(())
}

/// A proxy that sees a response stops sending the rest of the request.
#[tokio::test]
async fn nothing_is_answered_before_the_body_was_read() -> Result<()> {
    let server = Server::start().await?;
    let line = |n: usize| format!("{{\"text\":\"line {n:03}\"}}\n");
    let lines: Vec<String> = (0..200).map(line).collect();
    let mut wire = Wire::open(server.url()).await?;
    wire.begin_post("/v1/import", lines.concat().len()).await?;
    wire.send(b"not json\n").await?;
    wire.send(lines[1..150].concat().as_bytes()).await?;
    until("lines are stored", async || {
        Ok((server.get("/v1/stats").await?.json["facts"].as_u64() >= Some(100)).then_some(()))
    })
    .await?;
    assert!(wire.is_silent(), "nothing is known before the end");
    let rest = lines[150..].concat();
    let sent = 9 + lines[1..150].concat().len();
    let padding = " ".repeat(lines.concat().len() - sent - rest.len());
    wire.send(format!("{rest}{padding}").as_bytes()).await?;
    let answer = wire.rest().await?;
    assert!(answer.starts_with("HTTP/1.1 422"), "{answer:.200}");
    assert!(answer.contains("\"imported\":199,\"failed\":1,\"first_refused_line\":1"), "{answer}");
    Ok(())
}

#[tokio::test]
async fn a_byte_order_mark_belongs_to_no_line() -> Result<()> {
    let server = Server::start().await?;
    let lines = [json!({ "id": "b1", "content": "x" }), json!({ "id": "b2", "content": "y" })];
    let lines = format!("\u{feff}{}\n{}", lines[0], lines[1]);
    import(&server, lines).await?.assert_counts(200, 2, 0, 2);
    import(&server, "\u{feff}\n\u{feff}").await?.assert_counts(422, 0, 1, 2);
    let fact = json!({ "text": "x", "fact_id": "one" }).to_string();
    let stored = server.post_raw("/v1/facts", format!("\u{feff}{fact}")).await?;
    assert_eq!(stored.status, 201, "{}", stored.text);
    Ok(())
}

#[tokio::test]
async fn an_import_can_be_followed_by_its_id() -> Result<()> {
    let server = Server::start().await?;
    let named = |id: &str| {
        let request = server.request(Method::POST, "/v1/import");
        request.header("x-kenning-import-id", id)
    };
    let (lines, body) = tokio::sync::mpsc::channel::<Result<String, std::io::Error>>(1);
    let body = futures::stream::unfold(body, async |mut body| Some((body.recv().await?, body)));
    let import = tokio::spawn(send(named("mine").body(reqwest::Body::wrap_stream(body))));
    let path = "/v1/imports/mine";
    lines.send(Ok("bad\n".to_owned() + &"{\"text\":\"x\"}\n".repeat(60))).await?;
    let running = until("a group is stored", async || {
        let progress = server.get(path).await?.json;
        Ok((progress["imported"] == 50).then_some(progress))
    })
    .await?;
    assert_eq!((&running["state"], &running["http_status"]), (&json!("running"), &Value::Null));
    let counts = ["failed", "first_refused_line", "lines"].map(|name| running[name].clone());
    assert_eq!(counts, [1, 1, 61].map(Value::from), "{running}");
    send(named("mine").body("")).await?.assert_error(409, "conflict");
    server.tenant("other").get(path).await?.assert_error(404, "not_found");
    drop(lines);
    let answer = import.await??;
    assert_eq!((answer.status, answer.header("x-kenning-import-id")), (422, "mine"));
    let ended = server.get(path).await?.json;
    assert_eq!((&ended["state"], &ended["http_status"]), (&json!("ended"), &json!(422)));
    assert_eq!((&ended["imported"], &ended["message"]), (&json!(60), &answer.json["message"]));
    assert_eq!(send(named("mine").body("")).await?.status, 200, "it is free again");
    send(named("no good").body("")).await?.assert_invalid("/headers/x-kenning-import-id");
    server.get("/v1/imports/unknown").await?.assert_error(404, "not_found");
    Ok(())
}
