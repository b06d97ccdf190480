//! Export: streams all facts to standard output or to a file.
//!
//! The file gets its name only when the export is complete, so a reader never sees a partial
//! export, and a failed export does not change an existing file.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use reqwest::Method;
use serde::Deserialize;
use tempfile::NamedTempFile;

use super::{filtered, format};
use crate::progress::Progress;
use crate::text::count;
use crate::{Error, Exit, ExportArgs, OutputFormat, Server, Terminal};

pub(super) async fn export(
    server: &Server,
    args: &ExportArgs,
    terminal: &mut Terminal,
) -> Result<Exit, Error> {
    match args.output.as_deref().filter(|path| *path != Path::new("-")) {
        None => to_output(server, args, terminal).await.map(|()| Exit::Success),
        // Ctrl-C is handled here only, because a temporary file has to be removed.
        Some(path) => tokio::select! {
            done = to_file(server, args, path, terminal) => done.map(|()| Exit::Success),
            Ok(()) = tokio::signal::ctrl_c() => Ok(Exit::Interrupted),
        },
    }
}

async fn to_output(
    server: &Server,
    args: &ExportArgs,
    terminal: &mut Terminal,
) -> Result<(), Error> {
    // On a terminal the facts themselves are visible, and would garble a progress line.
    let visible =
        terminal.shows_progress() && !matches!(terminal.format(), OutputFormat::Human { .. });
    let progress = start_progress(server, args, visible).await;
    let outcome = receive(server, args, &progress, |chunk| terminal.print(chunk)).await;
    progress.clear();
    let withheld = outcome.map_err(|error| match error {
        error @ (Error::BadResponse { .. } | Error::IdleTimeout { .. }) => {
            error.with_consequence("The output is incomplete.")
        }
        other => other,
    })?;
    format::warn_withheld(withheld, terminal);
    Ok(())
}

async fn to_file(
    server: &Server,
    args: &ExportArgs,
    path: &Path,
    terminal: &mut Terminal,
) -> Result<(), Error> {
    let target = resolve(path)?;
    let what = target.display().to_string();
    let failed = |cause| Error::Output { what: what.clone(), cause };
    let mut file = temporary_file(&target).map_err(failed)?;
    let progress = start_progress(server, args, terminal.shows_progress()).await;
    let write = |chunk: &[u8]| file.write_all(chunk).map_err(failed);
    let outcome = receive(server, args, &progress, write).await;
    progress.clear();
    let withheld = outcome?;
    format::warn_withheld(withheld, terminal);
    // The line that says so is no fact.
    let facts = progress.lines() - u64::from(withheld > 0);
    file.as_file().sync_all().map_err(failed)?;
    file.persist(&target).map_err(|error| failed(error.error))?;
    match terminal.format() {
        OutputFormat::Json => Ok(()),
        OutputFormat::Plain => terminal.print_line(&format!("exported\t{facts}")),
        OutputFormat::Human { .. } => {
            terminal.print_line(&format!("Exported {} to {what}.", count(facts, "fact")))
        }
    }
}

/// Passes each chunk of the export to `write`. Fails if the export is incomplete. Returns how many
/// facts the server withheld, which the last line says.
async fn receive(
    server: &Server,
    args: &ExportArgs,
    progress: &Progress,
    mut write: impl FnMut(&[u8]) -> Result<(), Error>,
) -> Result<u64, Error> {
    let request = server.request(Method::GET, &["v1", "export"])?;
    let request = filtered(request, args.filter.as_ref());
    let mut response = server.open(request).await?;
    let mut tail: Vec<u8> = Vec::new();
    while let Some(chunk) = server.chunk(&mut response).await? {
        write(&chunk)?;
        progress.received(&chunk);
        tail.extend_from_slice(&chunk[chunk.len().saturating_sub(WITHHELD_LINE_BYTES)..]);
        tail.drain(..tail.len().saturating_sub(WITHHELD_LINE_BYTES));
    }
    if tail.last().is_some_and(|last| *last != b'\n') {
        return Err(server.bad_response("it ended in the middle of a line"));
    }
    Ok(withheld(&tail))
}

/// The longest line that says how many facts were withheld.
const WITHHELD_LINE_BYTES: usize = 64;

/// What the last line says, if it is the one about withheld facts; else 0.
fn withheld(tail: &[u8]) -> u64 {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Withheld {
        withheld: u64,
    }
    let tail = tail.strip_suffix(b"\n").unwrap_or(tail);
    let last = tail.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    serde_json::from_slice(last).map_or(0, |Withheld { withheld }| withheld)
}

/// Starts the progress display, with the total number of facts if the server reports it.
async fn start_progress(server: &Server, args: &ExportArgs, visible: bool) -> Progress {
    #[derive(Deserialize)]
    struct Stats {
        facts: u64,
    }
    if !visible {
        return Progress::hidden();
    }
    if args.filter.is_some() {
        return Progress::download(None, visible);
    }
    // The total is optional, and if the server has a problem, the export reports it.
    let total = async {
        let response = server.call(server.request(Method::GET, &["v1", "stats"])?).await?;
        Ok::<_, Error>(response.parse::<Stats>()?.facts)
    };
    Progress::download(total.await.ok(), visible)
}

/// The file to replace: the target of `path`, if it is a link.
fn resolve(path: &Path) -> Result<PathBuf, Error> {
    match fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() => Err(Error::Usage(format!(
            "{} is not a regular file; omit --output to write to standard output",
            path.display()
        ))),
        Ok(_) => fs::canonicalize(path)
            .map_err(|cause| Error::Output { what: path.display().to_string(), cause }),
        Err(_) => Ok(path.to_owned()),
    }
}

/// A temporary file in the directory of `target`, so that renaming it does not copy data.
fn temporary_file(target: &Path) -> std::io::Result<NamedTempFile> {
    let directory = target.parent().filter(|parent| !parent.as_os_str().is_empty());
    let mut builder = tempfile::Builder::new();
    builder.prefix(".kenning-export-").suffix(".part");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        // Permissions as for any new file, rather than tempfile's 0600.
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(directory.unwrap_or(Path::new(".")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_of_an_export_says_what_was_withheld() {
        assert_eq!(withheld(b"{\"id\":\"a\"}\n{\"withheld\":3}\n"), 3);
        assert_eq!(withheld(b"{\"withheld\":1}\n"), 1);
        assert_eq!(withheld(b"{\"id\":\"a\",\"withheld\":3}\n"), 0);
        assert_eq!(withheld(b""), 0);
    }
}
