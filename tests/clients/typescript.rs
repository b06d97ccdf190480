//! The client for TypeScript: its types are those of the API's description, and its own suite
//! passes.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kenning_tests::{Server, kenning};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::timeout;

use super::page;
use crate::authoring::tool;

const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// The suite takes a third of a minute on two free cores.
const PATIENCE: Duration = Duration::from_secs(300);

/// Tests that the suite has at least, so that a suite that does not run does not pass.
const TESTS: u64 = 72;

fn command(program: &Path, arguments: &[&str], folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// What a program printed, and whether it succeeded.
struct Ran {
    succeeded: bool,
    out: String,
    err: String,
}

async fn run(mut command: Command) -> Result<Ran> {
    let output = timeout(PATIENCE, command.output()).await;
    let Output { status, stdout, stderr } = output.context("the program did not end")??;
    Ok(Ran {
        succeeded: status.success(),
        out: String::from_utf8(stdout)?,
        err: String::from_utf8(stderr)?,
    })
}

async fn succeed(command: Command) -> Result<()> {
    let words = format!("{command:?}");
    let ran = run(command).await?;
    ensure!(ran.succeeded, "{words}:\n{}\n{}", ran.out, ran.err);
    Ok(())
}

/// A copy of the client, compiled with its tests, beside the packages that it is built with.
async fn compiled() -> Result<TempDir> {
    let folder = tempfile::tempdir()?;
    let client = Path::new(REPOSITORY).join("clients/typescript");
    for name in ["src", "test"] {
        fs::create_dir(folder.path().join(name))?;
        for entry in fs::read_dir(client.join(name))? {
            let entry = entry?;
            fs::copy(entry.path(), folder.path().join(name).join(entry.file_name()))?;
        }
    }
    for name in ["package.json", "tsconfig.json"] {
        fs::copy(client.join(name), folder.path().join(name))?;
    }
    symlink(tool("node_modules")?, folder.path().join("node_modules"))?;
    tool("node_modules/@langchain/core").context("`make languages` installs it")?;
    succeed(command(&tool("node_modules/.bin/tsc")?, &[], folder.path())).await?;
    Ok(folder)
}

/// A line of the report, such as `# pass 60`.
fn count(report: &str, name: &str) -> Result<u64> {
    let begin = format!("# {name} ");
    let line = report.lines().rev().find_map(|line| line.strip_prefix(&begin));
    line.and_then(|count| count.parse().ok()).with_context(|| format!("no {name} in:\n{report}"))
}

#[tokio::test]
async fn the_typescript_clients_own_suite_passes() -> Result<()> {
    let folder = compiled().await?;
    let tests = folder.path().join("build/test");
    let mut files = Vec::new();
    for entry in fs::read_dir(&tests)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        files.extend(name.ends_with(".test.js").then_some(name));
    }
    files.sort();
    let binary = kenning()?;
    // Most of the time it waits, as clients do between attempts.
    let arguments = ["--test", "--test-concurrency", "3", "--test-reporter", "tap"];
    let mut command = command(Path::new("node"), &arguments, &tests);
    command
        .args(&files)
        .env("KENNING_COMPILED", binary.with_file_name("compiled-for-tests"))
        .env("KENNING_BINARY", &binary);
    let ran = run(command).await?;
    let report = &ran.out;
    let of = |name: &str| count(report, name);
    let (all, passed, failed) = (of("tests")?, of("pass")?, of("fail")?);
    // Past the capture of what tests print, which shows only what a failed one says.
    writeln!(
        io::stderr(),
        "TypeScript client: {all} tests in {} files, {passed} passed, {failed} failed",
        files.len()
    )?;
    ensure!(ran.succeeded && failed == 0, "{report}\n{}", ran.err);
    let left_out = of("skipped")? + of("todo")? + of("cancelled")?;
    ensure!(passed == all && left_out == 0, "{left_out} were left out:\n{report}");
    ensure!(all >= TESTS, "only {all} tests ran, and there are {TESTS}:\n{report}");
    Ok(())
}

#[test]
fn the_typescript_package_has_the_version_of_the_server() -> Result<()> {
    let package = fs::read_to_string(format!("{REPOSITORY}/clients/typescript/package.json"))?;
    let version = format!("\n  \"version\": \"{}\",\n", env!("CARGO_PKG_VERSION"));
    ensure!(package.contains(&version), "clients/typescript/package.json has another version");
    let file = format!("target/languages/kenning-{}.tgz", env!("CARGO_PKG_VERSION"));
    for page in ["docs/tutorials/typescript.md", "clients/typescript/README.md"] {
        let page = fs::read_to_string(format!("{REPOSITORY}/{page}"))?;
        ensure!(page.contains(&file), "the page names another package than {file}");
    }
    Ok(())
}

#[tokio::test]
async fn the_typescript_clients_types_are_those_of_the_description() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let made = folder.path().join("openapi.ts");
    let output = made.to_str().context("a path in UTF-8")?;
    let arguments = ["docs/openapi.json", "--output", output];
    let generator = tool("node_modules/.bin/openapi-typescript")?;
    succeed(command(&generator, &arguments, Path::new(REPOSITORY))).await?;
    let checked_in = Path::new(REPOSITORY).join("clients/typescript/src/openapi.ts");
    let (made, checked_in) = (fs::read_to_string(made)?, fs::read_to_string(checked_in)?);
    let different = made.lines().zip(checked_in.lines()).position(|(new, old)| new != old);
    ensure!(
        made == checked_in,
        "clients/typescript/src/openapi.ts is not what docs/openapi.json says; the first \
         difference is in line {different:?}. Renew it with `make typescript-types`, and commit it"
    );
    Ok(())
}

/// A folder that looks like a clone of this repository, with what is built in it.
fn clone() -> Result<TempDir> {
    let clone = tempfile::tempdir()?;
    for name in ["Makefile", "LICENSE-APACHE", "LICENSE-MIT", "clients", "docs", "guest", "tests"] {
        symlink(Path::new(REPOSITORY).join(name).canonicalize()?, clone.path().join(name))?;
    }
    let languages = tool("node_modules")?;
    let built = languages.ancestors().nth(2).context("a folder of what is built")?;
    symlink(built, clone.path().join("target"))?;
    Ok(clone)
}

/// What the tutorial says is typed, and what it says is printed. Only `make run` is not done: the
/// server is there already.
#[tokio::test]
async fn the_typescript_tutorial_can_be_typed_as_it_stands() -> Result<()> {
    let (server, clone, outputs) = (Server::start().await?, clone()?, tempfile::tempdir()?);
    let tutorial = fs::read_to_string(format!("{REPOSITORY}/docs/tutorials/typescript.md"))?;
    let blocks = page::blocks(&tutorial);
    let shell = |script: String| {
        let mut command = command(Path::new("bash"), &["-c", &script], clone.path());
        command
            .env("KENNING_SERVER", server.url())
            // What `make` has fetched is not asked for again.
            .env("npm_config_prefer_offline", "true")
            .env("npm_config_audit", "false")
            .env("npm_config_fund", "false")
            .env("npm_config_update_notifier", "false");
        command
    };
    succeed(shell(page::script(&blocks, outputs.path())?)).await?;
    ensure!(page::compare(&blocks, outputs.path())? == 3, "three programs print something");

    // What the page says of a wrong name.
    let compile = "npx tsc --strict --noEmit --skipLibCheck --target es2022 --module nodenext";
    let misspell = "sed s/top_k/topk/ notes.ts > misspelt.ts";
    let refused = run(shell(format!("cd notes; {misspell}; {compile} misspelt.ts"))).await?;
    ensure!(!refused.succeeded && refused.out.contains("'topk'"), "{}", refused.out);

    // The programs of the client's own page fit the package, too.
    let readme = fs::read_to_string(format!("{REPOSITORY}/clients/typescript/README.md"))?;
    let programs = page::blocks(&readme);
    for (number, program) in programs.iter().enumerate() {
        ensure!(program.info == "ts", "{} is not compiled here", program.info);
        fs::write(clone.path().join(format!("notes/readme-{number}.ts")), &program.text)?;
    }
    ensure!(programs.len() == 3, "the programs were read");
    let types = "--types node --typeRoots ../target/languages/node_modules/@types";
    succeed(shell(format!("cd notes; {compile} {types} readme-*.ts"))).await?;
    Ok(())
}
