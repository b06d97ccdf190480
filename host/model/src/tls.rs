//! An HTTP client with the platform's trusted certificates.
//!
//! `rustls` verifies them (and honours `SSL_CERT_FILE` and `SSL_CERT_DIR`), with `ring` as the
//! cryptography provider: it builds in seconds, while `reqwest`'s default, `aws-lc-rs`, takes
//! minutes.

use std::error::Error;

use reqwest::{Certificate, Client};

use crate::limits::Limits;

/// Installs `ring` as this process's TLS cryptography provider, unless one is installed already.
///
/// `reqwest` is compiled without a default provider, so building a client panics until one is
/// installed. Call this before building a [`reqwest::Client`].
///
/// ```
/// kenning_model::install_tls_provider();
/// kenning_model::install_tls_provider(); // The second call has no effect.
/// ```
pub fn install_tls_provider() {
    // An error means that a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// A client with this machine's certificates and proxies. The certificates in `PIP_CERT` and
/// `REQUESTS_CA_BUNDLE` are added, because the URL may come from pip.
pub(crate) fn client(limits: &Limits) -> Result<Client, String> {
    install_tls_provider();
    let builder = Client::builder()
        .connect_timeout(limits.connect)
        .read_timeout(limits.idle)
        .tls_certs_merge(pip_certificates());
    builder.build().map_err(|error| causes(&error))
}

/// Unreadable certificates are skipped: the TLS handshake then reports what is missing.
fn pip_certificates() -> Vec<Certificate> {
    let files = ["PIP_CERT", "REQUESTS_CA_BUNDLE"].into_iter().filter_map(std::env::var_os);
    let bundles = files.filter_map(|file| std::fs::read(file).ok());
    bundles.filter_map(|pem| Certificate::from_pem_bundle(&pem).ok()).flatten().collect()
}

/// Whether the server's certificate was rejected.
pub(crate) fn is_untrusted(error: &reqwest::Error) -> bool {
    matches!(tls_error(error), Some(rustls::Error::InvalidCertificate(_)))
}

/// The `rustls` error. It is wrapped in I/O errors, whose `source` skips the error they wrap.
fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let io = error.downcast_ref::<std::io::Error>();
    let wrapped = io.and_then(std::io::Error::get_ref).and_then(|inner| tls_error(inner));
    let own = error.downcast_ref::<rustls::Error>();
    own.or(wrapped).or_else(|| error.source().and_then(tls_error))
}

/// The error with its causes, without the URL, which may hold a password.
pub(crate) fn describe(error: reqwest::Error) -> String {
    causes(&error.without_url())
}

fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
