//! What the commands of this crate print. Nothing here panics: a reader may leave at any time, and
//! a disk that the output goes to may be full.

use std::io::{self, ErrorKind, IsTerminal, Write};

use anyhow::Context;
use kenning_client::{clean_lines, clean_styled, escape_controls};

/// Prints text to standard output, parts of which may come from strangers.
///
/// # Errors
/// If it cannot be written.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    write(anstream::AutoStream::auto(io::stdout()), &clean_styled(text))
}

/// Prints JSON to standard output: unchanged, except that a terminal gets escapes for what it would
/// act on.
///
/// # Errors
/// If it cannot be written.
pub(super) fn print_json(json: &str) -> anyhow::Result<()> {
    match io::stdout().is_terminal() {
        true => write(io::stdout(), &escape_controls(json)),
        false => write(io::stdout(), json),
    }
}

/// Prints a message to standard error, if there is one.
pub(super) fn complain(message: &str) {
    let _ = writeln!(io::stderr(), "{}", clean_lines(message));
}

/// Writes text unchanged: only what no stranger had a part in.
///
/// # Errors
/// If it cannot be written.
pub(super) fn write(mut out: impl Write, text: &str) -> anyhow::Result<()> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // Who closed the pipe has read enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write to standard output"),
    }
}
