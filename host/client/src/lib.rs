//! The command line's verbs, against a running server.
//!
//! The binary flattens [`Verb`] into its own subcommands and calls [`run`]. The crate knows the
//! HTTP interface and nothing of the host's inside, so it works against any release that keeps
//! that interface, on this machine or another.
//!
//! In reading order:
//!
//! 1. `args`: what a person may type, with the help they read.
//!    [`admin`] and `tenant_args` are the same of what an operator may type.
//! 2. [`Server`]: one request, its answer, and what can go wrong between the two.
//! 3. [`Terminal`]: where a verb reads and writes, and in which of three forms.
//! 4. `verbs`: one file per verb, or per family of small ones; `dev`, which is a session.
//! 5. `input`, `progress`: what import and export share to stream without buffering.
//! 6. [`Error`] and [`Exit`]: every way to end.
//!
//! Three forms of output trade differently. On a terminal: aligned, wrapped, coloured, and free to
//! change with any release. Elsewhere: one record a line, tab-separated, stable for `cut` and
//! `awk`. With `--json`: what the server said, byte for byte.

pub mod admin;
mod answers;
mod args;
mod connection;
mod dev;
mod error;
mod input;
mod progress;
mod server;
mod tenant_args;
mod terminal;
mod text;
mod verbs;

use std::process::ExitCode;

pub use args::{
    Call, ChangeArgs, DeleteArgs, ExportArgs, Fusion, GetArgs, ImportArgs, JsonObject, ListArgs,
    Mode, SearchArgs, StatsArgs, StoreArgs, UpdateArgs, Verb,
};
pub use connection::{AdminConnection, Connection, Key};
pub use dev::DevArgs;
pub use error::{Error, Exit, Refusal};
pub use server::{Answer, Patience, Server};
pub use tenant_args::TenantVerb;
pub use terminal::{Form, Terminal};

/// What `--help` says of exit codes; for the binary's own help text.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  the server refused, a line of an import failed, or a file could not be read or written
  2  the command line is wrong
  3  there is no such fact
  4  the server cannot be reached, fell silent, or broke off its answer";

/// Runs one verb on the process's own streams and reports how it ended.
///
/// Errors are printed here, once. Needs a tokio runtime with I/O and time.
pub async fn run(verb: Verb) -> ExitCode {
    let mut terminal = Terminal::standard(verb.connection().json);
    execute(verb, &mut terminal, Patience::default()).await.into()
}

/// Runs one verb on the given terminal; [`run`] without the process around it.
pub async fn execute(verb: Verb, terminal: &mut Terminal, patience: Patience) -> Exit {
    let done = match Server::new(&verb.connection(), patience) {
        Ok(server) => verbs::perform(verb, &server, terminal).await,
        Err(error) => Err(error),
    };
    match done.and_then(|exit| terminal.finish().map(|()| exit)) {
        Ok(exit) => exit,
        Err(error) => terminal.report(&error),
    }
}
