//! The commands for a single fact.

use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde::Serialize;
use serde_json::value::RawValue;

use super::format;
use crate::input::text_argument;
use crate::responses::{Fact, WriteResponse};
use crate::terminal::Paint;
use crate::text::{sanitize, sanitize_lines};
use crate::{
    Error, GetArgs, JsonResponse, OutputFormat, Server, StoreArgs, StoreMode, Terminal, UpdateArgs,
};

#[derive(Serialize)]
struct Draft<'a> {
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fact_id: Option<&'a str>,
    #[serde(skip_serializing_if = "is_default")]
    mode: StoreMode,
}

fn is_default(mode: &StoreMode) -> bool {
    *mode == StoreMode::default()
}

#[derive(Serialize)]
struct Change<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a RawValue>,
}

pub(super) async fn store(
    server: &Server,
    args: StoreArgs,
    terminal: &mut Terminal,
) -> Result<(), Error> {
    let text = text_argument(args.text, terminal).await?;
    let draft = Draft {
        text: &text,
        metadata: args.metadata.as_deref(),
        fact_id: args.id.as_deref(),
        mode: args.mode,
    };
    let mut request = server.request(Method::POST, &["v1", "facts"])?.json(&draft);
    if let Some(key) = &args.idempotency_key {
        request = request.header("idempotency-key", key);
    }
    let response = server.call(request).await?;
    print_written(&response, "Stored", None, terminal)
}

pub(super) async fn update(
    server: &Server,
    args: UpdateArgs,
    terminal: &mut Terminal,
) -> Result<(), Error> {
    let text = match args.change.text {
        Some(typed) => Some(text_argument(typed, terminal).await?),
        None => None,
    };
    let (metadata, media_type) = match &args.change.merge {
        Some(merge) => (Some(merge), "application/merge-patch+json"),
        None => (args.change.metadata.as_ref(), "application/json"),
    };
    let change = Change { text: text.as_deref(), metadata: metadata.map(|object| &**object) };
    let request = server.request(Method::PATCH, &["v1", "facts", &args.id])?;
    let request = request.header(CONTENT_TYPE, media_type).json(&change);
    let response = server.call(request).await?;
    print_written(&response, "Updated", Some(&args.id), terminal)
}

pub(super) async fn delete(
    server: &Server,
    id: &str,
    terminal: &mut Terminal,
) -> Result<(), Error> {
    let request = server.request(Method::DELETE, &["v1", "facts", id])?;
    let response = server.call(request).await?;
    print_written(&response, "Deleted", Some(id), terminal)
}

pub(super) async fn get(
    server: &Server,
    args: &GetArgs,
    terminal: &mut Terminal,
) -> Result<(), Error> {
    let response = server.call(server.request(Method::GET, &["v1", "facts", &args.id])?).await?;
    let fact: Fact = response.parse()?;
    match terminal.format() {
        OutputFormat::Json => terminal.print_document(&response.body),
        OutputFormat::Plain => terminal.print_line(&format::fact_line(&fact)),
        OutputFormat::Human { colour, .. } => print_full(&fact, Paint { colour }, terminal),
    }
}

fn print_full(fact: &Fact, paint: Paint, terminal: &mut Terminal) -> Result<(), Error> {
    let time = fact.timestamp.as_deref().unwrap_or_default();
    terminal.print_line(&format!("{}  {}", paint.strong(&fact.id), paint.dim(&sanitize(time))))?;
    let metadata = format::metadata(fact.metadata.as_deref());
    if metadata != "{}" {
        terminal.print_line(&paint.dim(&sanitize(&metadata)))?;
    }
    terminal.print_line("")?;
    sanitize_lines(&fact.content).iter().try_for_each(|line| terminal.print_line(line))
}

/// Prints the ids that were written; for scripts one per line.
///
/// `requested` is the id in the request, for a response without an id.
fn print_written(
    response: &JsonResponse,
    action: &str,
    requested: Option<&str>,
    terminal: &mut Terminal,
) -> Result<(), Error> {
    let written: WriteResponse = response.parse()?;
    let mut ids = written.fact_ids;
    if ids.is_empty() {
        ids.extend(written.fact_id.or(requested.map(str::to_owned)));
    }
    match terminal.format() {
        OutputFormat::Json => return terminal.print_document(&response.body),
        OutputFormat::Plain => ids.iter().try_for_each(|id| terminal.print_line(id))?,
        OutputFormat::Human { colour, .. } => ids.iter().try_for_each(|id| {
            terminal.print_line(&format!("{action} {}", Paint { colour }.strong(id)))
        })?,
    }
    if let Some(bytes) = written.embedded_bytes {
        terminal.notice(&format!(
            "The text is very long: what follows its first {bytes} bytes is found by keywords only."
        ));
    }
    if written.indexed == Some(false) {
        terminal.notice("Searches find it by keywords now, and by meaning once it is embedded.");
    }
    Ok(())
}
