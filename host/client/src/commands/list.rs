//! Lists facts, newest first.

use reqwest::{Method, RequestBuilder};
use serde_json::value::RawValue;

use super::{filtered, format};
use crate::responses::{Fact, Page};
use crate::terminal::Paint;
use crate::text::sanitize;
use crate::{Error, JsonResponse, ListArgs, OutputFormat, Server, Terminal};

/// Facts per request with `--all`: the maximum that the server allows.
const MAX_PAGE: u32 = 1000;

pub(super) async fn list(
    server: &Server,
    args: &ListArgs,
    terminal: &mut Terminal,
) -> Result<(), Error> {
    let mut cursor = args.cursor.clone();
    let mut shown = 0;
    loop {
        let response = server.call(request(server, args, cursor.as_deref())?).await?;
        let page: Page = response.parse()?;
        shown += page.facts.len();
        format::warn_withheld(page.withheld, terminal);
        print_page(server, args, &response, &page, terminal)?;
        // Flush each page before requesting the next, so that a closed pipe (`head`) ends the loop.
        terminal.flush()?;
        match page.next_cursor {
            Some(next) if args.all => {
                if cursor.as_deref() == Some(&next) {
                    return Err(server.bad_response(
                        "the listing does not end: it returned the same cursor twice",
                    ));
                }
                cursor = Some(next);
            }
            next => {
                print_hint(next.as_deref(), shown, terminal);
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
    let request = server.request(Method::GET, &["v1", "facts"])?;
    let mut request = filtered(request, args.filter.as_ref());
    if let Some(query) = &args.query {
        request = request.query(&[("query", query)]);
    }
    if let Some(limit) = args.limit.or(args.all.then_some(MAX_PAGE)) {
        request = request.query(&[("limit", limit)]);
    }
    if let Some(cursor) = cursor {
        request = request.query(&[("cursor", cursor)]);
    }
    Ok(request)
}

fn print_page(
    server: &Server,
    args: &ListArgs,
    response: &JsonResponse,
    page: &Page,
    terminal: &mut Terminal,
) -> Result<(), Error> {
    if terminal.format() == OutputFormat::Json && !args.all {
        return terminal.print_document(&response.body);
    }
    page.facts.iter().try_for_each(|raw| print_fact(server, raw, terminal))
}

fn print_fact(server: &Server, raw: &RawValue, terminal: &mut Terminal) -> Result<(), Error> {
    if terminal.format() == OutputFormat::Json {
        return terminal.print_line(&format::one_line(raw.get()));
    }
    let fact: Fact = serde_json::from_str(raw.get())
        .map_err(|error| server.bad_response(format!("a listed fact is malformed: {error}")))?;
    let OutputFormat::Human { width, colour } = terminal.format() else {
        return terminal.print_line(&format::fact_line(&fact));
    };
    let paint = Paint { colour };
    let time = sanitize(fact.timestamp.as_deref().unwrap_or_default());
    terminal.print_line(&format!("{}  {}", paint.strong(&fact.id), paint.dim(&time)))?;
    format::body(&fact.content, fact.metadata.as_deref(), 2, width, paint)
        .iter()
        .try_for_each(|line| terminal.print_line(line))
}

fn print_hint(next: Option<&str>, shown: usize, terminal: &mut Terminal) {
    if terminal.format() == OutputFormat::Json {
        return;
    }
    match next {
        Some(cursor) => {
            terminal.notice(&format!("There are more facts: use --cursor '{cursor}' or --all."))
        }
        None if shown == 0 => terminal.notice("No facts found."),
        None => {}
    }
}
