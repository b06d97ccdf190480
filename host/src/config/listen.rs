//! Where to serve.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use anyhow::{Context, ensure};

use super::LISTEN;

/// How the path of a socket is told from an address.
const UNIX: &str = "unix:";

/// An address to serve on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// A TCP port.
    Tcp(SocketAddr),
    /// A socket in the file system.
    Unix(PathBuf),
}

impl Listen {
    /// Reads `HOST:PORT` or `unix:PATH`.
    ///
    /// # Errors
    /// When it is neither.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        if let Some(path) = text.strip_prefix(UNIX) {
            // As URLs write it.
            let path = path.strip_prefix("//").unwrap_or(path);
            ensure!(!path.is_empty(), "--listen {text:?} names no path, as unix:/run/kenning.sock");
            return Ok(Self::Unix(path.into()));
        }
        let mut addresses = text
            .to_socket_addrs()
            .with_context(|| format!("--listen {text:?} is not an address such as {LISTEN}"))?;
        let address = addresses.next();
        address.map(Self::Tcp).with_context(|| format!("--listen {text:?} names no address"))
    }

    /// Whether only programs on this machine can reach it.
    pub fn is_loopback(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}
