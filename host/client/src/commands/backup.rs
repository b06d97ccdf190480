//! Backups: the blocks that a server sends, into a folder; a tenant, into a file and back.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use kenning_backup::{
    BackupError, Block, Blocks, Folder, Manifest, Opened, Record, WholeBecause, read_file,
};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Body, Method};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::args::BackupArgs;
use crate::input::InputStream;
use crate::progress::Progress;
use crate::tenant::{ExportTenantArgs, ImportTenantArgs};
use crate::text::{count, sanitize, thousands};
use crate::{Error, OutputFormat, Server, Terminal};

const KEPT: &str = "What arrived is kept: run the same command again, and it goes on from there.";

/// Copies everything into a folder, or what was changed since an earlier backup.
pub(super) async fn backup(
    server: &Server,
    args: &BackupArgs,
    terminal: &mut Terminal,
) -> Result<(), Error> {
    let base = args.since.as_deref().map(Manifest::read).transpose()?;
    let is_new = !args.dir.exists();
    let opened = Folder::open(&args.dir, args.since.as_deref().zip(base.as_ref()))?;
    let mut folder = match opened {
        Opened::New(folder) => folder,
        Opened::Begun(folder) => {
            let facts = count(folder.contents().facts, "fact");
            terminal.warn(&format!("{} are there already; going on", sanitize(&facts)));
            folder
        }
    };
    let known = folder.since().tenants.len();
    let base = folder.base().map(|base| base.sha256.clone());
    let request = json!({ "since": folder.since(), "base": base });
    let progress = Progress::download(None, terminal.shows_progress());
    let received = receive(server, &request, |block| {
        folder.append(&block)?;
        let total = folder.contents().begin.as_ref().map_or(0, |begin| begin.facts);
        progress.copied(folder.contents().facts, total);
        Ok(())
    });
    let received = received.await;
    progress.clear();
    if received.is_err() && is_new {
        // Fails where something arrived, which is kept.
        let _ = fs::remove_dir(&args.dir);
    }
    received.map_err(|error| match error {
        Error::Backup(BackupError::Incomplete(_))
        | Error::BadResponse { .. }
        | Error::IdleTimeout { .. } => error.with_consequence(KEPT),
        other => other,
    })?;
    let again = folder.contents().copied_again.clone();
    let manifest = folder.complete()?;
    // Where nothing was there before, nothing was copied again.
    let again = if known > 0 { again } else { Vec::new() };
    for (name, because) in &again {
        let name = sanitize(name);
        terminal.warn(&format!("copied as a whole: {name}, because {}", because.as_str()));
    }
    for what in &manifest.left_out {
        terminal.warn(&format!("left out, because it is damaged: {}", sanitize(what)));
    }
    report(&args.dir, &manifest, &again, terminal)
}

fn report(
    dir: &Path,
    manifest: &Manifest,
    again: &[(String, WholeBecause)],
    terminal: &mut Terminal,
) -> Result<(), Error> {
    let bytes: u64 = manifest.parts.iter().map(|part| part.bytes).sum();
    let (tenants, facts) = (manifest.copied.tenants.len(), manifest.facts);
    let documents = manifest.documents;
    let whole = |(name, because): &(String, WholeBecause)| {
        let message = because.as_str();
        json!({ "tenant": name, "because": because, "message": message })
    };
    match terminal.format() {
        OutputFormat::Json => {
            let told = json!({
                "folder": dir, "sha256": manifest.sha256(), "tenants": tenants, "facts": facts,
                "gone": manifest.gone, "documents": documents, "state": manifest.state,
                "bytes": bytes, "left_out": manifest.left_out,
                "copied_as_a_whole": again.iter().map(whole).collect::<Vec<_>>(),
            });
            terminal.print_document(told.to_string().as_bytes())
        }
        OutputFormat::Plain => {
            terminal.print_line(&format!("{tenants}\t{facts}\t{documents}\t{bytes}"))
        }
        OutputFormat::Human { .. } => terminal.print_line(&format!(
            "Backed up {} of {} and {} to {}, {} bytes.",
            count(facts, "fact"),
            count(tenants as u64, "tenant"),
            count(documents, "document"),
            sanitize(&dir.display().to_string()),
            thousands(bytes)
        )),
    }
}

/// Asks for a copy, and passes each block of it on.
async fn receive(
    server: &Server,
    request: &Value,
    mut take: impl FnMut(Block) -> Result<(), Error>,
) -> Result<(), Error> {
    let request = server.request(Method::POST, &["v1", "admin", "backup"])?.json(request);
    let mut response = server.open(request).await?;
    let mut blocks = Blocks::default();
    while let Some(chunk) = server.chunk(&mut response).await? {
        blocks.push(&chunk);
        while let Some(block) = blocks.next_block()? {
            take(block)?;
        }
    }
    match blocks.left() {
        0 => Ok(()),
        _ => Err(server.bad_response("it ended in the middle of a block")),
    }
}

/// Copies a tenant into a new file, which is there only when it is complete.
pub(super) async fn export_tenant(
    server: &Server,
    args: &ExportTenantArgs,
    terminal: &mut Terminal,
) -> Result<(), Error> {
    let what = args.file.display().to_string();
    let failed = |cause| Error::Output { what: what.clone(), cause };
    let exists = || {
        let told = "it exists already; name a file that does not, or remove it first";
        failed(io::Error::new(ErrorKind::AlreadyExists, told))
    };
    if args.file.symlink_metadata().is_ok() {
        return Err(exists());
    }
    let directory = args.file.parent().filter(|parent| !parent.as_os_str().is_empty());
    let mut builder = tempfile::Builder::new();
    builder.prefix(".kenning-export-").suffix(".part");
    let mut file = builder.tempfile_in(directory.unwrap_or(Path::new("."))).map_err(failed)?;
    let progress = Progress::download(None, terminal.shows_progress());
    let mut facts = 0;
    let request = json!({ "tenant": args.name });
    let received = receive(server, &request, |block| {
        for record in block.records() {
            match record? {
                Record::Fact { .. } => facts += 1,
                Record::Failed { message } => {
                    return Err(BackupError::Incomplete(message).into());
                }
                _ => {}
            }
        }
        progress.copied(facts, 0);
        file.write_all(&block.bytes).map_err(failed)
    });
    let received = received.await;
    progress.clear();
    received?;
    file.as_file().sync_all().map_err(failed)?;
    let contents = read_file(file.path())?;
    file.persist_noclobber(&args.file).map_err(|error| match error.error.kind() {
        ErrorKind::AlreadyExists => exists(),
        _ => failed(error.error),
    })?;
    match terminal.format() {
        OutputFormat::Json => {
            let told = json!({ "name": args.name, "file": args.file, "facts": contents.facts });
            terminal.print_document(told.to_string().as_bytes())
        }
        OutputFormat::Plain => terminal.print_line(&contents.facts.to_string()),
        OutputFormat::Human { .. } => terminal.print_line(&format!(
            "Exported {} with {} to {}.",
            sanitize(&args.name),
            count(contents.facts, "fact"),
            sanitize(&what)
        )),
    }
}

#[derive(Deserialize)]
struct Imported {
    name: String,
    facts: u64,
    keys_left_out: u64,
}

/// Sends a file that was read to its end before, so that a damaged one changes nothing.
pub(super) async fn import_tenant(
    server: &Server,
    args: &ImportTenantArgs,
    terminal: &mut Terminal,
) -> Result<(), Error> {
    let what = args.file.display().to_string();
    let contents = read_file(&args.file)?;
    let copied = contents.begin.and_then(|begin| begin.tenant);
    let name = args.name.clone().or(copied);
    let name = name.ok_or_else(|| Error::Usage(format!("{what} is not of one tenant")))?;
    let failed = |cause| Error::Input { what: what.clone(), cause };
    let file = File::open(&args.file).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    let progress = Progress::upload(Some(size), terminal.shows_progress());
    let (input, activity) = InputStream::start(Box::new(file), progress.clone()).map_err(failed)?;
    let path = ["v1", "admin", "tenants", name.as_str(), "import"];
    let request = server.request(Method::POST, &path)?.body(Body::wrap_stream(input));
    let request = request.header(CONTENT_TYPE, "application/x-ndjson");
    let done = async { server.complete(server.open(request).await?).await };
    let done = done.await;
    progress.clear();
    if let Some(cause) = activity.take_failure() {
        return Err(failed(cause));
    }
    let response = done?;
    let Imported { name, facts, keys_left_out } = response.parse()?;
    if keys_left_out > 0 {
        terminal.warn(&format!(
            "{} not imported, because another tenant of this server has them: `kenning tenant \
             rotate-key` makes a new one",
            match keys_left_out {
                1 => "1 key was".to_owned(),
                more => format!("{more} keys were"),
            }
        ));
    }
    match terminal.format() {
        OutputFormat::Json => terminal.print_document(&response.body),
        OutputFormat::Plain => terminal.print_line(&facts.to_string()),
        OutputFormat::Human { .. } => terminal.print_line(&format!(
            "Imported {} with {}.",
            sanitize(&name),
            count(facts, "fact")
        )),
    }
}
