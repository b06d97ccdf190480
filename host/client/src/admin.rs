//! The arguments of the operator's commands on the logic and on extensions.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

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
    /// Return to the newest older generation that was not rolled back from
    Rollback(Call<RollbackLogicArgs>),
    /// Show which tenants run a component, as logic or as extension
    Where(Call<DigestArgs>),
    /// Refuse a component everywhere: replace it where it is live, and accept it no more
    #[command(after_help = REVOKE_HELP)]
    Revoke(Call<RevokeDigestArgs>),
}

/// The commands of `kenning extension`.
#[derive(Clone, Debug, Subcommand)]
pub enum ExtensionCommand {
    /// Show the extensions in order, with their hooks, grants, generations and health
    #[command(after_help = LIST_HELP)]
    List(Call<NoArgs>),
    /// Install a component, or replace the extension of that name
    #[command(after_help = INSTALL_EXAMPLES)]
    Install(Call<InstallArgs>),
    /// Remove an extension
    Remove(Call<RemoveArgs>),
    /// Return to the newest older generation that was not rolled back from
    #[command(after_help = ROLLBACK_HELP)]
    Rollback(Call<RollbackExtensionArgs>),
    /// Change an extension's order, grants or policy without sending its component
    #[command(after_help = SET_EXAMPLES)]
    Set(Call<SetArgs>),
    /// Set what an extension reads as its settings: a JSON object, checked, proven and promoted
    #[command(after_help = CONFIGURE_EXAMPLES)]
    Configure(Call<ConfigureArgs>),
    /// Skip an extension's hooks, as if it were not installed, until it is resumed
    Pause(Call<ExtensionName>),
    /// End a pause
    Resume(Call<ExtensionName>),
    /// Show which tenants run a component, as logic or as extension
    Where(Call<DigestArgs>),
    /// Refuse a component everywhere: replace it where it is live, and accept it no more
    #[command(after_help = REVOKE_HELP)]
    Revoke(Call<RevokeDigestArgs>),
    /// Show what an extension costs, by hook: calls, errors, fuel, time, bytes
    #[command(after_help = STATS_HELP)]
    Stats(Call<ExtensionName>),
    /// Show the latest log lines of an extension
    Logs(Call<LogsArgs>),
    /// Show the changes that an extension's `on-change` did not take, tell them again, or drop them
    DeadLetters(Call<DeadLettersArgs>),
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

const LIST_HELP: &str = "\
Each generation is one line, its fields separated by tabs: name, number, `active` or nothing, digest
and time of staging. The active one goes on, each field with its name: calls, failures and
quarantine of the generation that is live on the host that answers; order; hooks, each with what its
failure does (close or leave-out); grants. On a terminal the latest events follow.";

const INSTALL_EXAMPLES: &str = "\
Examples:
  kenning extension install redact-pii target/components/redact-pii.wasm
  kenning extension install dedupe dedupe.wasm --tenant acme --grant index --order 10
  kenning extension install translate translate.wasm --settings settings.json \
    --grant http:translate.example.com

Without --grant, an extension may only import `log` and `budget`.";

const CONFIGURE_EXAMPLES: &str = "\
Examples:
  kenning extension configure translate settings.json
  kenning extension configure translate settings.json --dry-run

The object replaces what was set. It is checked by the component's own schema, if it has one, and
makes a new generation of the same component; a rollback brings the old settings back.";

const ROLLBACK_HELP: &str = "\
The extension gets the order and the policy that it had in that generation. It gets no grant that
the live generation does not have; a generation that does not run without one is skipped. With
--generation it gets what that generation was granted.";

const SET_EXAMPLES: &str = "\
Examples:
  kenning extension set dedupe --order 5 --on-failure close
  kenning extension set dedupe --grant index,storage --tenant acme
  kenning extension set redact-pii --grant none --on-failure default

--grant replaces all grants. What is not given stays. No generation is made.";

const STATS_HELP: &str = "\
Example:
  kenning extension stats redact-pii --tenant acme

Counted on the host that answers, since it was started, over all generations and without proofs.
A line has a hook's calls, its errors by kind, fuel of a call on average, the times in the guest
that 50 and 99 of a hundred calls do not exceed, bytes that all calls were given, and the most
memory of one.";

const REVOKE_HELP: &str = "\
Examples:
  kenning extension revoke sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
  kenning logic revoke sha256:9f86... --reason 'leaks metadata'

Where it is live, a logic is replaced by an older generation, and an extension by an older
generation or, without one, by none. The exit code is 1 if it is still live somewhere: run the
command again.";

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
    /// Return to this generation instead; 1 is the logic built into the server,
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

/// The arguments of `kenning extension dead-letters`.
#[derive(Clone, Debug, Args)]
pub struct DeadLettersArgs {
    /// Which extension.
    #[command(flatten)]
    pub extension: ExtensionName,
    /// Tell them again, once each; what is taken is a dead letter no more
    #[arg(long, group = "act")]
    pub replay: bool,
    /// Drop them
    #[arg(long, group = "act")]
    pub drop: bool,
    /// Only this change, with --replay or --drop
    #[arg(long, value_name = "N", requires = "act")]
    pub revision: Option<u64>,
}

/// The arguments of `kenning extension remove`.
#[derive(Clone, Debug, Args)]
pub struct RemoveArgs {
    /// Which extension.
    #[command(flatten)]
    pub extension: ExtensionName,
    /// Keep what it kept (the grant `state`), for the next extension of this name
    #[arg(long)]
    pub keep_state: bool,
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
    /// Additional imports to allow, besides `log` and `budget`: storage, embedding, index, state,
    /// and http:HOST[,HOST] for requests to these hosts
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub grant: Vec<String>,
    /// What happens to a call when a hook fails [default: close; leave-out for rerank]
    #[arg(long, value_enum)]
    pub on_failure: Option<OnFailure>,
    /// A file with the JSON object that the extension reads as its settings [default: unchanged]
    #[arg(long, value_name = "FILE")]
    pub settings: Option<PathBuf>,
    /// Only validate and test it
    #[arg(long)]
    pub dry_run: bool,
    /// The thresholds.
    #[command(flatten)]
    pub proof: ProofArgs,
}

/// The arguments of `kenning extension configure`.
#[derive(Clone, Debug, Args)]
pub struct ConfigureArgs {
    /// The extension.
    #[command(flatten)]
    pub extension: ExtensionName,
    /// A file with a JSON object
    pub file: PathBuf,
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
    /// Return to this generation instead, with what it was granted
    #[arg(long, value_name = "N")]
    pub generation: Option<u64>,
}

/// The arguments of `kenning extension set`.
#[derive(Clone, Debug, Args)]
pub struct SetArgs {
    /// The extension.
    #[command(flatten)]
    pub extension: ExtensionName,
    /// What to change.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

/// The settings to change: at least one of them is required.
#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = true)]
pub struct SettingsArgs {
    /// Position among the tenant's extensions, smallest first
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub order: Option<i32>,
    /// All imports to allow, besides `log` and `budget`: storage, embedding, index, state, and
    /// http:HOST[,HOST] for requests to these hosts; or none
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub grant: Option<Vec<String>>,
    /// What happens to a call when a hook fails
    #[arg(long, value_enum)]
    pub on_failure: Option<Policy>,
}

/// What happens to a call when a hook fails, or the default of each hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Policy {
    /// The call fails
    Close,
    /// The call continues without the hook
    LeaveOut,
    /// Each hook's own: leave-out for rerank, close for the others
    Default,
}

impl SetArgs {
    /// The body of the request.
    pub(crate) fn change(&self) -> Value {
        let SettingsArgs { order, grant, on_failure } = &self.settings;
        let mut change = json!({});
        if let Some(order) = order {
            change["order"] = json!(order);
        }
        if let Some(grant) = grant {
            let named = |grant: &&String| !matches!(grant.as_str(), "none" | "");
            change["grants"] = grant.iter().filter(named).cloned().collect();
        }
        if let Some(policy) = on_failure {
            change["on_failure"] = match policy {
                Policy::Close => json!("close"),
                Policy::LeaveOut => json!("leave-out"),
                Policy::Default => Value::Null,
            };
        }
        change
    }
}

/// The arguments of `where`.
#[derive(Clone, Debug, Args)]
pub struct DigestArgs {
    /// The component's digest, as reports and lists show it
    #[arg(value_name = "sha256:HEX")]
    pub digest: String,
}

/// The arguments of `revoke`.
#[derive(Clone, Debug, Args)]
pub struct RevokeDigestArgs {
    /// The component.
    #[command(flatten)]
    pub component: DigestArgs,
    /// Why, for the record
    #[arg(long, value_name = "TEXT", conflicts_with = "undo")]
    pub reason: Option<String>,
    /// Accept the component again; what was replaced stays replaced
    #[arg(long)]
    pub undo: bool,
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
    /// Also show what it wrote while requests were replayed for a proof
    #[arg(long)]
    pub replays: bool,
}

impl LogicCommand {
    pub(crate) fn connection(&self) -> &Connection {
        match self {
            Self::List(call) => &call.connection,
            Self::Stage(call) | Self::Promote(call) => &call.connection,
            Self::Rollback(call) => &call.connection,
            Self::Where(call) => &call.connection,
            Self::Revoke(call) => &call.connection,
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
            Self::Set(call) => &call.connection,
            Self::Configure(call) => &call.connection,
            Self::Pause(call) | Self::Resume(call) => &call.connection,
            Self::Where(call) => &call.connection,
            Self::Revoke(call) => &call.connection,
            Self::Stats(call) => &call.connection,
            Self::Logs(call) => &call.connection,
            Self::DeadLetters(call) => &call.connection,
        }
    }
}
