//! Deletes one fact, or all that a filter matches.

use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use super::count::{self, Count};
use super::{facts, filtered, format};
use crate::progress::Progress;
use crate::text::count as counted;
use crate::{DeleteArgs, Error, Exit, JsonObject, OutputFormat, Server, Terminal};

/// The response to a deletion by filter, which may have to be repeated.
#[derive(Debug, Deserialize)]
struct Deletion {
    deleted: u64,
    complete: bool,
    #[serde(default)]
    next_cursor: Option<String>,
    #[serde(default)]
    error: Option<Reason>,
    #[serde(default)]
    withheld: u64,
}

/// Why a deletion ended early.
#[derive(Debug, Deserialize)]
struct Reason {
    message: String,
}

pub(super) async fn delete(
    server: &Server,
    args: &DeleteArgs,
    terminal: &mut Terminal,
) -> Result<Exit, Error> {
    let filter = match (&args.id, &args.filter) {
        (Some(id), _) => {
            return facts::delete(server, id, terminal).await.map(|()| Exit::Success);
        }
        (None, Some(filter)) => filter,
        (None, None) => return Err(Error::Usage("name a fact or a --filter".to_owned())),
    };
    if args.yes || confirmed(server, filter, terminal).await? {
        return delete_all(server, filter, terminal).await;
    }
    terminal.notice("Nothing was deleted.");
    Ok(Exit::Failed)
}

/// Asks on the terminal, with the number of facts.
async fn confirmed(
    server: &Server,
    filter: &JsonObject,
    terminal: &mut Terminal,
) -> Result<bool, Error> {
    if !terminal.can_ask() {
        return Err(Error::Usage(
            "standard input is not a terminal to confirm on: delete by --filter with --yes"
                .to_owned(),
        ));
    }
    let Count { count, .. } = count::ask(server, Some(filter)).await?.parse()?;
    terminal.ask(&format!("Delete {}? [y/N] ", counted(count, "fact")))
}

/// What was deleted, and why not all of it, if so.
pub(super) struct Deleted {
    pub(super) total: u64,
    pub(super) withheld: u64,
    pub(super) unfinished: Option<String>,
}

async fn delete_all(
    server: &Server,
    filter: &JsonObject,
    terminal: &mut Terminal,
) -> Result<Exit, Error> {
    let progress = Progress::deletion(terminal.shows_progress());
    let deleted = matching(server, filter, &progress).await;
    progress.clear();
    let Deleted { total, withheld, unfinished } = deleted?;
    format::warn_withheld(withheld, terminal);
    print(total, unfinished.is_none(), terminal)?;
    let Some(reason) = unfinished else { return Ok(Exit::Success) };
    terminal.warn(&format!("More facts match, repeat the command: {reason}"));
    Ok(Exit::Failed)
}

/// Repeats the request until no matching fact is left.
pub(super) async fn matching(
    server: &Server,
    filter: &JsonObject,
    progress: &Progress,
) -> Result<Deleted, Error> {
    let (mut total, mut withheld) = (0, 0);
    let mut cursor: Option<String> = None;
    let unfinished = loop {
        let step = request(server, filter, cursor.as_deref()).await;
        let step = step.map_err(|error| match total {
            0 => error,
            _ => error.with_consequence(
                "Some facts were deleted before; repeat the command for the others.",
            ),
        })?;
        total += step.deleted;
        progress.made(total);
        withheld += step.withheld;
        if step.complete {
            break None;
        }
        if let Some(Reason { message }) = step.error {
            break Some(message);
        }
        if step.deleted == 0 && step.next_cursor == cursor {
            break Some("the server has no time to delete any".to_owned());
        }
        cursor = step.next_cursor;
    };
    Ok(Deleted { total, withheld, unfinished })
}

async fn request(
    server: &Server,
    filter: &JsonObject,
    cursor: Option<&str>,
) -> Result<Deletion, Error> {
    let request = server.request(Method::DELETE, &["v1", "facts"])?;
    let mut request = filtered(request, Some(filter));
    if let Some(cursor) = cursor {
        request = request.query(&[("cursor", cursor)]);
    }
    server.call(request).await?.parse()
}

fn print(total: u64, complete: bool, terminal: &mut Terminal) -> Result<(), Error> {
    match terminal.format() {
        OutputFormat::Json => {
            let answer = json!({ "deleted": total, "complete": complete });
            terminal.print_document(answer.to_string().as_bytes())
        }
        OutputFormat::Plain => terminal.print_line(&total.to_string()),
        OutputFormat::Human { .. } => {
            terminal.print_line(&format!("Deleted {}.", counted(total, "fact")))
        }
    }
}
