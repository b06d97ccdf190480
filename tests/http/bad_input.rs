//! Bodies, ids and parameters that nobody should send: each is refused for what it
//! is, and nothing changes.

use std::future::Future;

use anyhow::Result;
use http::Method;
use kenning_tests::{Caller, Server, send};
use serde_json::json;

/// A server with one fact, `a`.
pub(super) async fn server() -> Result<Server> {
    let server = Server::start().await?;
    server.store(json!({ "text": "there before", "metadata": { "n": 1 }, "fact_id": "a" })).await?;
    Ok(server)
}

/// Runs `attempt` and sees that the facts, their count and the index are as before.
pub(super) async fn unchanged(
    caller: &Caller,
    attempt: impl Future<Output = Result<()>>,
) -> Result<()> {
    let look = async || {
        let stats = caller.get("/v1/stats").await?.json;
        let counts = (stats["facts"].clone(), stats["index"]["facts"].clone());
        Ok::<_, anyhow::Error>((caller.export().await?, counts))
    };
    let before = look().await?;
    attempt.await?;
    assert_eq!(look().await?, before);
    Ok(())
}

#[tokio::test]
async fn a_body_that_is_no_fact_is_refused_in_its_place() -> Result<()> {
    let server = server().await?;
    let bodies: [(&[u8], &str); 24] = [
        (b"", ""),
        (b"   ", ""),
        (b"nonsense", ""),
        (b"{", ""),
        (b"{\"text\":", "/text"),
        (b"{\"text\":\"x\"", ""),
        (b"{\"text\":\"x\"}}", ""),
        (b"{\"text\":\"x\"}{\"text\":\"y\"}", ""),
        (b"{'text':'x'}", ""),
        (b"{\"text\":\"x\",}", ""),
        (b"null", ""),
        (b"5", ""),
        (b"\"x\"", ""),
        (b"[\"x\",null,\"y\"]", ""),
        (b"{}", "/text"),
        (b"{\"text\":null}", "/text"),
        (b"{\"text\":1}", "/text"),
        (b"{\"text\":[\"x\"]}", "/text"),
        (b"{\"text\":\"x\",\"text\":\"y\"}", ""),
        (b"{\"text\":\"x\",\"color\":\"red\"}", "/color"),
        (b"{\"text\":\"x\",\"fact_id\":5}", "/fact_id"),
        (b"{\"text\":\"\xff\xfe\"}", "/text"),
        (b"{\"text\":\"\\ud800 alone\"}", "/text"),
        (b"{\"text\":\"a line\nbreak\"}", "/text"),
    ];
    unchanged(&server, async {
        for (body, pointer) in bodies {
            let answer = server.post_raw("/v1/facts", body).await?;
            answer.assert_invalid(pointer);
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_text_that_says_nothing_is_refused() -> Result<()> {
    let server = server().await?;
    unchanged(&server, async {
        for text in ["", " ", "\n\t\r", "\u{3000}\u{2003}"] {
            server.post("/v1/facts", json!({ "text": text })).await?.assert_invalid("/text");
            server.patch("/v1/facts/a", json!({ "text": text })).await?.assert_invalid("/text");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn metadata_that_is_no_object_is_refused() -> Result<()> {
    let server = server().await?;
    let bad = ["[]", "[{}]", "\"x\"", "1", "true", "{\"a\":\"\\udc00\"}"];
    let deep = "{\"a\":".repeat(200) + "1" + &"}".repeat(200);
    unchanged(&server, async {
        for metadata in bad.into_iter().chain([deep.as_str()]) {
            let fact = format!("{{\"text\":\"x\",\"metadata\":{metadata}}}");
            server.post_raw("/v1/facts", fact).await?.assert_invalid("/metadata");
            let change = format!("{{\"metadata\":{metadata}}}");
            let request = server.request(Method::PATCH, "/v1/facts/a").body(change);
            send(request).await?.assert_invalid("/metadata");
        }
        Ok(())
    })
    .await
}

/// A parser that recursed would end the process.
#[tokio::test]
async fn json_nested_a_hundred_thousand_deep_is_refused() -> Result<()> {
    let server = server().await?;
    let nested = |open: &str, close: &str| open.repeat(100_000) + "1" + &close.repeat(100_000);
    let (lists, objects) = (nested("[", "]"), nested("{\"a\":", "}"));
    unchanged(&server, async {
        for deep in [&lists, &objects] {
            for path in ["/v1/facts", "/v1/facts/batch", "/v1/search"] {
                let answer = server.post_raw(path, deep.clone()).await?;
                answer.assert_error(400, "invalid_request");
            }
            let fact = format!("{{\"text\":\"x\",\"metadata\":{deep}}}");
            server.post_raw("/v1/facts", fact).await?.assert_invalid("/metadata");
            let batch = format!("{{\"facts\":[{deep}]}}");
            let answer = server.post_raw("/v1/facts/batch", batch).await?;
            assert!(!answer.text.contains("\"success\""), "{}", answer.text);
            let query = format!("{{\"query\":\"x\",\"filter\":{deep}}}");
            let answer = server.post_raw("/v1/search", query).await?;
            assert_eq!(answer.status, 400, "{}", answer.text);
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_fact_of_the_largest_size_obeyed() -> Result<()> {
    let server = server().await?;
    let text = "x".repeat(256 * 1024);
    let metadata = json!({ "m": "y".repeat(64 * 1024 - 8) });
    assert_eq!(metadata.to_string().len(), 64 * 1024);
    server.store(json!({ "text": text, "metadata": metadata, "fact_id": "large" })).await?;
    let fact = server.get("/v1/facts/large").await?.json;
    assert!(fact["content"] == text && fact["metadata"] == metadata);
    let answer = server.patch("/v1/facts/a", json!({ "text": text, "metadata": metadata })).await?;
    assert_eq!(answer.status, 200, "{}", answer.text);
    Ok(())
}

#[tokio::test]
async fn a_fact_of_the_largest_size_violated() -> Result<()> {
    let server = server().await?;
    let text = json!({ "text": "x".repeat(256 * 1024 + 1) });
    let letters = json!({ "text": "ä".repeat(128 * 1024 + 1) });
    let metadata = json!({ "text": "x", "metadata": { "m": "y".repeat(64 * 1024 - 7) } });
    unchanged(&server, async {
        for (fact, limit, allowed, used) in [
            (&text, "fact_text_bytes", 262_144, 262_145),
            (&letters, "fact_text_bytes", 262_144, 262_146),
            (&metadata, "fact_metadata_bytes", 65_536, 65_537),
        ] {
            let details = json!({ "limit": limit, "allowed": allowed, "used": used });
            for answer in [
                server.post("/v1/facts", fact.clone()).await?,
                server.patch("/v1/facts/a", fact.clone()).await?,
            ] {
                answer.assert_error(413, "too_large");
                assert_eq!(answer.json["details"], details);
                let message = answer.json["message"].as_str().unwrap_or_default();
                assert!(
                    message.contains(limit) && message.contains(&used.to_string()),
                    "{message}"
                );
            }
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_body_above_its_bound_is_refused() -> Result<()> {
    let server = server().await?;
    let body = format!("{{\"text\":\"{}\"}}", "x".repeat(6 * 1024 * 1024));
    unchanged(&server, async {
        let answer = server.post_raw("/v1/facts", body).await?;
        answer.assert_error(413, "too_large");
        assert_eq!(answer.json["details"]["limit"], "body_bytes");
        assert_eq!(answer.json["details"]["allowed"], 16 * (256 + 64) * 1024);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_id_that_is_none_is_refused_in_a_body_and_in_a_path() -> Result<()> {
    let server = server().await?;
    let (long, longer) = ("a".repeat(129), "a".repeat(10 * 1024));
    let ids = [
        ("a:b", "a:b"),
        ("a/b", "a%2Fb"),
        ("../a", "..%2Fa"),
        (".a", ".a"),
        ("-a", "-a"),
        ("a b", "a%20b"),
        ("a\nb", "a%0Ab"),
        ("a\r\nb", "a%0D%0Ab"),
        ("a\u{0}b", "a%00b"),
        ("ä", "%C3%A4"),
        ("a{b}", "a%7Bb%7D"),
        ("*", "%2A"),
        (&long, &long),
        (&longer, &longer),
    ];
    unchanged(&server, async {
        for (id, in_path) in ids {
            let fact = json!({ "text": "x", "fact_id": id });
            server.post("/v1/facts", fact).await?.assert_invalid("/fact_id");
            let path = format!("/v1/facts/{in_path}");
            server.get(&path).await?.assert_invalid("/fact_id");
            server.patch(&path, json!({ "text": "x" })).await?.assert_invalid("/fact_id");
            server.delete(&path).await?.assert_invalid("/fact_id");
        }
        server
            .post("/v1/facts", json!({ "text": "x", "fact_id": "" }))
            .await?
            .assert_invalid("/fact_id");
        for path in ["/v1/facts/%FF", "/v1/facts/a%FEb"] {
            server.get(path).await?.assert_invalid("/fact_id");
            server.delete(path).await?.assert_invalid("/fact_id");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_change_of_nothing_is_refused() -> Result<()> {
    let server = server().await?;
    unchanged(&server, async {
        for (body, pointer) in [
            ("{}", ""),
            ("{\"text\":null}", ""),
            ("{\"text\":null,\"metadata\":null}", ""),
            ("", ""),
            ("[]", ""),
            ("{\"text\":5}", "/text"),
            ("{\"color\":\"x\"}", "/color"),
            ("{\"fact_id\":\"b\"}", "/fact_id"),
        ] {
            let request = server.request(Method::PATCH, "/v1/facts/a").body(body);
            send(request).await?.assert_invalid(pointer);
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_listing_with_wrong_parameters_is_refused() -> Result<()> {
    let server = server().await?;
    for limit in ["0", "-1", "1001", "1000000000", "ten", "1.5", "", "%20", "99999999999999999999"]
    {
        server.get(&format!("/v1/facts?limit={limit}")).await?.assert_invalid("/limit");
    }
    let foreign = "AQAAAAAAAAABYTpi"; // The id in it is `a:b`.
    let long = "A".repeat(10 * 1024);
    for cursor in ["", "nonsense", "%00", "!!!", "AQ==", foreign, &long] {
        server.get(&format!("/v1/facts?cursor={cursor}")).await?.assert_invalid("/cursor");
        let path = format!("/v1/facts?query=x&limit=5&cursor={cursor}");
        server.get(&path).await?.assert_invalid("/cursor");
    }
    for parameters in ["offset=5", "limit=1&limit=2", "Limit=5"] {
        let answer = server.get(&format!("/v1/facts?{parameters}")).await?;
        answer.assert_error(400, "invalid_request");
    }
    Ok(())
}

/// A NUL byte is a letter like any other in a text, and none in a name.
#[tokio::test]
async fn a_nul_byte_in_a_text_is_kept() -> Result<()> {
    let server = server().await?;
    let fact = json!({ "text": "a\u{0}b", "metadata": { "\u{0}": "\u{0}" }, "fact_id": "nul" });
    server.store(fact.clone()).await?;
    let read = server.get("/v1/facts/nul").await?.json;
    assert_eq!((&read["content"], &read["metadata"]), (&fact["text"], &fact["metadata"]));
    let raw = b"{\"text\":\"a\0b\"}";
    server.post_raw("/v1/facts", &raw[..]).await?.assert_invalid("/text");
    Ok(())
}
