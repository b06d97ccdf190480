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

use crate::progress::Progress;
use crate::text::count;
use crate::{Error, Exit, ExportArgs, OutputFormat, Server, Terminal};

pub(super) async fn export(
    server: &Server,
    args: &ExportArgs,
    terminal: &mut Terminal,
) -> Result<Exit, Error> {
    match args.output.as_deref().filter(|path| *path != Path::new("-")) {
        None => to_output(server, terminal).await.map(|()| Exit::Success),
        // Ctrl-C is handled here only, because a temporary file has to be removed.
        Some(path) => tokio::select! {
            done = to_file(server, path, terminal) => done.map(|()| Exit::Success),
            Ok(()) = tokio::signal::ctrl_c() => Ok(Exit::Interrupted),
        },
    }
}

async fn to_output(server: &Server, terminal: &mut Terminal) -> Result<(), Error> {
    // On a terminal the facts themselves are visible, and would garble a progress line.
    let visible =
        terminal.shows_progress() && !matches!(terminal.format(), OutputFormat::Human { .. });
    let progress = start_progress(server, visible).await;
    let outcome = receive(server, &progress, |chunk| terminal.print(chunk)).await;
    progress.clear();
    outcome.map_err(|error| match error {
        error @ (Error::BadResponse { .. } | Error::IdleTimeout { .. }) => {
            error.with_consequence("The output is incomplete.")
        }
        other => other,
    })
}

async fn to_file(server: &Server, path: &Path, terminal: &mut Terminal) -> Result<(), Error> {
    let target = resolve(path)?;
    let what = target.display().to_string();
    let failed = |cause| Error::Output { what: what.clone(), cause };
    let mut file = temporary_file(&target).map_err(failed)?;
    let progress = start_progress(server, terminal.shows_progress()).await;
    let outcome = receive(server, &progress, |chunk| file.write_all(chunk).map_err(failed)).await;
    progress.clear();
    outcome?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(&target).map_err(|error| failed(error.error))?;
    match terminal.format() {
        OutputFormat::Json => Ok(()),
        OutputFormat::Plain => terminal.print_line(&format!("exported\t{}", progress.lines())),
        OutputFormat::Human { .. } => {
            terminal.print_line(&format!("Exported {} to {what}.", count(progress.lines(), "fact")))
        }
    }
}

/// Passes each chunk of the export to `write`. Fails if the export is incomplete.
async fn receive(
    server: &Server,
    progress: &Progress,
    mut write: impl FnMut(&[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut response = server.open(server.request(Method::GET, &["v1", "export"])?).await?;
    let mut last = b'\n';
    while let Some(chunk) = server.chunk(&mut response).await? {
        write(&chunk)?;
        progress.received(&chunk);
        last = chunk.last().copied().unwrap_or(last);
    }
    if last != b'\n' {
        return Err(server.bad_response("it ended in the middle of a line"));
    }
    Ok(())
}

/// Starts the progress display, with the total number of facts if the server reports it.
async fn start_progress(server: &Server, visible: bool) -> Progress {
    #[derive(Deserialize)]
    struct Stats {
        facts: u64,
    }
    if !visible {
        return Progress::hidden();
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
