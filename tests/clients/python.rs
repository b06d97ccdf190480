//! The Python client: its own tests, against the binary under test, and its types.

use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kenning_tests::kenning;
use tokio::process::Command;
use tokio::time::timeout;

use crate::authoring::tool;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../clients/python");

/// What a summary may not count: these say nothing about the client.
const NOT_RUN: [&str; 4] = ["skipped", "deselected", "xfailed", "xpassed"];

/// A run that takes longer has hung.
const PATIENCE: Duration = Duration::from_secs(600);

/// Runs a module of Python where the client is installed, in its folder, and leaves nothing there.
/// Gives what it printed.
async fn python(arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(tool("python-client/bin/python")?);
    command
        .args(["-B", "-m"])
        .args(arguments)
        .current_dir(FOLDER)
        .env("KENNING_BINARY", kenning()?)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let ran = timeout(PATIENCE, command.output()).await.context("it did not end")??;
    let Output { status, stdout, stderr } = ran;
    let (out, err) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    ensure!(status.success(), "{arguments:?}: {status}\n{out}\n{err}");
    Ok(out.into_owned())
}

#[tokio::test]
async fn the_python_clients_tests_pass() -> Result<()> {
    let said = python(&["pytest", "--quiet", "-p", "no:cacheprovider"]).await?;
    let counts = said.lines().last().unwrap_or_default();
    println!("the Python client: {counts}");
    ensure!(counts.contains(" passed"), "no tests: {said}");
    let not_run = NOT_RUN.iter().find(|word| counts.contains(**word));
    ensure!(not_run.is_none(), "not all tests were run: {said}");
    Ok(())
}

#[tokio::test]
async fn the_python_clients_types_fit() -> Result<()> {
    let cache = tempfile::tempdir()?;
    python(&["mypy", "--cache-dir", &cache.path().to_string_lossy()]).await?;
    Ok(())
}
