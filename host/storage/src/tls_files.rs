//! The files that TLS to a backend needs.

use std::path::PathBuf;

/// Files in PEM, for addresses of Redis with TLS. They are read again for each new connection, so
/// that renewed certificates are used without a restart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificates of the authorities to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// The certificate to show to the server, with those between it and its authority.
    pub cert: Option<PathBuf>,
    /// The private key of `cert`.
    pub key: Option<PathBuf>,
}

impl TlsFiles {
    /// Whether any file is named.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
