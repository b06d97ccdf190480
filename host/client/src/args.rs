//! The arguments of every command, with their help text.

use std::ops::Deref;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::value::RawValue;

use crate::admin::{ExtensionCommand, LogicCommand};
use crate::dev::{DEV_HELP, DevArgs};
use crate::{Call, Connection, TenantCommand};

/// The commands. Each has its own [`Connection`], so the connection options follow the command.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Store a fact and print its id
    #[command(after_help = STORE_EXAMPLES)]
    Store(Call<StoreArgs>),
    /// Print one fact
    #[command(after_help = "Example:\n  kenning get 7f6c1f0e-5a0b-4c38-9a55-0d6e7a3f2b11")]
    Get(Call<GetArgs>),
    /// List facts, newest first
    #[command(after_help = LIST_EXAMPLES)]
    List(Call<ListArgs>),
    /// Search facts by meaning and by keywords
    #[command(after_help = SEARCH_EXAMPLES)]
    Search(Call<SearchArgs>),
    /// Change a fact's text, its metadata, or both
    #[command(after_help = "Example:\n  kenning update port-7 --text 'The port is 7171.'")]
    Update(Call<UpdateArgs>),
    /// Delete a fact
    #[command(after_help = "Example:\n  kenning delete port-7")]
    Delete(Call<DeleteArgs>),
    /// Store facts in bulk from JSON Lines
    #[command(after_help = IMPORT_EXAMPLES)]
    Import(Call<ImportArgs>),
    /// Write all facts as JSON Lines
    #[command(after_help = EXPORT_EXAMPLES)]
    Export(Call<ExportArgs>),
    /// Show counts, model and storage, and the limits and quotas with their usage
    Stats(Call<StatsArgs>),
    /// Manage the logic, which defines what a fact is and how a search ranks
    #[command(subcommand)]
    Logic(LogicCommand),
    /// Manage a tenant's extensions
    #[command(subcommand)]
    Extension(ExtensionCommand),
    /// Rebuild and reinstall an extension whenever its project changes
    #[command(after_help = DEV_HELP)]
    Dev(Call<DevArgs>),
    /// Manage tenants, their quotas and their keys
    #[command(subcommand)]
    Tenant(TenantCommand),
}

const STORE_EXAMPLES: &str = "\
Examples:
  kenning store 'The staging database moved to Frankfurt.'
  kenning store 'Ada prefers tea.' --metadata '{\"topic\":\"people\"}' --id ada-tea
  git log -1 --format=%B | kenning store -

If the output is not a terminal, only the id is printed.";

const LIST_EXAMPLES: &str = "\
Examples:
  kenning list --limit 20
  kenning list --query frankfurt
  kenning list --all --json > facts.jsonl

If the output is not a terminal, each fact is one line: id, time, text and metadata, separated by
tabs; in the text, tab, newline and backslash are written as \\t, \\n and \\\\. The cursor of the
next page goes to standard error.";

const SEARCH_EXAMPLES: &str = "\
Examples:
  kenning search 'where does staging run?'
  kenning search tea -k 3 --filter '{\"topic\":{\"eq\":\"people\"}}'
  kenning search 'error 0x80070057' --mode text --explain

If the output is not a terminal, each hit is one line: rank, score, id, text, metadata and, with
--explain, the explanation, separated by tabs; in the text, tab, newline and backslash are written
as \\t, \\n and \\\\.";

const IMPORT_EXAMPLES: &str = "\
Examples:
  kenning import facts.jsonl
  zcat facts.jsonl.gz | kenning import -

Each line is a JSON object: \"content\", and optionally \"id\", \"metadata\" and
\"timestamp\", as `kenning export` writes it; or \"text\", and optionally \"fact_id\" and
\"metadata\". An invalid line is reported with its number, the other lines are imported, and the
exit code is 1. Lines with an id can be imported again: existing facts do not change.";

const EXPORT_EXAMPLES: &str = "\
Examples:
  kenning export > facts.jsonl
  kenning export --output facts.jsonl
  kenning export | jq -r .content

With --output, the file is created or replaced only when the export is complete.";

impl Command {
    /// The connection options of this command.
    pub fn connection(&self) -> Connection {
        let connection = match self {
            Self::Store(call) => &call.connection,
            Self::Get(call) => &call.connection,
            Self::List(call) => &call.connection,
            Self::Search(call) => &call.connection,
            Self::Update(call) => &call.connection,
            Self::Delete(call) => &call.connection,
            Self::Import(call) => &call.connection,
            Self::Export(call) => &call.connection,
            Self::Stats(call) => &call.connection,
            Self::Logic(command) => return command.connection().clone().into_admin(),
            Self::Extension(command) => return command.connection().clone().into_admin(),
            Self::Dev(call) => return call.connection.clone().into_admin(),
            Self::Tenant(command) => return command.connection().into(),
        };
        connection.clone()
    }
}

/// The arguments of `kenning store`.
#[derive(Clone, Debug, Args)]
pub struct StoreArgs {
    /// The text of the fact; `-` reads standard input, without its last newline
    pub text: String,
    /// A JSON object stored with the fact; searches can filter by its fields
    #[arg(long, value_name = "JSON", value_parser = json_object)]
    pub metadata: Option<JsonObject>,
    /// The fact's id [default: generated by the server]
    #[arg(long)]
    pub id: Option<String>,
    /// Makes a retry safe: a request with the same key is executed once
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
}

/// The arguments of `kenning get`.
#[derive(Clone, Debug, Args)]
pub struct GetArgs {
    /// The fact's id
    pub id: String,
}

/// The arguments of `kenning list`.
#[derive(Clone, Debug, Args)]
pub struct ListArgs {
    /// Only facts whose text contains this, ignoring case
    #[arg(long, value_name = "TEXT")]
    pub query: Option<String>,
    /// Facts per page, 1 to 1000 [default: 100, or 1000 with --all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub limit: Option<u32>,
    /// Start after this cursor, from the previous page
    #[arg(long)]
    pub cursor: Option<String>,
    /// All pages; with --json, one fact per line
    #[arg(long)]
    pub all: bool,
}

/// The arguments of `kenning search`.
#[derive(Clone, Debug, Args)]
pub struct SearchArgs {
    /// What to search for
    pub query: String,
    /// Maximum number of hits, 1 to 1000 [default: 10]
    #[arg(short = 'k', long = "top-k", value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub top_k: Option<u32>,
    /// Which index to search [default: hybrid]
    #[arg(long, value_enum)]
    pub mode: Option<Mode>,
    /// How a hybrid search merges the two rankings [default: score]
    #[arg(long, value_enum)]
    pub fusion: Option<Fusion>,
    /// Only facts whose metadata match: {"field":{"operator":value}}, with eq, ne, gt, gte, lt,
    /// lte, in, nin, contains, icontains, exists, between; combined with AND, OR, NOT
    #[arg(long, value_name = "JSON", value_parser = json_object)]
    pub filter: Option<JsonObject>,
    /// Explain the score of each hit
    #[arg(long)]
    pub explain: bool,
}

/// Which index a search uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Both indexes, merged
    Hybrid,
    /// By meaning only
    Vector,
    /// By keywords only
    Text,
}

/// How a hybrid search merges its two rankings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Fusion {
    /// By standardised scores
    Score,
    /// By reciprocal ranks
    Rank,
}

/// The arguments of `kenning update`.
#[derive(Clone, Debug, Args)]
pub struct UpdateArgs {
    /// The fact's id
    pub id: String,
    /// What to change.
    #[command(flatten)]
    pub change: ChangeArgs,
}

/// The changes to a fact: at least one of them is required.
#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = true)]
pub struct ChangeArgs {
    /// The new text; `-` reads standard input, without its last newline
    #[arg(long)]
    pub text: Option<String>,
    /// The new metadata, which replaces the whole object
    #[arg(long, value_name = "JSON", value_parser = json_object)]
    pub metadata: Option<JsonObject>,
}

/// The arguments of `kenning delete`.
#[derive(Clone, Debug, Args)]
pub struct DeleteArgs {
    /// The fact's id
    pub id: String,
}

/// The arguments of `kenning import`.
#[derive(Clone, Debug, Args)]
pub struct ImportArgs {
    /// A file of JSON Lines; `-` is standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// The arguments of `kenning export`.
#[derive(Clone, Debug, Args)]
pub struct ExportArgs {
    /// Write to this file instead of standard output; it is replaced only on success
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// `kenning stats` has no arguments of its own.
#[derive(Clone, Debug, Args)]
pub struct StatsArgs {}

/// A JSON object exactly as typed, so that no number loses precision.
#[derive(Clone, Debug)]
pub struct JsonObject(Box<RawValue>);

impl Deref for JsonObject {
    type Target = RawValue;

    fn deref(&self) -> &RawValue {
        &self.0
    }
}

fn json_object(typed: &str) -> Result<JsonObject, String> {
    let raw: Box<RawValue> =
        serde_json::from_str(typed).map_err(|error| format!("not JSON: {error}"))?;
    if !raw.get().starts_with('{') {
        return Err("not a JSON object, such as {\"topic\":\"tea\"}".to_owned());
    }
    Ok(JsonObject(raw))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_kept_as_typed() {
        let typed = r#" {"n": 12345678901234567890123, "x": 1.10} "#;
        assert_eq!(json_object(typed).unwrap().get(), typed.trim());
    }

    #[test]
    fn a_value_that_is_not_an_object_is_rejected() {
        for (typed, expected) in [
            ("[1]", "not a JSON object"),
            ("{", "not JSON"),
            ("", "not JSON"),
            ("{} x", "not JSON"),
        ] {
            let error = json_object(typed).unwrap_err();
            assert!(error.starts_with(expected), "{typed}: {error}");
        }
    }
}
