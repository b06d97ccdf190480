//! TLS for the server: the certificate is read at the start, and again whenever its files change.

mod certificate;
mod files;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::server::{ClientHello, ResolvesServerCert, ServerConfig};
use rustls::sign::CertifiedKey;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;

use crate::server::H2;
use certificate::Certificate;
pub use certificate::Validity;
use files::Fingerprint;
pub use files::TlsFiles;

/// How often it is looked whether the files have changed.
const POLL: Duration = Duration::from_secs(2);

/// The server's certificate, as it is now.
pub struct Tls {
    files: TlsFiles,
    served: Arc<Served>,
    /// Of the files that were looked at last, and why they are not served.
    last: Mutex<(Fingerprint, Option<String>)>,
}

/// What each new connection is given.
#[derive(Debug)]
struct Served(ArcSwap<Certificate>);

impl ResolvesServerCert for Served {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load().key.clone())
    }
}

impl Tls {
    /// Reads the certificate and its key.
    ///
    /// # Errors
    /// Says which file is wrong, and how.
    pub fn open(files: TlsFiles) -> anyhow::Result<Self> {
        let fingerprint = files.fingerprint();
        let certificate = Certificate::read(&files)?;
        certificate.report(&files);
        let served = Arc::new(Served(ArcSwap::from_pointee(certificate)));
        Ok(Self { files, served, last: Mutex::new((fingerprint, None)) })
    }

    /// What makes the handshakes: TLS 1.2 and 1.3, with HTTP/2 and HTTP/1.1.
    ///
    /// # Errors
    /// When the cryptography provider has no protocol in common with them.
    pub fn acceptor(&self) -> anyhow::Result<TlsAcceptor> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(self.served.clone());
        config.alpn_protocols = vec![H2.to_vec(), b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Until when the certificate in use is valid.
    pub fn validity(&self) -> Validity {
        self.served.0.load().validity
    }

    /// Why the files are not what is served, if they are not.
    pub fn problem(&self) -> Option<String> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
    }

    /// Reads the files again whenever they change, and on SIGHUP; never ends. Files that cannot be
    /// used change nothing.
    pub async fn follow(self: Arc<Self>) {
        let mut hangup = signal(SignalKind::hangup()).ok();
        loop {
            let asked = async {
                match &mut hangup {
                    Some(signal) => signal.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = sleep(POLL) => {}
                _ = asked => {}
            }
            let tls = self.clone();
            if tokio::task::spawn_blocking(move || tls.reload()).await.is_err() {
                tracing::error!("the certificate's files could not be looked at");
            }
        }
    }

    fn reload(&self) {
        let fingerprint = self.files.fingerprint();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        // Of a certificate and a key, one is replaced first: what failed is tried again.
        if last.0 == fingerprint && last.1.is_none() {
            return;
        }
        let is_new = last.0 != fingerprint;
        *last = match Certificate::read(&self.files) {
            Ok(certificate) => {
                certificate.report(&self.files);
                self.served.0.store(Arc::new(certificate));
                count("loaded");
                let file = self.files.certificate.display();
                tracing::info!("certificate loaded from {file}");
                (fingerprint, None)
            }
            Err(error) => {
                let problem = format!("{error:#}");
                if is_new {
                    count("refused");
                    tracing::error!(
                        "the new certificate is not used, the old one still is: {problem}"
                    );
                }
                (fingerprint, Some(problem))
            }
        };
    }
}

fn count(result: &'static str) {
    metrics::counter!("kenning_tls_certificate_loads_total", "result" => result).increment(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAF: &str = include_str!("testdata/leaf.pem");
    const LEAF_KEY: &str = include_str!("testdata/leaf.key.pem");
    const OTHER: &str = include_str!("testdata/other.pem");
    const OTHER_KEY: &str = include_str!("testdata/other.key.pem");

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new(certificate: &str, key: &str) -> Self {
            let folder = Self(tempfile::tempdir().unwrap());
            folder.write(certificate, key);
            folder
        }

        fn files(&self) -> TlsFiles {
            let at = |name| self.0.path().join(name);
            TlsFiles { certificate: at("cert.pem"), key: at("key.pem") }
        }

        fn write(&self, certificate: &str, key: &str) {
            let files = self.files();
            std::fs::write(files.certificate, certificate).unwrap();
            std::fs::write(files.key, key).unwrap();
        }
    }

    fn refusal(certificate: &str, key: &str) -> String {
        let folder = Folder::new(certificate, key);
        format!("{:#}", Tls::open(folder.files()).err().unwrap())
    }

    #[test]
    fn files_that_do_not_fit_are_refused_with_the_reason() {
        Tls::open(Folder::new(LEAF, LEAF_KEY).files()).unwrap();
        for (certificate, key, said) in [
            (LEAF, OTHER_KEY, "does not belong to the certificate"),
            (LEAF_KEY, LEAF_KEY, "holds no certificate"),
            (LEAF, LEAF, "holds no private key"),
            ("", LEAF_KEY, "holds no certificate"),
            (LEAF, "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END", "is encrypted"),
        ] {
            let refusal = refusal(certificate, key);
            assert!(refusal.contains(said), "{refusal}");
        }
        let nowhere = TlsFiles { certificate: "/nowhere/c".into(), key: "/nowhere/k".into() };
        assert!(format!("{:#}", Tls::open(nowhere).err().unwrap()).contains("/nowhere/c"));
    }

    #[test]
    fn changed_files_are_served_and_bad_ones_are_not() {
        let folder = Folder::new(LEAF, LEAF_KEY);
        let tls = Tls::open(folder.files()).unwrap();
        let first = tls.served.0.load().key.cert.clone();
        tls.reload();
        assert_eq!(tls.served.0.load().key.cert, first);
        // A new certificate whose key is not there yet.
        folder.write(&format!("{OTHER}\n"), LEAF_KEY);
        tls.reload();
        assert_eq!(tls.served.0.load().key.cert, first);
        assert!(tls.problem().unwrap().contains("does not belong"));
        folder.write(&format!("{OTHER}\n"), &format!("{OTHER_KEY}\n"));
        tls.reload();
        assert_ne!(tls.served.0.load().key.cert, first);
        assert_eq!(tls.problem(), None);
    }

    #[test]
    fn a_certificate_says_until_when_it_is_valid() {
        let tls = Tls::open(Folder::new(LEAF, LEAF_KEY).files()).unwrap();
        assert!(tls.validity().until > tls.validity().from);
        assert!(tls.acceptor().is_ok());
    }
}
