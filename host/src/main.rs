//! The program. What it does is in the library, so that nothing of it is compiled a second time.

use std::process::ExitCode;

fn main() -> ExitCode {
    kenning::cli::main()
}
