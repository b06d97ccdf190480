//! A certificate and its key, read from their files and checked against each other.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail, ensure};
use chrono::{DateTime, SecondsFormat, Utc};
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_cert::der::Decode;

use super::files::TlsFiles;

/// A certificate that expires within this time is warned of.
const SOON: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// From when until when a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// Not before this time.
    pub from: SystemTime,
    /// Not after this time.
    pub until: SystemTime,
}

impl Validity {
    /// The end of the validity in RFC 3339.
    pub fn expires(&self) -> String {
        DateTime::<Utc>::from(self.until).to_rfc3339_opts(SecondsFormat::Secs, true)
    }

    /// Whether `now` is within it.
    pub fn is_valid(&self, now: SystemTime) -> bool {
        (self.from..=self.until).contains(&now)
    }

    /// What is to be said of the validity at `now`, if anything.
    pub fn warning(&self, now: SystemTime) -> Option<String> {
        let expires = self.expires();
        if now < self.from {
            let from = DateTime::<Utc>::from(self.from).to_rfc3339_opts(SecondsFormat::Secs, true);
            Some(format!("is not valid before {from}: look at the clocks"))
        } else if now > self.until {
            Some(format!("expired at {expires}: callers refuse it"))
        } else if now + SOON > self.until {
            Some(format!("expires soon, at {expires}"))
        } else {
            None
        }
    }
}

/// What is served, and until when.
#[derive(Debug)]
pub(super) struct Certificate {
    pub(super) key: Arc<CertifiedKey>,
    pub(super) validity: Validity,
}

impl Certificate {
    /// Reads and checks both files.
    ///
    /// # Errors
    /// Says which file is wrong, and how.
    pub(super) fn read(files: &TlsFiles) -> anyhow::Result<Self> {
        let chain = chain(&files.certificate)?;
        let validity = validity(&chain[0]).with_context(|| {
            format!("--tls-cert {}: the first certificate", files.certificate.display())
        })?;
        let key = private_key(&files.key)?;
        let named = || format!("--tls-key {}", files.key.display());
        let key = any_supported_type(&key).with_context(named)?;
        let certified = CertifiedKey::new(chain, key);
        if let Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch)) =
            certified.keys_match()
        {
            bail!(
                "{}: this key does not belong to the certificate in {}",
                named(),
                files.certificate.display()
            );
        }
        Ok(Self { key: Arc::new(certified), validity })
    }

    /// Warns of what will be trouble, and tells the metrics.
    pub(super) fn report(&self, files: &TlsFiles) {
        if let Some(warning) = self.validity.warning(SystemTime::now()) {
            tracing::warn!("the certificate in {} {warning}", files.certificate.display());
        }
        if let Some(warning) = files.exposed() {
            tracing::warn!("{warning}");
        }
        let until = self.validity.until.duration_since(UNIX_EPOCH).unwrap_or_default();
        metrics::gauge!("kenning_tls_certificate_expires_seconds").set(until.as_secs_f64());
    }
}

fn chain(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let name = path.display();
    let text = fs::read(path).with_context(|| format!("--tls-cert {name}: cannot read it"))?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let chain = chain.with_context(|| format!("--tls-cert {name} is not PEM"))?;
    ensure!(
        !chain.is_empty(),
        "--tls-cert {name} holds no certificate in PEM, which begins with BEGIN CERTIFICATE"
    );
    Ok(chain)
}

fn private_key(path: &Path) -> anyhow::Result<PrivateKeyDer<'static>> {
    let name = path.display();
    let text = fs::read(path).with_context(|| format!("--tls-key {name}: cannot read it"))?;
    if String::from_utf8_lossy(&text).contains("BEGIN ENCRYPTED PRIVATE KEY") {
        bail!(
            "--tls-key {name} is encrypted, and there is nobody to ask for its password; decrypt \
             it with `openssl pkey` into a file that only this user can read"
        );
    }
    PrivateKeyDer::from_pem_slice(&text).with_context(|| {
        format!("--tls-key {name} holds no private key in PEM, which begins with BEGIN PRIVATE KEY")
    })
}

fn validity(certificate: &CertificateDer<'_>) -> anyhow::Result<Validity> {
    let read = x509_cert::Certificate::from_der(certificate)
        .map_err(|error| anyhow::anyhow!("it cannot be read: {error}"))?;
    let at = |time: x509_cert::time::Time| UNIX_EPOCH + time.to_unix_duration();
    let validity = read.tbs_certificate.validity;
    Ok(Validity { from: at(validity.not_before), until: at(validity.not_after) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_validity_that_is_over_or_nearly_so_is_warned_of() {
        let day = Duration::from_secs(24 * 60 * 60);
        let now = UNIX_EPOCH + 10_000 * day;
        let said = |from, until| Validity { from, until }.warning(now).unwrap_or_default();
        assert_eq!(said(now - day, now + 90 * day), "");
        assert!(said(now - day, now + day).contains("expires soon, at 1997-05-20T"));
        assert!(said(now - 2 * day, now - day).contains("expired at"));
        assert!(said(now + day, now + 90 * day).contains("not valid before"));
    }
}
