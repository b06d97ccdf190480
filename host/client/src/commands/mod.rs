//! The commands: the request that each sends, and how it prints the response.

mod export;
mod facts;
mod format;
mod guests;
mod import;
mod list;
mod search;
mod stats;
mod tenant;

use crate::dev::dev;
use crate::{Command, Error, Exit, Server, Terminal};

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
        Command::Delete(call) => facts::delete(server, &call.args, terminal).await?,
        Command::List(call) => list::list(server, &call.args, terminal).await?,
        Command::Search(call) => search::search(server, &call.args, terminal).await?,
        Command::Stats(_) => stats::stats(server, terminal).await?,
        Command::Logic(command) => guests::logic(command, server, terminal).await?,
        Command::Extension(command) => guests::extension(command, server, terminal).await?,
        Command::Tenant(command) => tenant::tenant(server, command, terminal).await?,
        Command::Dev(call) => return dev(call.args, &call.connection, server, terminal).await,
        Command::Import(call) => return import::import(server, &call.args, terminal).await,
        Command::Export(call) => return export::export(server, &call.args, terminal).await,
    }
    Ok(Exit::Success)
}
