//! The arguments of `kenning tenant`.

use std::path::PathBuf;

use chrono::Utc;
use clap::{Args, Subcommand};

use crate::AdminConnection;
use crate::expiry::{BadExpiry, expiry};
use crate::json_object::{JsonObject, json_object};

/// The commands of `kenning tenant`.
#[derive(Clone, Debug, Subcommand)]
pub enum TenantCommand {
    /// List all tenants
    List(AdminCall<NoArgs>),
    /// Create a tenant and print its key, which cannot be shown again
    #[command(after_help = CREATE_EXAMPLES)]
    Create(AdminCall<CreateArgs>),
    /// Show a tenant's quotas with their usage, or change them
    // The alias is for scripts written for 0.1; remove it after the next release.
    #[command(visible_alias = "limits", after_help = QUOTA_EXAMPLES)]
    Quota(AdminCall<QuotaArgs>),
    /// Show the language of a tenant's texts, or change it
    #[command(after_help = LANGUAGE_EXAMPLES)]
    Language(AdminCall<LanguageArgs>),
    /// Show a tenant's keys: their ids, scopes, expiry and last use, and what it may grant
    Show(AdminCall<NameArgs>),
    /// Show what a tenant may grant its own extensions, or change it
    #[command(after_help = GRANTS_EXAMPLES)]
    Grants(AdminCall<GrantsArgs>),
    /// Create another key for a tenant and print it; it cannot be shown again
    #[command(after_help = ROTATE_EXAMPLES)]
    RotateKey(AdminCall<RotateArgs>),
    /// Revoke a key immediately
    RevokeKey(AdminCall<RevokeArgs>),
    /// Copy a tenant into a file: its facts and vectors, its extensions and what they keep, logic,
    /// keys and quotas
    #[command(after_help = EXPORT_EXAMPLES)]
    Export(AdminCall<ExportTenantArgs>),
    /// Take in a tenant that was exported here or on another server
    #[command(after_help = EXPORT_EXAMPLES)]
    Import(AdminCall<ImportTenantArgs>),
    /// Delete a tenant with its keys, its facts and all its other data
    Delete(AdminCall<NameArgs>),
}

const CREATE_EXAMPLES: &str = "\
Examples:
  kenning tenant create acme
  kenning tenant create acme facts=100000 requests_per_second=50
  kenning tenant create acme --language de
  kenning tenant create acme --given-vectors 768

If the output is not a terminal, only the key is printed.";

const QUOTA_EXAMPLES: &str = "\
Examples:
  kenning tenant quota acme
  kenning tenant quota acme bytes=1000000000 fuel_per_minute=none

The quotas are facts, bytes, requests_per_second, concurrent_calls, fuel_per_minute,
embedding_tokens_per_minute, extensions and proof_requests. If the output is not a terminal, each is
one line: name, usage and quota, separated by tabs.";

const LANGUAGE_EXAMPLES: &str = "\
Examples:
  kenning tenant language acme
  kenning tenant language acme de
  kenning tenant language acme none

The language decides which words are stemmed, and which words of a query are left out as stop words.
After a change the tenant's facts are indexed again in the background, and found meanwhile.";

const GRANTS_EXAMPLES: &str = "\
Examples:
  kenning tenant grants acme
  kenning tenant grants acme index,storage
  kenning tenant grants acme 'index,http:*.example.com'
  kenning tenant grants acme none

A key with the scope `admin` installs the tenant's extensions with these grants at most. The grants
are embedding, index, state, storage and http:HOST. Extensions that are installed already keep what
they have.";

const ROTATE_EXAMPLES: &str = "\
Examples:
  kenning tenant rotate-key acme
  kenning tenant rotate-key acme --scopes read --expires 90d
  kenning tenant rotate-key acme --grace-seconds 86400
  kenning tenant rotate-key acme --attributes '{\"team\":\"research\"}'

The new key is valid immediately. The other keys stay valid until they are revoked or, with
--grace-seconds, for that long. If the output is not a terminal, only the new key is printed.";

const EXPORT_EXAMPLES: &str = "\
Examples:
  kenning tenant export acme acme.kenning
  kenning tenant import acme.kenning --server https://other.example
  kenning tenant import acme.kenning --name acme-copy

The facts keep their ids, texts, metadata, times, order and vectors. The keys stay valid, unless the
server knows them as another tenant's. The file holds no secrets, but the facts and the hashes of
keys: only its owner may read it.";

impl TenantCommand {
    /// The connection options of this command.
    pub(crate) fn connection(&self) -> &AdminConnection {
        match self {
            Self::List(call) => &call.connection,
            Self::Create(call) => &call.connection,
            Self::Quota(call) => &call.connection,
            Self::Language(call) => &call.connection,
            Self::Show(call) => &call.connection,
            Self::Grants(call) => &call.connection,
            Self::RotateKey(call) => &call.connection,
            Self::RevokeKey(call) => &call.connection,
            Self::Export(call) => &call.connection,
            Self::Import(call) => &call.connection,
            Self::Delete(call) => &call.connection,
        }
    }
}

/// A command's own arguments and its connection options.
#[derive(Clone, Debug, Args)]
pub struct AdminCall<A: Args> {
    /// The command's own arguments.
    #[command(flatten)]
    pub args: A,
    /// The connection options.
    #[command(flatten)]
    pub connection: AdminConnection,
}

/// No arguments of its own.
#[derive(Clone, Debug, Args)]
pub struct NoArgs {}

/// The name of a tenant.
#[derive(Clone, Debug, Args)]
pub struct NameArgs {
    /// The tenant's name
    pub name: String,
}

/// The arguments of `kenning tenant export`.
#[derive(Clone, Debug, Args)]
pub struct ExportTenantArgs {
    /// The tenant's name
    pub name: String,
    /// The file to write, which must not exist
    pub file: PathBuf,
}

/// The arguments of `kenning tenant import`.
#[derive(Clone, Debug, Args)]
pub struct ImportTenantArgs {
    /// A file that `kenning tenant export` wrote
    pub file: PathBuf,
    /// The tenant's name here, which must be free [default: the one that it had]
    #[arg(long)]
    pub name: Option<String>,
}

/// The arguments of `kenning tenant create`.
#[derive(Clone, Debug, Args)]
pub struct CreateArgs {
    /// The tenant's name
    pub name: String,
    /// Quotas to set
    #[arg(value_name = "QUOTA=N", value_parser = quota)]
    pub quotas: Vec<Quota>,
    /// The language of the tenant's texts, such as `de`, or `none`
    #[arg(long, value_name = "CODE")]
    pub language: Option<String>,
    /// Its callers give the vectors, of so many numbers each; this server's embedder makes none
    #[arg(long, value_name = "DIMENSIONS")]
    pub given_vectors: Option<u32>,
}

/// The arguments of `kenning tenant language`.
#[derive(Clone, Debug, Args)]
pub struct LanguageArgs {
    /// The tenant's name
    pub name: String,
    /// The new language, such as `de`, or `none`
    #[arg(value_name = "CODE")]
    pub language: Option<String>,
}

/// The arguments of `kenning tenant grants`.
#[derive(Clone, Debug, Args)]
pub struct GrantsArgs {
    /// The tenant's name
    pub name: String,
    /// All that it may grant, separated by commas, or `none`
    #[arg(value_delimiter = ',')]
    pub grants: Vec<String>,
}

/// The arguments of `kenning tenant quota`.
#[derive(Clone, Debug, Args)]
pub struct QuotaArgs {
    /// The tenant's name
    pub name: String,
    /// Quotas to set; `none` removes one
    #[arg(value_name = "QUOTA=N", value_parser = quota)]
    pub quotas: Vec<Quota>,
}

/// The arguments of `kenning tenant rotate-key`.
#[derive(Clone, Debug, Args)]
pub struct RotateArgs {
    /// The tenant's name
    pub name: String,
    /// The tenant's other keys expire after this many seconds
    #[arg(long, value_name = "SECONDS")]
    pub grace_seconds: Option<u64>,
    /// What the new key may be used for: read, write, admin (of the tenant's own extensions),
    /// separated by commas [default: read,write]
    #[arg(long, value_name = "SCOPES", value_delimiter = ',')]
    pub scopes: Option<Vec<String>>,
    /// When the new key expires: a time such as 2027-01-31T00:00:00Z, or how long from now, such as
    /// 90d, 12h or 30m [default: never]
    #[arg(long, value_name = "WHEN", value_parser = typed_expiry)]
    pub expires: Option<String>,
    /// What extensions are told of whoever holds the new key
    #[arg(long, value_name = "JSON", value_parser = json_object)]
    pub attributes: Option<JsonObject>,
}

/// The arguments of `kenning tenant revoke-key`.
#[derive(Clone, Debug, Args)]
pub struct RevokeArgs {
    /// The tenant's name
    pub name: String,
    /// The key's id: the part between its first two underscores
    pub key_id: String,
}

/// One quota of a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Its name, such as `facts`.
    pub name: String,
    /// Its value in the unit of the quota; `None` for no quota.
    pub value: Option<u64>,
}

fn quota(typed: &str) -> Result<Quota, String> {
    let form = "expected NAME=N or NAME=none, such as facts=100000";
    let (name, value) = typed.split_once('=').ok_or(form)?;
    let value = match value {
        "none" => None,
        number => Some(number.parse().map_err(|_| form)?),
    };
    Ok(Quota { name: name.to_owned(), value })
}

/// When a key ends, as it was typed: the server reads it. What is over by this machine's clock may
/// not be by the server's.
fn typed_expiry(typed: &str) -> Result<String, String> {
    let now = u64::try_from(Utc::now().timestamp_millis()).unwrap_or_default();
    match expiry(typed, now) {
        Ok(_) | Err(BadExpiry::Past) => Ok(typed.to_owned()),
        Err(BadExpiry::Form) => Err("expected a time such as 2027-01-31T00:00:00Z, or how long \
                                     from now, such as 90d, 12h or 30m"
            .to_owned()),
        Err(BadExpiry::Late) => {
            Err("that is after the year 9999; without --expires, a key never ends".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_of_a_key_is_passed_on_as_it_was_typed() {
        for right in ["90d", "2001-09-09T01:46:40Z", "9999-12-31T23:59:59Z"] {
            assert_eq!(typed_expiry(right), Ok(right.to_owned()));
        }
        assert!(typed_expiry("100000000d").unwrap_err().contains("9999"));
        assert!(typed_expiry("soon").unwrap_err().contains("90d"));
    }

    #[test]
    fn a_quota_is_a_number_or_none() {
        let parsed = |value| Ok(Quota { name: "facts".to_owned(), value });
        assert_eq!(quota("facts=12"), parsed(Some(12)));
        assert_eq!(quota("facts=none"), parsed(None));
        for bad in ["facts", "facts=", "facts=-1", "facts=1e9", "facts=many"] {
            assert!(quota(bad).unwrap_err().contains("facts=100000"), "{bad}");
        }
    }
}
