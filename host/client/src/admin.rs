//! What an operator may type: guests in and out.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::{Call, Connection};

/// The logic's generations.
#[derive(Clone, Debug, Subcommand)]
pub enum LogicVerb {
    /// Show the generations, which one is active, and what happened to them
    List(Call<Whole>),
    /// Check and prove a component, and promote nothing
    Stage(Call<SwapLogic>),
    /// Check and prove a component, and put it in the logic's place
    #[command(after_help = PROMOTE_EXAMPLES)]
    Promote(Call<SwapLogic>),
    /// Go back to the generation that was active before
    Rollback(Call<RollbackLogic>),
}

/// A tenant's extensions.
#[derive(Clone, Debug, Subcommand)]
pub enum ExtensionVerb {
    /// Show the extensions in their order, with their hooks and how they fare
    List(Call<Whole>),
    /// Install a component, or put it in the place of the one of that name
    #[command(after_help = INSTALL_EXAMPLES)]
    Install(Call<Install>),
    /// Take an extension out
    Remove(Call<Named>),
    /// Go back to the generation that was active before
    Rollback(Call<RollbackExtension>),
    /// Show the last lines that an extension wrote
    Logs(Call<Logs>),
}

const PROMOTE_EXAMPLES: &str = "\
Examples:
  kenning logic promote target/components/logic.wasm
  kenning logic promote new.wasm --tenant acme --min-overlap-percent 50
  kenning logic stage new.wasm --json | jq .proof

With --tenant it is that tenant's own logic, else the one of all who have none of their own. The
candidate is asked recent requests again, beside the live generation. What speaks against it refuses
it, unless --force says otherwise; then the record says who forced it.";

const INSTALL_EXAMPLES: &str = "\
Examples:
  kenning extension install redact-pii target/components/redact-pii.wasm
  kenning extension install dedupe dedupe.wasm --tenant acme --grant index --order 10

Without --grant an extension may import nothing but `log` and `budget`.";

/// Nothing but whose guests they are, which `--tenant` says.
#[derive(Clone, Debug, Args)]
pub struct Whole {}

/// How a candidate is judged.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Proof")]
pub struct Proof {
    /// How many requests may fail with it and not without, in percent
    #[arg(long, value_name = "PERCENT")]
    pub max_errors_percent: Option<u64>,
    /// How much of the order of hits must stay, in percent
    #[arg(long, value_name = "PERCENT")]
    pub min_overlap_percent: Option<u64>,
    /// Its fuel at most, in percent of the live generation's
    #[arg(long, value_name = "PERCENT")]
    pub max_fuel_percent: Option<u64>,
    /// Its time at most, in percent of the live generation's
    #[arg(long, value_name = "PERCENT")]
    pub max_time_percent: Option<u64>,
    /// Promote it whatever the proof says; the record says who did
    #[arg(long)]
    pub force: bool,
    /// Refuse a file with another digest
    #[arg(long, value_name = "sha256:HEX")]
    pub digest: Option<String>,
}

impl Proof {
    pub(crate) fn parameters(&self) -> Vec<(&'static str, String)> {
        let numbers = [
            ("max_errors_percent", self.max_errors_percent),
            ("min_overlap_percent", self.min_overlap_percent),
            ("max_fuel_percent", self.max_fuel_percent),
            ("max_time_percent", self.max_time_percent),
        ];
        let mut parameters: Vec<(&'static str, String)> = numbers
            .into_iter()
            .filter_map(|(name, number)| Some((name, number?.to_string())))
            .collect();
        if self.force {
            parameters.push(("force", "true".into()));
        }
        parameters.extend(self.digest.clone().map(|digest| ("digest", digest)));
        parameters
    }
}

#[derive(Clone, Debug, Args)]
pub struct SwapLogic {
    /// The component
    pub file: PathBuf,
    #[command(flatten)]
    pub proof: Proof,
}

#[derive(Clone, Debug, Args)]
pub struct RollbackLogic {
    /// Go back to this generation, rather than to the one before; 1 is the logic that comes with
    /// the server, and for a tenant the server's
    #[arg(long, value_name = "N")]
    pub generation: Option<u64>,
}

#[derive(Clone, Debug, Args)]
pub struct Named {
    /// The extension's name
    pub name: String,
}

#[derive(Clone, Debug, Args)]
pub struct Install {
    /// The extension's name: lower-case letters, digits and `-`
    pub name: String,
    /// The component
    pub file: PathBuf,
    /// Where it stands among the tenant's extensions: smaller is earlier [default: as before, or 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub order: Option<i32>,
    /// What it may import beyond `log` and `budget`: storage, embedding, index
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub grant: Vec<String>,
    /// What a failure does to the call [default: close, and leave-out for rerank]
    #[arg(long, value_enum)]
    pub on_failure: Option<OnFailure>,
    /// Only check and prove it
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub proof: Proof,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OnFailure {
    /// The call fails
    Close,
    /// The call goes on without the hook
    LeaveOut,
}

impl OnFailure {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Close => "close",
            Self::LeaveOut => "leave-out",
        }
    }
}

#[derive(Clone, Debug, Args)]
pub struct RollbackExtension {
    #[command(flatten)]
    pub named: Named,
    /// Go back to this generation, rather than to the one before
    #[arg(long, value_name = "N")]
    pub generation: Option<u64>,
}

#[derive(Clone, Debug, Args)]
pub struct Logs {
    #[command(flatten)]
    pub named: Named,
    /// Go on showing what is written, until Ctrl-C
    #[arg(long, short)]
    pub follow: bool,
}

impl LogicVerb {
    pub(crate) fn connection(&self) -> &Connection {
        match self {
            Self::List(call) => &call.connection,
            Self::Stage(call) | Self::Promote(call) => &call.connection,
            Self::Rollback(call) => &call.connection,
        }
    }
}

impl ExtensionVerb {
    pub(crate) fn connection(&self) -> &Connection {
        match self {
            Self::List(call) => &call.connection,
            Self::Install(call) => &call.connection,
            Self::Remove(call) => &call.connection,
            Self::Rollback(call) => &call.connection,
            Self::Logs(call) => &call.connection,
        }
    }
}
