//! Which server, and where it is installed.

use std::fmt;
use std::path::{Path, PathBuf};

/// The releases that are tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// Debian's, with TLS.
    Redis7,
    /// The last before 7.
    Redis62,
    /// The one of other makers.
    Valkey9,
}

impl Release {
    /// The server's program.
    pub fn program(self) -> PathBuf {
        match self {
            Self::Redis7 => PathBuf::from("redis-server"),
            Self::Redis62 => installed("redis-6.2"),
            Self::Valkey9 => installed("valkey-9"),
        }
    }

    pub(super) fn how_to_install(self) -> &'static str {
        match self {
            Self::Redis7 => "install the package redis-server",
            Self::Redis62 | Self::Valkey9 => "`make redis` installs it",
        }
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Redis7 => "redis-server",
            Self::Redis62 => "Redis 6.2",
            Self::Valkey9 => "Valkey 9",
        })
    }
}

/// Where `make redis` puts what comes in Python's packages.
fn installed(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.join("target/languages/servers").join(name)
}
