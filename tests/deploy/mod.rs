//! What `deploy/` holds, and what a deployment needs of the program: secrets in files, limits by
//! the environment, words to the service manager, completions and manual pages.
//!
//! Containers, Compose and Kubernetes are not run here: their files are linted, and what of them
//! runs without them is run.

mod commands;
mod containers;
mod monitoring;
mod secrets;
mod service;

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kenning_tests::kenning;
use tokio::process::Command;
use tokio::time::timeout;

/// A tool that takes longer has hung.
const PATIENCE: Duration = Duration::from_secs(120);

/// A file of `deploy/`.
fn file(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy")).join(name)
}

/// Everything that a tool said, if it was content.
async fn content(command: &mut Command) -> Result<String> {
    let (succeeded, said) = said(command).await?;
    ensure!(succeeded, "{command:?}: {said}");
    Ok(said)
}

/// Whether a tool succeeded, and everything that it said.
async fn said(command: &mut Command) -> Result<(bool, String)> {
    let ran = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let ran = timeout(PATIENCE, ran).await.context("it did not end")?;
    let ran = ran.with_context(|| format!("cannot run {command:?}"))?;
    let said = [ran.stdout, ran.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    Ok((ran.status.success(), said.concat()))
}

/// A program of Debian's: the machine's own, or the one that `make` unpacked.
fn unpacked(package: &str, program: &str) -> Result<Command> {
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let own = std::env::split_paths(&on_path).map(|folder| folder.join(program));
    let fetched = format!("../tools/{package}/usr/bin/{program}");
    let mut places = own.chain([kenning()?.with_file_name(fetched)]);
    let found = places.find(|path| path.is_file());
    let found = found.with_context(|| format!("there is no {program}: run `make test`"))?;
    Ok(Command::new(found))
}
