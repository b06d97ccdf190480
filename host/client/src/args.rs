//! What a person may type.

use std::ops::Deref;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::value::RawValue;

use crate::admin::{ExtensionVerb, LogicVerb};
use crate::dev::{DEV_HELP, DevArgs};
use crate::{Connection, TenantVerb};

/// The verbs. Each carries its own [`Connection`], so its options may stand anywhere after it.
#[derive(Clone, Debug, Subcommand)]
pub enum Verb {
    /// Store a fact and print its id
    #[command(after_help = STORE_EXAMPLES)]
    Store(Call<StoreArgs>),
    /// Print one fact
    #[command(after_help = "Example:\n  kenning get 7f6c1f0e-5a0b-4c38-9a55-0d6e7a3f2b11")]
    Get(Call<GetArgs>),
    /// List facts, newest first
    #[command(after_help = LIST_EXAMPLES)]
    List(Call<ListArgs>),
    /// Search facts by meaning and by words
    #[command(after_help = SEARCH_EXAMPLES)]
    Search(Call<SearchArgs>),
    /// Change a fact's text, its metadata, or both
    #[command(after_help = "Example:\n  kenning update port-7 --text 'The port is 7171.'")]
    Update(Call<UpdateArgs>),
    /// Delete a fact
    #[command(after_help = "Example:\n  kenning delete port-7")]
    Delete(Call<DeleteArgs>),
    /// Store facts in bulk, from JSON Lines
    #[command(after_help = IMPORT_EXAMPLES)]
    Import(Call<ImportArgs>),
    /// Write every fact as JSON Lines
    #[command(after_help = EXPORT_EXAMPLES)]
    Export(Call<ExportArgs>),
    /// Show counts, model, storage, and limits with what is used of them
    Stats(Call<StatsArgs>),
    /// The logic: what a fact is and how search ranks
    #[command(subcommand)]
    Logic(LogicVerb),
    /// A tenant's extensions
    #[command(subcommand)]
    Extension(ExtensionVerb),
    /// Keep an extension's project live in a tenant while you write it
    #[command(after_help = DEV_HELP)]
    Dev(Call<DevArgs>),
    /// Create, limit and delete tenants, and change their keys
    #[command(subcommand)]
    Tenant(TenantVerb),
}

const STORE_EXAMPLES: &str = "\
Examples:
  kenning store 'The staging database moved to Frankfurt.'
  kenning store 'Ada prefers tea.' --metadata '{\"topic\":\"people\"}' --id ada-tea
  git log -1 --format=%B | kenning store -

Away from a terminal it prints the id alone.";

const LIST_EXAMPLES: &str = "\
Examples:
  kenning list --limit 20
  kenning list --query frankfurt
  kenning list --all --json > facts.jsonl

Away from a terminal each fact is one line: id, time, text, metadata, separated by tabs; in the
text, tab, newline and backslash stand as \\t, \\n and \\\\. The cursor of the next page goes to
standard error.";

const SEARCH_EXAMPLES: &str = "\
Examples:
  kenning search 'where does staging run?'
  kenning search tea -k 3 --filter '{\"topic\":{\"eq\":\"people\"}}'
  kenning search 'error 0x80070057' --mode text --explain

Away from a terminal each hit is one line: rank, score, id, text, metadata, and with --explain the
explanation, separated by tabs; in the text, tab, newline and backslash stand as \\t, \\n and
\\\\.";

const IMPORT_EXAMPLES: &str = "\
Examples:
  kenning import facts.jsonl
  zcat facts.jsonl.gz | kenning import -

Each line is a JSON object: \"content\", and optionally \"id\", \"metadata\" and \"timestamp\", as
`kenning export` writes it; or \"text\", and optionally \"fact_id\" and \"metadata\". A bad line is
reported by its number and the rest goes on; the exit code is then 1. Lines with an id can be
imported again: what is there already does not change.";

const EXPORT_EXAMPLES: &str = "\
Examples:
  kenning export > facts.jsonl
  kenning export --output facts.jsonl
  kenning export | jq -r .content

With --output the file appears under its name only when it is complete.";

impl Verb {
    /// The server this verb is for.
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
            Self::Logic(verb) => return verb.connection().clone().into_admin(),
            Self::Extension(verb) => return verb.connection().clone().into_admin(),
            Self::Dev(call) => return call.connection.clone().into_admin(),
            Self::Tenant(verb) => return verb.connection().into(),
        };
        connection.clone()
    }
}

/// A verb's own arguments and the server they are for.
#[derive(Clone, Debug, Args)]
pub struct Call<A: Args> {
    #[command(flatten)]
    pub args: A,
    #[command(flatten)]
    pub connection: Connection,
}

#[derive(Clone, Debug, Args)]
pub struct StoreArgs {
    /// What the fact says; `-` reads standard input, without its last newline
    pub text: String,
    /// A JSON object kept with the fact, which searches can filter by
    #[arg(long, value_name = "JSON", value_parser = json_object)]
    pub metadata: Option<JsonObject>,
    /// The fact's id; the server makes one if none is given
    #[arg(long)]
    pub id: Option<String>,
    /// Makes repeating this very command safe: a second time changes nothing
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
}

#[derive(Clone, Debug, Args)]
pub struct GetArgs {
    /// The fact's id
    pub id: String,
}

#[derive(Clone, Debug, Args)]
pub struct ListArgs {
    /// Only facts whose text contains this, in any case of letters
    #[arg(long, value_name = "TEXT")]
    pub query: Option<String>,
    /// Facts a page, 1 to 1000 [default: 100, or 1000 with --all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub limit: Option<u32>,
    /// Go on from here: the cursor that the page before gave
    #[arg(long)]
    pub cursor: Option<String>,
    /// Every page, one after the other; with --json, one fact a line
    #[arg(long)]
    pub all: bool,
}

#[derive(Clone, Debug, Args)]
pub struct SearchArgs {
    /// What to search for
    pub query: String,
    /// How many hits at most, 1 to 1000 [default: 10]
    #[arg(short = 'k', long = "top-k", value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub top_k: Option<u32>,
    /// Which index to ask [default: hybrid]
    #[arg(long, value_enum)]
    pub mode: Option<Mode>,
    /// How the two halves of a hybrid search become one order [default: score]
    #[arg(long, value_enum)]
    pub fusion: Option<Fusion>,
    /// Only facts whose metadata fit: {"field":{"operator":value}}, with eq, ne, gt, gte, lt, lte,
    /// in, nin, contains, icontains, exists, between; joined by AND, OR, NOT
    #[arg(long, value_name = "JSON", value_parser = json_object)]
    pub filter: Option<JsonObject>,
    /// Show why each hit stands where it stands
    #[arg(long)]
    pub explain: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Both, fused
    Hybrid,
    /// By meaning only
    Vector,
    /// By words only
    Text,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Fusion {
    /// By standardised scores
    Score,
    /// By reciprocal ranks
    Rank,
}

#[derive(Clone, Debug, Args)]
pub struct UpdateArgs {
    /// The fact's id
    pub id: String,
    #[command(flatten)]
    pub change: ChangeArgs,
}

/// At least one of them.
#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = true)]
pub struct ChangeArgs {
    /// The new text; `-` reads standard input, without its last newline
    #[arg(long)]
    pub text: Option<String>,
    /// The new metadata, in place of the whole object
    #[arg(long, value_name = "JSON", value_parser = json_object)]
    pub metadata: Option<JsonObject>,
}

#[derive(Clone, Debug, Args)]
pub struct DeleteArgs {
    /// The fact's id
    pub id: String,
}

#[derive(Clone, Debug, Args)]
pub struct ImportArgs {
    /// A file of JSON Lines; `-` is standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

#[derive(Clone, Debug, Args)]
pub struct ExportArgs {
    /// Write to this file, whole or not at all, rather than to standard output
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

#[derive(Clone, Debug, Args)]
pub struct StatsArgs {}

/// A JSON object exactly as it was typed, so that no number loses a digit on its way.
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
    fn an_object_is_kept_as_it_was_typed() {
        let typed = r#" {"n": 12345678901234567890123, "x": 1.10} "#;
        assert_eq!(json_object(typed).unwrap().get(), typed.trim());
    }

    #[test]
    fn what_is_not_an_object_is_refused() {
        for (typed, said) in [
            ("[1]", "not a JSON object"),
            ("{", "not JSON"),
            ("", "not JSON"),
            ("{} x", "not JSON"),
        ] {
            let error = json_object(typed).unwrap_err();
            assert!(error.starts_with(said), "{typed}: {error}");
        }
    }
}
