//! The arguments of the operator's commands on the logic and on extensions.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::{Call, Connection};

/// The commands of `kenning logic`.
#[derive(Clone, Debug, Subcommand)]
pub enum LogicCommand {
    /// Show the generations, the active one, and the history of changes
    List(Call<NoArgs>),
    /// Validate and test a component without promoting it
    Stage(Call<PromoteArgs>),
    /// Validate and test a component, and make it the active logic
    #[command(after_help = PROMOTE_EXAMPLES)]
    Promote(Call<PromoteArgs>),
    /// Return to the generation that was active before
    Rollback(Call<RollbackLogicArgs>),
}

/// The commands of `kenning extension`.
#[derive(Clone, Debug, Subcommand)]
pub enum ExtensionCommand {
    /// Show the extensions in order, with their generations and their health
    List(Call<NoArgs>),
    /// Install a component, or replace the extension of that name
    #[command(after_help = INSTALL_EXAMPLES)]
    Install(Call<InstallArgs>),
    /// Remove an extension
    Remove(Call<ExtensionName>),
    /// Return to the generation that was active before
    Rollback(Call<RollbackExtensionArgs>),
    /// Show the latest log lines of an extension
    Logs(Call<LogsArgs>),
}

const PROMOTE_EXAMPLES: &str = "\
Examples:
  kenning logic promote target/components/logic.wasm
  kenning logic promote new.wasm --tenant acme --min-overlap-percent 50
  kenning logic stage new.wasm --json | jq .proof

With --tenant, the component becomes that tenant's own logic; otherwise it is the logic of every
tenant without one. The candidate replays recent requests and is compared with the live generation.
If it does worse than the thresholds allow, it is rejected, unless --force is given; the history
then shows who forced it.";

const INSTALL_EXAMPLES: &str = "\
Examples:
  kenning extension install redact-pii target/components/redact-pii.wasm
  kenning extension install dedupe dedupe.wasm --tenant acme --grant index --order 10

Without --grant, an extension may only import `log` and `budget`.";

/// No arguments of its own: `--tenant` is a connection option.
#[derive(Clone, Debug, Args)]
pub struct NoArgs {}

/// The thresholds for accepting a candidate.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Proof")]
pub struct ProofArgs {
    /// Maximum share of requests that fail only with the candidate, in percent
    #[arg(long, value_name = "PERCENT")]
    pub max_errors_percent: Option<u64>,
    /// Minimum overlap of the ranked hits, in percent
    #[arg(long, value_name = "PERCENT")]
    pub min_overlap_percent: Option<u64>,
    /// Maximum fuel, in percent of the live generation's
    #[arg(long, value_name = "PERCENT")]
    pub max_fuel_percent: Option<u64>,
    /// Maximum time, in percent of the live generation's
    #[arg(long, value_name = "PERCENT")]
    pub max_time_percent: Option<u64>,
    /// Promote it even if the proof fails; the history shows who forced it
    #[arg(long)]
    pub force: bool,
    /// Reject a file with another digest
    #[arg(long, value_name = "sha256:HEX")]
    pub digest: Option<String>,
}

impl ProofArgs {
    /// The query parameters of the request.
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

/// The arguments of `kenning logic stage` and `promote`.
#[derive(Clone, Debug, Args)]
pub struct PromoteArgs {
    /// The component file
    pub file: PathBuf,
    /// The thresholds.
    #[command(flatten)]
    pub proof: ProofArgs,
}

/// The arguments of `kenning logic rollback`.
#[derive(Clone, Debug, Args)]
pub struct RollbackLogicArgs {
    /// Return to this generation instead of the previous one; 1 is the logic built into the server,
    /// or for a tenant the logic of the server
    #[arg(long, value_name = "N")]
    pub generation: Option<u64>,
}

/// The name of an extension.
#[derive(Clone, Debug, Args)]
pub struct ExtensionName {
    /// The extension's name
    pub name: String,
}

/// The arguments of `kenning extension install`.
#[derive(Clone, Debug, Args)]
pub struct InstallArgs {
    /// The extension's name: lower-case letters, digits and `-`
    pub name: String,
    /// The component file
    pub file: PathBuf,
    /// Position among the tenant's extensions, smallest first [default: unchanged, or 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub order: Option<i32>,
    /// Additional imports to allow, besides `log` and `budget`: storage, embedding, index
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub grant: Vec<String>,
    /// What happens to a call when a hook fails [default: close; leave-out for rerank]
    #[arg(long, value_enum)]
    pub on_failure: Option<OnFailure>,
    /// Only validate and test it
    #[arg(long)]
    pub dry_run: bool,
    /// The thresholds.
    #[command(flatten)]
    pub proof: ProofArgs,
}

/// What happens to a call when a hook fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OnFailure {
    /// The call fails
    Close,
    /// The call continues without the hook
    LeaveOut,
}

impl OnFailure {
    /// The name in the API.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Close => "close",
            Self::LeaveOut => "leave-out",
        }
    }
}

/// The arguments of `kenning extension rollback`.
#[derive(Clone, Debug, Args)]
pub struct RollbackExtensionArgs {
    /// The extension.
    #[command(flatten)]
    pub extension: ExtensionName,
    /// Return to this generation instead of the previous one
    #[arg(long, value_name = "N")]
    pub generation: Option<u64>,
}

/// The arguments of `kenning extension logs`.
#[derive(Clone, Debug, Args)]
pub struct LogsArgs {
    /// The extension.
    #[command(flatten)]
    pub extension: ExtensionName,
    /// Keep showing new lines until Ctrl-C
    #[arg(long, short)]
    pub follow: bool,
}

impl LogicCommand {
    pub(crate) fn connection(&self) -> &Connection {
        match self {
            Self::List(call) => &call.connection,
            Self::Stage(call) | Self::Promote(call) => &call.connection,
            Self::Rollback(call) => &call.connection,
        }
    }
}

impl ExtensionCommand {
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
