//! Ingest: keeps the facts of a folder up to date.
//!
//! The server is asked what it has of the folder, by the metadata of its facts. Files whose content
//! is another one by now are stored again, and only then are the facts of their earlier content
//! deleted: a failure in the middle leaves too much, and never too little.

mod folder;
mod plan;
mod state;

use serde_json::{Value, json};

use super::{delete, upload};
use crate::progress::Progress;
use crate::text::{count, sanitize};
use crate::{Error, Exit, IngestArgs, JsonObject, OutputFormat, Server, StoreMode, Terminal};
use folder::Folder;
use plan::{Change, Plan};

/// The metadata of every fact of a folder.
const NAME: &str = "ingest";
const SOURCE: &str = "source";
const HASH: &str = "source_sha256";
const FACTS: &str = "source_facts";
const PATH: &str = "path";

/// What was done.
#[derive(Default)]
struct Report {
    stored: u64,
    deleted: u64,
    /// Files that were not taken, or only in part.
    failed: u64,
}

pub(super) async fn ingest(
    server: &Server,
    args: &IngestArgs,
    terminal: &mut Terminal,
) -> Result<Exit, Error> {
    let folder = Folder::open(&args.folder, args.name.as_deref())?;
    let known = state::read(server, &folder.name).await?;
    let files = folder.files()?;
    if files.is_empty() && !known.is_empty() {
        return Err(Error::Usage(format!(
            "{} holds no Markdown or text, and the server has facts of {} files of it; if they \
             are to go, use kenning delete --filter '{{\"{NAME}\":\"{}\"}}'",
            args.folder.display(),
            known.len(),
            folder.name,
        )));
    }
    let plan = Plan::new(&folder, files, known);
    for refused in &plan.refused {
        let (name, reason) = (sanitize(&refused.name), sanitize(&refused.reason));
        terminal.notice(&format!("{name}: not taken: {reason}"));
    }
    let mut report = Report { failed: plan.refused.len() as u64, ..Report::default() };
    if args.dry_run {
        print_plan(&plan, terminal)?;
    } else {
        carry_out(server, &folder, &plan, &mut report, terminal).await?;
    }
    print_report(&plan, &report, args.dry_run, terminal)?;
    if args.wait && !args.dry_run {
        upload::wait_for_vectors(server, terminal).await?;
    }
    Ok(if report.failed == 0 { Exit::Success } else { Exit::Failed })
}

async fn carry_out(
    server: &Server,
    folder: &Folder,
    plan: &Plan,
    report: &mut Report,
    terminal: &mut Terminal,
) -> Result<(), Error> {
    let kept = store(server, folder, plan, report, terminal).await?;
    for file in plan.files.iter().filter(|file| file.change == Change::Changed) {
        if !kept.contains(&file.source) {
            let earlier = json!({ HASH: { "ne": file.hash } });
            delete_of(server, folder, &file.source, Some(earlier), report, terminal).await?;
        }
    }
    for source in &plan.removed {
        delete_of(server, folder, source, None, report, terminal).await?;
    }
    Ok(())
}

/// Stores the facts of new and changed files; gives the files whose earlier facts must stay,
/// because some of the new ones were refused.
async fn store(
    server: &Server,
    folder: &Folder,
    plan: &Plan,
    report: &mut Report,
    terminal: &mut Terminal,
) -> Result<Vec<String>, Error> {
    let (lines, places) = plan.lines();
    if lines.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<String> = places.iter().map(|(_, name)| name.clone()).collect();
    let source = upload::Source::lines(&folder.name, lines);
    let outcome =
        upload::send(server, StoreMode::Upsert, source, terminal.shows_progress()).await?;
    upload::print_refused(&outcome.response, &names, terminal);
    report.stored = outcome.response.imported;
    if outcome.ended_early() {
        return Err(server.error_in(outcome.status, &outcome.headers, outcome.body));
    }
    let response = &outcome.response;
    let named = response.errors.iter().filter_map(|refused| {
        let line = usize::try_from(refused.line).ok()?.checked_sub(1)?;
        Some(places.get(line)?.0.clone())
    });
    let mut kept: Vec<String> = named.collect();
    if response.failed > response.errors.len() as u64 {
        // Not all of them are named, so it may be any.
        kept = plan.files.iter().map(|file| file.source.clone()).collect();
    }
    kept.dedup();
    report.failed += kept.len() as u64;
    Ok(kept)
}

async fn delete_of(
    server: &Server,
    folder: &Folder,
    source: &str,
    further: Option<Value>,
    report: &mut Report,
    terminal: &mut Terminal,
) -> Result<(), Error> {
    let mut all = vec![json!({ NAME: { "eq": folder.name } }), json!({ SOURCE: { "eq": source } })];
    all.extend(further);
    let filter = JsonObject::new(&json!({ "AND": all }))?;
    let deleted = delete::matching(server, &filter, &Progress::hidden()).await?;
    report.deleted += deleted.total;
    if let Some(reason) = deleted.unfinished {
        report.failed += 1;
        let source = sanitize(source);
        terminal.warn(&format!("{source}: not all earlier facts are deleted: {reason}"));
    }
    Ok(())
}

fn print_plan(plan: &Plan, terminal: &mut Terminal) -> Result<(), Error> {
    if terminal.format() == OutputFormat::Json {
        return Ok(());
    }
    for file in plan.files.iter().filter(|file| file.change != Change::None) {
        let (word, source) = (file.change.word(), sanitize(&file.source));
        let facts = file.records.len() as u64;
        terminal.print_line(&match terminal.format() {
            OutputFormat::Human { .. } => format!("{word:8} {source}  ({})", count(facts, "fact")),
            _ => format!("{word}\t{source}\t{facts}"),
        })?;
    }
    for source in plan.removed.iter().map(|source| sanitize(source)) {
        terminal.print_line(&match terminal.format() {
            OutputFormat::Human { .. } => format!("{:8} {source}", "removed"),
            _ => format!("removed\t{source}\t0"),
        })?;
    }
    Ok(())
}

fn print_report(
    plan: &Plan,
    report: &Report,
    dry_run: bool,
    terminal: &mut Terminal,
) -> Result<(), Error> {
    let of = |change| plan.files.iter().filter(|file| file.change == change).count() as u64;
    let rows = [
        ("new", of(Change::New)),
        ("changed", of(Change::Changed)),
        ("unchanged", of(Change::None)),
        ("removed", plan.removed.len() as u64),
        ("failed", report.failed),
        ("stored", report.stored),
        ("deleted", report.deleted),
    ];
    match terminal.format() {
        OutputFormat::Json => {
            let mut said: serde_json::Map<String, Value> =
                rows.iter().map(|(name, number)| ((*name).to_owned(), json!(number))).collect();
            said.insert("dry_run".to_owned(), json!(dry_run));
            terminal.print_document(Value::from(said).to_string().as_bytes())
        }
        OutputFormat::Plain => rows
            .iter()
            .try_for_each(|(name, number)| terminal.print_line(&format!("{name}\t{number}"))),
        OutputFormat::Human { .. } => {
            let [new, changed, unchanged, removed, failed, stored, deleted] =
                rows.map(|(_, number)| number);
            let failed = match failed {
                0 => String::new(),
                failed => format!(", {failed} failed"),
            };
            let done = match dry_run {
                true => "Nothing was done.".to_owned(),
                false => {
                    let deleted = count(deleted, "fact");
                    format!("Stored {}, deleted {deleted}.", count(stored, "fact"))
                }
            };
            terminal.print_line(&format!(
                "Files: {new} new, {changed} changed, {unchanged} unchanged, {removed} \
                 removed{failed}. {done}"
            ))
        }
    }
}
