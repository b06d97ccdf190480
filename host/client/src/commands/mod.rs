//! The commands: the request that each sends, and how it prints the response.

mod audit;
mod backup;
mod changes;
mod configure;
mod costs;
mod count;
mod dead_letters;
mod delete;
mod digests;
mod export;
mod facts;
mod format;
mod guests;
mod highlights;
mod import;
mod ingest;
mod list;
mod report;
mod search;
mod stats;
mod tenant;
mod upload;
mod why;

use reqwest::RequestBuilder;

use crate::dev::dev;
use crate::text::sanitize;
use crate::{Command, Error, Exit, JsonObject, JsonResponse, Server, Terminal};

/// Runs a command.
pub(crate) async fn run(
    command: Command,
    server: &Server,
    terminal: &mut Terminal,
) -> Result<Exit, Error> {
    match command {
        Command::Store(call) => facts::store(server, call.args, terminal).await?,
        Command::Get(call) => facts::get(server, &call.args, terminal).await?,
        Command::Update(call) => facts::update(server, call.args, terminal).await?,
        Command::Delete(call) => return delete::delete(server, &call.args, terminal).await,
        Command::Count(call) => count::count(server, &call.args, terminal).await?,
        Command::List(call) => list::list(server, &call.args, terminal).await?,
        Command::Search(call) => search::search(server, &call.args, terminal).await?,
        Command::Stats(call) => stats::stats(server, &call.args, terminal).await?,
        Command::Logic(command) => guests::logic(command, server, terminal).await?,
        Command::Extension(command) => guests::extension(command, server, terminal).await?,
        Command::Tenant(command) => tenant::tenant(server, command, terminal).await?,
        Command::Why(call) => why::why(server, &call.args, terminal).await?,
        Command::Changes(call) => changes::changes(server, &call.args, terminal).await?,
        Command::Backup(call) => backup::backup(server, &call.args, terminal).await?,
        Command::Audit(call) => audit::audit(server, &call.args, terminal).await?,
        Command::Dev(call) => return dev(call.args, &call.connection, server, terminal).await,
        Command::Import(call) => return import::import(server, &call.args, terminal).await,
        Command::Ingest(call) => return ingest::ingest(server, &call.args, terminal).await,
        Command::Export(call) => return export::export(server, &call.args, terminal).await,
    }
    Ok(Exit::Success)
}

/// Names the hosts on which what was changed is not loaded yet.
fn warn_of_hosts(response: &JsonResponse, terminal: &mut Terminal) {
    let hosts = response.behind();
    if !hosts.is_empty() {
        let hosts = sanitize(&hosts.join(", "));
        terminal.warn(&format!("hosts that do not follow yet: {hosts}; they serve nothing older"));
    }
}

/// The request, for facts that match `filter`.
fn filtered(request: RequestBuilder, filter: Option<&JsonObject>) -> RequestBuilder {
    match filter {
        Some(filter) => request.query(&[("filter", filter.get())]),
        None => request,
    }
}
