//! A Redis that is reached over TLS, with certificates on both sides.

use std::path::Path;

use kenning_storage::testing::{Authority, RedisServer, free_port};
use tempfile::TempDir;

/// Certificates of one authority, for servers of Redis and for what connects to them.
pub struct RedisCertificates {
    /// The files, as options of `redis-server`.
    pub options: Vec<String>,
    /// The files, as variables of a server's environment.
    pub environment: Vec<(&'static str, String)>,
    pub _files: TempDir,
}

impl RedisCertificates {
    /// Makes them, for servers at 127.0.0.1.
    ///
    /// # Panics
    /// Where they cannot be written.
    pub fn make() -> Self {
        let files = TempDir::new().expect("a temporary directory");
        let authority = Authority::new("an authority of the tests");
        let ca = shown(&authority.write(files.path(), "ca.crt"));
        let (cert, key) = authority.issue(&["127.0.0.1"]).write(files.path(), "server");
        let options = [
            ("--tls-ca-cert-file", ca.clone()),
            ("--tls-cert-file", shown(&cert)),
            ("--tls-key-file", shown(&key)),
        ];
        let options = options.into_iter().flat_map(|(name, file)| [name.to_owned(), file]);
        let (cert, key) = authority.issue(&["kenning"]).write(files.path(), "client");
        let environment = vec![
            ("KENNING_STORAGE_CA", ca),
            ("KENNING_STORAGE_CERT", shown(&cert)),
            ("KENNING_STORAGE_KEY", shown(&key)),
        ];
        Self { options: options.collect(), environment, _files: files }
    }

    /// The options as `redis-server` is given them.
    pub fn options(&self) -> Vec<&str> {
        self.options.iter().map(String::as_str).collect()
    }
}

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
        let certificates = RedisCertificates::make();
        let port = free_port().to_string();
        let redis = RedisServer::start_with_options(
            &[vec!["--tls-port", port.as_str()], certificates.options()].concat(),
        );
        let url = format!("rediss://127.0.0.1:{port}");
        let RedisCertificates { environment, _files, .. } = certificates;
        Self { redis, url, environment, _files }
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
