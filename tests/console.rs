//! The console at `/`, in Debian's Chromium: every flow against a real server. The programs in
//! `console/` drive the browser; each fails if something is in the console, if axe finds anything
//! serious, if the page's policy is violated or if another server is asked.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kenning_tests::{Server, Setup, component, send};
use reqwest::Method;
use tokio::process::Command;
use tokio::time::timeout;

use crate::authoring::tool;

const PROGRAMS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/console");

const ADMIN_KEY: &str = "the-operators-own-key-of-32-bytes-or-more";

/// A flow that takes longer has failed; alone, each takes less than half a minute.
const PATIENCE: Duration = Duration::from_secs(170);

/// Runs one of the programs against `server`.
async fn flow(name: &str, server: &Server) -> Result<()> {
    let folder = tempfile::tempdir()?;
    for file in std::fs::read_dir(PROGRAMS)? {
        let file = file?;
        std::fs::copy(file.path(), folder.path().join(file.file_name()))?;
    }
    // Node looks for packages in the folders above the program.
    std::os::unix::fs::symlink(tool("node_modules")?, folder.path().join("node_modules"))?;
    let components = component("hooks")?;
    let components = components.parent().context("a folder of components")?;
    let mut command = Command::new("node");
    command
        .arg(folder.path().join("run.mjs"))
        .args([name, server.url()])
        .arg(components)
        .env("ADMIN_KEY", ADMIN_KEY)
        .kill_on_drop(true);
    let ran = timeout(PATIENCE, command.output()).await.context("the flow did not end")??;
    let (out, error) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    ensure!(ran.status.success(), "{name}: {out}\n{error}");
    Ok(())
}

#[tokio::test]
async fn the_console_stores_changes_deletes_imports_and_exports_facts() -> Result<()> {
    flow("facts", &Server::start().await?).await
}

#[tokio::test]
async fn the_console_searches_as_you_type_and_compares_two_settings() -> Result<()> {
    flow("search", &Server::start().await?).await
}

#[tokio::test]
async fn the_console_proves_forces_rolls_back_and_explains_guests() -> Result<()> {
    flow("extensions", &Server::start().await?).await
}

#[tokio::test]
async fn what_facts_and_logs_say_is_text_in_the_console_and_nothing_runs() -> Result<()> {
    flow("hostile", &Server::start().await?).await
}

#[tokio::test]
async fn the_console_keeps_keys_in_memory_and_administers_a_thousand_tenants() -> Result<()> {
    let setup = Setup { admin_key: Some(ADMIN_KEY), ..Setup::patient() };
    flow("tenants", &Server::start_with(setup).await?).await
}

#[tokio::test]
async fn the_console_shows_the_servers_load_and_works_by_keyboard_alone() -> Result<()> {
    flow("server", &Server::start().await?).await
}

#[tokio::test]
async fn the_console_is_readable_at_every_width_in_both_colours() -> Result<()> {
    flow("widths", &Server::start().await?).await
}

#[tokio::test]
async fn the_consoles_files_need_no_key_and_have_a_strict_policy() -> Result<()> {
    let setup = Setup { admin_key: Some(ADMIN_KEY), ..Setup::patient() };
    let server = Server::start_with(setup).await?;
    for (path, kind) in [("/", "text/html"), ("/console/main.mjs", "text/javascript")] {
        let answer = send(server.request(Method::GET, path)).await?;
        assert_eq!(answer.status, 200, "{path}");
        let header = |name: &str| answer.header(name).to_owned();
        assert!(header("content-type").starts_with(kind), "{path}");
        let policy = header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
        assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
        assert_eq!(header("referrer-policy"), "no-referrer");
        assert_eq!(header("x-content-type-options"), "nosniff");
    }
    let answer = send(server.request(Method::GET, "/console/..%2Fsrc%2Fmain.rs")).await?;
    assert_eq!(answer.status, 404);
    Ok(())
}
