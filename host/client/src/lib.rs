//! The subcommands of `kenning` that call a running server.
//!
//! The binary flattens [`Command`] into its own subcommands and calls [`run`]. This crate depends
//! on the HTTP API only, not on the host's other crates, so it works with any server that keeps
//! the API, local or remote.
//!
//! In reading order:
//!
//! 1. `args`: what can be typed, with the help text; [`admin`] and `tenant` are the operator's
//!    commands.
//! 2. [`ServerAddress`] and [`Server`]: send one request and classify what can go wrong.
//! 3. [`Terminal`]: the streams of a command and its [`OutputFormat`].
//! 4. `commands`: one file per command or family of commands; `dev` is interactive.
//! 5. `clean`, `text`: what makes strangers' text safe to print, and formats it.
//! 6. `formats`: what other programs write, as lines of an import.
//! 7. `input`, `progress`, `events`: streaming for import, export and changes, without buffering
//!    the whole.
//! 8. [`Error`] and [`Exit`]: every way a command can end.
//!
//! The three output formats make different promises. On a terminal, output is aligned, wrapped and
//! coloured, and may change with any release. Otherwise it is one record per line, separated by
//! tabs, and stable for `cut` and `awk`; facts and changes are lines of JSON. With `--json` it is
//! the server's response, byte for byte, and of changes the data.
//!
//! Text of strangers reaches a terminal only after `clean` has made it safe: control characters are
//! replaced for people, written as `\u001b` in lines for scripts, and in JSON on a terminal.
//!
//! ```
//! use clap::Parser;
//! use kenning_client::{Command, Exit, OutputFormat, Terminal, Timeouts, execute};
//!
//! #[derive(Parser)]
//! struct Cli {
//!     #[command(subcommand)]
//!     command: Command,
//! }
//!
//! // Nothing listens on port 1, so the command fails without a network.
//! let cli = Cli::parse_from(["kenning", "get", "tea", "--server", "http://127.0.0.1:1"]);
//! let mut terminal =
//!     Terminal::new(std::io::empty(), std::io::sink(), std::io::sink(), OutputFormat::Plain);
//! let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! let exit = runtime.block_on(execute(cli.command, &mut terminal, Timeouts::default()));
//! assert_eq!(exit, Exit::Unreachable);
//! # Ok::<(), std::io::Error>(())
//! ```

#![deny(missing_docs)]

mod address;
pub mod admin;
mod args;
mod clean;
mod commands;
mod connection;
mod dev;
mod error;
mod events;
mod expiry;
mod formats;
mod input;
mod json_object;
mod progress;
mod responses;
mod secret;
mod server;
mod swap;
mod table;
pub mod tenant;
mod terminal;
mod text;

use std::process::ExitCode;

use futures::future::BoxFuture;

pub use address::ServerAddress;
pub use args::{
    AuditArgs, BackupArgs, ChangeArgs, ChangesArgs, Command, CountArgs, DeleteArgs, ExportArgs,
    Fusion, GetArgs, ImportArgs, IngestArgs, ListArgs, Mode, SearchArgs, StatsArgs, StoreArgs,
    StoreMode, UpdateArgs, WhyArgs,
};
pub use clean::{clean_lines, clean_styled, escape_controls, is_unprintable};
pub use connection::{AdminConnection, Call, Connection, Key};
pub use dev::DevArgs;
pub use error::{ApiError, Error, Exit};
pub use expiry::{BadExpiry, expiry};
pub use formats::ImportFormat;
pub use json_object::JsonObject;
pub use secret::{SECRETS, SecretError, secret};
pub use server::{JsonResponse, Server, Timeouts};
pub use table::table;
pub use tenant::TenantCommand;
pub use terminal::{OutputFormat, Terminal};
pub use text::sanitize;

/// The exit codes, for the help text of the binary.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  success
  1  the server returned an error, a candidate or lines of an import failed, or a file could not be
     read or written
  2  the command line is invalid
  3  the fact, tenant or extension does not exist
  4  the server cannot be reached, timed out, or sent an incomplete or invalid response";

/// Runs a command on the process's standard streams and returns its exit code.
///
/// Prints errors itself. Needs a tokio runtime with I/O and time enabled.
pub fn run(command: Command) -> BoxFuture<'static, ExitCode> {
    // Boxed, so that its code is generated with this crate, not with the binary.
    Box::pin(async {
        let mut terminal = Terminal::standard(command.connection().json);
        execute(command, &mut terminal, Timeouts::default()).await.into()
    })
}

/// Runs a command on the given terminal; unlike [`run`], it does not touch the process.
pub async fn execute(command: Command, terminal: &mut Terminal, timeouts: Timeouts) -> Exit {
    let outcome = match Server::new(&command.connection(), timeouts) {
        Ok(server) => commands::run(command, &server, terminal).await,
        Err(error) => Err(error),
    };
    match outcome.and_then(|exit| terminal.flush().map(|()| exit)) {
        Ok(exit) => exit,
        Err(error) => terminal.report_error(&error),
    }
}
