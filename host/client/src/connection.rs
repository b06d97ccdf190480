//! Which server, as whom, and for how long.

use std::fmt;
use std::num::NonZeroU32;

/// Where the server listens when nothing else is said.
pub(crate) const DEFAULT_SERVER: &str = "http://127.0.0.1:7171";

/// The options every verb takes.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Connection")]
pub struct Connection {
    /// The server's address; plain HTTP
    #[arg(long, env = "KENNING_SERVER", value_name = "URL", default_value = DEFAULT_SERVER)]
    pub server: String,

    /// The tenant, on a server without keys [default: default]
    #[arg(long, env = "KENNING_TENANT", value_name = "TENANT")]
    pub tenant: Option<String>,

    /// The key that names the tenant. Other users of this machine can read a command line: prefer
    /// the environment variable
    #[arg(long, env = "KENNING_KEY", value_name = "KEY", hide_env_values = true)]
    pub key: Option<Key>,

    /// Ask the server to answer within this many milliseconds; it may have a shorter bound
    #[arg(long, env = "KENNING_TIMEOUT_MS", value_name = "MS")]
    pub timeout_ms: Option<NonZeroU32>,

    /// Print the server's JSON as it came, errors too
    #[arg(long)]
    pub json: bool,
}

/// The options of the operator's verbs. The key comes from the environment only: what stands on a
/// command line, other users of the machine can read.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Connection")]
pub struct AdminConnection {
    /// The server's address; plain HTTP. The admin key is taken from KENNING_ADMIN_KEY, or else
    /// from KENNING_KEY
    #[arg(long, env = "KENNING_SERVER", value_name = "URL", default_value = DEFAULT_SERVER)]
    pub server: String,

    /// Ask the server to answer within this many milliseconds; it may have a shorter bound
    #[arg(long, env = "KENNING_TIMEOUT_MS", value_name = "MS")]
    pub timeout_ms: Option<NonZeroU32>,

    /// Print the server's JSON as it came, errors too
    #[arg(long)]
    pub json: bool,
}

/// The operator's key, from the environment.
fn admin_key(names: &[&str]) -> Option<Key> {
    let key = |name: &&str| std::env::var(name).ok().filter(|key| !key.is_empty());
    names.iter().find_map(key).map(Key)
}

impl Connection {
    /// For what operators do to a tenant's guests: with the admin key, where there is one.
    pub(crate) fn into_admin(self) -> Self {
        Self { key: admin_key(&["KENNING_ADMIN_KEY"]).or(self.key), ..self }
    }
}

impl From<&AdminConnection> for Connection {
    fn from(admin: &AdminConnection) -> Self {
        let key = admin_key(&["KENNING_ADMIN_KEY", "KENNING_KEY"]);
        Self {
            server: admin.server.clone(),
            tenant: None,
            key,
            timeout_ms: admin.timeout_ms,
            json: admin.json,
        }
    }
}

/// A secret that does not print.
#[derive(Clone)]
pub struct Key(String);

impl Key {
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Key {
    fn from(key: &str) -> Self {
        Self(key.to_owned())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(hidden)")
    }
}
