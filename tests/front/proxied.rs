//! What proxies say of the requests that they pass on.

use anyhow::Result;
use http::Method;
use kenning_tests::{Server, Setup, send};
use serde_json::json;

const KEY: &str = "an-admin-key-for-tests-only";

/// From where the newest act on record came, after one with these headers.
async fn from_where(server: &Server, fields: &[(&str, &str)]) -> Result<String> {
    let admin = server.key(KEY);
    let mut request = admin.request(Method::POST, "/v1/admin/tenants").json(&json!({ "name": "" }));
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    send(request).await?;
    let acts = admin.get("/v1/admin/audit?limit=1").await?;
    let from = acts.json["records"][0]["from"].as_str();
    Ok(from.unwrap_or(&acts.text).to_owned())
}

#[tokio::test]
async fn a_trusted_proxy_says_where_a_request_comes_from_and_nobody_else_does() -> Result<()> {
    let fields = [("x-forwarded-for", "203.0.113.9, 198.51.100.7")];
    let trusting = Setup {
        admin_key: Some(KEY),
        config: Some("trusted_proxies = [\"127.0.0.0/8\"]".into()),
        ..Setup::default()
    };
    let server = Server::start_with(trusting).await?;
    assert_eq!(from_where(&server, &fields).await?, "198.51.100.7");
    assert_eq!(from_where(&server, &[]).await?, "127.0.0.1");
    let wary = Server::start_with(Setup { admin_key: Some(KEY), ..Setup::patient() }).await?;
    assert_eq!(from_where(&wary, &fields).await?, "127.0.0.1");
    Ok(())
}

/// A server without keys behind a proxy that ends TLS: its own pages are those of the name and the
/// scheme that the proxy says.
#[tokio::test]
async fn the_servers_own_pages_are_those_of_the_name_that_a_trusted_proxy_says() -> Result<()> {
    let list = "allowed_hosts = [\"kb.example\"]\n";
    let trusting = format!("{list}trusted_proxies = [\"127.0.0.1\"]");
    let page = [
        ("origin", "https://kb.example"),
        ("x-forwarded-host", "kb.example"),
        ("x-forwarded-proto", "https"),
    ];
    for (config, status) in [(trusting, 200), (list.to_owned(), 403)] {
        let setup = Setup { config: Some(config), ..Setup::default() };
        let server = Server::start_with(setup).await?;
        let mut request = server.request(Method::GET, "/v1/facts");
        for (name, value) in page {
            request = request.header(name, value);
        }
        assert_eq!(send(request).await?.status, status);
        // A page that points its own name here cannot hide behind the header.
        let rebound = server
            .request(Method::GET, "/v1/facts")
            .header("host", "attacker.example")
            .header("x-forwarded-host", "localhost");
        assert_eq!(send(rebound).await?.status, 403);
        let foreign =
            server.request(Method::GET, "/v1/facts").header("x-forwarded-host", "attacker.example");
        assert_eq!(send(foreign).await?.status, if status == 200 { 403 } else { 200 });
    }
    Ok(())
}
