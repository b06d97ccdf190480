//! Opens the storage that an address names.

use std::path::Path;
use std::sync::Arc;

use crate::embedded::Embedded;
use crate::redis::{FORMS, Redis};
use crate::{Layout, OpenError, Storage, StorageLimits, TlsFiles};

/// The schemes of Redis.
const SCHEMES: [&str; 7] = [
    "redis://",
    "rediss://",
    "redis+unix://",
    "redis+sentinel://",
    "rediss+sentinel://",
    "redis+cluster://",
    "rediss+cluster://",
];

/// Opens the storage that `url` names.
///
/// - `embedded:DIR` opens or creates `DIR/facts.redb`.
/// - `redis://[user:pass@]host:port[/db]` prepares connections to Redis. They are made on demand,
///   so opening succeeds while Redis is down and each operation reports whether it could reach it.
///   The protocol is RESP3 (Redis 6 and later), which reports a closed connection at once; append
///   `?protocol=resp2` for older servers.
///
/// - `rediss://…` is the same over TLS, with the files in [`StorageLimits::tls`].
/// - `redis+unix:///path[?db=N&user=…&pass=…]` is a socket on this machine.
/// - `redis+sentinel://[user:pass@]host:port[,…]/NAME[/db]` asks Sentinels for the master called
///   NAME, at each connection and once a second; `?sentinel_user=…&sentinel_password=…` says who is
///   asking them.
/// - `redis+cluster://[user:pass@]host:port[,…]` names some nodes of a cluster, which name the
///   others.
/// - `rediss+sentinel://` and `rediss+cluster://` are these over TLS.
///
/// [`Layout::Flat`] is for a single Redis or one behind Sentinels only.
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
pub async fn check(url: &str, layout: Layout, tls: &TlsFiles) -> Result<(), OpenError> {
    match embedded(url, layout)? {
        Some(dir) => Embedded::check(dir),
        None => supported(url).and_then(|()| Redis::check(url, layout, tls)),
    }
}

/// Waits a few seconds for an answer of the server that `url` names, whatever it is; for what would
/// otherwise wait much longer for its first step. An embedded storage needs no answer.
///
/// Must be called within a tokio runtime.
///
/// # Errors
/// As [`open`], and [`OpenError::Refused`] if the server does not answer.
pub async fn answers(url: &str, layout: Layout, tls: &TlsFiles) -> Result<(), OpenError> {
    if embedded(url, layout)?.is_some() {
        return Ok(());
    }
    supported(url)?;
    let limits = StorageLimits { tls: tls.clone(), ..StorageLimits::default() };
    Redis::open_to_read(url, limits).await?.answers().await
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
    if SCHEMES.iter().any(|scheme| url.starts_with(scheme)) {
        return Ok(());
    }
    Err(OpenError::Address(format!("unsupported storage address; expected embedded:DIR, {FORMS}")))
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
            ("redis+sentinel://h:1", "sentinel monitor"),
            ("redis+cluster://h:1/2", "no databases"),
            ("sqlite:x", "embedded:DIR"),
            ("", "embedded:DIR"),
            ("embedded:", "directory"),
        ] {
            let message = refusal(url, Layout::Tenant).await;
            assert!(message.contains(word), "{url}: {message}");
        }
        assert!(refusal("embedded:x", Layout::Flat).await.contains("flat"));
        assert!(refusal("redis+cluster://h:1", Layout::Flat).await.contains("single Redis"));
    }

    #[tokio::test]
    async fn refusals_contain_no_credentials() {
        for url in
            ["redis://u:hunter2@h:port", "rediss://u:hunter2@h:port", "postgres://u:hunter2@h"]
        {
            let message = refusal(url, Layout::Tenant).await;
            assert!(!message.contains("hunter2"), "{message}");
        }
    }
}
