//! Commands for those who write components: `new`, `check`.

mod check;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};
use kenning_scaffold::new_extension;

#[derive(Subcommand)]
pub(crate) enum Authoring {
    /// Write a new project
    #[command(subcommand)]
    New(New),
    /// Say what a component imports, exports and needs, and whether this host would take it
    #[command(after_help = CHECK_HELP)]
    Check {
        /// The component
        #[arg(value_name = "FILE.wasm")]
        file: PathBuf,
        /// Check against the limits in this configuration rather than the defaults
        #[arg(long, env = "KENNING_CONFIG", value_name = "FILE")]
        config: Option<PathBuf>,
        /// One JSON object, for scripts
        #[arg(long)]
        json: bool,
    },
}

#[derive(Subcommand)]
pub(crate) enum New {
    /// A project for an extension, in a new folder of its name, that builds with `make`
    #[command(after_help = NEW_HELP)]
    Extension {
        /// The extension's name: small letters, digits and hyphens
        name: String,
        /// What to write it in
        #[arg(long, value_enum, default_value_t = Language::Rust)]
        lang: Language,
        /// Where to make the folder [default: here]
        #[arg(long, value_name = "DIR")]
        path: Option<PathBuf>,
    },
}

const NEW_HELP: &str = "\
Example:
  kenning new extension hello --lang rust && cd hello && make && kenning check hello.wasm";

const CHECK_HELP: &str = "\
No server is needed. The exit code is 0 if this host would take the component, else 1.";

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Language {
    Rust,
    #[value(alias = "javascript")]
    Js,
    Python,
}

impl From<Language> for kenning_scaffold::Language {
    fn from(language: Language) -> Self {
        match language {
            Language::Rust => Self::Rust,
            Language::Js => Self::JavaScript,
            Language::Python => Self::Python,
        }
    }
}

pub(crate) fn run(command: Authoring) -> anyhow::Result<ExitCode> {
    match command {
        Authoring::New(New::Extension { name, lang, path }) => {
            let parent = path.unwrap_or_else(|| PathBuf::from("."));
            let root = new_extension(&parent, &name, lang.into())?;
            println!("wrote {}: `make` builds it, `make test` tests it", root.display());
            Ok(ExitCode::SUCCESS)
        }
        Authoring::Check { file, config, json } => check::run(&file, config.as_deref(), json),
    }
}
