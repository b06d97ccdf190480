//! An agent's client that nobody here wrote, in a process of its own: the official one in Python or
//! in TypeScript.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use kenning_tests::{Caller, kenning};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::authoring::tool;

const CLIENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/mcp/clients");

/// An answer that takes longer does not come.
const PATIENCE: Duration = Duration::from_secs(60);

/// The newest version of the protocol.
pub(super) const NEWEST: &str = "2026-07-28";

/// Whose client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The Python package `mcp`, which can be told the version of the protocol.
    Python(&'static str),
    /// `@modelcontextprotocol/sdk`.
    TypeScript,
}

/// Every client and version that is tested.
pub(super) const KINDS: [Kind; 4] = [
    Kind::Python("2025-03-26"),
    Kind::Python("2025-06-18"),
    Kind::Python(NEWEST),
    Kind::TypeScript,
];

/// A client that is connected.
pub(super) struct Agent {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
    count: u64,
    _folder: TempDir,
}

/// What a tool returned.
#[derive(Debug)]
pub(super) struct Called {
    pub(super) structured: Value,
    pub(super) text: String,
    pub(super) is_error: bool,
}

impl Called {
    /// What it returned, if it succeeded; its text says the same.
    pub(super) fn ok(self) -> Result<Value> {
        ensure!(!self.is_error, "{}", self.text);
        let text: Value = serde_json::from_str(&self.text)?;
        ensure!(same(&text, &self.structured), "{} and {}", self.text, self.structured);
        Ok(self.structured)
    }

    /// The error that it returned, which a model can act on.
    pub(super) fn error(self) -> Result<Value> {
        ensure!(self.is_error && self.structured.is_null(), "{self:?}");
        let error: Value = serde_json::from_str(&self.text)?;
        for member in ["code", "message", "what_to_do"] {
            ensure!(error[member].as_str().is_some_and(|said| !said.is_empty()), "{error}");
        }
        Ok(error)
    }
}

impl Agent {
    /// Connects over HTTP.
    pub(super) async fn over_http(kind: Kind, server: &Caller) -> Result<Self> {
        Self::to(kind, &format!("{}/mcp", server.url()), &[]).await
    }

    /// Connects over HTTP to this URL, with these headers.
    pub(super) async fn to(kind: Kind, url: &str, headers: &[(&str, &str)]) -> Result<Self> {
        let headers = headers
            .iter()
            .flat_map(|(name, value)| ["--header".to_owned(), format!("{name}={value}")]);
        let arguments: Vec<_> = headers.chain([url.to_owned()]).collect();
        Self::start(kind, &arguments, &[]).await
    }

    /// Connects to `kenning mcp` with these arguments, in a process of the client.
    pub(super) async fn over_stdio(kind: Kind, arguments: &[&str]) -> Result<Self> {
        let program = kenning()?.display().to_string();
        let given = arguments.iter().map(|one| one.to_string());
        let words: Vec<_> = [program, "mcp".into()].into_iter().chain(given).collect();
        Self::over_command(kind, &words, &[("KENNING_EMBEDDER", "hash")]).await
    }

    /// Connects to another server, in a process of the client with these variables.
    pub(super) async fn over_command(
        kind: Kind,
        words: &[String],
        env: &[(&str, &str)],
    ) -> Result<Self> {
        let arguments: Vec<_> = ["--".to_owned()].into_iter().chain(words.to_vec()).collect();
        Self::start(kind, &arguments, env).await
    }

    async fn start(kind: Kind, arguments: &[String], env: &[(&str, &str)]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut command = match kind {
            Kind::Python(version) => {
                let mut command = Command::new(tool("mcp/bin/python")?);
                command.arg(format!("{CLIENTS}/driver.py")).args(["--version", version]);
                command
            }
            Kind::TypeScript => {
                symlink(tool("node_modules")?, folder.path().join("node_modules"))?;
                fs::copy(format!("{CLIENTS}/driver.mjs"), folder.path().join("driver.mjs"))?;
                let mut command = Command::new("node");
                command.arg(folder.path().join("driver.mjs"));
                command
            }
        };
        command
            .args(arguments)
            .envs(env.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().with_context(|| format!("cannot start {kind:?}"))?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().context("standard output was piped")?;
        let lines = BufReader::new(stdout).lines();
        let mut agent = Self { child, stdin, lines, count: 0, _folder: folder };
        agent.read(0).await.with_context(|| format!("{kind:?} did not connect"))?;
        Ok(agent)
    }

    async fn read(&mut self, number: u64) -> Result<Value> {
        let line = timeout(PATIENCE, self.lines.next_line()).await.context("no answer")??;
        let said: Value = serde_json::from_str(&line.context("the client ended")?)?;
        ensure!(said["n"] == number, "{said}");
        match said.get("ok") {
            Some(ok) => Ok(ok.clone()),
            None => bail!("{}", said["error"].as_str().unwrap_or_default()),
        }
    }

    /// Has the client do something; does not wait for what comes of it.
    pub(super) async fn begin(&mut self, mut what: Value) -> Result<u64> {
        self.count += 1;
        what["n"] = self.count.into();
        let stdin = self.stdin.as_mut().context("it was closed")?;
        stdin.write_all(format!("{what}\n").as_bytes()).await?;
        Ok(self.count)
    }

    /// What came of what was begun.
    pub(super) async fn end(&mut self, number: u64) -> Result<Value> {
        self.read(number).await
    }

    /// Has the client do something.
    pub(super) async fn act(&mut self, what: Value) -> Result<Value> {
        let number = self.begin(what).await?;
        self.end(number).await
    }

    /// Has the client do something that takes no arguments.
    pub(super) async fn list(&mut self, what: &str) -> Result<Vec<Value>> {
        let listed = self.act(json!({ "do": what })).await?;
        listed.as_array().cloned().context("no list")
    }

    /// Calls a tool.
    pub(super) async fn call(&mut self, tool: &str, arguments: Value) -> Result<Called> {
        let call = json!({ "do": "call", "tool": tool, "arguments": arguments });
        let mut said = self.act(call).await?;
        Ok(Called {
            structured: said["structured"].take(),
            text: said["text"].as_str().unwrap_or_default().to_owned(),
            is_error: said["is_error"] == true,
        })
    }

    /// Closes the client as its user would, and waits until it is gone.
    pub(super) async fn close(mut self) -> Result<()> {
        self.stdin = None;
        let ended = timeout(PATIENCE, self.child.wait()).await.context("it did not end")??;
        ensure!(ended.success(), "{ended}");
        Ok(())
    }

    /// The client's process.
    pub(super) fn pid(&self) -> Option<u32> {
        self.child.id()
    }
}

/// Whether two values say the same. JavaScript writes 0.0 as 0.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one.as_f64() == other.as_f64(),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            let has = |(name, value): (&String, &Value)| {
                other.get(name).is_some_and(|other| same(value, other))
            };
            one.len() == other.len() && one.iter().all(has)
        }
        _ => one == other,
    }
}
