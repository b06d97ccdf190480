//! A server that records requests and sends scripted responses, and a function to run a command
//! against it.
//!
//! Not `wiremock`, because it cannot break a connection in the middle of a response, stream one, or
//! respond before it has read the whole request; a third of these tests need that.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use clap::Parser;
use kenning_client::{Command, Exit, OutputFormat, Terminal, Timeouts, execute};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

pub(crate) const HUMAN: OutputFormat = OutputFormat::Human { width: 60, colour: false };

#[derive(Debug, Parser)]
#[command(name = "kenning")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// A request that the server received.
#[derive(Clone, Debug)]
pub(crate) struct RecordedRequest {
    /// Method and path, such as `GET /v1/stats`.
    pub(crate) line: String,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: String,
}

impl RecordedRequest {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

#[derive(Clone, Default)]
struct Script {
    requests: Arc<Mutex<Vec<RecordedRequest>>>,
    responses: Arc<Mutex<Vec<Response>>>,
}

pub(crate) struct FakeServer {
    pub(crate) url: String,
    script: Script,
    task: JoinHandle<()>,
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A JSON response.
pub(crate) fn json(status: u16, body: &str) -> Response {
    let builder = Response::builder().status(status).header("content-type", "application/json");
    builder.body(Body::from(body.to_owned())).unwrap()
}

impl FakeServer {
    /// Sends one of `responses` for each request, in order.
    pub(crate) async fn responding(responses: impl IntoIterator<Item = Response>) -> Self {
        let script = Script::default();
        script.responses.lock().unwrap().extend(responses);
        let router = Router::new().fallback(respond).with_state(script.clone());
        let mut server = Self::with_router(router).await;
        server.script = script;
        server
    }

    /// Sends one successful JSON response.
    pub(crate) async fn responding_json(body: &str) -> Self {
        Self::responding([json(200, body)]).await
    }

    /// Serves `router` without recording requests.
    pub(crate) async fn with_router(router: Router) -> Self {
        let (listener, address) = listen().await;
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url: format!("http://{address}"), script: Script::default(), task }
    }

    /// For each request, reads its head, writes `bytes` and closes the connection.
    pub(crate) async fn sending_raw(bytes: &'static [u8]) -> Self {
        let (listener, address) = listen().await;
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                read_head(&mut stream).await;
                stream.write_all(bytes).await.unwrap();
                stream.shutdown().await.unwrap();
                // Closing with unread bytes would reset the connection, and the client might not
                // see the response.
                let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
            }
        });
        Self { url: format!("http://{address}"), script: Script::default(), task }
    }

    /// The requests received so far.
    pub(crate) fn requests(&self) -> Vec<RecordedRequest> {
        self.script.requests.lock().unwrap().clone()
    }

    /// The only request.
    pub(crate) fn only_request(&self) -> RecordedRequest {
        let [request] = self.requests().try_into().expect("one request");
        request
    }

    /// Runs a command with plain output.
    pub(crate) async fn run(&self, args: &[&str]) -> Outcome {
        self.run_in(OutputFormat::Plain, args, "").await
    }

    /// Runs a command with the given output format; `--json` among `args` overrides it.
    pub(crate) async fn run_in(
        &self,
        format: OutputFormat,
        args: &[&str],
        input: &'static str,
    ) -> Outcome {
        run(&self.url, format, args, input.as_bytes(), Timeouts::default()).await
    }
}

async fn respond(State(script): State<Script>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_else(|_| Bytes::new());
    script.requests.lock().unwrap().push(RecordedRequest {
        line: format!("{} {}", parts.method, parts.uri),
        headers: parts.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    });
    let mut responses = script.responses.lock().unwrap();
    assert!(!responses.is_empty(), "more requests than expected");
    responses.remove(0)
}

pub(crate) async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

pub(crate) async fn read_head(stream: &mut TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
}

/// How a command ended and what it printed.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) exit: Exit,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Collects written bytes for a test to read.
#[derive(Clone, Default)]
pub(crate) struct Sink(Arc<Mutex<Vec<u8>>>);

impl Sink {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(crate) fn parse(url: &str, args: &[&str]) -> Command {
    let server = ["--server", url];
    Cli::try_parse_from(["kenning"].iter().chain(args).chain(&server))
        .unwrap_or_else(|error| panic!("{error}"))
        .command
}

pub(crate) async fn run(
    url: &str,
    format: OutputFormat,
    args: &[&str],
    input: impl Read + Send + 'static,
    timeouts: Timeouts,
) -> Outcome {
    let command = parse(url, args);
    let format = if command.connection().json { OutputFormat::Json } else { format };
    let (out, err) = (Sink::default(), Sink::default());
    let mut terminal = Terminal::new(input, out.clone(), err.clone(), format);
    let exit = execute(command, &mut terminal, timeouts).await;
    Outcome { exit, out: out.text(), err: err.text() }
}

/// Timeouts for servers that do not respond.
pub(crate) fn short_timeouts() -> Timeouts {
    let short = Duration::from_millis(50);
    Timeouts { response: short, idle: short, ..Timeouts::default() }
}
