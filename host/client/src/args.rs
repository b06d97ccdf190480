//! The arguments of every command, with their help text.

mod bulk;
mod copies;

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;

use bulk::{IMPORT_EXAMPLES, INGEST_HELP};
pub use bulk::{ImportArgs, IngestArgs};
use copies::BACKUP_HELP;
pub use copies::BackupArgs;

use crate::admin::{ExtensionCommand, LogicCommand};
use crate::dev::{DEV_HELP, DevArgs};
use crate::json_object::{JsonObject, json_object};
use crate::tenant::AdminCall;
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
    #[command(after_help = UPDATE_EXAMPLES)]
    Update(Call<UpdateArgs>),
    /// Delete a fact, or the facts that a filter matches
    #[command(after_help = DELETE_EXAMPLES)]
    Delete(Call<DeleteArgs>),
    /// Count facts
    #[command(after_help = "Example:\n  kenning count --filter '{\"topic\":\"people\"}'")]
    Count(Call<CountArgs>),
    /// Store facts in bulk, from JSON Lines or from what other programs write
    #[command(after_help = IMPORT_EXAMPLES)]
    Import(Call<ImportArgs>),
    /// Keep the facts of a folder of Markdown and text up to date
    #[command(after_help = INGEST_HELP)]
    Ingest(Call<IngestArgs>),
    /// Write all facts, or those that a filter matches, as JSON Lines
    #[command(after_help = EXPORT_EXAMPLES)]
    Export(Call<ExportArgs>),
    /// Print what changed, oldest first, and with --follow what changes from now on
    #[command(after_help = CHANGES_HELP)]
    Changes(Call<ChangesArgs>),
    /// Show counts, model, storage and quotas; with --all every limit, too
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
    /// Show what is known of a failed request: guests, limits, where time and fuel went
    #[command(after_help = WHY_HELP)]
    Why(AdminCall<WhyArgs>),
    /// Copy everything that a running server has into a folder
    #[command(after_help = BACKUP_HELP)]
    Backup(AdminCall<BackupArgs>),
    /// Show what operators did, newest first
    #[command(after_help = AUDIT_HELP)]
    Audit(AdminCall<AuditArgs>),
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
  kenning list --filter '{\"topic\":\"people\"}'
  kenning list --all --json > facts.jsonl

If the output is not a terminal, each fact is one line: id, time, text and metadata, separated by
tabs; in the text, tab, newline and backslash are written as \\t, \\n and \\\\. The cursor of the
next page goes to standard error.";

const UPDATE_EXAMPLES: &str = "\
Examples:
  kenning update port-7 --text 'The port is 7171.'
  kenning update port-7 --merge '{\"verified\":true,\"draft\":null}'";

const DELETE_EXAMPLES: &str = "\
Examples:
  kenning delete port-7
  kenning delete --filter '{\"$timestamp\":{\"lt\":\"2025-01-01\"}}'

With --filter, the facts that match are counted first, and the deletion has to be confirmed on the
terminal or with --yes. It goes on until none is left. If the output is not a terminal, only the
number of deleted facts is printed.";

const SEARCH_EXAMPLES: &str = "\
Examples:
  kenning search 'where does staging run?'
  kenning search tea -k 3 --filter '{\"topic\":{\"eq\":\"people\"}}'
  kenning search 'error 0x80070057' --mode text --explain

If the output is not a terminal, each hit is one line: rank, score, id, text, metadata and, with
--explain, the explanation, separated by tabs; in the text, tab, newline and backslash are written
as \\t, \\n and \\\\.";

const EXPORT_EXAMPLES: &str = "\
Examples:
  kenning export > facts.jsonl
  kenning export --output facts.jsonl
  kenning export --filter '{\"$timestamp\":{\"gte\":\"2026-11-01\"}}'
  kenning export | jq -r .content

With --output, the file is created or replaced only when the export is complete.";

const CHANGES_HELP: &str = "\
Examples:
  kenning changes --after 4711
  kenning changes --follow | jq -r 'select(.kind == \"stored\").id'

On a terminal each change is one line: its revision, its kind and the fact's id. Otherwise it is one
line of JSON. Changes are kept for a while; those that are gone are a change of the kind gap, after
which all facts have to be read again.";

const WHY_HELP: &str = "\
Example:
  kenning why 0d9c2f5e-7a41-4a6e-9f0e-2f6d3c1b8a77

The id is the x-request-id of the answer. The last 1,000 failures of each host are kept for 24
hours, except those that the caller caused.";

const AUDIT_HELP: &str = "\
Example:
  kenning audit --limit 20

If the output is not a terminal, each act is one line: time, who, key id, address, method, path,
parameters, and the status of the answer, separated by tabs. An act without a status was
interrupted.";

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
            Self::Count(call) => &call.connection,
            Self::Import(call) => &call.connection,
            Self::Ingest(call) => &call.connection,
            Self::Export(call) => &call.connection,
            Self::Changes(call) => &call.connection,
            Self::Stats(call) => &call.connection,
            Self::Logic(command) => return command.connection().clone().into_admin(),
            Self::Extension(command) => return command.connection().clone().into_admin(),
            Self::Dev(call) => return call.connection.clone().into_admin(),
            Self::Tenant(command) => return command.connection().into(),
            Self::Why(call) => return (&call.connection).into(),
            Self::Backup(call) => return (&call.connection).into(),
            Self::Audit(call) => return (&call.connection).into(),
        };
        connection.clone().into_tenant()
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
    /// What happens where the id is taken, or not
    #[arg(long, value_enum, default_value_t)]
    pub mode: StoreMode,
    /// Makes a retry safe: a request with the same key is executed once
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
}

/// What storing does where the fact's id is taken, and where it is not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum StoreMode {
    /// A fact with other content under this id is an error
    #[default]
    Insert,
    /// Replace the text and metadata of the fact, or store a new one
    Upsert,
    /// Replace the text and metadata of the fact, which must exist
    Update,
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
    /// Only facts whose metadata match, as in `kenning search`; `$timestamp` is the fact's own time
    #[arg(long, value_name = "JSON", value_parser = json_object)]
    pub filter: Option<JsonObject>,
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
    /// Leave out hits that are less likely to answer the query, 0 to 1
    #[arg(long, value_name = "0..1", value_parser = fraction)]
    pub min_relevance: Option<f64>,
    /// How much a hit loses that repeats a better one, 0 to 1 [default: 0]
    #[arg(long, value_name = "0..1", value_parser = fraction)]
    pub diversity: Option<f64>,
    /// Prefer recent facts; after this time half of a fact's freshness is left, such as 7d or 12h
    #[arg(long, value_name = "HALF-LIFE")]
    pub recency: Option<String>,
    /// The metadata field that holds a fact's time [default: when it was stored]
    #[arg(long, value_name = "FIELD", requires = "recency")]
    pub recency_field: Option<String>,
    /// How much a fact without any freshness loses, 0 to 1 [default: 0.5]
    #[arg(long, value_name = "0..1", value_parser = fraction, requires = "recency")]
    pub recency_weight: Option<f64>,
    /// Show the passages with the query's words instead of the whole text
    #[arg(long)]
    pub highlights: bool,
    /// Count the values of these metadata fields, over all facts that match the filter
    #[arg(long, value_name = "FIELD,…", value_delimiter = ',')]
    pub facets: Vec<String>,
    /// The next page: the cursor that the page before ended with
    #[arg(long)]
    pub cursor: Option<String>,
}

/// A number from 0 to 1.
fn fraction(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number| (0.0..=1.0).contains(number));
    number.ok_or_else(|| "it is no number from 0 to 1".to_string())
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
    /// Metadata to merge into the fact's; a member that is null is removed
    #[arg(long, value_name = "JSON", value_parser = json_object, conflicts_with = "metadata")]
    pub merge: Option<JsonObject>,
}

/// The arguments of `kenning delete`: an id or a filter.
#[derive(Clone, Debug, Args)]
pub struct DeleteArgs {
    /// The fact's id
    #[arg(required_unless_present = "filter", conflicts_with = "filter")]
    pub id: Option<String>,
    /// All facts whose metadata match, as in `kenning search`; `$timestamp` is the fact's own time
    #[arg(long, value_name = "JSON", value_parser = json_object)]
    pub filter: Option<JsonObject>,
    /// Delete without asking
    #[arg(long, requires = "filter")]
    pub yes: bool,
}

/// The arguments of `kenning count`.
#[derive(Clone, Debug, Args)]
pub struct CountArgs {
    /// Only facts whose metadata match, as in `kenning search`; `$timestamp` is the fact's own time
    #[arg(long, value_name = "JSON", value_parser = json_object)]
    pub filter: Option<JsonObject>,
}

/// The arguments of `kenning export`.
#[derive(Clone, Debug, Args)]
pub struct ExportArgs {
    /// Write to this file instead of standard output; it is replaced only on success
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Only facts whose metadata match, as in `kenning search`; `$timestamp` is the fact's own time
    #[arg(long, value_name = "JSON", value_parser = json_object)]
    pub filter: Option<JsonObject>,
}

/// The arguments of `kenning changes`.
#[derive(Clone, Debug, Args)]
pub struct ChangesArgs {
    /// Only changes after this revision [default: all that are kept, or with --follow none]
    #[arg(long, value_name = "REVISION")]
    pub after: Option<u64>,
    /// Go on with changes as they happen; connects again when the server is restarted
    #[arg(long, short)]
    pub follow: bool,
}

/// The arguments of `kenning why`.
#[derive(Clone, Debug, Args)]
pub struct WhyArgs {
    /// The request's id
    #[arg(value_name = "REQUEST-ID")]
    pub id: String,
}

/// The arguments of `kenning audit`.
#[derive(Clone, Debug, Args)]
pub struct AuditArgs {
    /// How many acts, 1 to 1000 [default: 100]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub limit: Option<u32>,
    /// Only acts before the one with this id, from `--json`
    #[arg(long, value_name = "ID")]
    pub before: Option<String>,
    /// Only acts that are about this tenant. Its own key with the scope admin suffices
    #[arg(long, value_name = "TENANT")]
    pub of: Option<String>,
}

/// The arguments of `kenning stats`.
#[derive(Clone, Debug, Args)]
pub struct StatsArgs {
    /// On a terminal, show every limit and quota, too
    #[arg(long)]
    pub all: bool,
}
