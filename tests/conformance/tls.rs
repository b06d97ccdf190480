//! Redis over TLS: whom it trusts, as whom it speaks, and what is said of what is wrong.

use std::path::PathBuf;
use std::sync::Arc;

use kenning_storage::testing::{Authority, Issued, RedisServer, free_port};
use kenning_storage::{Layout, Storage, StorageError, StorageLimits, TlsFiles, check, open};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::tools::*;

/// A Redis with a port for TLS besides its own, and an authority that signed its certificate.
pub(crate) struct TlsServer {
    pub(crate) redis: RedisServer,
    /// Where certificates and keys are.
    pub(crate) dir: TempDir,
    port: u16,
    authority: Authority,
}

impl TlsServer {
    pub(crate) fn start(options: &[&str]) -> Self {
        let authority = Authority::new("an authority of the tests");
        let issued = authority.issue(&["localhost", "127.0.0.1"]);
        Self::start_with(authority, &issued, options)
    }

    fn start_with(authority: Authority, issued: &Issued, options: &[&str]) -> Self {
        let dir = TempDir::new().unwrap();
        let text = |path: PathBuf| path.to_str().unwrap().to_owned();
        let (certificate, key) = issued.write(dir.path(), "server");
        let (certificate, key) = (text(certificate), text(key));
        let ca = text(authority.write(dir.path(), "ca.crt"));
        let port = free_port();
        let port_text = port.to_string();
        let mut all = vec!["--tls-port", &port_text, "--tls-ca-cert-file", &ca];
        all.extend(["--tls-cert-file", &certificate, "--tls-key-file", &key]);
        if options.is_empty() {
            all.extend(["--tls-auth-clients", "no"]);
        }
        all.extend_from_slice(options);
        let redis = RedisServer::start_with_options(&all);
        Self { redis, dir, port, authority }
    }

    pub(crate) fn url(&self) -> String {
        format!("rediss://127.0.0.1:{}", self.port)
    }

    /// The authority's certificate.
    fn files(&self) -> TlsFiles {
        let ca = self.authority.write(self.dir.path(), "trusted.crt");
        TlsFiles { ca: Some(ca), ..TlsFiles::default() }
    }

    /// The same with a client's certificate.
    pub(crate) fn files_with_certificate(&self) -> TlsFiles {
        let (cert, key) = self.authority.issue(&["kenning"]).write(self.dir.path(), "client");
        TlsFiles { cert: Some(cert), key: Some(key), ..self.files() }
    }

    /// Has the server show another certificate to those who connect from now on.
    fn show(&self, issued: &Issued, name: &str) {
        let (certificate, key) = issued.write(self.dir.path(), name);
        let certificate = certificate.display().to_string();
        let key = key.display().to_string();
        let set = ["CONFIG", "SET", "tls-cert-file", &certificate, "tls-key-file", &key];
        assert_eq!(self.redis.command(&set), "+OK\r\n");
    }

    /// Closes everyone's connections.
    fn hang_up(&self) {
        self.redis.command(&["CLIENT", "KILL", "TYPE", "normal"]);
    }
}

async fn connect(url: &str, tls: TlsFiles) -> Arc<dyn Storage> {
    open(url, Layout::Tenant, StorageLimits { tls, ..StorageLimits::default() }).await.unwrap()
}

/// What the first call is told.
async fn refusal(url: &str, tls: TlsFiles) -> String {
    unavailable(connect(url, tls).await.ping(later()).await)
}

async fn until_served(storage: &dyn Storage) {
    eventually("a call over TLS", || storage.ping(later()), Result::is_ok).await;
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused_with_what_to_do() {
    let server = TlsServer::start(&[]);
    until_served(&*connect(&server.url(), server.files()).await).await;
    let other = Authority::new("another authority");
    let ca = Some(other.write(server.dir.path(), "other.crt"));
    let message = refusal(&server.url(), TlsFiles { ca, ..TlsFiles::default() }).await;
    assert!(message.contains("another authority than --storage-ca names"), "{message}");
    // The system does not trust it either.
    let message = refusal(&server.url(), TlsFiles::default()).await;
    assert!(message.contains("--storage-ca"), "{message}");
}

#[tokio::test]
async fn a_certificate_that_expired_or_has_another_name_is_refused_with_what_to_do() {
    let server = TlsServer::start(&[]);
    server.show(&server.authority.issue_expired(&["127.0.0.1"]), "expired");
    let message = refusal(&server.url(), server.files()).await;
    assert!(message.contains("has expired"), "{message}");
    server.show(&server.authority.issue(&["redis.example"]), "elsewhere");
    let message = refusal(&server.url(), server.files()).await;
    assert!(message.contains("another name than the address has"), "{message}");
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_is_shown_one() {
    let server = TlsServer::start(&["--tls-auth-clients", "yes"]);
    until_served(&*connect(&server.url(), server.files_with_certificate()).await).await;
    let message = refusal(&server.url(), server.files()).await;
    assert!(message.contains("--storage-cert and --storage-key name"), "{message}");
    let other = Authority::new("another authority").issue(&["kenning"]);
    let (cert, key) = other.write(server.dir.path(), "other");
    let files = TlsFiles { cert: Some(cert), key: Some(key), ..server.files() };
    let message = refusal(&server.url(), files).await;
    assert!(message.contains("an authority that Redis does not trust"), "{message}");
}

/// The new certificate is of a new authority, whose file replaces the old one's.
#[tokio::test]
async fn renewed_certificates_are_used_without_a_restart() {
    let server = TlsServer::start(&["--tls-auth-clients", "yes"]);
    let files = server.files_with_certificate();
    let storage = connect(&server.url(), files.clone()).await;
    until_served(&*storage).await;
    let renewed = Authority::new("the next authority");
    server.show(&renewed.issue(&["127.0.0.1"]), "renewed");
    let trusted = renewed.write(server.dir.path(), "clients.crt").display().to_string();
    server.redis.command(&["CONFIG", "SET", "tls-ca-cert-file", &trusted]);
    // Connections that were made stay.
    storage.ping(later()).await.unwrap();
    server.hang_up();
    let refused = async || storage.ping(later()).await;
    let is_named = |answer: &Result<(), StorageError>| {
        answer.as_ref().is_err_and(|error| error.to_string().contains("--storage-ca names"))
    };
    eventually("the old authority is not enough", refused, is_named).await;
    std::fs::write(files.ca.unwrap(), std::fs::read(&trusted).unwrap()).unwrap();
    renewed.issue(&["kenning"]).write(server.dir.path(), "client");
    until_served(&*storage).await;
}

#[tokio::test]
async fn a_port_without_tls_and_one_with_it_are_told_apart() {
    let server = TlsServer::start(&[]);
    let plain = format!("rediss://127.0.0.1:{}", server.redis.port());
    let message = refusal(&plain, server.files()).await;
    assert!(message.contains("use redis://"), "{message}");
    let over_tls = format!("redis://127.0.0.1:{}", server.port);
    let message = refusal(&over_tls, TlsFiles::default()).await;
    assert!(message.contains("use rediss://"), "{message}");
}

/// As a proxy sees it that has several servers behind one port.
#[tokio::test]
async fn the_name_in_the_address_is_sent_to_the_server() {
    let server = TlsServer::start(&[]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("rediss://localhost:{}", listener.local_addr().unwrap().port());
    let to = server.port;
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let mut hello = vec![0; 4_096];
            let length = near.read(&mut hello).await.unwrap();
            hello.truncate(length);
            let mut far = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
            far.write_all(&hello).await.unwrap();
            let has_name = hello.windows(9).any(|part| part == b"localhost");
            // The test is over.
            let _ = tell.send(has_name);
            tokio::spawn(async move { copy_bidirectional(&mut near, &mut far).await });
        }
    });
    let storage = connect(&url, server.files()).await;
    until_served(&*storage).await;
    assert_eq!(told.recv().await, Some(true));
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named_before_anything_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = Authority::new("one").issue(&["a"]).write(dir.path(), "a");
    let (_, other) = Authority::new("two").issue(&["b"]).write(dir.path(), "b");
    let missing = dir.path().join("missing.crt");
    let files = |ca: &PathBuf, cert: Option<&PathBuf>, key: Option<&PathBuf>| TlsFiles {
        ca: Some(ca.clone()),
        cert: cert.cloned(),
        key: key.cloned(),
    };
    for (tls, named) in [
        (files(&missing, None, None), "--storage-ca"),
        (files(&key, None, None), "no certificate in PEM"),
        (files(&cert, Some(&cert), None), "belong together"),
        (files(&cert, Some(&cert), Some(&cert)), "--storage-key"),
        (files(&cert, Some(&cert), Some(&other)), "do not fit together"),
    ] {
        let error = check("rediss://h:1", Layout::Tenant, &tls).await.unwrap_err().to_string();
        assert!(error.contains(named), "{error}");
    }
    let tls = files(&cert, None, None);
    let error = check("redis://h:1", Layout::Tenant, &tls).await.unwrap_err().to_string();
    assert!(error.contains("--storage has none"), "{error}");
}
