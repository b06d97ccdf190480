//! A server that records what it is asked and answers what it was told to, and a way to run a
//! verb against it.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use clap::Parser;
use kenning_client::{Exit, Form, Patience, Terminal, Verb, execute};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

pub(crate) const HUMAN: Form = Form::Human { width: 60, colour: false };

#[derive(Debug, Parser)]
#[command(name = "kenning")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What the server was asked.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) line: String,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: String,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

#[derive(Clone, Default)]
struct Script {
    asked: Arc<Mutex<Vec<Asked>>>,
    answers: Arc<Mutex<Vec<Response>>>,
}

pub(crate) struct Fake {
    pub(crate) url: String,
    script: Script,
    task: JoinHandle<()>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An answer in JSON.
pub(crate) fn json(status: u16, body: &str) -> Response {
    let builder = Response::builder().status(status).header("content-type", "application/json");
    builder.body(Body::from(body.to_owned())).unwrap()
}

impl Fake {
    /// Answers one request after the other with `answers`.
    pub(crate) async fn answering(answers: impl IntoIterator<Item = Response>) -> Self {
        let script = Script::default();
        script.answers.lock().unwrap().extend(answers);
        let router = Router::new().fallback(answer).with_state(script.clone());
        let mut fake = Self::routing(router).await;
        fake.script = script;
        fake
    }

    /// Answers with JSON, once, with success.
    pub(crate) async fn saying(body: &str) -> Self {
        Self::answering([json(200, body)]).await
    }

    /// Answers as `router` does, and records nothing.
    pub(crate) async fn routing(router: Router) -> Self {
        let (listener, address) = listen().await;
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url: format!("http://{address}"), script: Script::default(), task }
    }

    /// Reads the head of each request, writes `bytes` and ends the connection.
    pub(crate) async fn blurting(bytes: &'static [u8]) -> Self {
        let (listener, address) = listen().await;
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                read_head(&mut stream).await;
                stream.write_all(bytes).await.unwrap();
                stream.shutdown().await.unwrap();
                // With bytes unread, closing would be a reset, which may overtake the answer.
                let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
            }
        });
        Self { url: format!("http://{address}"), script: Script::default(), task }
    }

    /// What was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.script.asked.lock().unwrap().clone()
    }

    /// The only request.
    pub(crate) fn only_asked(&self) -> Asked {
        let [asked] = self.asked().try_into().expect("one request");
        asked
    }

    /// Runs a verb as for a script.
    pub(crate) async fn run(&self, args: &[&str]) -> Ran {
        self.run_in(Form::Plain, args, "").await
    }

    /// Runs a verb in the given form; `--json` among `args` overrides it.
    pub(crate) async fn run_in(&self, form: Form, args: &[&str], input: &'static str) -> Ran {
        run(&self.url, form, args, input.as_bytes(), Patience::default()).await
    }
}

async fn answer(State(script): State<Script>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_else(|_| Bytes::new());
    script.asked.lock().unwrap().push(Asked {
        line: format!("{} {}", parts.method, parts.uri),
        headers: parts.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    });
    let mut answers = script.answers.lock().unwrap();
    assert!(!answers.is_empty(), "asked more often than expected");
    answers.remove(0)
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

/// How a verb ended and what it printed.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) exit: Exit,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Bytes that a test reads while or after they are written.
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

pub(crate) fn parse(url: &str, args: &[&str]) -> Verb {
    let server = ["--server", url];
    Cli::try_parse_from(["kenning"].iter().chain(args).chain(&server))
        .unwrap_or_else(|error| panic!("{error}"))
        .verb
}

pub(crate) async fn run(
    url: &str,
    form: Form,
    args: &[&str],
    input: impl Read + Send + 'static,
    patience: Patience,
) -> Ran {
    let verb = parse(url, args);
    let form = if verb.connection().json { Form::Json } else { form };
    let (out, err) = (Sink::default(), Sink::default());
    let mut terminal = Terminal::new(input, out.clone(), err.clone(), form);
    let exit = execute(verb, &mut terminal, patience).await;
    Ran { exit, out: out.text(), err: err.text() }
}

/// Patience for servers that a test knows to be silent.
pub(crate) fn impatient() -> Patience {
    let moment = Duration::from_millis(50);
    Patience { answer: moment, silence: moment, ..Patience::default() }
}
