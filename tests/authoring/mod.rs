//! The way from nothing to a component that serves: `kenning new`, the project's own
//! `make` and tests, `kenning check`, `kenning dev`.

mod check;
mod dev;
mod new;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use kenning_tests::{Ran, command, kenning, run};
use tempfile::TempDir;
use tokio::sync::Mutex;

/// Held by whoever builds a project in Rust: all of them share one folder, so that what
/// they are built on is built once.
static RUST: Mutex<()> = Mutex::const_new(());

async fn kenning_in(folder: &Path, arguments: &[&str]) -> Result<Ran> {
    let mut command = command(folder, arguments)?;
    command.current_dir(folder);
    run(command, b"").await
}

/// A new project, and where it lies.
async fn project(language: &str) -> Result<(TempDir, PathBuf)> {
    let home = tempfile::tempdir()?;
    let ran = kenning_in(home.path(), &["new", "extension", "hello", "--lang", language]).await?;
    ensure!(ran.code == Some(0), "{ran:?}");
    assert_eq!(ran.out, "wrote ./hello: `make` builds it, `make test` tests it\n");
    let root = home.path().join("hello");
    if language == "rust" {
        // The versions that are here; an author's first build finds its own.
        fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock"), root.join("Cargo.lock"))?;
    }
    Ok((home, root))
}

/// Where the build keeps the tools of other languages, and what tests build.
fn built() -> Result<PathBuf> {
    Ok(kenning()?.with_file_name("..").canonicalize()?)
}

pub(crate) fn tool(path: &str) -> Result<PathBuf> {
    let tool = built()?.join("languages").join(path);
    ensure!(tool.exists(), "{} is not there: run `make examples`", tool.display());
    Ok(tool)
}

/// What `make` in a project is told, so that it takes what is here already.
fn tools_of(language: &str) -> Result<(&'static str, PathBuf)> {
    Ok(match language {
        "rust" => ("CARGO_TARGET_DIR", built()?.join("new-rust")),
        "js" => ("COMPONENTIZE", tool("node_modules/.bin/componentize-qjs")?),
        _ => ("COMPONENTIZE", tool("python/bin/componentize-py")?),
    })
}
