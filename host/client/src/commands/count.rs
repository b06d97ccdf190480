//! Counts facts.

use reqwest::Method;
use serde::Deserialize;

use super::{filtered, format};
use crate::text::count as counted;
use crate::{CountArgs, Error, JsonObject, JsonResponse, OutputFormat, Server, Terminal};

/// The response to a count.
#[derive(Debug, Deserialize)]
pub(super) struct Count {
    pub(super) count: u64,
    #[serde(default)]
    withheld: u64,
}

pub(super) async fn count(
    server: &Server,
    args: &CountArgs,
    terminal: &mut Terminal,
) -> Result<(), Error> {
    let response = ask(server, args.filter.as_ref()).await?;
    let Count { count, withheld } = response.parse()?;
    format::warn_withheld(withheld, terminal);
    match terminal.format() {
        OutputFormat::Json => terminal.print_document(&response.body),
        OutputFormat::Plain => terminal.print_line(&count.to_string()),
        OutputFormat::Human { .. } => terminal.print_line(&counted(count, "fact")),
    }
}

/// Asks the server how many facts `filter` matches.
pub(super) async fn ask(
    server: &Server,
    filter: Option<&JsonObject>,
) -> Result<JsonResponse, Error> {
    let request = server.request(Method::GET, &["v1", "count"])?;
    server.call(filtered(request, filter)).await
}
