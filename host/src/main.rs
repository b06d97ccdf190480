//! Parses the command line, picks a command, prints errors.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    // Every HTTP client of this process needs it, and none works without.
    kenning_model::install_tls_provider();
    match cli::run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("kenning: {error:#}");
            ExitCode::FAILURE
        }
    }
}
