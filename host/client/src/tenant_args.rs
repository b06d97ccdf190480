//! What an operator may type after `kenning tenant`.

use clap::{Args, Subcommand};

use crate::AdminConnection;

/// The operator's verbs on tenants.
#[derive(Clone, Debug, Subcommand)]
pub enum TenantVerb {
    /// List every tenant
    List(AdminCall<NoArgs>),
    /// Create a tenant and print its key, which is shown this once
    #[command(after_help = CREATE_EXAMPLES)]
    Create(AdminCall<CreateArgs>),
    /// Show a tenant's limits with what is used of them, or set some
    #[command(after_help = LIMITS_EXAMPLES)]
    Limits(AdminCall<LimitsArgs>),
    /// Give a tenant a further key and print it, which is shown this once
    #[command(after_help = ROTATE_EXAMPLES)]
    RotateKey(AdminCall<RotateArgs>),
    /// End a key at once
    RevokeKey(AdminCall<RevokeArgs>),
    /// Delete a tenant with its keys, its facts and all else that it has
    Delete(AdminCall<NameArgs>),
}

const CREATE_EXAMPLES: &str = "\
Examples:
  kenning tenant create acme
  kenning tenant create acme facts=100000 requests_per_second=50

Away from a terminal it prints the key alone.";

const LIMITS_EXAMPLES: &str = "\
Examples:
  kenning tenant limits acme
  kenning tenant limits acme bytes=1000000000 fuel_per_minute=none

There are facts, bytes, requests_per_second, concurrent_calls, fuel_per_minute,
embedding_tokens_per_minute, extensions and proof_requests. Away from a terminal each is one line:
name, used, limit, separated by tabs.";

const ROTATE_EXAMPLES: &str = "\
Examples:
  kenning tenant rotate-key acme
  kenning tenant rotate-key acme --grace-seconds 86400

The new key is good at once. Without --grace-seconds the others stay good until they are revoked;
with it, they end after so long. Away from a terminal it prints the key alone.";

impl TenantVerb {
    pub(crate) fn connection(&self) -> &AdminConnection {
        match self {
            Self::List(call) => &call.connection,
            Self::Create(call) => &call.connection,
            Self::Limits(call) => &call.connection,
            Self::RotateKey(call) => &call.connection,
            Self::RevokeKey(call) => &call.connection,
            Self::Delete(call) => &call.connection,
        }
    }
}

/// A verb's own arguments and the server they are for.
#[derive(Clone, Debug, Args)]
pub struct AdminCall<A: Args> {
    #[command(flatten)]
    pub args: A,
    #[command(flatten)]
    pub connection: AdminConnection,
}

#[derive(Clone, Debug, Args)]
pub struct NoArgs {}

#[derive(Clone, Debug, Args)]
pub struct NameArgs {
    /// The tenant
    pub name: String,
}

#[derive(Clone, Debug, Args)]
pub struct CreateArgs {
    /// The tenant
    pub name: String,
    /// Limits to set
    #[arg(value_name = "LIMIT=N", value_parser = limit)]
    pub limits: Vec<Limit>,
}

#[derive(Clone, Debug, Args)]
pub struct LimitsArgs {
    /// The tenant
    pub name: String,
    /// Limits to set; `none` lifts one
    #[arg(value_name = "LIMIT=N", value_parser = limit)]
    pub limits: Vec<Limit>,
}

#[derive(Clone, Debug, Args)]
pub struct RotateArgs {
    /// The tenant
    pub name: String,
    /// The tenant's other keys end after so many seconds
    #[arg(long, value_name = "SECONDS")]
    pub grace_seconds: Option<u64>,
}

#[derive(Clone, Debug, Args)]
pub struct RevokeArgs {
    /// The tenant
    pub name: String,
    /// The key's id: the part between its first two underscores
    pub key_id: String,
}

/// One limit, or `None` for no bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    pub name: String,
    pub value: Option<u64>,
}

fn limit(typed: &str) -> Result<Limit, String> {
    let form = "a limit is NAME=N or NAME=none, such as facts=100000";
    let (name, value) = typed.split_once('=').ok_or(form)?;
    let value = match value {
        "none" => None,
        number => Some(number.parse().map_err(|_| form)?),
    };
    Ok(Limit { name: name.to_owned(), value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_number_or_none() {
        let parsed = |value| Ok(Limit { name: "facts".to_owned(), value });
        assert_eq!(limit("facts=12"), parsed(Some(12)));
        assert_eq!(limit("facts=none"), parsed(None));
        for bad in ["facts", "facts=", "facts=-1", "facts=1e9", "facts=many"] {
            assert!(limit(bad).unwrap_err().contains("facts=100000"), "{bad}");
        }
    }
}
