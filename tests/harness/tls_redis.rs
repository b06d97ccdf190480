//! A Redis that is reached over TLS, with certificates on both sides.

use std::path::Path;

use kenning_storage::testing::{Authority, RedisServer, free_port};
use tempfile::TempDir;

/// The Redis, and what a server is told of it.
pub struct TlsRedis {
    pub redis: RedisServer,
    pub url: String,
    /// The files, as variables of a server's environment.
    pub environment: Vec<(&'static str, String)>,
    pub _files: TempDir,
}

impl TlsRedis {
    /// Starts it; it takes no connection without a certificate that its authority signed.
    ///
    /// # Panics
    /// Where the Redis cannot be started.
    pub fn start() -> Self {
        let files = TempDir::new().expect("a temporary directory");
        let authority = Authority::new("an authority of the tests");
        let ca = shown(&authority.write(files.path(), "ca.crt"));
        let (cert, key) = authority.issue(&["127.0.0.1"]).write(files.path(), "server");
        let (cert, key) = (shown(&cert), shown(&key));
        let port = free_port().to_string();
        let redis = RedisServer::start_with_options(&[
            "--tls-port",
            &port,
            "--tls-ca-cert-file",
            &ca,
            "--tls-cert-file",
            &cert,
            "--tls-key-file",
            &key,
        ]);
        let (cert, key) = authority.issue(&["kenning"]).write(files.path(), "client");
        let environment = vec![
            ("KENNING_STORAGE_CA", ca),
            ("KENNING_STORAGE_CERT", shown(&cert)),
            ("KENNING_STORAGE_KEY", shown(&key)),
        ];
        let url = format!("rediss://127.0.0.1:{port}");
        Self { redis, url, environment, _files: files }
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
