//! TLS to Redis: whom it trusts, as whom it speaks, and what went wrong.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use redis::{ErrorKind, RedisError};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio::task::spawn_blocking;
use tokio_rustls::TlsConnector;

use crate::{OpenError, StorageError, TlsFiles};

/// What TLS connections are made with.
pub(super) struct Tls {
    files: TlsFiles,
}

impl Tls {
    /// Checks the files, which are read again for each connection.
    pub(super) fn new(files: &TlsFiles) -> Result<Self, OpenError> {
        if files.cert.is_some() != files.key.is_some() {
            return Err(OpenError::Address(
                "--storage-cert and --storage-key belong together; one of them is missing".into(),
            ));
        }
        config(files).map_err(|reason| OpenError::Address(format!("TLS to Redis: {reason}")))?;
        Ok(Self { files: files.clone() })
    }

    /// A connector with what the files hold now.
    pub(super) async fn connector(&self) -> Result<TlsConnector, StorageError> {
        let files = self.files.clone();
        let config = spawn_blocking(move || config(&files)).await;
        let config = config.map_err(|error| StorageError::Unavailable(error.to_string()))?;
        config.map(TlsConnector::from).map_err(StorageError::Refused)
    }

    /// The name that the server must have, which is also sent to it unless it is an address.
    pub(super) fn name(host: &str) -> Result<ServerName<'static>, StorageError> {
        ServerName::try_from(host.to_owned()).map_err(|_| {
            StorageError::Refused(format!("{host:?} is no name that a certificate can have"))
        })
    }

    /// Why a handshake failed, and what to do.
    pub(super) fn explain(&self, error: &std::io::Error) -> StorageError {
        match tls_error(error) {
            Some(tls) => self.refused(tls),
            None => StorageError::Unavailable(format!(
                "the connection to Redis ended in the TLS handshake ({error}); if this port is not \
                 one for TLS, use redis://"
            )),
        }
    }

    /// The same for what a connection ended with afterwards: a server says only then that it does
    /// not accept the client's certificate. `None` if something else was the reason.
    pub(super) fn explain_later(&self, error: &RedisError) -> Option<StorageError> {
        match tls_error(error) {
            Some(tls) => Some(self.refused(tls)),
            // The connection may be gone before the reason arrives.
            None if error.kind() == ErrorKind::Io && !error.is_timeout() => {
                let reason = refusal(self.files.cert.is_some());
                Some(StorageError::Unavailable(format!("{reason} ({error})")))
            }
            None => None,
        }
    }

    fn refused(&self, error: &rustls::Error) -> StorageError {
        explain(error, self.files.ca.is_some(), self.files.cert.is_some())
    }
}

/// A client's settings, read from `files`.
fn config(files: &TlsFiles) -> Result<Arc<ClientConfig>, String> {
    let provider = CryptoProvider::get_default().cloned();
    let provider = provider.unwrap_or_else(|| Arc::new(ring::default_provider()));
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?;
    let builder = builder.with_root_certificates(match &files.ca {
        Some(path) => roots(path)?,
        None => system_roots()?,
    });
    let config = match (&files.cert, &files.key) {
        (Some(cert), Some(key)) => {
            let chain = certificates(cert, "--storage-cert")?;
            let key = PrivateKeyDer::from_pem_file(key)
                .map_err(|error| unreadable("--storage-key", key, &error, "private key"))?;
            builder.with_client_auth_cert(chain, key).map_err(|error| {
                format!("--storage-cert and --storage-key do not fit together: {error}")
            })?
        }
        _ => builder.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

fn roots(path: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path, "--storage-ca")? {
        roots.add(certificate).map_err(|error| {
            format!("--storage-ca {}: a certificate cannot be used: {error}", path.display())
        })?;
    }
    Ok(roots)
}

/// What cannot be read of the system's is left out, as long as anything is left.
fn system_roots() -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(
            "this system has no trusted certificates (the package ca-certificates); install \
                    them, or name the authority's certificate with --storage-ca"
                .into(),
        );
    }
    Ok(roots)
}

fn certificates(path: &Path, setting: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let found: Vec<_> = read.map_err(|error| unreadable(setting, path, &error, "certificate"))?;
    if found.is_empty() {
        return Err(format!("{setting} {}: there is no certificate in PEM", path.display()));
    }
    Ok(found)
}

fn unreadable(
    setting: &str,
    path: &Path,
    error: &rustls::pki_types::pem::Error,
    what: &str,
) -> String {
    use rustls::pki_types::pem::Error as Pem;
    let reason = match error {
        Pem::Io(error) => error.to_string(),
        Pem::NoItemsFound => format!("there is no {what} in PEM"),
        other => format!("this is no {what} in PEM: {other}"),
    };
    format!("{setting} {}: {reason}", path.display())
}

/// These last until somebody acts.
fn explain(error: &rustls::Error, has_ca: bool, has_cert: bool) -> StorageError {
    let reason = match error {
        rustls::Error::InvalidCertificate(wrong) => certificate(wrong, has_ca),
        rustls::Error::AlertReceived(alert) => format!("{} ({alert:?})", refusal(has_cert)),
        rustls::Error::InvalidMessage(_) => {
            "Redis does not speak TLS on this port; use redis://, or its TLS port".to_owned()
        }
        other => format!("TLS to Redis failed: {other}"),
    };
    StorageError::Refused(reason)
}

fn certificate(wrong: &CertificateError, has_ca: bool) -> String {
    use CertificateError as Wrong;
    match wrong {
        Wrong::UnknownIssuer if has_ca => "Redis shows a certificate of another authority than \
            --storage-ca names; name the file of the authority that signed it"
            .to_owned(),
        Wrong::UnknownIssuer => "Redis shows a certificate of an authority that this system does \
            not trust; name its certificate with --storage-ca"
            .to_owned(),
        Wrong::Expired | Wrong::ExpiredContext { .. } => {
            "the certificate of Redis has expired; renew it there".to_owned()
        }
        Wrong::NotValidYet | Wrong::NotValidYetContext { .. } => {
            "the certificate of Redis is not valid yet; set the clock, here or where it was made"
                .to_owned()
        }
        Wrong::NotValidForName | Wrong::NotValidForNameContext { .. } => {
            "the certificate of Redis is for another name than the address has; use a name or an \
             address that the certificate holds"
                .to_owned()
        }
        other => format!("the certificate of Redis is not accepted: {other:?}"),
    }
}

fn refusal(has_cert: bool) -> &'static str {
    match has_cert {
        true => {
            "Redis refused the TLS connection; the certificate of --storage-cert may have expired, \
             or be of an authority that Redis does not trust"
        }
        false => {
            "Redis refused the TLS connection; it may ask for a client's certificate, which \
             --storage-cert and --storage-key name"
        }
    }
}

/// The `rustls` error. It is wrapped in I/O errors, whose `source` skips the error they wrap, and
/// these in those of the client, which shares them.
fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    if let Some(shared) = error.downcast_ref::<Arc<dyn Error + Send + Sync>>() {
        return tls_error(&**shared);
    }
    let io = error.downcast_ref::<std::io::Error>();
    let wrapped = io.and_then(std::io::Error::get_ref).and_then(|inner| tls_error(inner));
    let own = error.downcast_ref::<rustls::Error>();
    own.or(wrapped).or_else(|| error.source().and_then(tls_error))
}
