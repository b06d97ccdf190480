//! Import: a file of facts, or one of another program, whose records become facts first.

use crate::commands::upload::{self, Outcome, Source};
use crate::formats::{self, Converted, ImportFormat, Reading};
use crate::responses::ImportResponse;
use crate::text::{count, sanitize};
use crate::{Error, Exit, ImportArgs, OutputFormat, Server, Terminal};

pub(super) async fn import(
    server: &Server,
    args: &ImportArgs,
    terminal: &mut Terminal,
) -> Result<Exit, Error> {
    check(args)?;
    let source = Source::open(&args.file, terminal)?;
    if args.format == ImportFormat::Jsonl {
        return finish(server, args, source, &[], terminal).await;
    }
    let converted = convert(args, source)?;
    for refused in &converted.refused {
        let (name, reason) = (sanitize(&refused.name), sanitize(&refused.reason));
        terminal.notice(&format!("{name}: not imported: {reason}"));
    }
    let lines = converted.lines();
    let all_fit = converted.refused.is_empty();
    let exit = match (args.dry_run, lines.is_empty()) {
        (true, _) => terminal.print(&lines).map(|()| Exit::Success)?,
        (false, true) => {
            terminal.notice("There is nothing to import.");
            Exit::Success
        }
        (false, false) => {
            let names: Vec<String> =
                converted.records.into_iter().map(|record| record.name).collect();
            let source = Source::lines(&args.file.display().to_string(), lines);
            finish(server, args, source, &names, terminal).await?
        }
    };
    Ok(if all_fit { exit } else { Exit::Failed })
}

fn check(args: &ImportArgs) -> Result<(), Error> {
    let is_table = args.format == ImportFormat::Csv;
    if !is_table && (args.text_column.is_some() || args.delimiter.is_some()) {
        return Err(Error::Usage("--text-column and --delimiter are for --format csv".to_owned()));
    }
    if args.format == ImportFormat::Jsonl && args.dry_run {
        return Err(Error::Usage(
            "--dry-run shows what becomes of another --format; lines of JSON are sent as they are"
                .to_owned(),
        ));
    }
    Ok(())
}

fn convert(args: &ImportArgs, source: Source) -> Result<Converted, Error> {
    let path = args.file.display().to_string();
    let name = args.file.file_name().map_or(path, |name| name.to_string_lossy().into_owned());
    let bytes = source.read()?;
    let reading = Reading {
        name: &name,
        text_column: args.text_column.as_deref(),
        delimiter: args.delimiter,
    };
    formats::convert(args.format, &bytes, &reading)
}

/// Sends the lines, which were made of the records with these `names`, and prints what came of it.
async fn finish(
    server: &Server,
    args: &ImportArgs,
    source: Source,
    names: &[String],
    terminal: &mut Terminal,
) -> Result<Exit, Error> {
    let outcome = upload::send(server, args.mode, source, terminal.shows_progress()).await?;
    let exit = print(outcome, names, server, terminal)?;
    if args.wait {
        upload::wait_for_vectors(server, terminal).await?;
    }
    Ok(exit)
}

/// Prints the refused lines and the counts.
fn print(
    outcome: Outcome,
    names: &[String],
    server: &Server,
    terminal: &mut Terminal,
) -> Result<Exit, Error> {
    let ended_early = outcome.ended_early();
    let Outcome { status, headers, body, response } = outcome;
    if terminal.format() == OutputFormat::Json {
        terminal.print_document(&body)?;
        let failed = response.failed > 0 || ended_early;
        return Ok(if failed { Exit::Failed } else { Exit::Success });
    }
    upload::print_refused(&response, names, terminal);
    match terminal.format() {
        OutputFormat::Human { .. } => terminal.print_line(&summary_text(&response))?,
        _ => terminal.print_line(&format!(
            "imported\t{}\nfailed\t{}\nlines\t{}",
            response.imported, response.failed, response.lines
        ))?,
    }
    if ended_early {
        terminal.flush()?;
        return Err(server.error_in(status, &headers, body));
    }
    Ok(if response.failed == 0 { Exit::Success } else { Exit::Failed })
}

fn summary_text(response: &ImportResponse) -> String {
    let took = response.took_ms.map_or(String::new(), |ms| format!(" in {:.1} s", ms / 1000.0));
    let failed = match response.failed {
        0 => String::new(),
        failed => format!("; {} failed", count(failed, "line")),
    };
    format!("Imported {}{took}{failed}.", count(response.imported, "fact"))
}
