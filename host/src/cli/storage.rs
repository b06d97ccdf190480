//! The flags of commands that open a storage themselves.

use std::path::PathBuf;

use clap::Args;
use kenning_storage::Layout;

use crate::config::{Config, LayoutWord, Settings};

/// Which storage; the same settings as `kenning serve` has.
#[derive(Args)]
pub(super) struct StorageFlags {
    /// Where facts live, in every form that `kenning serve` takes
    /// [default: embedded, under the data directory]
    #[arg(long, env = "KENNING_STORAGE", value_name = "URL", hide_env_values = true)]
    pub(super) storage: Option<String>,
    /// The certificates of the authorities to trust for Redis over TLS [default: the system's]
    #[arg(long, env = "KENNING_STORAGE_CA", value_name = "FILE")]
    storage_ca: Option<PathBuf>,
    /// The certificate to show to Redis over TLS
    #[arg(long, env = "KENNING_STORAGE_CERT", value_name = "FILE")]
    storage_cert: Option<PathBuf>,
    /// The private key of that certificate
    #[arg(long, env = "KENNING_STORAGE_KEY", value_name = "FILE")]
    storage_key: Option<PathBuf>,
    /// How facts are laid out in Redis [default: tenant]
    #[arg(long, env = "KENNING_LAYOUT", value_name = "LAYOUT")]
    layout: Option<LayoutWord>,
    /// Directory for facts and compiled components [default: ~/.local/share/kenning]
    #[arg(long, env = "KENNING_DATA_DIR", value_name = "DIR")]
    pub(super) data_dir: Option<PathBuf>,
    /// A configuration file; its keys have the names of the flags
    #[arg(long, env = "KENNING_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

impl StorageFlags {
    /// The settings, and the layout.
    ///
    /// # Errors
    /// When they are wrong.
    pub(super) fn load(self) -> anyhow::Result<(Config, Layout)> {
        let Self { storage, storage_ca, storage_cert, storage_key, layout, data_dir, config } =
            self;
        let storage =
            Settings { storage, storage_ca, storage_cert, storage_key, ..Settings::default() };
        let flags = Settings { layout, data_dir, ..storage };
        let config = Config::load(flags, config.as_deref())?;
        let layout = match config.layout {
            LayoutWord::Tenant => Layout::Tenant,
            LayoutWord::Flat => Layout::Flat,
        };
        Ok((config, layout))
    }
}
