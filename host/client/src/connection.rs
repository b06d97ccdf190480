//! The connection options: server, tenant, key and timeout.

use std::fmt;
use std::num::NonZeroU32;
use std::path::PathBuf;

use crate::secret::secret;

/// The address that a server listens on by default.
pub(crate) const DEFAULT_SERVER: &str = "http://127.0.0.1:7171";

/// The connection options of every command.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Connection")]
pub struct Connection {
    /// The server's URL, or unix:PATH for a socket in the file system. Without a scheme it is http
    /// for this machine, and https for others
    #[arg(long, env = "KENNING_SERVER", value_name = "URL", default_value = DEFAULT_SERVER)]
    pub server: String,

    /// File with certificates in PEM that are trusted besides the system's, for https
    #[arg(long, env = "KENNING_CA", value_name = "FILE")]
    pub ca: Option<PathBuf>,

    /// The tenant, for a server without keys [default: default]
    #[arg(long, env = "KENNING_TENANT", value_name = "TENANT")]
    pub tenant: Option<String>,

    /// The tenant's key. Prefer the environment variable: other users of this machine can see
    /// command lines
    #[arg(long, env = "KENNING_KEY", value_name = "KEY", hide_env_values = true)]
    pub key: Option<Key>,

    /// Deadline for the server in milliseconds; the server may enforce a shorter one
    #[arg(long, env = "KENNING_TIMEOUT_MS", value_name = "MS")]
    pub timeout_ms: Option<NonZeroU32>,

    /// Print the server's JSON unchanged, including errors
    #[arg(long)]
    pub json: bool,
}

/// The connection options of the operator's commands. The key comes from the environment only,
/// because other users of the machine can see command lines.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Connection")]
pub struct AdminConnection {
    /// The server's URL, or unix:PATH for a socket in the file system. Without a scheme it is http
    /// for this machine, and https for others. The admin key is read from KENNING_ADMIN_KEY, or
    /// else from KENNING_KEY
    #[arg(long, env = "KENNING_SERVER", value_name = "URL", default_value = DEFAULT_SERVER)]
    pub server: String,

    /// File with certificates in PEM that are trusted besides the system's, for https
    #[arg(long, env = "KENNING_CA", value_name = "FILE")]
    pub ca: Option<PathBuf>,

    /// Deadline for the server in milliseconds; the server may enforce a shorter one
    #[arg(long, env = "KENNING_TIMEOUT_MS", value_name = "MS")]
    pub timeout_ms: Option<NonZeroU32>,

    /// Print the server's JSON unchanged, including errors
    #[arg(long)]
    pub json: bool,
}

/// The first of these secrets that the environment has. One that cannot be read has ended the
/// program before.
fn key_of_environment(names: &[&'static str]) -> Option<Key> {
    let held = names.iter().find_map(|name| secret(name).ok().flatten())?;
    Some(Key(first_key(&held).to_owned()))
}

/// A server may have several admin keys in one variable or file, of which any will do.
fn first_key(held: &str) -> &str {
    let mut keys = held.split([',', '\n']).map(str::trim).filter(|key| !key.is_empty());
    keys.next().unwrap_or(held)
}

impl Connection {
    /// For a tenant's commands: the key may be in the file that the environment names.
    pub(crate) fn into_tenant(self) -> Self {
        Self { key: self.key.or_else(|| key_of_environment(&["KENNING_KEY"])), ..self }
    }

    /// For operator commands on a tenant's guests: prefers the admin key, if there is one.
    pub(crate) fn into_admin(self) -> Self {
        let tenant = self.into_tenant();
        let key = key_of_environment(&["KENNING_ADMIN_KEY"]).or_else(|| tenant.key.clone());
        Self { key, ..tenant }
    }
}

impl From<&AdminConnection> for Connection {
    fn from(admin: &AdminConnection) -> Self {
        let key = key_of_environment(&["KENNING_ADMIN_KEY", "KENNING_KEY"]);
        Self {
            server: admin.server.clone(),
            ca: admin.ca.clone(),
            tenant: None,
            key,
            timeout_ms: admin.timeout_ms,
            json: admin.json,
        }
    }
}

/// A secret; its `Debug` output does not reveal it.
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

/// A command's own arguments and its connection options.
#[derive(Clone, Debug, clap::Args)]
pub struct Call<A: clap::Args> {
    /// The command's own arguments.
    #[command(flatten)]
    pub args: A,
    /// The connection options.
    #[command(flatten)]
    pub connection: Connection,
}
