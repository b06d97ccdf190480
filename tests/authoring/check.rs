//! `kenning check`: what a component has and needs, and whether this host accepts it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use kenning_tests::{Ran, component};
use serde_json::json;

use super::kenning_in;

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
        "kind            extension\n",
        "hooks           on-store\n",
        "grants needed   index, storage\n",
        "contract        0.1.0\n",
        "this host accepts the component\n",
    ] {
        assert!(shown.out.contains(line), "{line:?} is not in {}", shown.out);
    }
    assert!(shown.out.contains("granted by      --grant index,storage\n"), "{}", shown.out);
    let sending = check(&component("sending")?, &[]).await?;
    for said in ["granted by      --grant http:HOST\n", "componentize-js --disable http"] {
        assert!(sending.out.contains(said), "{said:?} is not in {}", sending.out);
    }
    let told = check(&component("logic")?, &["--json"]).await?.json();
    assert_eq!((&told["kind"], &told["accepted"]), (&json!("logic"), &json!(true)));
    let digest = kenning_runtime::compiler::digest(&fs::read(component("logic")?)?);
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
    let foreign = "(component (import \"wasi:keyvalue/store@0.2.0\" (instance)))";
    let foreign = wat::parse_str(foreign)?;
    let misfit = "(component (import \"kenning:knowledge/log@0.1.0\"
        (instance (export \"log-all\" (func)))) (instance $i)
        (export \"kenning:knowledge/on-read@0.1.0\" (instance $i)))";
    let misfit = wat::parse_str(misfit)?;
    for (name, bytes, said) in [
        ("empty.wasm", &b""[..], "the file is empty"),
        ("script.wasm", b"#!/bin/sh", "not WebAssembly"),
        ("module.wasm", &module, "core module, not a component"),
        ("foreign.wasm", &foreign, "wasi:keyvalue/store@0.2.0, which this host does not offer"),
        ("misfit.wasm", &misfit, "log-all"),
    ] {
        let ran = check(&write(name, bytes)?, &[]).await?;
        assert_eq!(ran.code, Some(1), "{name}: {ran:?}");
        let rejected = ran.out.contains("rejects the component");
        assert!(rejected && ran.out.contains(said), "{name}: {ran:?}");
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
