//! Verifies everything that is stored, without a server: `kenning verify`.

use std::path::Path;

use crate::embedded::verify as embedded;
use crate::open::supported;
use crate::redis::verify as redis;
use crate::{Layout, OpenError, Report, TlsFiles};

/// Verifies the storage that `url` names: every record's checksum, where records have one, whether
/// it can be decoded, and whether the records agree with each other. Changes nothing.
///
/// An embedded storage must not be in use. Must be called within a tokio runtime.
///
/// # Errors
/// As [`open`](crate::open), and if the storage does not exist or cannot be read.
pub async fn verify(url: &str, layout: Layout, tls: &TlsFiles) -> Result<Report, OpenError> {
    match url.strip_prefix("embedded:") {
        Some(dir) => embedded::verify(Path::new(dir)).await,
        None => {
            supported(url)?;
            redis::verify(url, layout, tls).await
        }
    }
}
