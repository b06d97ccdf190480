//! Pages of other origins that the operator lists.

use anyhow::Result;
use http::Method;
use kenning_tests::{Answer, Caller, Server, Setup, send};

const APP: &str = "https://app.example";

async fn preflight(caller: &Caller, origin: &str, path: &str) -> Result<Answer> {
    let request = caller
        .request(Method::OPTIONS, path)
        .header("origin", origin)
        .header("access-control-request-method", "PATCH")
        .header("access-control-request-headers", "authorization,content-type,x-kenning-tenant");
    send(request).await
}

fn assert_allowed(answer: &Answer) {
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.header("access-control-allow-origin"), APP);
    assert_eq!(answer.header("access-control-allow-credentials"), "");
    assert_ne!(answer.header("access-control-max-age"), "");
    let methods = answer.header("access-control-allow-methods");
    assert!(methods.contains("PATCH") && methods.contains("DELETE"), "{methods}");
    let headers = answer.header("access-control-allow-headers");
    for name in ["authorization", "content-type", "idempotency-key", "x-kenning-tenant"] {
        assert!(headers.contains(name), "{headers}");
    }
    let varies: Vec<_> = answer.headers.get_all("vary").iter().collect();
    assert!(varies.iter().any(|vary| vary.to_str().is_ok_and(|vary| vary.contains("origin"))));
}

#[tokio::test]
async fn pages_of_listed_origins_may_ask_and_read_and_others_may_not() -> Result<()> {
    let config = format!("allowed_origins = [\"{APP}\"]\n");
    let keyed = Setup {
        config: Some(config.clone()),
        admin_key: Some("an-admin-key-for-tests-only"),
        ..Setup::default()
    };
    let open = Setup { config: Some(config), ..Setup::default() };
    for server in [Server::start_with(open).await?, Server::start_with(keyed).await?] {
        for path in ["/v1/facts/a", "/v1/search", "/v1/nowhere", "/mcp"] {
            assert_allowed(&preflight(&server, APP, path).await?);
        }
        for foreign in ["https://attacker.example", "http://app.example", "null"] {
            let refused = preflight(&server, foreign, "/v1/facts/a").await?;
            refused.assert_error(403, "forbidden");
            assert_eq!(refused.header("access-control-allow-origin"), "");
        }
        // An answer, also one that refuses: the page must be able to read why.
        let request = server.request(Method::POST, "/v1/facts").header("origin", APP);
        let answer = send(request.header("content-encoding", "br").body("x")).await?;
        answer.assert_error(415, "invalid_request");
        assert_eq!(answer.header("access-control-allow-origin"), APP);
        let exposed = answer.header("access-control-expose-headers");
        for name in ["x-request-id", "x-kenning-revision", "retry-after"] {
            assert!(exposed.contains(name), "{exposed}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn without_a_list_nobody_is_told_anything() -> Result<()> {
    let setup = Setup { admin_key: Some("an-admin-key-for-tests-only"), ..Setup::patient() };
    let server = Server::start_with(setup).await?;
    let asked = preflight(&server, APP, "/v1/facts/a").await?;
    asked.assert_error(403, "forbidden");
    let request = server.request(Method::GET, "/livez").header("origin", APP);
    let answer = send(request).await?;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, ""));
    Ok(())
}
