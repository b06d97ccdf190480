//! The way from nothing to a component: `kenning new`, the project's own `make` and
//! tests, `kenning check`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use kenning::runtime::inspect::{Hook, inspect};
use kenning_tests::{Ran, command, component, kenning, run};
use serde_json::json;
use tempfile::TempDir;
use tokio::process::Command;

async fn kenning_in(folder: &Path, arguments: &[&str]) -> Result<Ran> {
    let mut command = command(folder, arguments)?;
    command.current_dir(folder);
    run(command, b"").await
}

#[tokio::test]
async fn what_cannot_be_a_project_is_refused_and_nothing_is_written() -> Result<()> {
    let home = tempfile::tempdir()?;
    fs::create_dir(home.path().join("there"))?;
    for (arguments, code, said) in [
        (&["new", "extension", "../up"][..], 1, "small letters, digits and hyphens"),
        (&["new", "extension", "/etc/hello"], 1, "cannot name an extension"),
        (&["new", "extension", ""], 1, "needs a name"),
        (&["new", "extension", "there"], 1, "there is there already"),
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

/// A new project, and where it lies.
async fn project(language: &str) -> Result<(TempDir, PathBuf)> {
    let home = tempfile::tempdir()?;
    let ran = kenning_in(home.path(), &["new", "extension", "hello", "--lang", language]).await?;
    ensure!(ran.code == Some(0), "{ran:?}");
    assert_eq!(ran.out, "wrote ./hello: `make` builds it, `make test` tests it\n");
    let root = home.path().join("hello");
    Ok((home, root))
}

/// Where the build keeps the tools of other languages, and what tests build.
fn built() -> Result<PathBuf> {
    Ok(kenning()?.with_file_name("..").canonicalize()?)
}

/// Runs `make` in a project as its author would, but with the tools that are here
/// already, and without the network.
async fn make(project: &Path, target: &str, variables: &[(&str, &Path)]) -> Result<()> {
    let mut make = Command::new("make");
    make.arg(target)
        .current_dir(project)
        .env_remove("MAKEFLAGS")
        .env_remove("MAKELEVEL")
        .env("CARGO_NET_OFFLINE", "true")
        .envs(variables.iter().copied())
        .kill_on_drop(true);
    let ended = make.output().await.context("cannot run make")?;
    let said = [ended.stdout, ended.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    ensure!(ended.status.success(), "make {target}: {}", said.concat());
    Ok(())
}

/// Builds a project, runs its tests, and gives the component.
async fn made(project: &Path, variables: &[(&str, &Path)]) -> Result<Vec<u8>> {
    make(project, "hello.wasm", variables).await?;
    make(project, "test", variables).await?;
    let component = fs::read(project.join("hello.wasm"))?;
    let seen = inspect(&component)?;
    assert_eq!(seen.hooks, [Hook::OnRead]);
    assert!(seen.grants_needed.is_empty() && seen.unknown_imports.is_empty(), "{seen:?}");
    Ok(component)
}

#[tokio::test]
async fn a_project_in_rust_builds_and_passes_its_tests() -> Result<()> {
    let (_home, root) = project("rust").await?;
    // The versions that are here; an author's first build finds its own.
    fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock"), root.join("Cargo.lock"))?;
    let target = built()?.join("new-rust");
    made(&root, &[("CARGO_TARGET_DIR", &target)]).await?;
    let checked = kenning_in(&root, &["check", "hello.wasm", "--json"]).await?;
    assert_eq!((checked.code, &checked.json()["accepted"]), (Some(0), &json!(true)), "{checked:?}");
    Ok(())
}

fn tool(path: &str) -> Result<PathBuf> {
    let tool = built()?.join("languages").join(path);
    ensure!(tool.exists(), "{} is not there: run `make examples`", tool.display());
    Ok(tool)
}

#[tokio::test]
async fn a_project_in_javascript_builds_and_passes_its_tests() -> Result<()> {
    let (_home, root) = project("js").await?;
    made(&root, &[("COMPONENTIZE", &tool("node_modules/.bin/componentize-qjs")?)]).await?;
    let checked = kenning_in(&root, &["check", "hello.wasm", "--json"]).await?;
    assert_eq!((checked.code, &checked.json()["accepted"]), (Some(0), &json!(true)), "{checked:?}");
    Ok(())
}

#[tokio::test]
async fn a_project_in_python_builds_and_passes_its_tests() -> Result<()> {
    let (_home, root) = project("python").await?;
    made(&root, &[("COMPONENTIZE", &tool("python/bin/componentize-py")?)]).await?;
    Ok(())
}

async fn check(file: &Path, arguments: &[&str]) -> Result<Ran> {
    let home = tempfile::tempdir()?;
    let file = file.to_str().context("a path that is text")?;
    kenning_in(home.path(), &[&["check", file], arguments].concat()).await
}

#[tokio::test]
async fn a_component_that_fits_is_shown_with_what_it_needs() -> Result<()> {
    let shown = check(&component("dedupe")?, &[]).await?;
    assert_eq!(shown.code, Some(0), "{shown:?}");
    for line in [
        "kind             extension\n",
        "hooks            on-store\n",
        "grants needed    index, storage\n",
        "contract         0.1.0\n",
        "this host would take it\n",
    ] {
        assert!(shown.out.contains(line), "{line:?} is not in {}", shown.out);
    }
    let told = check(&component("logic")?, &["--json"]).await?.json();
    assert_eq!((&told["kind"], &told["accepted"]), (&json!("logic"), &json!(true)));
    let digest = kenning::runtime::compiler::digest(&fs::read(component("logic")?)?);
    assert_eq!((&told["digest"], &told["problems"]), (&json!(digest), &json!([])));
    Ok(())
}

#[tokio::test]
async fn a_component_that_does_not_fit_is_told_why() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let write = |name: &str, bytes: &[u8]| -> Result<PathBuf> {
        let path = folder.path().join(name);
        fs::write(&path, bytes)?;
        Ok(path)
    };
    let module = wat::parse_str("(module)")?;
    let foreign = "(component (import \"wasi:http/types@0.2.0\" (instance)))";
    let foreign = wat::parse_str(foreign)?;
    let misfit = "(component (import \"kenning:knowledge/log@0.1.0\"
        (instance (export \"log-all\" (func)))) (instance $i)
        (export \"kenning:knowledge/on-read@0.1.0\" (instance $i)))";
    let misfit = wat::parse_str(misfit)?;
    for (name, bytes, said) in [
        ("empty.wasm", &b""[..], "the file is empty"),
        ("script.wasm", b"#!/bin/sh", "not WebAssembly"),
        ("module.wasm", &module, "core module, not a component"),
        ("foreign.wasm", &foreign, "wasi:http/types@0.2.0, which this host does not offer"),
        ("misfit.wasm", &misfit, "log-all"),
    ] {
        let ran = check(&write(name, bytes)?, &[]).await?;
        assert_eq!(ran.code, Some(1), "{name}: {ran:?}");
        assert!(ran.out.contains("would refuse it") && ran.out.contains(said), "{name}: {ran:?}");
        let told = check(&folder.path().join(name), &["--json"]).await?;
        assert_eq!((told.code, &told.json()["accepted"]), (Some(1), &json!(false)), "{told:?}");
    }
    let ran = check(&folder.path().join("nothing.wasm"), &[]).await?;
    assert!(ran.code == Some(1) && ran.err.contains("cannot read"), "{ran:?}");
    Ok(())
}

#[tokio::test]
async fn a_component_is_checked_against_the_limits_that_are_given() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("kenning.toml");
    // Smaller facts, so that less memory may be enough for them.
    let limits = "fact_text_bytes = 1000\nfact_metadata_bytes = 1000\nhost_call_bytes = 70000\n\
                  extension_memory_bytes = 300000\n";
    fs::write(&config, format!("[limits]\n{limits}"))?;
    let config = config.to_str().context("a path that is text")?;
    let ran = check(&component("row-access")?, &["--config", config]).await?;
    assert!(
        ran.code == Some(1) && ran.out.contains("extension_memory_bytes allows 300000"),
        "{ran:?}"
    );
    fs::write(folder.path().join("kenning.toml"), "[limits]\ncomponent_bytes = 1000\n")?;
    let ran = check(&component("row-access")?, &["--config", config]).await?;
    assert!(ran.code == Some(1) && ran.err.contains("component_bytes is limited"), "{ran:?}");
    Ok(())
}
