//! Looks at a storage without changing it: `kenning doctor`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use crate::open::embedded;
use crate::redis::Redis;
use crate::{Layout, OpenError, StorageError, StorageLimits};

/// What a storage is, as far as it can be seen from outside.
#[derive(Clone, Debug)]
pub enum Inspection {
    /// A file on this machine.
    Embedded {
        /// The file, which need not exist.
        file: PathBuf,
        /// Its size, if it exists.
        bytes: Option<u64>,
    },
    /// A Redis server.
    Redis(RedisInspection),
}

/// What a Redis server says of itself.
#[derive(Clone, Debug)]
pub struct RedisInspection {
    /// The fields of its `INFO`.
    pub info: BTreeMap<String, String>,
    /// Its clock, if it says, less this machine's; to within half of `round_trip`.
    pub clock_ahead: Option<f64>,
    /// How long it took to answer.
    pub round_trip: Duration,
}

/// Why a storage could not be looked at. Messages contain no credentials.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// It cannot be used as it is.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It does not answer.
    #[error(transparent)]
    Ask(#[from] StorageError),
}

/// Looks at the storage that `url` names. Must be called within a tokio runtime.
///
/// # Errors
/// If the address is wrong, or the server does not answer or refuses.
pub async fn inspect(
    url: &str,
    layout: Layout,
    limits: StorageLimits,
) -> Result<Inspection, InspectError> {
    if let Some(directory) = embedded(url, layout)? {
        let file = directory.join("facts.redb");
        let bytes = std::fs::metadata(&file).ok().map(|found| found.len());
        return Ok(Inspection::Embedded { file, bytes });
    }
    crate::open::supported(url)?;
    let redis = Redis::open_to_read(url, limits).await?;
    Ok(Inspection::Redis(redis.inspect().await?))
}

/// The fields of a reply to `INFO`.
pub(crate) fn fields(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let pairs = lines.filter_map(|line| line.split_once(':'));
    pairs.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()
}

/// A time as `TIME` says it, less `now`, in seconds.
pub(crate) fn ahead(seconds: i64, microseconds: i64, now: SystemTime) -> f64 {
    let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    seconds as f64 + microseconds as f64 / 1e6 - now
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_without_headings() {
        let read = fields("# Server\r\nredis_version:7.2.4\r\n\r\n# Memory\r\nused_memory:1\r\n");
        assert_eq!(read.len(), 2);
        assert_eq!(read["redis_version"], "7.2.4");
    }

    #[test]
    fn a_clock_is_ahead_by_the_difference() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        assert!((ahead(1_002, 500_000, now) - 2.5).abs() < 1e-6);
        assert!((ahead(999, 0, now) + 1.0).abs() < 1e-6);
    }
}
