//! The operator's commands on guests.

use kenning_client::{Exit, OutputFormat};

use crate::fake_server::{FakeServer, HUMAN, json};

#[tokio::test]
async fn extensions_are_listed_with_their_hooks_order_grants_and_policy() {
    let list = concat!(
        r#"{"extensions":[{"name":"dedupe","order":-3,"active":2,"#,
        r#""hooks":{"on-store":"close","rerank":"leave-out"},"#,
        r#""generations":[{"number":1,"digest":"sha256:a","staged_at":"t","grants":["storage"]},"#,
        r#"{"number":2,"digest":"sha256:b","staged_at":"t","grants":["embedding","index"],"#,
        r#""active":true}],"#,
        r#""live":{"generation":2,"calls":7,"failures":1,"quarantined_for_ms":null},"events":[]},"#,
        r#"{"name":"cold","order":0,"active":1,"#,
        r#""generations":[{"number":1,"digest":"sha256:c","staged_at":"t","active":true}]}]}"#,
    );
    let server = FakeServer::responding_json(list).await;
    let outcome = server.run(&["extension", "list"]).await;
    assert_eq!(outcome.exit, Exit::Success, "{}", outcome.err);
    assert_eq!(
        outcome.out,
        "dedupe\t1\t\tsha256:a\tt\n\
         dedupe\t2\tactive\tsha256:b\tt\tcalls 7\tfailures 1\torder -3\t\
         hooks on-store=close,rerank=leave-out\tgrants embedding,index\n\
         cold\t1\tactive\tsha256:c\tt\torder 0\thooks unknown\tgrants none\n"
    );
}

/// What a stranger may write and a terminal would act on, as JSON.
const HOSTILE: &str = r"x\u001b]0;title\u0007\u001b[2J\u009b31m\u202e\u2028\b\ry";

#[tokio::test]
async fn no_command_prints_what_a_terminal_acts_on() {
    let logs = r#"{"lines":[{"number":1,"time":"X","level":"X","generation":1,"message":"X"}]}"#;
    let fact = r#"{"id":"X","content":"X","metadata":{"X":"X"},"timestamp":"X"}"#;
    let guest = concat!(
        r#"{"name":"X","order":0,"active":1,"hooks":{"X":"X"},"events":[{"at":"X","what":"X","#,
        r#""generation":1,"why":"X"}],"generations":[{"number":1,"digest":"X","staged_at":"X","#,
        r#""grants":["X"],"active":true}]}"#
    );
    let extensions = format!(r#"{{"extensions":[{guest}]}}"#);
    let facts = format!(r#"{{"facts":[{fact}],"next_cursor":null}}"#);
    let hits = concat!(
        r#"{"results":[{"doc_id":"X","content":"X","metadata":{"X":"X"},"score":1.0}],"#,
        r#""degraded":["X"]}"#
    );
    let tenants = r#"{"tenants":[{"name":"X","created":"X","keys":1}]}"#;
    let error = r#"{"status":"error","code":"X","message":"X","details":{"X":"X"}}"#;
    for (status, answer, command) in [
        (200, logs, &["extension", "logs", "x"][..]),
        (200, &extensions, &["extension", "list"]),
        (200, guest, &["logic", "list"]),
        (200, fact, &["get", "x"]),
        (200, &facts, &["list"]),
        (200, hits, &["search", "x"]),
        (200, tenants, &["tenant", "list"]),
        (200, r#"{"X":{"X":"X"}}"#, &["stats"]),
        (502, error, &["get", "x"]),
        (502, "X", &["get", "x"]),
    ] {
        let answer = answer.replace('X', HOSTILE);
        // Not all of it is escaped: what JSON need not escape comes as it is.
        let answer = answer.replace(r"\u009b", "\u{9b}").replace(r"\u202e", "\u{202e}");
        for format in [HUMAN, OutputFormat::Plain] {
            let server = FakeServer::responding([json(status, &answer)]).await;
            let outcome = server.run_in(format, command, "").await;
            let said = outcome.out + &outcome.err;
            let acts = |c: char| kenning_client::is_unprintable(c) && c != '\n' && c != '\t';
            assert!(said.contains('x') && !said.contains(acts), "{command:?}: {said:?}");
        }
    }
}
