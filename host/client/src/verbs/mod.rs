//! The verbs: what each asks of the server, and how it shows the answer.

mod export;
mod facts;
mod guests;
mod import;
mod list;
mod search;
mod show;
mod stats;
mod tenant;

use crate::dev::dev;
use crate::{Error, Exit, Server, Terminal, Verb};

/// Does what was asked for.
pub(crate) async fn perform(
    verb: Verb,
    server: &Server,
    terminal: &mut Terminal,
) -> Result<Exit, Error> {
    match verb {
        Verb::Store(call) => facts::store(server, call.args, terminal).await?,
        Verb::Get(call) => facts::get(server, &call.args, terminal).await?,
        Verb::Update(call) => facts::update(server, call.args, terminal).await?,
        Verb::Delete(call) => facts::delete(server, &call.args, terminal).await?,
        Verb::List(call) => list::list(server, &call.args, terminal).await?,
        Verb::Search(call) => search::search(server, &call.args, terminal).await?,
        Verb::Stats(_) => stats::stats(server, terminal).await?,
        Verb::Logic(verb) => guests::logic(verb, server, terminal).await?,
        Verb::Extension(verb) => guests::extension(verb, server, terminal).await?,
        Verb::Tenant(verb) => tenant::tenant(server, verb, terminal).await?,
        Verb::Dev(call) => return dev(call.args, &call.connection, server, terminal).await,
        Verb::Import(call) => return import::import(server, &call.args, terminal).await,
        Verb::Export(call) => return export::export(server, &call.args, terminal).await,
    }
    Ok(Exit::Done)
}
