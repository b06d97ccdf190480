//! Export: every fact, streamed to standard output or to a file.
//!
//! A file gets its name when the export is complete, and not before: a reader never sees half of
//! one, and an export that fails leaves the one before it in place.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use reqwest::Method;
use serde::Deserialize;
use tempfile::NamedTempFile;

use crate::progress::Progress;
use crate::text::count;
use crate::{Error, Exit, ExportArgs, Form, Server, Terminal};

pub(super) async fn export(
    server: &Server,
    args: &ExportArgs,
    terminal: &mut Terminal,
) -> Result<Exit, Error> {
    match args.output.as_deref().filter(|path| *path != Path::new("-")) {
        None => to_output(server, terminal).await.map(|()| Exit::Done),
        // Only here is Ctrl-C ours to handle: there is a file to take away.
        Some(path) => tokio::select! {
            done = to_file(server, path, terminal) => done.map(|()| Exit::Done),
            Ok(()) = tokio::signal::ctrl_c() => Ok(Exit::Interrupted),
        },
    }
}

async fn to_output(server: &Server, terminal: &mut Terminal) -> Result<(), Error> {
    // Facts that scroll by are progress enough, and would garble the line of it.
    let visible = terminal.shows_progress() && !matches!(terminal.form(), Form::Human { .. });
    let progress = started(server, visible).await;
    let done = receive(server, &progress, |chunk| terminal.put(chunk)).await;
    progress.clear();
    done.map_err(|error| match error {
        broken @ (Error::Broken { .. } | Error::Silent { .. }) => {
            broken.leaving("The facts that were written are not all there are.")
        }
        other => other,
    })
}

async fn to_file(server: &Server, path: &Path, terminal: &mut Terminal) -> Result<(), Error> {
    let target = resolved(path)?;
    let what = target.display().to_string();
    let failed = |cause| Error::Output { what: what.clone(), cause };
    let mut file = beside(&target).map_err(failed)?;
    let progress = started(server, terminal.shows_progress()).await;
    let done = receive(server, &progress, |chunk| file.write_all(chunk).map_err(failed)).await;
    progress.clear();
    done?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(&target).map_err(|error| failed(error.error))?;
    match terminal.form() {
        Form::Json => Ok(()),
        Form::Plain => terminal.say(&format!("exported\t{}", progress.lines())),
        Form::Human { .. } => {
            terminal.say(&format!("Exported {} to {what}.", count(progress.lines(), "fact")))
        }
    }
}

/// Writes the export's pieces as they come; an error if it did not come to its end.
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
        return Err(server.broken("it ended inside a line"));
    }
    Ok(())
}

/// Progress towards the number of facts, where the server says it and someone looks.
async fn started(server: &Server, visible: bool) -> Progress {
    #[derive(Deserialize)]
    struct Stats {
        facts: u64,
    }
    if !visible {
        return Progress::hidden();
    }
    // Without a total there is still progress to see; what is wrong, the export itself will say.
    let total = async {
        let answer = server.call(server.request(Method::GET, &["v1", "stats"])?).await?;
        Ok::<_, Error>(answer.parse::<Stats>()?.facts)
    };
    Progress::download(total.await.ok(), visible)
}

/// The file to replace: what `path` leads to, if it is there already.
fn resolved(path: &Path) -> Result<PathBuf, Error> {
    match fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() => Err(Error::Usage(format!(
            "{} is not a file that could be replaced; leave --output out to write to standard \
             output",
            path.display()
        ))),
        Ok(_) => fs::canonicalize(path)
            .map_err(|cause| Error::Output { what: path.display().to_string(), cause }),
        Err(_) => Ok(path.to_owned()),
    }
}

/// A nameless-to-be file in the directory of `target`, so that naming it moves no data.
fn beside(target: &Path) -> std::io::Result<NamedTempFile> {
    let directory = target.parent().filter(|parent| !parent.as_os_str().is_empty());
    let mut builder = tempfile::Builder::new();
    builder.prefix(".kenning-export-").suffix(".part");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        // As any new file: what the umask leaves, rather than tempfile's owner only.
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(directory.unwrap_or(Path::new(".")))
}
