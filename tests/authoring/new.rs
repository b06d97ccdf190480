//! `kenning new`, and what a project builds and tests by itself.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use kenning_runtime::inspect::{Hook, inspect};
use serde_json::json;
use tokio::process::Command;

use super::{kenning_in, tools_of};

#[tokio::test]
async fn what_cannot_be_a_project_is_refused_and_nothing_is_written() -> Result<()> {
    let home = tempfile::tempdir()?;
    fs::create_dir(home.path().join("there"))?;
    for (arguments, code, said) in [
        (&["new", "extension", "../up"][..], 1, "lower-case letters, digits and single hyphens"),
        (&["new", "extension", "/etc/hello"], 1, "is not a valid extension name"),
        (&["new", "extension", ""], 1, "needs a name"),
        (&["new", "extension", "there"], 1, "there already exists"),
        (&["new", "extension", "hello", "--path", "nowhere"], 1, "cannot write nowhere/hello"),
        (&["new", "extension", "hello", "--lang", "cobol"], 2, "rust, js, python"),
        (&["new", "extension"], 2, "NAME"),
        (&["new", "logic", "hello"], 2, "logic"),
    ] {
        let ran = kenning_in(home.path(), arguments).await?;
        assert_eq!(ran.code, Some(code), "{arguments:?}: {ran:?}");
        assert!(ran.err.contains(said) && ran.out.is_empty(), "{arguments:?}: {ran:?}");
    }
    let left: Vec<_> = fs::read_dir(home.path())?.collect();
    assert_eq!(left.len(), 1, "{left:?}");
    Ok(())
}

/// Runs `make` in a project as its author would, but with the tools that are here
/// already, and without the network.
async fn make(project: &Path, target: &str, variables: &[(&str, &Path)]) -> Result<()> {
    let mut make = Command::new("make");
    make.arg(target)
        .current_dir(project)
        .env_remove("MAKEFLAGS")
        .env_remove("MAKELEVEL")
        // Of `tests/tools/run-tests`; with it Cargo would build the project anew.
        .env_remove("RUSTC_BOOTSTRAP")
        .env("CARGO_NET_OFFLINE", "true")
        .envs(variables.iter().copied())
        .kill_on_drop(true);
    let ended = make.output().await.context("cannot run make")?;
    let said = [ended.stdout, ended.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    ensure!(ended.status.success(), "make {target}: {}", said.concat());
    Ok(())
}

/// Builds a project as its author would, runs its tests, and has the component checked.
/// Whoever builds in Rust holds `RUST`.
pub(super) async fn builds_and_passes(root: &Path, language: &str) -> Result<()> {
    let (variable, tool) = tools_of(language)?;
    make(root, "hello.wasm", &[(variable, &tool)]).await?;
    make(root, "test", &[(variable, &tool)]).await?;
    let seen = inspect(&fs::read(root.join("hello.wasm"))?)?;
    assert_eq!(seen.hooks, [Hook::OnRead]);
    assert!(seen.grants_needed.is_empty() && seen.unknown_imports.is_empty(), "{seen:?}");
    let checked = kenning_in(root, &["check", "hello.wasm", "--json"]).await?;
    assert_eq!((checked.code, &checked.json()["accepted"]), (Some(0), &json!(true)), "{checked:?}");
    Ok(())
}
