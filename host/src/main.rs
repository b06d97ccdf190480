//! Runs the command line and prints its error, if there is one.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    // No HTTP client of this process works before this.
    kenning_model::install_tls_provider();
    match cli::run() {
        Ok(code) => code,
        Err(error) => {
            cli::output::complain(&format!("kenning: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
