//! A client that trusts whom this machine trusts.
//!
//! The platform's certificates, through `rustls` (which also honours `SSL_CERT_FILE` and
//! `SSL_CERT_DIR`), with `ring` for the cryptography: pure Rust and a little C and assembly, built
//! in seconds where `reqwest`'s own choice, `aws-lc-rs`, takes minutes.

use std::error::Error;

use reqwest::{Certificate, Client};

use crate::limits::Limits;

/// Makes `ring` the cryptography of this process's TLS, unless one was chosen before.
///
/// `reqwest` is built without a provider of its own, and then building a client panics until one
/// is installed. So whoever builds a [`reqwest::Client`] calls this first.
pub fn install_tls_provider() {
    // An error means that there is one already, which will do.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Client with this machine's certificates and proxies; `PIP_CERT` and `REQUESTS_CA_BUNDLE` add to
/// them, as the address came from pip.
pub(crate) fn client(limits: &Limits) -> Result<Client, String> {
    install_tls_provider();
    let builder = Client::builder()
        .connect_timeout(limits.connect)
        .read_timeout(limits.idle)
        .tls_certs_merge(pip_certificates());
    builder.build().map_err(|error| causes(&error))
}

/// Certificates that cannot be read are left out: the handshake says what is missing.
fn pip_certificates() -> Vec<Certificate> {
    let files = ["PIP_CERT", "REQUESTS_CA_BUNDLE"].into_iter().filter_map(std::env::var_os);
    let bundles = files.filter_map(|file| std::fs::read(file).ok());
    bundles.filter_map(|pem| Certificate::from_pem_bundle(&pem).ok()).flatten().collect()
}

/// Whether the server's certificate was turned down.
pub(crate) fn is_untrusted(error: &reqwest::Error) -> bool {
    matches!(tls_error(error), Some(rustls::Error::InvalidCertificate(_)))
}

/// What `rustls` said. It comes inside I/O errors, whose `source` leaves out what they wrap.
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
