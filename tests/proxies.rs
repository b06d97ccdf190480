//! What goes through the proxies that stand in front of servers: each of nginx and haproxy, over
//! plain HTTP/1.1 and over TLS, takes every line of an import, with the request buffered and
//! unbuffered, and passes each change on as it happens.

use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use http::Method;
use kenning_storage::testing::free_port;
use kenning_tests::{Caller, ChangeStream, Server, Setup, send, until};
use reqwest::Client;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

const LINES: usize = 20_000;

/// More than 4 MB together: beyond what the sockets in between hold.
const LINE_BYTES: usize = 220;

/// How many seconds a proxy waits for the next byte.
const PATIENCE: u32 = 60;
const HASTE: u32 = 2;

/// Where Debian has servers, also for users who do not have it in their path.
const PROGRAMS: &str = "/usr/sbin";

/// One way through a proxy.
struct Way {
    port: u16,
    buffered: bool,
    tls: bool,
}

impl Way {
    fn url(&self) -> String {
        format!("{}://127.0.0.1:{}", if self.tls { "https" } else { "http" }, self.port)
    }
}

/// All ways through one proxy, each on a port of its own.
fn ways() -> Vec<Way> {
    let pairs = [(true, false), (true, true), (false, false), (false, true)];
    pairs.map(|(buffered, tls)| Way { port: free_port(), buffered, tls }).into()
}

/// A running proxy; dropping it ends its process.
pub(crate) struct Proxy {
    _process: Child,
    _folder: TempDir,
}

/// A certificate of our own with its key, in one file.
async fn certificate(folder: &Path) -> Result<()> {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
        .args(["-keyout", "key.pem", "-out", "certificate.pem", "-subj", "/CN=localhost"])
        .current_dir(folder)
        .output()
        .await
        .context("no openssl: run `make proxies`")?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let both = ["certificate.pem", "key.pem"].map(|name| fs::read(folder.join(name)));
    let [certificate, key] = both;
    fs::write(folder.join("both.pem"), [certificate?, key?].concat())?;
    Ok(())
}

/// Starts `program` with what `configure` writes, and waits until all `ports` are open.
pub(crate) async fn start(
    program: &str,
    arguments: &[&str],
    ports: impl IntoIterator<Item = u16>,
    configure: impl FnOnce(&Path) -> String,
) -> Result<Proxy> {
    let folder = tempfile::tempdir()?;
    certificate(folder.path()).await?;
    fs::write(folder.path().join("proxy.conf"), configure(folder.path()))?;
    let said = folder.path().join("said");
    let path = std::env::var("PATH").unwrap_or_default();
    let process = Command::new(program)
        .args(arguments)
        .current_dir(folder.path())
        .env("PATH", format!("{path}:{PROGRAMS}"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(&said)?)
        .kill_on_drop(true)
        .spawn();
    let mut process = process.with_context(|| format!("no {program}: run `make proxies`"))?;
    for port in ports {
        until("the proxy listens", async || {
            let ended = process.try_wait()?;
            ensure!(ended.is_none(), "{program}: {}", fs::read_to_string(&said)?);
            Ok(TcpStream::connect(("127.0.0.1", port)).await.ok())
        })
        .await?;
    }
    Ok(Proxy { _process: process, _folder: folder })
}

async fn nginx(server: &str, ways: &[Way], seconds: u32) -> Result<Proxy> {
    let backend = server.strip_prefix("http://").context("an address")?;
    let sites = ways.iter().map(|Way { port, buffered, tls }| {
        let (ssl, buffering) =
            (if *tls { " ssl" } else { "" }, if *buffered { "on" } else { "off" });
        format!(
            "server {{ listen 127.0.0.1:{port}{ssl}; location / {{ proxy_pass http://{backend};
             proxy_request_buffering {buffering}; proxy_http_version 1.1;
             proxy_read_timeout {seconds}s; }} }}\n"
        )
    });
    let sites: String = sites.collect();
    let sites = format!(
        "client_max_body_size 0;
         ssl_certificate certificate.pem; ssl_certificate_key key.pem;
         {sites}"
    );
    start_nginx(ways.iter().map(|way| way.port), &sites).await
}

/// Starts nginx with what is to stand in `http { }`.
pub(crate) async fn start_nginx(
    ports: impl IntoIterator<Item = u16>,
    sites: &str,
) -> Result<Proxy> {
    let arguments = ["-p", ".", "-c", "proxy.conf", "-e", "stderr"];
    start("nginx", &arguments, ports, |folder| {
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|what| format!("{what}_temp_path {}/{what};\n", folder.display()));
        format!(
            "daemon off; master_process off; pid nginx.pid; error_log stderr warn;
             events {{}}
             http {{ access_log off; {} {sites} }}",
            temporary.concat()
        )
    })
    .await
}

/// How haproxy is started, in the foreground.
pub(crate) const HAPROXY: [&str; 3] = ["-f", "proxy.conf", "-db"];

async fn haproxy(server: &str, ways: &[Way], seconds: u32) -> Result<Proxy> {
    let backend = server.strip_prefix("http://").context("an address")?;
    let fronts = ways.iter().map(|Way { port, buffered, tls }| {
        let ssl = if *tls { " ssl crt both.pem" } else { "" };
        let buffering = if *buffered { " option http-buffer-request\n" } else { "" };
        format!(
            "frontend at{port}\n bind 127.0.0.1:{port}{ssl}\n{buffering} default_backend kenning\n"
        )
    });
    let fronts: String = fronts.collect();
    let ports = ways.iter().map(|way| way.port);
    start("haproxy", &HAPROXY, ports, |_| {
        format!(
            "global\n ssl-default-bind-options ssl-min-ver TLSv1.2\n\
             defaults\n mode http\n timeout connect 5s\n timeout client {seconds}s\n\
             \x20timeout server {seconds}s\n\
             {fronts}backend kenning\n server one {backend}\n"
        )
    })
    .await
}

/// Imports all lines by one way, as one who reads nothing before everything is sent.
async fn import(way: &Way, lines: &str) -> Result<Value> {
    kenning_model::install_tls_provider();
    let client = Client::builder().danger_accept_invalid_certs(true).build()?;
    let request = client
        .request(Method::POST, format!("{}/v1/import", way.url()))
        .header("content-type", "application/x-ndjson")
        .body(lines.to_owned());
    let answer = send(request).await?;
    ensure!(answer.status == 200, "{}: {}", way.url(), answer.text);
    Ok(answer.json)
}

fn lines() -> String {
    let line = |n: usize| {
        let fact =
            json!({ "fact_id": format!("f{n}"), "text": format!("fact number {n} ") }).to_string();
        let padding = LINE_BYTES.saturating_sub(fact.len());
        format!("{fact}{}\n", " ".repeat(padding))
    };
    (0..LINES).map(line).collect()
}

async fn all_lines_arrive(server: &Caller, ways: &[Way]) -> Result<()> {
    let lines = lines();
    // The first stores them. The others find each line stored, by its id and its content.
    for way in ways {
        let said = import(way, &lines).await?;
        let counts = ["imported", "failed", "lines"].map(|name| said[name].clone());
        assert_eq!(counts, [LINES, 0, LINES].map(Value::from), "{}: {said}", way.url());
    }
    let export = server.export().await?;
    assert_eq!(export.lines().count(), LINES);
    Ok(())
}

/// A change arrives while the stream goes on, whatever the proxy buffers, and the streams end
/// cleanly when the server does.
async fn changes_arrive_at_once(server: Server, ways: &[Way]) -> Result<()> {
    kenning_model::install_tls_provider();
    let client = Client::builder().danger_accept_invalid_certs(true).build()?;
    let mut streams = Vec::new();
    for way in ways {
        let request = client.get(format!("{}/v1/changes", way.url()));
        streams.push(ChangeStream::of(request.send().await?).await?);
    }
    for n in 0..3 {
        server.store(json!({ "fact_id": format!("f{n}"), "text": "fact" })).await?;
        for stream in &mut streams {
            assert_eq!(stream.take(1).await?[0].told(), ("stored", &*format!("f{n}")));
        }
    }
    // For longer than the proxies wait for something to come.
    for stream in &mut streams {
        stream.comments(6).await?;
    }
    server.store(json!({ "fact_id": "later", "text": "fact" })).await?;
    for stream in &mut streams {
        assert_eq!(stream.take(1).await?[0].told(), ("stored", "later"));
    }
    server.terminate().await?;
    for stream in &mut streams {
        assert_eq!(stream.rest().await?, []);
    }
    Ok(())
}

fn keeping_alive() -> Setup {
    Setup::patient_but("stream_keep_alive_ms = 500")
}

#[tokio::test]
async fn changes_arrive_through_nginx_at_once() -> Result<()> {
    let (server, ways) = (Server::start_with(keeping_alive()).await?, ways());
    let _proxy = nginx(server.url(), &ways, HASTE).await?;
    changes_arrive_at_once(server, &ways).await
}

#[tokio::test]
async fn changes_arrive_through_haproxy_at_once() -> Result<()> {
    let (server, ways) = (Server::start_with(keeping_alive()).await?, ways());
    let _proxy = haproxy(server.url(), &ways, HASTE).await?;
    changes_arrive_at_once(server, &ways).await
}

#[tokio::test]
async fn an_import_through_nginx_takes_every_line() -> Result<()> {
    let (server, ways) = (Server::start().await?, ways());
    let _proxy = nginx(server.url(), &ways, PATIENCE).await?;
    all_lines_arrive(&server, &ways).await
}

#[tokio::test]
async fn an_import_through_haproxy_takes_every_line() -> Result<()> {
    let (server, ways) = (Server::start().await?, ways());
    let _proxy = haproxy(server.url(), &ways, PATIENCE).await?;
    all_lines_arrive(&server, &ways).await
}
