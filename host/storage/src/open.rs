//! Opens the storage that an address names.

use std::path::Path;
use std::sync::Arc;

use crate::embedded::Embedded;
use crate::redis::Redis;
use crate::{Layout, OpenError, Storage, StorageLimits};

/// The supported addresses, for error messages.
const SUPPORTED: &str = "embedded:DIR or redis://[user:pass@]host:port[/db]";

/// Opens the storage that `url` names.
///
/// - `embedded:DIR` opens or creates `DIR/facts.redb`.
/// - `redis://[user:pass@]host:port[/db]` prepares connections to Redis. They are made on demand,
///   so opening succeeds while Redis is down and each operation reports whether it could reach it.
///   The protocol is RESP3 (Redis 6 and later), which reports a closed connection at once; append
///   `?protocol=resp2` for older servers.
///
/// [`Layout::Flat`] is for Redis only. `rediss://` and `redis+cluster://` are not supported yet.
///
/// Must be called within a tokio runtime.
///
/// # Errors
/// [`OpenError::Address`] if the address is malformed or not supported, [`OpenError::InUse`] if
/// another process has the directory open, [`OpenError::File`] if the directory or its file cannot
/// be used, [`OpenError::Refused`] if the data is of a newer version, or Redis evicts facts.
pub async fn open(
    url: &str,
    layout: Layout,
    limits: StorageLimits,
) -> Result<Arc<dyn Storage>, OpenError> {
    if let Some(dir) = embedded(url, layout)? {
        return Ok(Arc::new(Embedded::open(dir, limits).await?));
    }
    supported(url)?;
    Ok(Arc::new(Redis::open(url, layout, limits).await?))
}

/// Checks an address as [`open`] does, without opening a file or connecting.
///
/// Must be called within a tokio runtime.
///
/// # Errors
/// As [`open`], except for what only opening finds.
pub async fn check(url: &str, layout: Layout) -> Result<(), OpenError> {
    match embedded(url, layout)? {
        Some(dir) => Embedded::check(dir),
        None => supported(url).and_then(|()| Redis::check(url)),
    }
}

/// The directory that `url` names, if it is one of embedded storage.
pub(crate) fn embedded(url: &str, layout: Layout) -> Result<Option<&Path>, OpenError> {
    let refuse = |message: &str| Err(OpenError::Address(message.into()));
    match url.strip_prefix("embedded:") {
        Some(_) if layout == Layout::Flat => {
            refuse("the flat layout requires Redis; embedded storage does not have it")
        }
        Some("") => refuse("embedded: needs a directory, as in embedded:/var/lib/kenning"),
        dir => Ok(dir.map(Path::new)),
    }
}

/// Refuses an address that names neither the one storage nor the other.
pub(crate) fn supported(url: &str) -> Result<(), OpenError> {
    let refuse = |message: String| Err(OpenError::Address(message));
    if url.starts_with("redis://") {
        return Ok(());
    }
    if url.starts_with("rediss://") {
        return refuse("rediss:// (Redis over TLS) is not supported yet".into());
    }
    if url.starts_with("redis+cluster://") {
        return refuse("redis+cluster:// (Redis Cluster) is not supported yet".into());
    }
    refuse(format!("unsupported storage address; expected {SUPPORTED}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn refusal(url: &str, layout: Layout) -> String {
        match open(url, layout, StorageLimits::default()).await {
            Ok(_) => panic!("{url} was opened"),
            Err(error) => error.to_string(),
        }
    }

    #[tokio::test]
    async fn unsupported_addresses_are_refused_with_the_reason() {
        for (url, word) in [
            ("rediss://h:1", "rediss"),
            ("redis+cluster://h:1", "redis+cluster"),
            ("sqlite:x", "embedded:DIR"),
            ("", "embedded:DIR"),
            ("embedded:", "directory"),
        ] {
            let message = refusal(url, Layout::Tenant).await;
            assert!(message.contains(word), "{url}: {message}");
        }
        assert!(refusal("embedded:x", Layout::Flat).await.contains("flat"));
    }

    #[tokio::test]
    async fn refusals_contain_no_credentials() {
        for url in ["redis://u:hunter2@h:port", "rediss://u:hunter2@h", "postgres://u:hunter2@h"] {
            let message = refusal(url, Layout::Tenant).await;
            assert!(!message.contains("hunter2"), "{message}");
        }
    }
}
