//! `kenning dev`, in each language: live at once, live again after each save, and never
//! touched by a save that does not build.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use kenning_tests::{Caller, Server, command, until};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};

use super::new::builds_and_passes;
use super::{RUST, project, tools_of};

/// How a project in some language is changed.
struct Language {
    name: &'static str,
    /// The file that holds the greeting.
    source: &'static str,
    /// The greeting as it is written there.
    greeting: &'static str,
    /// Another one, which also logs `so it is said`.
    another: &'static str,
    /// What cannot be built, and what the compiler says of it.
    broken: &'static str,
    said: &'static str,
}

const LANGUAGES: [Language; 3] = [
    Language {
        name: "rust",
        source: "src/lib.rs",
        greeting: "\"hello from hello\"",
        another: "{ println!(\"so it is said\"); \"good day\" }",
        broken: "no_such_word",
        said: "cannot find value `no_such_word`",
    },
    Language {
        name: "js",
        source: "src/greeting.js",
        greeting: "'hello from hello'",
        another: "(console.log('so it is said'), 'good day')",
        broken: "((",
        said: "unexpected token in expression",
    },
    Language {
        name: "python",
        source: "src/greeting.py",
        greeting: "\"hello from hello\"",
        another: "print(\"so it is said\") or \"good day\"",
        broken: "((",
        said: "SyntaxError",
    },
];

/// A `kenning dev` and all that it says, on either stream.
struct Dev {
    child: Child,
    said: Arc<Mutex<String>>,
}

impl Dev {
    fn start(mut command: Command) -> Result<Self> {
        let mut child = command.spawn().context("cannot start kenning dev")?;
        let said = Arc::new(Mutex::new(String::new()));
        collect(child.stdout.take().context("standard output was piped")?, &said);
        collect(child.stderr.take().context("standard error was piped")?, &said);
        Ok(Self { child, said })
    }

    fn all(&self) -> String {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until it has said something.
    async fn says(&mut self, what: &str) -> Result<()> {
        until(what, async || {
            let ended = self.child.try_wait()?;
            ensure!(ended.is_none(), "it ended before {what:?}: {}", self.all());
            Ok(self.all().contains(what).then_some(()))
        })
        .await
        .with_context(|| self.all())
    }

    /// Ctrl-C.
    async fn interrupted(mut self) -> Result<String> {
        let pid = self.child.id().context("it has ended")?.to_string();
        let sent = Command::new("kill").args(["-INT", &pid]).status().await?;
        ensure!(sent.success(), "cannot signal {pid}");
        let ended = self.child.wait().await?;
        until("its last words", async || Ok((Arc::strong_count(&self.said) == 1).then_some(())))
            .await?;
        ensure!(ended.success(), "{ended}: {}", self.all());
        Ok(self.all())
    }
}

fn collect(stream: impl AsyncRead + Unpin + Send + 'static, said: &Arc<Mutex<String>>) {
    let said = said.clone();
    tokio::spawn(async move {
        let mut lines = BufReader::new(stream).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
            said.push_str(&line);
            said.push('\n');
        }
    });
}

/// `kenning dev` in the project, with the tools that are here and without the network.
fn dev(root: &Path, language: &str, server: &Caller) -> Result<Command> {
    let (variable, tool) = tools_of(language)?;
    let arguments = ["dev", ".", "--server", server.url(), "--tenant", "author"];
    let mut command = command(root, &arguments)?;
    command.current_dir(root).env(variable, tool).env("CARGO_NET_OFFLINE", "true");
    // Where rustup keeps its toolchains.
    for name in ["HOME", "CARGO_HOME", "RUSTUP_HOME"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    Ok(command)
}

/// What the extension leaves in a fact that is read, and which generation it was.
async fn seen(author: &Caller) -> Result<(String, String)> {
    let fact = author.get("/v1/facts/tea").await?;
    let greeting = fact.json["metadata"]["greeting"].as_str().unwrap_or_default().to_string();
    Ok((greeting, fact.header("x-kenning-extensions").to_string()))
}

async fn is_seen(author: &Caller, greeting: &str, generation: u64) -> Result<()> {
    let wanted = (greeting.to_string(), format!("hello={generation}"));
    until(
        &format!("{wanted:?} is seen"),
        async || Ok((seen(author).await? == wanted).then_some(())),
    )
    .await
}

/// What `make` built is what `kenning dev` installs first: in Python each build takes most of a
/// minute, with the compiling.
async fn passes_and_stays_live(language: &Language) -> Result<()> {
    let (_home, root) = project(language.name).await?;
    builds_and_passes(&root, language.name).await?;
    let server = Server::start().await?;
    let author = server.tenant("author");
    author.store(json!({ "text": "Tea is hot.", "fact_id": "tea" })).await?;
    let source: PathBuf = root.join(language.source);
    let first = fs::read_to_string(&source)?;
    ensure!(first.contains(language.greeting), "{first}");
    let save = |greeting: &str| fs::write(&source, first.replace(language.greeting, greeting));

    let mut dev = Dev::start(dev(&root, language.name, &server)?)?;
    dev.says("hello generation 1").await?;
    assert_eq!(seen(&author).await?, ("hello from hello".into(), "hello=1".into()));

    save(language.broken)?;
    dev.says(language.said).await?;
    dev.says("generation 1 stays live").await?;
    assert_eq!(seen(&author).await?, ("hello from hello".into(), "hello=1".into()));

    save(language.another)?;
    is_seen(&author, "good day", 2).await.with_context(|| dev.all())?;
    dev.says("hello generation 2").await?;
    dev.says("info so it is said").await?;

    let said = dev.interrupted().await?;
    let hint = "hello stays installed; `kenning extension remove hello` removes it";
    assert!(said.contains(hint), "{said}");
    let live: Vec<_> = said.lines().filter(|line| line.starts_with("live in ")).collect();
    assert_eq!(live.len(), 2, "one for each version, with the time from the save: {said}");
    assert_eq!(seen(&author).await?.1, "hello=2");
    Ok(())
}

#[tokio::test]
async fn a_project_in_rust_passes_its_tests_and_is_live_after_each_save() -> Result<()> {
    let _alone = RUST.lock().await;
    passes_and_stays_live(&LANGUAGES[0]).await
}

#[tokio::test]
async fn a_project_in_javascript_passes_its_tests_and_is_live_after_each_save() -> Result<()> {
    passes_and_stays_live(&LANGUAGES[1]).await
}

#[tokio::test]
async fn a_project_in_python_passes_its_tests_and_is_live_after_each_save() -> Result<()> {
    passes_and_stays_live(&LANGUAGES[2]).await
}
