//! `kenning completions` and `kenning man-pages`: what shells and `man` know of the commands, made
//! of the commands' own definition.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use chrono::{DateTime, Utc};
use clap::{Args, Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

use super::{Cli, output};

pub(super) const HELP: &str = "\
Examples:
  kenning completions bash > ~/.local/share/bash-completion/completions/kenning
  kenning completions zsh > ~/.zfunc/_kenning
  kenning completions fish > ~/.config/fish/completions/kenning.fish
  kenning completions powershell >> $PROFILE

For zsh, the directory has to be in fpath before compinit is called.";

/// The arguments of `kenning completions`.
#[derive(Args)]
pub(super) struct Completions {
    /// The shell
    shell: Shell,
}

/// The arguments of `kenning man-pages`.
#[derive(Args)]
pub(super) struct ManPages {
    /// Where to write them; it is made if it is not there
    directory: PathBuf,
}

/// Prints the script.
///
/// # Errors
/// If it cannot be written.
pub(super) fn print(Completions { shell }: Completions) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut shown(Cli::command()), "kenning", &mut script);
    output::write(io::stdout(), &String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}

/// Writes a page for each command, and one for the program.
///
/// # Errors
/// If one cannot be written.
pub(super) fn write_pages(ManPages { directory }: ManPages) -> anyhow::Result<ExitCode> {
    let cannot_write = || format!("cannot write manual pages into {}", directory.display());
    fs::create_dir_all(&directory).with_context(cannot_write)?;
    let mut program = shown(Cli::command()).disable_help_subcommand(true);
    program.build();
    let date = date().format("%Y-%m-%d").to_string();
    write_page(&program, &date, &directory).with_context(cannot_write)?;
    Ok(ExitCode::SUCCESS)
}

fn write_page(command: &Command, date: &str, directory: &Path) -> io::Result<()> {
    let source = concat!("kenning ", env!("CARGO_PKG_VERSION"));
    // Without a date, what follows it would take its place.
    let page = Man::new(command.clone()).manual("Kenning").source(source).date(date);
    page.generate_to(directory)?;
    command.get_subcommands().try_for_each(|command| write_page(command, date, directory))
}

/// Today, or what who builds a release says, so that its pages are the same each time.
fn date() -> DateTime<Utc> {
    let said = std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|seconds| seconds.parse().ok());
    said.and_then(|seconds| DateTime::from_timestamp(seconds, 0)).unwrap_or_else(Utc::now)
}

/// The program without the commands that are for internal use, which completions would offer.
fn shown(program: Command) -> Command {
    let commands = program.get_subcommands().filter(|command| !command.is_hide_set());
    Command::new("kenning")
        .version(env!("CARGO_PKG_VERSION"))
        .about(program.get_about().cloned().unwrap_or_default())
        .after_help(program.get_after_help().cloned().unwrap_or_default())
        .subcommand_required(true)
        .subcommands(commands.cloned())
}
