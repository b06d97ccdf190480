//! The command line, as a shell runs it.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

use crate::kenning;

/// A command that takes longer has hung.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a command ended and what it said.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ran {
    /// Standard output as JSON; `Null` if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or(Value::Null)
    }
}

/// `kenning` with these arguments, nothing of this process's environment but its
/// `PATH`, and `home` for a home directory.
pub fn command(home: &Path, arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(kenning()?);
    command
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", home)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    Ok(command)
}

/// Runs a command to its end, with `input` on its standard input.
pub async fn run(mut command: Command, input: &[u8]) -> Result<Ran> {
    let mut child = command.spawn().context("cannot start kenning")?;
    let mut stdin = child.stdin.take().context("standard input was piped")?;
    let talk = async {
        // A command that has read enough closes its end; that is its right.
        let _ = stdin.write_all(input).await;
        drop(stdin);
        child.wait_with_output().await
    };
    let output = timeout(PATIENCE, talk).await.context("the command did not end")??;
    Ok(Ran {
        code: output.status.code(),
        out: String::from_utf8(output.stdout)?,
        err: String::from_utf8(output.stderr)?,
    })
}
