//! Clients that public generators make of the description: both have every operation, compile, and
//! can talk to a server.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Result, ensure};
use kenning_tests::{Ran, Server, run};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use super::operations;
use crate::authoring::tool;

/// Where the programs that use the clients are.
const PROGRAMS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi/clients");

/// A server, a folder with its description in `openapi.json`, and the description.
async fn described() -> Result<(Server, TempDir, Value)> {
    let server = Server::start().await?;
    let document = server.get("/openapi.json").await?;
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("openapi.json"), &document.text)?;
    Ok((server, folder, document.json))
}

/// Runs a program in `folder` that must succeed.
async fn succeed(folder: &Path, program: &Path, arguments: &[&str]) -> Result<Ran> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let ran = run(command, b"").await?;
    ensure!(ran.code == Some(0), "{} {arguments:?}: {ran:?}", program.display());
    Ok(ran)
}

/// The names of the modules in a folder of the Python client and in those below it.
fn modules(folder: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(modules(&path)?);
        } else if let Some(name) = path.file_stem().and_then(|name| name.to_str())
            && name != "__init__"
        {
            found.push(name.to_string());
        }
    }
    Ok(found)
}

/// `storeFact` as the Python client calls it.
fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

#[tokio::test]
async fn the_generated_python_client_has_every_operation_and_works() -> Result<()> {
    let (server, folder, document) = described().await?;
    let (folder, python) = (folder.path(), tool("python/bin/python")?);
    let generator = tool("python/bin/openapi-python-client")?;
    let generate = ["generate", "--path", "openapi.json", "--meta", "none"];
    let output = ["--output-path", "generated", "--config", "config.yaml"];
    // Its own formatting of what it made costs more than making it.
    fs::write(folder.join("config.yaml"), "post_hooks: []\n")?;
    succeed(folder, &generator, &[&generate[..], &output].concat()).await?;
    let made = modules(&folder.join("generated/api"))?;
    for operation in operations(&document) {
        assert!(made.contains(&snake_case(&operation)), "{operation} is not in {made:?}");
    }
    succeed(folder, &python, &["-m", "compileall", "-q", "generated"]).await?;
    fs::copy(format!("{PROGRAMS}/call.py"), folder.join("call.py"))?;
    succeed(folder, &python, &["call.py", server.url()]).await?;
    Ok(())
}

#[tokio::test]
async fn the_generated_typescript_client_has_every_operation_and_works() -> Result<()> {
    let (server, folder, document) = described().await?;
    let folder = folder.path();
    let generator = tool("node_modules/.bin/openapi-typescript")?;
    succeed(folder, &generator, &["openapi.json", "--output", "generated.ts"]).await?;
    let made = fs::read_to_string(folder.join("generated.ts"))?;
    for operation in operations(&document) {
        assert!(made.contains(&format!("\n    {operation}: {{")), "{operation}");
    }
    for file in ["call.ts", "tsconfig.json", "package.json"] {
        fs::copy(format!("{PROGRAMS}/{file}"), folder.join(file))?;
    }
    let compiler: PathBuf = tool("node_modules/.bin/tsc")?;
    symlink(tool("node_modules")?, folder.join("node_modules"))?;
    // Emits JavaScript only if all types fit.
    succeed(folder, &compiler, &[]).await?;
    succeed(folder, Path::new("node"), &["call.js", server.url()]).await?;
    Ok(())
}
