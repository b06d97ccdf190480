//! `kenning mcp`: the Model Context Protocol on standard input and output.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::BoolishValueParser;
use clap::{Arg, Args};
use kenning_client::secret;

use super::output;
use crate::bridge::{self, ServerPlace};
use crate::config::{Config, Settings};
use crate::mcp::{Options, Profile};

/// What is logged, unless a setting says otherwise: clients show it to people.
const LOG: &str = "warn";

pub(super) const HELP: &str = "\
Without --server, the server that has the data directory open is used: `kenning serve`, or the
`kenning mcp` of another client. If there is none, this process serves; when it ends, another
client's process goes on.

A client's settings, such as Claude Desktop's:
  {\"mcpServers\": {\"kenning\": {\"command\": \"kenning\", \"args\": [\"mcp\"]}}}";

/// Settings of `kenning serve` that have no effect here: this process listens on no port.
const UNUSED: [&str; 6] =
    ["listen", "tls_cert", "tls_key", "allowed_hosts", "allowed_origins", "trusted_proxies"];

/// Leaves arguments without effect out of the help.
pub(super) fn hide_unused(argument: Arg) -> Arg {
    let is_unused = UNUSED.contains(&argument.get_id().as_str());
    if is_unused { argument.hide(true) } else { argument }
}

/// Where the server is, and what the client may do.
#[derive(Args)]
pub(super) struct Mcp {
    /// The URL of a server, or unix:PATH, instead of the data directory's
    #[arg(long, env = "KENNING_SERVER", value_name = "URL")]
    server: Option<String>,
    /// File with certificates in PEM that are trusted besides the system's, for https
    #[arg(long, env = "KENNING_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The tenant, for a server without keys [default: default]
    #[arg(long, env = "KENNING_TENANT", value_name = "TENANT")]
    tenant: Option<String>,
    /// The tenant's key. Prefer the environment variable: other users of this machine can see
    /// command lines
    #[arg(long, env = "KENNING_KEY", value_name = "KEY", hide_env_values = true)]
    key: Option<String>,
    /// Offer only the tools that read
    #[arg(
        long,
        env = "KENNING_MCP_READ_ONLY",
        num_args = 0..=1,
        require_equals = true,
        default_value = "false",
        default_missing_value = "true",
        value_name = "BOOL",
        value_parser = BoolishValueParser::new(),
    )]
    read_only: bool,
    /// Which tools there are [default: facts]
    #[arg(long, env = "KENNING_MCP_PROFILE", value_name = "PROFILE")]
    profile: Option<Profile>,
    /// Import a file of the reference memory server, print what it held, and exit
    #[arg(long, value_name = "FILE.jsonl")]
    import_memory: Option<PathBuf>,
    #[command(flatten)]
    settings: Box<Settings>,
    /// A configuration file; its keys have the names of the flags
    #[arg(long, env = "KENNING_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Passes messages on until the client leaves.
///
/// # Errors
/// When the settings are wrong, or a standard stream cannot be used.
pub(super) async fn run(mcp: Mcp, warnings: Vec<String>) -> anyhow::Result<ExitCode> {
    let Mcp { server, ca, tenant, key, read_only, .. } = mcp;
    let Mcp { profile, import_memory, mut settings, config, .. } = mcp;
    if settings.log.is_none() && config.is_none() {
        settings.log = Some(LOG.into());
    }
    let server = match server.filter(|url| !url.is_empty()) {
        Some(address) => {
            let log = settings.log.unwrap_or_else(|| LOG.into());
            ServerPlace::Remote { address, ca, log }
        }
        None => {
            let mut config = Config::load(*settings, config.as_deref())?;
            config.warnings.extend(warnings);
            ServerPlace::Directory(Box::new(config))
        }
    };
    let key = key.map_or_else(|| secret("KENNING_KEY"), |key| Ok(Some(key)))?;
    let options = Options { read_only, profile: profile.unwrap_or_default() };
    let settings = bridge::Settings { server, tenant, key, options };
    match import_memory {
        None => bridge::run(settings).await?,
        Some(file) => output::print(&bridge::import_memory(settings, &file).await?)?,
    }
    Ok(ExitCode::SUCCESS)
}
