//! `kenning extension dead-letters`: the changes that an extension did not take.

use reqwest::Method;
use serde::Deserialize;

use crate::admin::DeadLettersArgs;
use crate::text::escape_field;
use crate::{Error, OutputFormat, Server, Terminal};

#[derive(Deserialize)]
struct Letters {
    dead_letters: Vec<Letter>,
    more: bool,
}

#[derive(Deserialize)]
struct Letter {
    revision: u64,
    fact_id: String,
    kind: String,
    error: String,
    attempts: u32,
    time: String,
}

#[derive(Deserialize)]
struct Replayed {
    taken: u64,
    failed: u64,
    more: bool,
}

#[derive(Deserialize)]
struct Dropped {
    dropped: u64,
}

/// Lists them, or has them told again, or drops them. `path` is that of the extension's letters.
pub(super) async fn dead_letters(
    server: &Server,
    path: &[&str],
    args: &DeadLettersArgs,
    terminal: &mut Terminal,
) -> Result<(), Error> {
    let request = match (args.replay, args.drop) {
        (true, _) => server.request(Method::POST, &[path, &["replay"]].concat())?,
        (_, true) => server.request(Method::DELETE, path)?,
        _ => server.request(Method::GET, path)?,
    };
    let revision = args.revision.map(|revision| ("revision", revision));
    let response = server.call(request.query(&Vec::from_iter(revision))).await?;
    if terminal.format() == OutputFormat::Json {
        return terminal.print_document(&response.body);
    }
    if args.replay {
        let Replayed { taken, failed, more } = response.parse()?;
        let more = if more { "; there was no time for all, run it again" } else { "" };
        return terminal.print_line(&format!("{taken} taken, {failed} not{more}"));
    }
    if args.drop {
        let Dropped { dropped } = response.parse()?;
        return terminal.print_line(&format!("Dropped {dropped}"));
    }
    let Letters { dead_letters, more } = response.parse()?;
    for Letter { revision, fact_id, kind, error, attempts, time } in dead_letters {
        terminal.print_line(&format!(
            "{time}\t{revision}\t{kind}\t{}\t{attempts}\t{}",
            escape_field(&fact_id),
            escape_field(&error)
        ))?;
    }
    match more {
        true => terminal.print_line("…\tthere are more"),
        false => Ok(()),
    }
}
