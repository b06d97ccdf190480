//! The verbs on one fact.

use reqwest::Method;
use serde::Serialize;
use serde_json::value::RawValue;

use super::show;
use crate::answers::{Fact, Written};
use crate::input::argument;
use crate::terminal::Paint;
use crate::text::{clean, clean_lines};
use crate::{Answer, DeleteArgs, Error, Form, GetArgs, Server, StoreArgs, Terminal, UpdateArgs};

#[derive(Serialize)]
struct Draft<'a> {
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fact_id: Option<&'a str>,
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
    let text = argument(args.text, terminal).await?;
    let draft =
        Draft { text: &text, metadata: args.metadata.as_deref(), fact_id: args.id.as_deref() };
    let mut request = server.request(Method::POST, &["v1", "facts"])?.json(&draft);
    if let Some(key) = &args.idempotency_key {
        request = request.header("idempotency-key", key);
    }
    let answer = server.call(request).await?;
    written(&answer, "Stored", None, terminal)
}

pub(super) async fn update(
    server: &Server,
    args: UpdateArgs,
    terminal: &mut Terminal,
) -> Result<(), Error> {
    let text = match args.change.text {
        Some(typed) => Some(argument(typed, terminal).await?),
        None => None,
    };
    let change = Change { text: text.as_deref(), metadata: args.change.metadata.as_deref() };
    let request = server.request(Method::PATCH, &["v1", "facts", &args.id])?.json(&change);
    let answer = server.call(request).await?;
    written(&answer, "Updated", Some(&args.id), terminal)
}

pub(super) async fn delete(
    server: &Server,
    args: &DeleteArgs,
    terminal: &mut Terminal,
) -> Result<(), Error> {
    let request = server.request(Method::DELETE, &["v1", "facts", &args.id])?;
    let answer = server.call(request).await?;
    written(&answer, "Deleted", Some(&args.id), terminal)
}

pub(super) async fn get(
    server: &Server,
    args: &GetArgs,
    terminal: &mut Terminal,
) -> Result<(), Error> {
    let answer = server.call(server.request(Method::GET, &["v1", "facts", &args.id])?).await?;
    let fact: Fact = answer.parse()?;
    match terminal.form() {
        Form::Json => terminal.put_document(&answer.body),
        Form::Plain => terminal.say(&show::fact_line(&fact)),
        Form::Human { colour, .. } => show_whole(&fact, Paint { colour }, terminal),
    }
}

fn show_whole(fact: &Fact, paint: Paint, terminal: &mut Terminal) -> Result<(), Error> {
    let time = fact.timestamp.as_deref().unwrap_or_default();
    terminal.say(&format!("{}  {}", paint.strong(&fact.id), paint.dim(&clean(time))))?;
    let metadata = show::metadata(fact.metadata.as_deref());
    if metadata != "{}" {
        terminal.say(&paint.dim(&clean(&metadata)))?;
    }
    terminal.say("")?;
    clean_lines(&fact.content).iter().try_for_each(|line| terminal.say(line))
}

/// Shows what was written: for a script its ids, one a line.
///
/// `asked` is the id of the request, for an answer that does not repeat it.
fn written(
    answer: &Answer,
    what: &str,
    asked: Option<&str>,
    terminal: &mut Terminal,
) -> Result<(), Error> {
    let written: Written = answer.parse()?;
    let mut ids = written.fact_ids;
    if ids.is_empty() {
        ids.extend(written.fact_id.or(asked.map(str::to_owned)));
    }
    match terminal.form() {
        Form::Json => return terminal.put_document(&answer.body),
        Form::Plain => ids.iter().try_for_each(|id| terminal.say(id))?,
        Form::Human { colour, .. } => ids
            .iter()
            .try_for_each(|id| terminal.say(&format!("{what} {}", Paint { colour }.strong(id))))?,
    }
    if written.indexed == Some(false) {
        terminal.note("Found by its words now, and by its meaning as soon as it is embedded.");
    }
    Ok(())
}
