//! Commands for authors of components: `new` and `check`.

mod check;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};
use kenning_scaffold::new_extension;

use super::output;

#[derive(Subcommand)]
pub(crate) enum Authoring {
    /// Create a new project
    #[command(subcommand)]
    New(New),
    /// Show what a component imports, exports and needs, and whether this host accepts it
    #[command(after_help = CHECK_HELP)]
    Check {
        /// The component
        #[arg(value_name = "FILE.wasm")]
        file: PathBuf,
        /// Use the limits in this configuration instead of the defaults
        #[arg(long, env = "KENNING_CONFIG", value_name = "FILE")]
        config: Option<PathBuf>,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

#[derive(Subcommand)]
pub(crate) enum New {
    /// Create an extension project in a new directory of that name; `make` builds it
    #[command(after_help = NEW_HELP)]
    Extension {
        /// The extension's name: lower-case letters, digits and single hyphens
        name: String,
        /// The language
        #[arg(long, value_enum, default_value_t = Language::Rust)]
        lang: Language,
        /// Parent of the new directory [default: the current directory]
        #[arg(long, value_name = "DIR")]
        path: Option<PathBuf>,
    },
}

const NEW_HELP: &str = "\
Example:
  kenning new extension hello --lang rust && cd hello && make && kenning check hello.wasm";

const CHECK_HELP: &str = "\
No server is needed. The exit code is 0 if this host accepts the component, and 1 otherwise.";

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
            let root = root.display();
            output::print(&format!("wrote {root}: `make` builds it, `make test` tests it\n"))?;
            Ok(ExitCode::SUCCESS)
        }
        Authoring::Check { file, config, json } => check::run(&file, config.as_deref(), json),
    }
}
