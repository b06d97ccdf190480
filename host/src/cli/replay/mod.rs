//! `kenning replay`: runs a call again that failed on a server, on this machine.

mod symbols;

use std::cmp::Ordering;
use std::fs::{OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use bytes::Bytes;
use clap::Args;
use kenning_client::{AdminConnection, Connection, Server, Timeouts, table};
use kenning_runtime::{Recording, Replayed};
use reqwest::Method;
use serde_json::json;

use super::output;

pub(super) const HELP: &str = "\
Examples:
  kenning why 0199c3a8-6f1e
  kenning replay 0199c3a8-6f1e --trace
  kenning replay 0199c3a8-6f1e --with target/wasm32-wasip2/debug/extension.wasm
  kenning replay 0199c3a8-6f1e --save .
  kenning replay replays/0199c3a8-6f1e.json --with hello.wasm

The guest runs with what it was given then; clocks, random numbers and the answers of imports are
those of the recorded call. The exit code is 0 if the call ends as it did, with the same fuel. With
--with it is 0 if the call does not fail. A file that --save wrote has no component: name it with
--with, unless the server still has the call. A recording holds what the caller sent and what is
stored, and a placeholder for each secret.";

/// The folder of a project for its recordings.
const FOLDER: &str = "replays";

/// Which call, and with what.
#[derive(Args)]
pub(super) struct Replay {
    /// The request's id, or a file that --save wrote
    #[arg(value_name = "REQUEST-ID|FILE")]
    call: String,
    /// Replay it with this component instead of the one that failed
    #[arg(long, value_name = "FILE.wasm")]
    with: Option<PathBuf>,
    /// Print each call of an import, with its answer
    #[arg(long)]
    trace: bool,
    /// Write the recording into a project, as a test of it
    #[arg(long, value_name = "PROJECT")]
    save: Option<PathBuf>,
    /// Directory for compiled components [default: ~/.local/share/kenning]
    #[arg(long, env = "KENNING_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    connection: AdminConnection,
}

/// Replays the call, prints how it went, and says by the exit code whether it went as it should.
///
/// # Errors
/// When there is no recording or no component, or they do not fit.
pub(super) async fn run(replay: Replay) -> anyhow::Result<ExitCode> {
    let Replay { call, with, trace, save, data_dir, connection } = replay;
    let file = Path::new(&call);
    let server = || Server::new(&Connection::from(&connection), Timeouts::default());
    let document = match file.is_file() {
        true => Bytes::from(std::fs::read(file).with_context(|| unreadable(file))?),
        false => match fetch(server, &call, "replay").await {
            Ok(document) => document,
            Err(error) => return Ok(complain(&error, &error.to_string())),
        },
    };
    let recording = Arc::new(parse(&document)?);
    let component = match &with {
        Some(file) => Bytes::from(std::fs::read(file).with_context(|| unreadable(file))?),
        None => match fetch(server, &recording.request_id, "component").await {
            Ok(component) => component,
            Err(error) if file.is_file() => {
                return Ok(complain(&error, &not_at_hand(&recording, &error)));
            }
            Err(error) => return Ok(complain(&error, &error.to_string())),
        },
    };
    let saved = save.map(|project| write(&project, &recording, &document)).transpose()?;
    let replayed = crate::replay::run(data_dir, recording.clone(), component.clone()).await?;
    let backtrace = symbols::backtrace(&component, &replayed.frames);
    let is_other = kenning_runtime::compiler::digest(&component) != recording.digest;
    match connection.json {
        true => output::print_json(&as_json(&recording, &replayed, &backtrace))?,
        false => {
            let rows = rows(&recording, &replayed, &backtrace, is_other, trace);
            let saved = saved.map(|file| ("saved", file.display().to_string()));
            let rows = rows.into_iter().chain(saved);
            let rows = rows.map(|(name, value)| (name, kenning_client::sanitize(&value)));
            output::print(&format!("{}\n", table(rows, None)))?;
        }
    }
    let is_right = if is_other { replayed.result.is_ok() } else { replayed.is_same };
    Ok(if is_right { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What the server has of this request.
async fn fetch(
    server: impl Fn() -> Result<Server, kenning_client::Error>,
    id: &str,
    what: &str,
) -> Result<Bytes, kenning_client::Error> {
    let server = server()?;
    let path = ["v1", "admin", "requests", id, what];
    Ok(server.call(server.request(Method::GET, &path)?).await?.body)
}

/// Prints what is to be told of a failure; gives its exit code.
fn complain(error: &kenning_client::Error, told: &str) -> ExitCode {
    output::complain(&format!("kenning: {told}"));
    error.exit().into()
}

/// That nobody has the component of a recording in a file.
fn not_at_hand(recording: &Recording, error: &kenning_client::Error) -> String {
    let Recording { component, generation, digest, .. } = recording;
    let told = format!(
        "the component of this call, {component} generation {generation} ({digest}), is not at \
         hand: name its file with --with, or with --server a server that still has this call"
    );
    match error {
        kenning_client::Error::Api(answer) if answer.code == "not_found" => told,
        other => format!("{told}\n{other}"),
    }
}

fn unreadable(file: &Path) -> String {
    format!("cannot read {}", file.display())
}

/// The recording. Of one that another version made, only the version is read.
fn parse(document: &[u8]) -> anyhow::Result<Recording> {
    #[derive(serde::Deserialize)]
    struct Versioned {
        version: String,
    }
    let Versioned { version } =
        serde_json::from_slice(document).context("this is not a recording of a call")?;
    let ours = Recording::VERSION;
    anyhow::ensure!(
        version == ours,
        "the call was recorded by Kenning {version}, and this is {ours}: replay it with that \
         version"
    );
    serde_json::from_slice(document).context("this recording cannot be read")
}

/// Writes the recording into the project's folder of replays.
fn write(project: &Path, recording: &Recording, document: &[u8]) -> anyhow::Result<PathBuf> {
    let folder = project.join(FOLDER);
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make {}", folder.display()))?;
    let usual = |c: char| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '-' };
    let name: String = recording.request_id.chars().map(usual).collect();
    let file = folder.join(format!("{name}.json"));
    let written = write_private(&file, document);
    written.with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}

/// Writes a file that only this user may read: it quotes facts.
fn write_private(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(file)?;
    // It may have been there.
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(bytes)
}

/// A line of the output.
type Row = (&'static str, String);

fn rows(
    recording: &Recording,
    replayed: &Replayed,
    backtrace: &[String],
    is_other: bool,
    trace: bool,
) -> Vec<Row> {
    let Recording { component, generation, operation, tenant, .. } = recording;
    let mut rows = vec![
        ("call", format!("{operation} of {component} generation {generation}, tenant {tenant}")),
        ("recorded", recording.time.clone()),
    ];
    rows.push(("ended", recording.ended.error().unwrap_or("succeeded").to_owned()));
    if trace {
        rows.extend(under("trace", &replayed.trace));
    }
    let said = replayed.said.iter().map(|line| format!("{}: {}", line.level, line.message));
    rows.extend(under("said", &said.collect::<Vec<_>>()));
    rows.push(("replayed", shown(&replayed.result)));
    rows.push(("", verdict(replayed, is_other).to_owned()));
    rows.push(("fuel", compared(recording.guest_fuel, replayed.guest_fuel)));
    rows.extend(under("backtrace", backtrace));
    rows.extend(notes(recording, replayed).into_iter().map(|note| ("note", note)));
    rows
}

fn shown(result: &Result<String, String>) -> String {
    match result {
        Ok(answer) => format!("returned {answer}"),
        Err(error) => error.clone(),
    }
}

fn verdict(replayed: &Replayed, is_other: bool) -> &'static str {
    match (is_other, replayed.is_same, &replayed.result) {
        (true, _, Ok(_)) => "another build, which does not fail",
        (true, _, Err(_)) => "another build, which fails, too",
        (false, true, _) => "as recorded",
        (false, false, _) => "not as recorded",
    }
}

/// The fuel that the guest used in both calls, and the difference.
fn compared(recorded: u64, replayed: u64) -> String {
    let difference = match replayed.cmp(&recorded) {
        Ordering::Equal => "the same".to_owned(),
        Ordering::Greater => format!("{} more", replayed - recorded),
        Ordering::Less => format!("{} less", recorded - replayed),
    };
    format!("{recorded} (recorded), {replayed} (replayed): {difference}")
}

/// What a reader has to know to judge the result.
fn notes(recording: &Recording, replayed: &Replayed) -> Vec<String> {
    let mut notes = Vec::new();
    if !recording.secrets.is_empty() {
        let names = recording.secrets.join(", ");
        notes.push(format!(
            "the guest read the secret {names}; it was given a placeholder of the same length here"
        ));
    }
    if recording.architecture != std::env::consts::ARCH {
        let architecture = &recording.architecture;
        notes.push(format!(
            "recorded on {architecture}, where the call stack may hold another number of calls"
        ));
    }
    if let (kenning_runtime::CallEnd::Refused { error }, Ok(_)) =
        (&recording.ended, &replayed.result)
    {
        notes.push(format!("the host refused what was returned: {error}"));
    }
    notes
}

fn under(name: &'static str, lines: &[String]) -> Vec<Row> {
    let names = std::iter::once(name).chain(std::iter::repeat(""));
    names.zip(lines.iter().cloned()).collect()
}

fn as_json(recording: &Recording, replayed: &Replayed, backtrace: &[String]) -> String {
    let (returned, error) = (replayed.result.as_ref().ok(), replayed.result.as_ref().err());
    let answer = json!({
        "request_id": recording.request_id,
        "component": recording.component,
        "operation": recording.operation,
        "recorded": { "ended": recording.ended, "fuel": recording.guest_fuel },
        "as_recorded": replayed.is_same,
        "returned": returned.map(|json| serde_json::from_str(json).unwrap_or(json!(json))),
        "error": error,
        "fuel": replayed.guest_fuel,
        "trace": replayed.trace,
        "backtrace": backtrace,
        "said": replayed.said,
        "notes": notes(recording, replayed),
    });
    format!("{answer}\n")
}

#[cfg(test)]
mod tests {
    use super::compared;

    #[test]
    fn both_fuels_are_named_with_their_difference() {
        assert_eq!(compared(7, 7), "7 (recorded), 7 (replayed): the same");
        assert_eq!(compared(7, 9), "7 (recorded), 9 (replayed): 2 more");
        assert_eq!(compared(9, 7), "9 (recorded), 7 (replayed): 2 less");
    }
}
