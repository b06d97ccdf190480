//! Listing facts, newest first.

use reqwest::{Method, RequestBuilder};
use serde_json::value::RawValue;

use super::show;
use crate::answers::{Fact, Page};
use crate::terminal::Paint;
use crate::text::clean;
use crate::{Answer, Error, Form, ListArgs, Server, Terminal};

/// Facts a request when all are wanted: the most the server gives.
const LARGEST_PAGE: u32 = 1000;

pub(super) async fn list(
    server: &Server,
    args: &ListArgs,
    terminal: &mut Terminal,
) -> Result<(), Error> {
    let mut cursor = args.cursor.clone();
    let mut shown = 0;
    loop {
        let answer = server.call(request(server, args, cursor.as_deref())?).await?;
        let page: Page = answer.parse()?;
        shown += page.facts.len();
        show_page(server, args, &answer, &page, terminal)?;
        // Each page is out before the next is asked for, so that `head` ends the work.
        terminal.finish()?;
        match page.next_cursor {
            Some(next) if args.all => {
                if cursor.as_deref() == Some(&next) {
                    return Err(server.broken("the list goes in circles: it gave a cursor twice"));
                }
                cursor = Some(next);
            }
            next => {
                last_words(next.as_deref(), shown, terminal);
                return Ok(());
            }
        }
    }
}

fn request(
    server: &Server,
    args: &ListArgs,
    cursor: Option<&str>,
) -> Result<RequestBuilder, Error> {
    let mut request = server.request(Method::GET, &["v1", "facts"])?;
    if let Some(query) = &args.query {
        request = request.query(&[("query", query)]);
    }
    if let Some(limit) = args.limit.or(args.all.then_some(LARGEST_PAGE)) {
        request = request.query(&[("limit", limit)]);
    }
    if let Some(cursor) = cursor {
        request = request.query(&[("cursor", cursor)]);
    }
    Ok(request)
}

fn show_page(
    server: &Server,
    args: &ListArgs,
    answer: &Answer,
    page: &Page,
    terminal: &mut Terminal,
) -> Result<(), Error> {
    if terminal.form() == Form::Json && !args.all {
        return terminal.put_document(&answer.body);
    }
    page.facts.iter().try_for_each(|raw| show_fact(server, raw, terminal))
}

fn show_fact(server: &Server, raw: &RawValue, terminal: &mut Terminal) -> Result<(), Error> {
    if terminal.form() == Form::Json {
        return terminal.say(&show::one_line(raw.get()));
    }
    let fact: Fact = serde_json::from_str(raw.get())
        .map_err(|error| server.broken(format!("a listed fact is malformed: {error}")))?;
    let Form::Human { width, colour } = terminal.form() else {
        return terminal.say(&show::fact_line(&fact));
    };
    let paint = Paint { colour };
    let time = clean(fact.timestamp.as_deref().unwrap_or_default());
    terminal.say(&format!("{}  {}", paint.strong(&fact.id), paint.dim(&time)))?;
    show::body(&fact.content, fact.metadata.as_deref(), 2, width, paint)
        .iter()
        .try_for_each(|line| terminal.say(line))
}

fn last_words(next: Option<&str>, shown: usize, terminal: &mut Terminal) {
    if terminal.form() == Form::Json {
        return;
    }
    match next {
        Some(cursor) => terminal.note(&format!("There is more: --cursor '{cursor}', or --all.")),
        None if shown == 0 => terminal.note("There are no such facts."),
        None => {}
    }
}
