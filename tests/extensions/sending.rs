//! What an extension sends to the outside: the grant `http:HOST`.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use http::Method;
use kenning_tests::{Author, Server, Setup, component, noted, send};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::keeping::ask;

const ROUTE: &str = "/v1/admin/tenants/default/extensions/sending";

/// What an answer without an end has before it ends.
const ENDLESS: usize = 1 << 30;

/// The other side, on this machine.
struct Outside {
    /// Where it listens: `127.0.0.1:PORT`.
    host: String,
    /// The first lines of what it was asked.
    asked: Arc<Mutex<Vec<String>>>,
}

impl Outside {
    async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let host = listener.local_addr()?.to_string();
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let seen = asked.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, seen.clone()));
            }
        });
        Ok(Self { host, asked })
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Answers each request as its path says.
async fn answer(stream: TcpStream, asked: Arc<Mutex<Vec<String>>>) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut head, mut length) = (Vec::new(), 0);
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            let line = line.trim_end().to_ascii_lowercase();
            if let Some(bytes) = line.strip_prefix("content-length:") {
                length = bytes.trim().parse().unwrap_or_default();
            }
            if line.is_empty() {
                break;
            }
            head.push(line);
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        let first = head.first().cloned().unwrap_or_default();
        asked.lock().unwrap_or_else(PoisonError::into_inner).push(first.clone());
        let (status, header) = match first.split(' ').nth(1).unwrap_or_default() {
            "/echo" => ("200 OK", ""),
            "/away" => ("302 Found", "location: http://169.254.169.254/latest\r\n"),
            "/translate" => {
                body = br#"{"translatedText":"tea"}"#.to_vec();
                ("200 OK", "")
            }
            "/endless" => return endless(stream).await,
            _ => return std::future::pending().await,
        };
        let length = body.len();
        let answer = format!("HTTP/1.1 {status}\r\n{header}content-length: {length}\r\n\r\n");
        stream.write_all(&[answer.as_bytes(), &body].concat()).await?;
    }
}

async fn endless(mut stream: BufReader<TcpStream>) -> io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await?;
    let piece = [&b"10000\r\n"[..], &[b'x'; 0x10000], b"\r\n"].concat();
    for _ in 0..ENDLESS / 0x10000 {
        stream.write_all(&piece).await?;
    }
    stream.write_all(b"0\r\n\r\n").await
}

/// A server whose operator named the other side, with limits of its own.
async fn serve(outside: &Outside) -> Result<Server> {
    let setup = Setup::patient_but("http_ms = 1500\nhttp_requests = 3");
    let limits = setup.config.clone().unwrap_or_default();
    let config = Some(format!("private_hosts = [{:?}]\n{limits}", outside.host));
    Server::start_with(Setup { config, ..setup }).await
}

/// What the extension says that is refused an answer.
async fn error(server: &Server, asked: Value) -> Result<String> {
    let said = ask(server, asked).await?;
    Ok(said["error"].as_str().with_context(|| format!("no error: {said}"))?.to_owned())
}

#[tokio::test]
async fn an_extension_reaches_the_hosts_that_it_was_granted_and_no_other() -> Result<()> {
    let (outside, other) = (Outside::start().await?, Outside::start().await?);
    let server = serve(&outside).await?;
    let sending = std::fs::read(component("sending")?)?;
    let refused = server.install("default", "sending", sending.clone(), "?grant=index").await?;
    refused.assert_error(422, "incompatible_component");
    for named in ["`--grant http:HOST`", "--disable http"] {
        assert!(refused.text.contains(named), "{named}: {}", refused.text);
    }
    let hostless = server.install("default", "sending", sending.clone(), "?grant=http").await?;
    hostless.assert_invalid("/grant");
    // The other one is granted, and the operator did not name it.
    let port = other.host.rsplit(':').next().context("a port")?.to_owned();
    let grants = format!("?grant=http:{},localhost:{port}", outside.host);
    let installed = server.install("default", "sending", sending.clone(), &grants).await?;
    assert_eq!(installed.status, 200, "{}", installed.text);
    let listed = server.get("/v1/admin/tenants/default/extensions").await?.json;
    let granted = json!([format!("http:{}", outside.host), format!("http:localhost:{port}")]);
    assert_eq!(listed["extensions"][0]["generations"][0]["grants"], granted, "{listed}");

    let url = |path: &str| format!("http://{}{path}", outside.host);
    let echoed = json!({ "url": url("/echo"), "method": "POST", "body": "two cups of tea" });
    let said = ask(&server, echoed.clone()).await?;
    assert_eq!((&said["status"], &said["body"]), (&json!(200), &json!("two cups of tea")));
    let away = ask(&server, json!({ "url": url("/away") })).await?;
    assert_eq!(away["status"], 302);
    for (to, why) in [
        (away["location"].as_str().context("a location")?.to_owned(), "Refused"),
        (format!("http://{}/echo", other.host), "Refused"),
        (format!("http://localhost:{port}/echo"), "Refused"),
        (format!("http://{}@{}/echo", outside.host, other.host), "Refused"),
        (url("/endless"), "TooLarge"),
        (url("/silent"), "Timeout"),
    ] {
        let said = error(&server, json!({ "url": to })).await?;
        assert!(said.starts_with(why), "{to}: {said}");
    }
    let connect = error(&server, json!({ "url": url("/echo"), "method": "CONNECT" })).await?;
    assert!(connect.starts_with("Refused"), "{connect}");
    let fourth = error(&server, json!({ "url": url("/echo"), "times": 4 })).await?;
    assert!(fourth.starts_with("TooLarge"), "{fourth}");
    assert_eq!(other.asked(), Vec::<String>::new());
    let lines = server.get(&format!("{ROUTE}/logs")).await?.text;
    for line in [
        format!("`--grant http:{}`", other.host),
        "`--grant http:169.254.169.254`".to_owned(),
        "its address is this machine (loopback)".to_owned(),
        "has a name before the host".to_owned(),
        "its method is CONNECT".to_owned(),
        "http_answer_bytes allows: 1048576".to_owned(),
        "no whole answer within http_ms".to_owned(),
        "all 3 requests that http_requests allows".to_owned(),
    ] {
        assert!(lines.contains(&line), "{line}: {lines}");
    }

    // Nothing is sent in a proof, nor when a call that failed is replayed.
    let before = outside.asked();
    let proven = noted(&sending, "proven");
    let rehearsed = format!("{grants}&dry_run=true");
    let proven = server.install("default", "sending", proven, &rehearsed);
    let proven = proven.await?;
    assert!(proven.json["proof"]["requests"].as_u64() > Some(0), "{}", proven.text);
    assert_eq!(outside.asked(), before, "a proof sends nothing");
    let failing = json!({ "url": url("/echo"), "method": "POST", "body": "tea", "trap": true });
    let failed = server.post("/v1/search", json!({ "query": failing.to_string() })).await?;
    failed.assert_error(502, "guest_trapped");
    let author = Author::of(&server)?;
    let replayed = author.replay(&[failed.header("x-request-id"), "--json"]).await?.json();
    assert_eq!(replayed["as_recorded"], true, "{replayed}");
    assert_eq!(replayed["fuel"], replayed["recorded"]["fuel"], "{replayed}");
    assert!(replayed["trace"].to_string().contains("-> 200 (3 bytes)"), "{replayed}");
    assert_eq!(outside.asked().len(), before.len() + 1, "nor does a replay");

    // A grant that is taken back holds for the next call.
    let less = json!({ "grants": [format!("http:localhost:{port}")] });
    let changed = server.patch(ROUTE, less).await?;
    assert_eq!(changed.status, 200, "{}", changed.text);
    assert!(error(&server, echoed).await?.starts_with("Refused"));
    Ok(())
}

#[tokio::test]
async fn translate_query_searches_for_the_translation_and_without_one_as_it_was() -> Result<()> {
    let outside = Outside::start().await?;
    let server = serve(&outside).await?;
    server.store(json!({ "text": "Tea is hot.", "fact_id": "tea" })).await?;
    let url = format!("http://{}/translate", outside.host);
    let settings = json!({ "url": url, "target": "en" }).to_string();
    let grant = format!("http:{}", outside.host);
    let parameters = [("grant", grant.as_str()), ("settings", settings.as_str())];
    let parameters = reqwest::Url::parse_with_params("http://any.example", parameters)?;
    let parameters = format!("?{}", parameters.query().unwrap_or_default());
    let translate = std::fs::read(component("translate-query")?)?;
    let installed = server.install("default", "translate-query", translate, &parameters).await?;
    assert_eq!(installed.status, 200, "{}", installed.text);
    let asked = json!({ "query": "thé", "mode": "text" });
    assert_eq!(server.search(asked.clone()).await?, ["tea"]);
    assert_eq!(outside.asked(), ["post /translate http/1.1"]);

    let silent = json!({ "url": format!("http://{}/silent", outside.host), "target": "en" });
    let path = "/v1/admin/tenants/default/extensions/translate-query";
    let settings = server.request(Method::PUT, &format!("{path}/settings"));
    let changed = send(settings.json(&silent)).await?;
    assert_eq!(changed.status, 200, "{}", changed.text);
    assert_eq!(server.search(asked).await?, Vec::<String>::new());
    let lines = server.get(&format!("{path}/logs")).await?.text;
    assert!(lines.contains("a query was not translated: there was no answer"), "{lines}");
    Ok(())
}
